//go:build unix

package main

import (
	"maps"
	"strings"
	"testing"
)

func init() {
	maps.Copy(expected, map[string]func(*testing.T, outcome){
		"export-hf-loses-calibration": succeeds,
		"serve-kserve-v1":             answers(`{"predictions":[{"label":"across","confidence":`),
		"serve-v2-classification": answers(`{"name":"probabilities","datatype":"BYTES","shape":[1,2],` +
			`"data":["1.000000:0:across","0.000000:1:down"]}`),
		"serve-v2-data-url": answers(`{"name":"label","datatype":"BYTES","shape":[1],"data":["across"]}`),
	})
}

// answers is the verdict that a server answers with 200, and what the answer has in it.
func answers(with string) func(*testing.T, outcome) {
	return func(t *testing.T, s outcome) {
		succeeds(t, s)
		if !strings.Contains(s.stdout, with) || !strings.HasSuffix(s.stdout, "\n200\n") {
			t.Errorf("%s%s\nwant 200 with %s", s.stdout, s.stderr, with)
		}
	}
}

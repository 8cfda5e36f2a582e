package yamlmap_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/internal/yamlmap"
)

// Numbers are numbers where Go would write them so, and texts as they stand where it would not.
func TestValue(t *testing.T) {
	for text, want := range map[string]any{
		"3": 3, "-1": -1, "0.5": 0.5, "1e-07": 1e-07, "true": true, "TRUE": true, "yes": "yes", "a b": "a b",
		"'3'": "3", "1.0": "1.0", "0.10": "0.10", "010": "010", "0x10": "0x10", "1e3": "1e3", ".inf": ".inf",
		".nan": ".nan", "18446744073709551615": "18446744073709551615", "18446744073709551616": "18446744073709551616",
		"2024-01-01": "2024-01-01", "!!str 3": "3", "!!binary aGk=": "hi", "[1, a, 2.50]": []any{1, "a", "2.50"},
		"[]": []any{}, "''": "",
	} {
		all, err := yamlmap.Read([]byte("\nkey: " + text + "\n"))
		if err != nil || len(all) != 1 || all[0].Key != "key" || all[0].Line != 2 {
			t.Errorf("%s: %+v, %v", text, all, err)
			continue
		}
		if got, err := yamlmap.Value(all[0].Value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, %v; want %#v", text, got, err, want)
		}
	}
}

// Whatever is read has each key once, and its values are what YAML's own reader makes of them, or their texts.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"epochs: 3\nlr: 1e-3\n", "a: &x [1, 2.5, ~]\nb: *x\n", "{\"a\": 1, b: {c: [d]}}",
		"a: 1\n---\nb: 2\n", "<<: {a: 1}\n", "a: !!binary aGk=\n", "\ufeffa: 010\n", "a: |\n  x\n  y\n", "? [a]\n: b\n",
		"a: &a [*a]\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := yamlmap.Read(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q is not on one line", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, e := range all {
			if seen[e.Key] {
				t.Fatalf("key %q twice", e.Key)
			}
			seen[e.Key] = true
			v, err := yamlmap.Value(e.Value)
			if err != nil || e.Value.Kind != yaml.ScalarNode {
				continue
			}
			var theirs any
			if err := e.Value.Decode(&theirs); err != nil {
				t.Fatalf("%q is %#v, and YAML says %v", e.Value.Value, v, err)
			}
			if v != e.Value.Value && fmt.Sprint(v) != fmt.Sprint(theirs) {
				t.Fatalf("%q is %#v, and YAML says %#v", e.Value.Value, v, theirs)
			}
		}
	})
}

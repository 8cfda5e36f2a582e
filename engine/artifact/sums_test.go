package artifact_test

import (
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/internal/testkit"
)

// A model file may lie among downloads that have sums of their own.
func TestSumsOfOthersSayNothing(t *testing.T) {
	for text, damaged := range map[string]bool{
		artifact.SumOf(nil) + " *model.onnx\n": false, "see the release notes\n": false,
		"": true, "# vitft": true,
	} {
		dir := t.TempDir()
		testkit.WriteFile(t, filepath.Join(dir, artifact.SumsFile), []byte(text))
		if sums, err := artifact.ReadSums(dir); sums != nil || (err != nil) != damaged {
			t.Errorf("%q: %v, %v", text, sums, err)
		}
	}
}

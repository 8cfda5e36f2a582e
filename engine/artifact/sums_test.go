package artifact_test

import (
	"bytes"
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

// What is accepted is what would be written of it.
func FuzzSums(f *testing.F) {
	f.Add(artifact.Sums{"model.onnx": artifact.SumOf([]byte("x")), "a b": "0"}.Bytes())
	f.Add([]byte("# \n"))
	f.Add([]byte("aa  model.onnx\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		testkit.WriteFile(t, filepath.Join(dir, artifact.SumsFile), text)
		if sums, err := artifact.ReadSums(dir); err == nil && sums != nil && !bytes.Equal(sums.Bytes(), text) {
			t.Fatalf("%q was read as %v", text, sums)
		}
	})
}

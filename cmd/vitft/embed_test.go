package main

import (
	"os"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// Embeddings are made and learned from on the command line, and what does not go says why.
func TestEmbed(t *testing.T) {
	photos := photosFor(t)
	t.Chdir(t.TempDir())
	embed := "embed --train " + photos["train"] + " --test " + photos["test"] + common + " --out "
	try := func(line string, code int, says string) {
		t.Helper()
		got, stdout, stderr := vitft(t, words(line)...)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%s: exit code %d, without %q: %s%s", line, got, says, stdout, stderr)
		}
	}
	try(embed+"deep/features.parquet", 0, "embeddings of 448 values: deep/features.parquet")
	try("finetune --train deep/features.parquet --epochs 2 --out head"+strings.ReplaceAll(common, "--quiet", ""), 0,
		`next="vitft evaluate --run head --test EMBEDDINGS"`)
	try("finetune --train "+photos["train"]+" --test "+photos["test"]+" --epochs 2 --out run"+common, 0, "run")
	for _, file := range []string{"head.safetensors", "predictions.csv"} {
		if string(testkit.ReadFile(t, "head", file)) != string(testkit.ReadFile(t, "run", file)) {
			t.Errorf("another %s than of the images", file)
		}
	}
	try("evaluate --run head --test deep/features.parquet --json --provider cpu --quiet", 0, `"samples": 9`)
	try("verify head", 0, "sound")
	try("report head", 0, "")
	try("predict --model head --provider cpu --quiet "+photos["test"], 3, "takes embeddings, not images")
	try("serve --model head --addr localhost:0 --provider cpu --quiet", 3, "takes embeddings, not images")
	try("export --run head --out head.onnx --provider cpu --quiet", 0, "same label   9")
	try("export --run head --out half.onnx --precision float16 --provider cpu --quiet", 2, "a head alone")
	try(embed+"features.txt", 2, "name a file that ends in .parquet, .npz, .npy, .safetensors")
	try(embed+"run/features.npz --run run --tta=2", 2, "run, tta: a run has its backbone and views")
	try("embed --train "+photos["train"]+common, 2, "out: name the file to write")
	try("embed --out x.npz", 2, "name at least one set of images")
	try(embed+"run/model.npz", 0, "embeddings")
	try(embed+"head", 2, "says no format")
	if err := os.Mkdir("folder.npz", 0o755); err != nil {
		t.Fatal(err)
	}
	try(embed+"folder.npz", 2, "is a folder; name a file")
}

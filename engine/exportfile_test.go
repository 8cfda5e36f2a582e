package engine

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
)

// trainedRun is a finished run with a calibrated cosine head, and its predictions: path, label, predicted, confidence.
func trainedRun(t testing.TB) (run string, predictions [][]string) {
	t.Helper()
	c := job(t)
	c.Epochs, c.Calibration, c.Folds = 5, "classwise", 2
	run = finetune(t, c).Run
	rows, err := csv.NewReader(strings.NewReader(content(t, run, predictionsFile))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return run, rows[1:]
}

// export writes a run's model below dir and fails the test if it is refused.
func export(t testing.TB, run, dir string, o ExportOptions) (string, *Exported) {
	t.Helper()
	out := filepath.Join(dir, "made on the way", "exported.onnx")
	done, err := Export(context.Background(), run, out, Config{Provider: "cpu", Cache: filepath.Join(filepath.Dir(run), "cache")}, o, Events{})
	if err != nil {
		t.Fatal(err)
	}
	return out, done
}

func TestExport(t *testing.T) {
	run, rows := trainedRun(t)
	var sizes []int
	for _, precision := range artifact.Precisions() {
		t.Run(precision, func(t *testing.T) {
			out, done := export(t, run, t.TempDir(), ExportOptions{Precision: precision, Images: 12})
			sizes = append(sizes, done.Bytes)
			if done.Agreement.Images != 12 || done.Agreement.Same < 11 || !strings.HasSuffix(done.Checked, filepath.Dir(filepath.Dir(rows[0][0]))) {
				t.Errorf("checked on %s: %+v", done.Checked, done.Agreement)
			}
			if precision == "float32" && content(t, out) != content(t, run, modelFile) {
				t.Error("in float32 it is another file than the run's")
			}
			testSameBitsInAnyBatch(t, out, rows)
		})
	}
	if len(sizes) == 3 && (sizes[1] > sizes[0]*6/10 || sizes[2] > sizes[0]*4/10) {
		t.Errorf("bytes in %v: %v", artifact.Precisions(), sizes)
	}
	t.Run("refuses", func(t *testing.T) { testExportRefuses(t, run) })
	t.Run("python", func(t *testing.T) { testPython(t, run, rows) })
}

// Weights that are made float32 again when the model is loaded keep the promise
// of batch-independent answers.
func testSameBitsInAnyBatch(t *testing.T, model string, rows [][]string) {
	c, err := classify.Open(model, classify.Options{Device: device.Options{Provider: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Info().OneByOne {
		t.Error("it is run on one image at a time")
	}
	var encoded [][]byte
	for _, row := range rows[:7] {
		encoded = append(encoded, []byte(content(t, row[0])))
	}
	together, err := c.ClassifyBatch(context.Background(), encoded)
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range encoded {
		alone, err := c.ClassifyBytes(context.Background(), data)
		if err != nil || !slices.Equal(alone.Logits, together[i].Logits) {
			t.Errorf("image %d: alone %v (%v), in a batch %v", i, alone.Logits, err, together[i].Logits)
		}
	}
}

// What the file says decides, not what made it: with another head in the run
// folder, the run says other things than its model.onnx.
func testExportRefuses(t *testing.T, run string) {
	ctx, c := context.Background(), Config{Provider: "cpu", Cache: filepath.Join(filepath.Dir(run), "cache")}
	other := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(other, os.DirFS(run)); err != nil {
		t.Fatal(err)
	}
	h, scaling, err := runFolder(other).readHead()
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.W {
		h.W[i] = -h.W[i]
	}
	if err := runFolder(other).writeHead(h, scaling); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "model.onnx")
	_, err = Export(ctx, other, out, c, ExportOptions{Images: 5}, Events{})
	if err == nil || KindOf(err) != KindData || !strings.Contains(err.Error(), "label") {
		t.Errorf("a model that disagrees with its run: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("it is written all the same")
	}
	moved := c
	moved.Test = filepath.Join(t.TempDir(), "absent")
	for _, x := range []struct {
		run, out string
		c        Config
		o        ExportOptions
		kind     Kind
		names    string
	}{
		{"", out, c, ExportOptions{}, KindConfig, "run"},
		{run, "", c, ExportOptions{}, KindConfig, "out"},
		{run, t.TempDir(), c, ExportOptions{}, KindConfig, "folder"},
		{run, out, c, ExportOptions{Precision: "int4"}, KindConfig, "int4"},
		{run, out, c, ExportOptions{NearTie: 0.1}, KindConfig, "near-tie"},
		{run, out, c, ExportOptions{Images: -1}, KindConfig, "images"},
		{t.TempDir(), out, c, ExportOptions{}, KindData, "no finished run"},
		{run, out, moved, ExportOptions{}, KindData, "absent"},
	} {
		_, err := Export(ctx, x.run, x.out, x.c, x.o, Events{})
		if err == nil || KindOf(err) != x.kind || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%+v: %v, want kind %v and it to name %q", x.o, err, x.kind, x.names)
		}
	}
}

// python is an interpreter with onnxruntime, numpy and Pillow.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("VITFT_PYTHON")
	if path == "" {
		t.Skip("VITFT_PYTHON names no Python with onnxruntime, numpy and Pillow")
	}
	return path
}

// Python's ONNX Runtime and Pillow give the labels of the run, from the metadata
// alone, and through the files in the Hugging Face convention.
func testPython(t *testing.T, run string, rows [][]string) {
	interpreter := python(t)
	out, done := export(t, run, t.TempDir(), ExportOptions{Images: 5, HuggingFace: true})
	if len(done.Files) != 3 {
		t.Errorf("wrote %v", done.Files)
	}
	for _, source := range []string{"metadata", "huggingface"} {
		args := []string{filepath.Join("testdata", "classify.py"), source, out}
		for _, row := range rows {
			args = append(args, row[0])
		}
		cmd := exec.Command(interpreter, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", source, err, stderr.String())
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(rows) {
			t.Fatalf("%s: %d lines for %d images", source, len(lines), len(rows))
		}
		for i, line := range lines {
			var got struct {
				Label      string
				Confidence float64
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			want, err := strconv.ParseFloat(rows[i][3], 64)
			if err != nil {
				t.Fatal(err)
			}
			if got.Label != rows[i][2] || math.Abs(got.Confidence-want) > 1e-4 {
				t.Errorf("%s: %s is %s with %v, the run said %s with %v", source, rows[i][0], got.Label, got.Confidence, rows[i][2], want)
			}
		}
	}
}

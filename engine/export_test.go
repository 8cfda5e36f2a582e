package engine_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/vit"
)

// model.onnx, with nothing but the metadata inside it, says of every test image what the run said, for every kind of
// head.
func TestExportedModelSaysTheSame(t *testing.T) {
	o := job(t)
	for name, training := range map[string]head.Settings{
		"default":      {},
		"linear":       {Head: "linear", Features: "standardize"},
		"raw":          {Head: "linear", Features: "raw", Start: "zero", Loss: "ce"},
		"learnt scale": {LearnScale: true, Features: "center", Optimizer: "adamw"},
	} {
		t.Run(name, func(t *testing.T) {
			o := elsewhere(t, o)
			o.Training = training
			o.Training.Epochs = 5
			checkModel(t, finetune(t, o).Run)
		})
	}
}

// checkModel classifies the images of a run's predictions.csv with its model.onnx.
func checkModel(t *testing.T, dir string) {
	t.Helper()
	m, err := graph.Read(run.ModelFile.Path(run.Folder(dir)))
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	text, _ := m.Metadata(artifact.LabelsKey)
	if err := json.Unmarshal([]byte(text), &labels); err != nil {
		t.Fatalf("metadata %s: %v", artifact.LabelsKey, err)
	}
	text, _ = m.Metadata(artifact.PreprocessKey)
	p, err := vit.ParsePreprocess([]byte(text))
	if err != nil {
		t.Fatalf("metadata %s: %v", artifact.PreprocessKey, err)
	}
	session, err := onnx.NewSession([]byte(content(t, dir, run.ModelFile)), onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var names []string
	for _, o := range session.Outputs() {
		names = append(names, o.Name)
	}
	if in := session.Inputs()[0]; in.Name != "pixel_values" || in.Shape[0] != -1 ||
		strings.Join(names, " ") != "probabilities logits embedding" {
		t.Fatalf("input %v, outputs %v", in, names)
	}
	rows := read(t, dir, run.PredictionsFile).Rows
	classes, dim, n := len(labels), int(session.Outputs()[2].Shape[1]), len(rows)
	pixels := make([]float32, n*p.Size())
	for i, row := range rows {
		if err := p.Bytes(testkit.ReadFile(t, row.Path), pixels[i*p.Size():(i+1)*p.Size()]); err != nil {
			t.Fatal(err)
		}
	}
	probabilities, logits, embedding := make([]float32, n*classes), make([]float32, n*classes), make([]float32, n*dim)
	b, c := int64(n), int64(classes)
	err = session.Run(t.Context(),
		[]onnx.Tensor{{Shape: []int64{b, 3, int64(p.Height), int64(p.Width)}, Data: pixels}},
		[]onnx.Tensor{{Shape: []int64{b, c}, Data: probabilities}, {Shape: []int64{b, c}, Data: logits},
			{Shape: []int64{b, int64(dim)}, Data: embedding}})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		best := vec.Argmax(logits[i*classes : (i+1)*classes])
		got := probabilities[i*classes+best]
		if labels[best] != row.Predicted || math.Abs(float64(got-row.Confidence)) > 1e-4 {
			t.Errorf("%s: the model says %s with %v, the run said %s with %v", row.Path, labels[best], got,
				row.Predicted, row.Confidence)
		}
	}
}

// trainedRun is a finished run with a calibrated cosine head, its predictions, and how to export it.
func trainedRun(t testing.TB) ([]run.Prediction, engine.ExportOptions) {
	t.Helper()
	o := job(t)
	o.Training.Epochs, o.Calibration = 5, engine.Calibration{Method: metric.Classwise, Folds: 2}
	dir := finetune(t, o).Run
	rows := read(t, dir, run.PredictionsFile).Rows
	return rows, engine.ExportOptions{Run: dir, Device: o.Device, Features: o.Features}
}

// export writes a run's model below a folder and fails the test if it is refused.
func export(t testing.TB, o engine.ExportOptions) (string, *engine.ExportResult) {
	t.Helper()
	o.Out = filepath.Join(t.TempDir(), "made on the way", "exported.onnx")
	done, err := engine.Export(t.Context(), o, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return o.Out, done
}

func TestExport(t *testing.T) {
	rows, o := trainedRun(t)
	var sizes []int
	for _, precision := range artifact.Precisions() {
		t.Run(precision, func(t *testing.T) {
			o := o
			o.Precision, o.Images = precision, 12
			out, done := export(t, o)
			sizes = append(sizes, done.Bytes)
			if a := done.Agreement; a.Images != 12 || a.Same < 11 ||
				done.Checked != filepath.Dir(filepath.Dir(rows[0].Path)) {
				t.Errorf("checked on %s: %+v", done.Checked, a)
			}
			if precision == "float32" && string(testkit.ReadFile(t, out)) != content(t, o.Run, run.ModelFile) {
				t.Error("in float32 it is another file than the run's")
			}
			testSameBitsInAnyBatch(t, out, rows)
		})
	}
	if len(sizes) == 3 && (sizes[1] > sizes[0]*6/10 || sizes[2] > sizes[0]*4/10) {
		t.Errorf("bytes in %v: %v", artifact.Precisions(), sizes)
	}
	t.Run("refuses", func(t *testing.T) { testExportRefuses(t, o) })
	t.Run("python", func(t *testing.T) { testPython(t, o, rows) })
}

// Weights that are made float32 again when the model is loaded keep the promise of batch-independent answers.
func testSameBitsInAnyBatch(t *testing.T, model string, rows []run.Prediction) {
	c, err := classify.Open(model, classify.Options{Device: cpu})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Info().OneByOne {
		t.Error("it is run on one image at a time")
	}
	var images [][]byte
	for _, row := range rows[:7] {
		images = append(images, testkit.ReadFile(t, row.Path))
	}
	together, err := c.ClassifyBatch(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range images {
		alone, err := c.ClassifyBytes(t.Context(), data)
		if err != nil || !slices.Equal(alone.Logits, together[i].Logits) {
			t.Errorf("image %d: alone %v (%v), in a batch %v", i, alone.Logits, err, together[i].Logits)
		}
	}
}

// What the file says decides, not what made it: with another head in the run folder, the run says other things than its
// model.onnx.
func testExportRefuses(t *testing.T, o engine.ExportOptions) {
	other := o
	other.Run, other.Out, other.Images = filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "model.onnx"), 5
	if err := os.CopyFS(other.Run, os.DirFS(o.Run)); err != nil {
		t.Fatal(err)
	}
	h := read(t, other.Run, run.HeadFile)
	for i := range h.Head.W {
		h.Head.W[i] = -h.Head.W[i]
	}
	if err := run.HeadFile.Write(run.Folder(other.Run), h); err != nil {
		t.Fatal(err)
	}
	_, err := engine.Export(t.Context(), other, event.Events{})
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "label") {
		t.Errorf("a model that disagrees with its run: %v", err)
	}
	if _, err := os.Stat(other.Out); err == nil {
		t.Error("it is written all the same")
	}
	o.Out = other.Out
	empty, absent := t.TempDir(), filepath.Join(t.TempDir(), "absent")
	for name, x := range map[string]struct {
		change func(o *engine.ExportOptions)
		kind   fault.Kind
		names  string
	}{
		"no run":   {func(o *engine.ExportOptions) { o.Run = "" }, fault.Config, "run"},
		"no file":  {func(o *engine.ExportOptions) { o.Out = "" }, fault.Config, "out"},
		"a folder": {func(o *engine.ExportOptions) { o.Out = empty }, fault.Config, "folder"},
		"a run's file": {func(o *engine.ExportOptions) { o.Out = run.ModelFile.Path(run.Folder(o.Run)) }, fault.Config,
			"finished run"},
		"precision":      {func(o *engine.ExportOptions) { o.Precision = "int4" }, fault.Config, "int4"},
		"near-tie":       {func(o *engine.ExportOptions) { o.NearTie = new(0.1) }, fault.Config, "near-tie"},
		"images":         {func(o *engine.ExportOptions) { o.Images = -1 }, fault.Config, "images"},
		"unfinished run": {func(o *engine.ExportOptions) { o.Run = empty }, fault.Data, "no finished run"},
		"absent images":  {func(o *engine.ExportOptions) { o.Test = absent }, fault.Data, "absent"},
	} {
		bad := o
		x.change(&bad)
		_, err := engine.Export(t.Context(), bad, event.Events{})
		if err == nil || fault.Of(err) != x.kind || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%s: %v, want kind %q and it to name %q", name, err, x.kind, x.names)
		}
	}
}

// Python's ONNX Runtime and Pillow give the labels of the run, from the metadata alone, and through the files in the
// Hugging Face convention.
func testPython(t *testing.T, o engine.ExportOptions, rows []run.Prediction) {
	interpreter := os.Getenv("VITFT_PYTHON")
	if interpreter == "" {
		t.Skip("VITFT_PYTHON names no Python with onnxruntime, numpy and Pillow")
	}
	o.Images, o.HuggingFace = 5, true
	out, done := export(t, o)
	if len(done.Files) != 4 {
		t.Errorf("wrote %v", done.Files)
	}
	for _, source := range []string{"metadata", "huggingface"} {
		args := []string{filepath.Join("testdata", "classify.py"), source, out}
		for _, row := range rows {
			args = append(args, row.Path)
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
			want := rows[i]
			if got.Label != want.Predicted || math.Abs(got.Confidence-float64(want.Confidence)) > 1e-4 {
				t.Errorf("%s: %+v, want %+v", source, got, want)
			}
		}
	}
}

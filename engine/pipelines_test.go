package engine_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/verify"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/graph"
)

// open is a classifier on the CPU.
func open(t *testing.T, path string) *classify.Classifier {
	t.Helper()
	c, err := classify.Open(path, classify.Options{Device: cpu})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// repository exports a run in the Hugging Face convention.
func repository(t *testing.T, o engine.ExportOptions) (files []string) {
	t.Helper()
	o.HuggingFace, o.Images = true, 4
	done, err := engine.Export(t.Context(), o, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return done.Files
}

// Programs that know no probabilities but softmax of the logits get the calibrated ones from an export in the Hugging
// Face convention, in every precision and however the run was calibrated; its own model.onnx keeps its raw logits.
func TestPipelinesSeeTheCalibration(t *testing.T) {
	job := job(t)
	for i, method := range metric.Calibrations() {
		t.Run(method, func(t *testing.T) {
			o := elsewhere(t, job)
			o.Training.Epochs, o.Calibration = 5, engine.Calibration{Method: method, Folds: 2}
			precisions := artifact.Precisions()[:1]
			if i == len(metric.Calibrations())-1 {
				o.Views.Test, precisions = 2, artifact.Precisions()
			}
			dir := finetune(t, o).Run
			rows, own := read(t, dir, run.PredictionsFile).Rows, open(t, dir)
			out := filepath.Join(t.TempDir(), "web") + string(filepath.Separator)
			for _, precision := range precisions {
				e := engine.ExportOptions{Run: dir, Out: out, Precision: precision, Device: o.Device}
				e.Features = o.Features
				path := repository(t, e)[0]
				m, err := graph.Read(path)
				if err != nil {
					t.Fatal(err)
				}
				said, _ := m.Metadata(artifact.LogitsKey)
				if calibrated := method != metric.NoCalibration; (said == "calibrated") != calibrated {
					t.Errorf("%s: metadata say %q", precision, said)
				}
				exported := open(t, path)
				far := map[string]float64{"float32": 1e-6, "float16": 0.01, "int8": 0.1}[precision]
				for _, row := range rows[:9] {
					image := testkit.ReadFile(t, row.Path)
					p, err := exported.ClassifyBytes(t.Context(), image)
					if err != nil {
						t.Fatal(err)
					}
					want, err := own.ClassifyBytes(t.Context(), image)
					if err != nil {
						t.Fatal(err)
					}
					seen := make([]float32, len(p.Logits))
					calib.Softmax(p.Logits, len(seen), 1, seen)
					for k := range seen {
						if d := math.Abs(float64(seen[k] - p.Probabilities[k])); d > 1e-6 {
							t.Errorf("%s: softmax of the logits is %v, not %v", precision, seen, p.Probabilities)
						}
						if d := math.Abs(float64(seen[k] - want.Probabilities[k])); d > far {
							t.Errorf("%s: %v, the run's are %v", precision, seen, want.Probabilities)
						}
					}
					if raw := slices.Equal(p.Logits, want.Logits); raw != (said == "") && method != metric.Temperature {
						t.Errorf("%s: logits %v, the run's are %v", precision, p.Logits, want.Logits)
					}
				}
			}
			r, err := verify.Check(t.Context(), out, false)
			if err != nil || len(r.Findings) > 0 || r.Files != 2+len(precisions) {
				t.Errorf("verify: %+v, %v", r, err)
			}
		})
	}
}

// The files lie where transformers.js and Optimum look for them, whatever is named: a folder, a file in one called
// onnx, or another file, which is then there twice.
func TestPlacesOfRepositories(t *testing.T) {
	_, o := trainedRun(t)
	there := t.TempDir()
	t.Chdir(t.TempDir())
	for _, x := range []struct{ out, precision, want string }{
		{there, "int8", "onnx/model_quantized.onnx config.json preprocessor_config.json"},
		{"new/", "float16", "onnx/model_fp16.onnx config.json preprocessor_config.json"},
		{"web/onnx/mine.onnx", "float32", "onnx/mine.onnx config.json preprocessor_config.json"},
		{"other/model.onnx", "float32", "model.onnx onnx/model.onnx config.json preprocessor_config.json"},
		{"plain.onnx", "float16", "plain.onnx onnx/model_fp16.onnx config.json preprocessor_config.json"},
	} {
		o := o
		o.Out, o.Precision = x.out, x.precision
		var names []string
		root := artifact.Root(filepath.Dir(x.out))
		if artifact.IsFolder(x.out) {
			root = x.out
		}
		for _, path := range repository(t, o) {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(name))
		}
		if got := strings.Join(names, " "); got != x.want {
			t.Errorf("%s: %s, want %s", x.out, got, x.want)
		}
	}
	o.Out = "new/"
	if _, err := engine.Export(t.Context(), o, event.Events{}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder without hf: %v", err)
	}
}

// transformers.js loads the folder without options, in each precision, and gives the labels and calibrated
// probabilities of the run. Pictures of the model's own size are not resampled, which it does otherwise than Pillow.
func TestTransformersJS(t *testing.T) {
	modules := os.Getenv("VITFT_NODE")
	if modules == "" {
		t.Skip("VITFT_NODE names no folder in which npm has installed @huggingface/transformers (500 MB)")
	}
	rows, o := trainedRun(t)
	home := t.TempDir()
	for precision, dtype := range map[string]string{"float32": "", "float16": "fp16", "int8": "q8"} {
		o.Out, o.Precision = filepath.Join(home, "web"), precision
		if err := os.MkdirAll(o.Out, 0o755); err != nil {
			t.Fatal(err)
		}
		exported := open(t, repository(t, o)[0])
		args := []string{filepath.Join("testdata", "transformers.cjs"), modules, home, "web", dtype}
		for _, row := range rows {
			args = append(args, row.Path)
		}
		text, err := exec.Command("node", args...).Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(rows) {
			t.Fatalf("%s", text)
		}
		for i, line := range lines {
			var got []struct {
				Label string
				Score float64
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			want, err := exported.ClassifyBytes(t.Context(), testkit.ReadFile(t, rows[i].Path))
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Label != want.Label || math.Abs(got[0].Score-float64(want.Confidence)) > 1e-4 {
				t.Errorf("%s %s: %v, want %s %v", precision, rows[i].Path, got, want.Label, want.Confidence)
			}
		}
	}
}

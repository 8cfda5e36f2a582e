package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
)

// adapting is job with something trained in the last two blocks.
func adapting(t testing.TB, kind string) options {
	o := job(t)
	o.Adapt.Kind, o.Adapt.Blocks, o.Adapt.Rank = kind, "2", "4"
	o.Training = head.Settings{Epochs: 3}
	return o
}

// A run that learns inside the backbone leaves a model whose answers are those of the run, in evaluation too, with the
// same bits each time, and its features in a store of their own.
func TestAdapt(t *testing.T) {
	frozen := job(t)
	before := finetune(t, frozen)
	for _, kind := range []string{"adapter", "lora+norm", "full"} {
		t.Run(kind, func(t *testing.T) {
			o := adapting(t, kind)
			o.Data, o.Views = frozen.Data, engine.Views{Test: 2}
			r := finetune(t, o)
			e := evaluate(t, evaluation(o.Out, o))
			if a, b := float64(r.Metrics.NLL), float64(e.Metrics.NLL); math.Abs(a-b) > 1e-6 {
				t.Errorf("evaluate says an NLL of %v, the run %v", b, a)
			}
			again := elsewhere(t, o)
			finetune(t, again)
			same(t, "again", again.Out, o.Out, run.HeadFile, run.PredictionsFile, run.ModelFile)
			if was, is := read(t, before.Run, run.EnvironmentFile),
				read(t, o.Out, run.EnvironmentFile); is.Store.Key == was.Store.Key {
				t.Error("its features are filed with those of the backbone that it began with")
			}
			// What was learnt is one small file, to be put into the backbone again.
			file := run.AdapterFile.Path(run.Folder(o.Out))
			again = elsewhere(t, frozen)
			again.Views, again.Backbone.Adapter, again.Training.Loss = o.Views, file, "ncm"
			finetune(t, again)
			was, is := read(t, o.Out, run.EnvironmentFile), read(t, again.Out, run.EnvironmentFile)
			if is.Store.Key != was.Store.Key {
				t.Error("with its adapter.safetensors the backbone has other features")
			}
			damaged := testkit.ReadFile(t, file)
			damaged[len(damaged)-3] ^= 1
			again.Backbone.Adapter = testkit.WriteFile(t, filepath.Join(t.TempDir(), "adapter.safetensors"), damaged)
			if _, err := engine.Finetune(t.Context(), again, event.Events{}); err == nil ||
				fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "adapter.safetensors: it is damaged") {
				t.Errorf("a damaged adapter: %v", err)
			}
			again.Backbone.Adapter = file
			again.Backbone.Name = filepath.Join(testkit.Root(), "onnx", "vision", "testdata", "pooled.onnx")
			if _, err := engine.Finetune(t.Context(), again, event.Events{}); err == nil ||
				fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "another backbone") {
				t.Errorf("in another backbone: %v", err)
			}
			o = elsewhere(t, frozen)
			finetune(t, o)
			same(t, "without, afterwards", o.Out, before.Run, run.HeadFile, run.PredictionsFile)
		})
	}
}

// A run that is interrupted and goes on ends with the same bits, with views and validation images and calibration too.
func TestAdaptResumes(t *testing.T) {
	o := adapting(t, "adapter")
	o.Data.Val, o.Views.Train, o.Calibration.Method = "0.3", 2, "temperature"
	finetune(t, o)
	other := elsewhere(t, o)
	interrupt(t, other, 1)
	for _, epoch := range []int{2, 3} { // the last ends before the features of the adapted backbone
		interrupt(t, options{Out: other.Out, Resume: true}, epoch)
	}
	resume(t, other.Out)
	same(t, "interrupted", other.Out, o.Out, run.HeadFile, run.PredictionsFile, run.ModelFile, run.KappaFile)
	history := read(t, other.Out, run.HistoryFile)
	if len(history) != 3 || history[2].Val == nil {
		t.Errorf("history of %d epochs, %+v", len(history), history)
	}
}

// Without validation images calibration is out of fold, and so is a κ that is cross-fitted; both are the same when a
// run is interrupted.
func TestAdaptOutOfFold(t *testing.T) {
	o := adapting(t, "adapter")
	o.Calibration, o.Views = engine.Calibration{Method: "temperature", Folds: 3}, engine.Views{Train: 1, Test: 2}
	set(t, o.Fields(), map[string]any{"kappa": "slope:crossfit=2"})
	folds := 0
	r, err := engine.Finetune(t.Context(), o, event.Events{Progress: func(_ event.Stage, what string, done, total int) {
		if what == "a fold" && done == total {
			folds++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := r.Metrics.Calibration
	if c == nil || c.FittedOn != "out-of-fold" || c.Before.NLL == r.Metrics.NLL {
		t.Errorf("calibrated by %+v", c)
	}
	// Two for κ; and three for the temperature, each of which has a κ of its own.
	if folds != 2+3*(2+1) {
		t.Errorf("%d trainings of folds", folds)
	}
	other := elsewhere(t, o)
	interrupt(t, other, 1)
	resume(t, other.Out)
	same(t, "interrupted", other.Out, o.Out, run.HeadFile, run.PredictionsFile, run.ModelFile, run.KappaFile)
}

// Training from images that are other each epoch leaves nothing in the feature store but features, is the same again,
// and goes on where it was interrupted.
func TestAdaptAugmented(t *testing.T) {
	o := adapting(t, "adapter+norm")
	o.Adapt.Augment, o.Adapt.Blocks = "crop-flip", "all"
	r := finetune(t, o)
	if e := evaluate(t, evaluation(o.Out, o)); math.Abs(float64(r.Metrics.NLL-e.Metrics.NLL)) > 1e-6 {
		t.Errorf("evaluate says an NLL of %v, the run %v", e.Metrics.NLL, r.Metrics.NLL)
	}
	blocks, err := filepath.Glob(filepath.Join(o.Features.Cache, feature.StoreFolder, "*", "*.safetensors"))
	stores := map[string]bool{}
	for _, path := range blocks {
		stores[filepath.Dir(path)] = true
	}
	if err != nil || len(stores) != 2 {
		t.Errorf("feature stores %v, want those of the backbone and of the adapted one (%v)", stores, err)
	}
	other := elsewhere(t, o)
	interrupt(t, other, 1)
	resume(t, other.Out)
	same(t, "interrupted", other.Out, o.Out, run.HeadFile, run.PredictionsFile, run.ModelFile, run.AdapterFile)
	plain := elsewhere(t, o)
	plain.Adapt.Augment = ""
	finetune(t, plain)
	if bytes.Equal(testkit.ReadFile(t, run.HeadFile.Path(run.Folder(plain.Out))),
		testkit.ReadFile(t, run.HeadFile.Path(run.Folder(o.Out)))) {
		t.Error("augment changes nothing")
	}
}

func TestAdaptRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		change func(o *options)
		kind   fault.Kind
	}{
		"adapt-blocks: 9":       {func(o *options) { o.Adapt.Blocks = "9" }, fault.Config},
		"it has \"norm\" twice": {func(o *options) { o.Adapt.Kind = "norm+lora+norm" }, fault.Config},
		"nothing can be joined": {func(o *options) { o.Adapt.Kind = "full+norm" }, fault.Config},
		"augment: \"mirror\"":   {func(o *options) { o.Adapt.Augment = "mirror" }, fault.Config},
		"augment: a head alone": {func(o *options) { o.Adapt.Kind, o.Adapt.Augment = "none", "flip" }, fault.Config},
		"views: with augment":   {func(o *options) { o.Adapt.Augment, o.Views.Train = "flip", 2 }, fault.Config},
		"adapt-rank":            {func(o *options) { o.Adapt.Rank = "0" }, fault.Config},
		"adapt: \"prompt\"":     {func(o *options) { o.Adapt.Kind = "prompt" }, fault.Config},
		"keep-tokens=1":         {func(o *options) { o.Adapt.Keep = "0.5" }, fault.Data},
		"closed form":           {func(o *options) { o.Training = head.Settings{Loss: "lda"} }, fault.Config},
		"diversity: it": {func(o *options) {
			o.Training = head.Settings{Experts: 2, Diversity: 1}
		}, fault.Config},
		"adapter already":          {func(o *options) { o.Backbone.Adapter = "a.safetensors" }, fault.Config},
		"a dynamic batch":          {func(o *options) { o.Backbone.Name = ofOneBatch(t) }, fault.Data},
		"adapted are transformers": {func(o *options) { o.Backbone.Name = cnn(t) }, fault.Data},
	} {
		o := adapting(t, "adapter")
		c.change(&o)
		_, err := engine.Finetune(t.Context(), o, event.Events{})
		if err == nil || fault.Of(err) != c.kind || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		blocks := filepath.Join(o.Features.Cache, "features", "*", "*.safetensors")
		if made, _ := filepath.Glob(blocks); made != nil {
			t.Errorf("%s: refused after images were encoded", what)
		}
	}
}

// ofOneBatch is the embedded backbone with a batch that its nodes have built in.
func ofOneBatch(t testing.TB) string {
	model, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := graph.Parse(model)
	if err != nil {
		t.Fatal(err)
	}
	in, out := m.Inputs(), m.Outputs()
	in[0].Shape[0], out[0].Shape[0] = 2, 2
	m.SetInputs(in...)
	m.SetOutputs(out...)
	built := 0
	graph.EachTensor(m.Graph(), func(w *graph.Tensor) {
		if v, ok := graph.Ints(w); ok && len(v) > 2 && v[0] == 0 {
			v[0], w.RawData = 2, nil
			w.Int64Data = v
			built++
		}
	})
	if model, err = m.Bytes(); err != nil || built == 0 {
		t.Fatal(built, err)
	}
	return testkit.WriteFile(t, filepath.Join(t.TempDir(), "batch2.onnx"), model)
}

// cnn is an image encoder that is no transformer.
func cnn(t testing.TB) string {
	return filepath.Join(testkit.Root(), "onnx", "vision", "testdata", "map_nhwc.onnx")
}

// Metrics say what was trained, and what a head alone does with the same loss, which is what a run of that head says.
func TestAdaptBesideFrozen(t *testing.T) {
	alone := job(t)
	alone.Training = head.Settings{Switch: new(0.5)}
	frozen := finetune(t, alone).Metrics
	o := adapting(t, "norm")
	o.Data, o.Training = alone.Data, head.Settings{Epochs: 2, Switch: new(1.0)}
	m := finetune(t, o).Metrics
	if frozen.Inside != nil {
		t.Errorf("a head alone says %+v of what is inside", frozen.Inside)
	}
	if m.Inside == nil || m.Adapt != "norm" || m.AdaptBlocks != 2 || m.TrainedParameters < 4*448 || m.Frozen == nil {
		t.Fatalf("inside: %+v", m.Inside)
	}
	if want := metric.OfFrozen(frozen); fmt.Sprint(*m.Frozen) != fmt.Sprint(*want) {
		t.Errorf("frozen: %v, alone it is %v", m.Frozen, want)
	}
	page := string(testkit.ReadFile(t, run.ReportFile.Path(run.Folder(o.Out))))
	for _, want := range []string{"Learning inside the backbone", "Kind “norm”, in the last 2 blocks",
		m.Frozen.BalancedAccuracy.Text(4), "Training loss over the epochs", "Accuracy over the epochs"} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	m.Frozen.Accuracy = m.Frozen.Accuracy[1:]
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, run.MetricsFile.Name), text)
	if _, err := run.MetricsFile.Read(run.Folder(dir)); err == nil || !strings.Contains(err.Error(), "accuracies") {
		t.Errorf("metrics.json without a class: %v", err)
	}
}

package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Whatever the views and the calibration, the exported model alone says what the run says, and so does evaluate, from
// the stores of the run or from none.
func TestViewsAndCalibrationReachTheExportedModel(t *testing.T) {
	o := job(t)
	calibrated := func(method string, folds int) engine.Calibration {
		return engine.Calibration{Method: method, Folds: folds}
	}
	for name, change := range map[string]func(o *options){
		"tta":           func(o *options) { o.Views.Test = 2 },
		"views":         func(o *options) { o.Views.Train = 3 },
		"views and tta": func(o *options) { o.Views = engine.Views{Train: 2, Test: 4} },
		"temperature":   func(o *options) { o.Calibration = calibrated(metric.Temperature, 3) },
		"classwise on val": func(o *options) {
			o.Calibration, o.Data.Val = calibrated(metric.Classwise, 0), "0.2"
		},
		"everything": func(o *options) {
			o.Views, o.Calibration = engine.Views{Train: 4, Test: 2}, calibrated(metric.Classwise, 3)
		},
		"training set only": func(o *options) {
			o.Views.Test, o.Calibration, o.Data.Test = 3, calibrated(metric.Temperature, 0), ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := elsewhere(t, o)
			o.Training.Epochs = 5
			change(&o)
			r := finetune(t, o)
			checkModel(t, r.Run)
			header, _, _ := strings.Cut(content(t, r.Run, run.PredictionsFile), "\n")
			calibrated := o.Calibration.Method != ""
			got := strings.HasSuffix(header, ",confidence_before")
			if got != calibrated || (r.Metrics.Calibration != nil) != calibrated {
				t.Errorf("predictions.csv has the columns %s, metrics.json the calibration %+v", header,
					r.Metrics.Calibration)
			}
			e := evaluation(r.Run, o)
			if e.Test == "" {
				e.Test = o.Data.Train
			}
			for name, cache := range map[string]string{"warm store": o.Features.Cache, "cold store": t.TempDir()} {
				e.Features.Cache = cache
				m := evaluate(t, e).Metrics
				if m.NLL != r.Metrics.NLL || m.ECE != r.Metrics.ECE ||
					m.BalancedAccuracy != r.Metrics.BalancedAccuracy {
					t.Errorf("%s: evaluate gives %+v, the run gave %+v", name, m, r.Metrics)
				}
				if encoded := m.Seconds.Encode > 0; encoded != (name == "cold store") {
					t.Errorf("%s: %v seconds of encoding", name, m.Seconds.Encode)
				}
				if got, want := m.Calibration, r.Metrics.Calibration; calibrated &&
					(got == nil || got.Before.NLL != want.Before.NLL || got.FittedOn != want.FittedOn) {
					t.Errorf("%s: evaluate says %+v of the calibration, the run %+v", name, got, want)
				}
			}
		})
	}
}

// One view is what there was before there were views; the order in which views come into the stores does not matter.
func TestViewsAreIndependent(t *testing.T) {
	o := job(t)
	plain := finetune(t, o).Run
	train := func(cache string, views engine.Views) string {
		o := elsewhere(t, o)
		o.Features.Cache, o.Views = cache, views
		return finetune(t, o).Run
	}
	same(t, "views: 1, tta: 1", train(o.Features.Cache, engine.Views{Train: 1, Test: 1}), plain, run.HeadFile)
	grown, three := t.TempDir(), engine.Views{Train: 3, Test: 3}
	train(grown, engine.Views{Train: 1, Test: 1}) // the plain view of all, then
	train(grown, engine.Views{Train: 1, Test: 3}) // two more of the test images, then of the training images
	first := train(grown, three)
	same(t, "stores that grew view by view", first, train(t.TempDir(), three), run.HeadFile, run.PredictionsFile)
	if content(t, first, run.HeadFile) == content(t, plain, run.HeadFile) {
		t.Error("three views give the head of one: they are not used")
	}
	tta := train(grown, engine.Views{Train: 1, Test: 3})
	same(t, "tta", tta, plain, run.HeadFile)
	if content(t, tta, run.PredictionsFile) == content(t, first, run.PredictionsFile) {
		t.Error("views do not change the predictions")
	}
}

func TestResumeWithViewsAndCalibration(t *testing.T) {
	o := job(t)
	o.Views, o.Calibration = engine.Views{Train: 2, Test: 2}, engine.Calibration{Method: metric.Classwise, Folds: 3}
	want := finetune(t, o)
	o = elsewhere(t, o)
	interrupt(t, o, 5)
	// The time of both parts counts: the first one shall have taken an hour.
	saved := read(t, o.Out, run.CheckpointFile)
	if saved.Seconds <= 0 {
		t.Fatalf("checkpoint after %v seconds", saved.Seconds)
	}
	saved.Seconds = 3600
	if err := run.CheckpointFile.Write(run.Folder(o.Out), saved); err != nil {
		t.Fatal(err)
	}
	if s := resume(t, o.Out).Metrics.Seconds.Train; s <= 3600 || s > 7200 {
		t.Errorf("%v seconds of training, want a little more than 3600", s)
	}
	same(t, "interrupted", o.Out, want.Run, run.HeadFile, run.PredictionsFile, run.KappaFile)
	f, err := safetensors.Read(run.HeadFile.Path(run.Folder(o.Out)))
	if err != nil {
		t.Fatal(err)
	}
	temperature, err := f.Tensor("temperature")
	if err != nil || len(temperature.Shape) != 1 || temperature.Shape[0] != 4 {
		t.Errorf("tensor temperature: %+v, %v; want one value a class", temperature, err)
	}
}

// A backbone that only declares a fixed batch is set free, in training and in the exported model; from then on several
// views are possible, too.
func TestFixedBatchIsFreed(t *testing.T) {
	o := job(t)
	o.Views.Test = 2
	for _, file := range []string{"batch1.onnx", "batch2.onnx"} {
		o := elsewhere(t, o)
		o.Backbone.Name = filepath.Join(testkit.Root(), "onnx", "vision", "testdata", file)
		checkModel(t, finetune(t, o).Run)
	}
}

// One with the batch built into a node keeps it: a view at a time works, the mean of several inside the exported model
// cannot.
func TestFixedBatchStays(t *testing.T) {
	o := job(t)
	var m onnxpb.ModelProto
	file := testkit.ReadFile(t, testkit.Root(), "onnx", "vision", "testdata", "batch2.onnx")
	if err := proto.Unmarshal(file, &m); err != nil {
		t.Fatal(err)
	}
	g := m.Graph
	g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String("two"), Dims: []int64{2},
		DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{2, 8}})
	g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Reshape"),
		Input: []string{g.Output[0].GetName(), "two"}, Output: []string{"fixed"}})
	g.Output[0].Name = proto.String("fixed")
	text, err := proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	o.Backbone.Name = testkit.WriteFile(t, filepath.Join(t.TempDir(), "fixed.onnx"), text)
	o.Views.Train = 2
	r := finetune(t, o)
	session, err := onnx.NewSession([]byte(content(t, r.Run, run.ModelFile)), onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if batch := session.Inputs()[0].Shape[0]; batch != 2 {
		t.Errorf("the exported model takes batches of %d, want 2", batch)
	}
	o = elsewhere(t, o)
	o.Views.Test = 2
	_, err = engine.Finetune(t.Context(), o, event.Events{})
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "batches of 2 only") ||
		!strings.Contains(err.Error(), "--tta=1") {
		t.Errorf("tta with a fixed batch: %v, want a data error with a cure", err)
	}
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("it left a run folder")
	}
}

package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Whatever the views and the calibration, the exported model alone says what the
// run says, and so does evaluate, from the stores of the run or from none.
func TestViewsAndCalibrationReachTheExportedModel(t *testing.T) {
	c := job(t)
	for name, change := range map[string]func(c *Config){
		"tta":               func(c *Config) { c.TTA = 2 },
		"views":             func(c *Config) { c.Views = 3 },
		"views and tta":     func(c *Config) { c.Views, c.TTA = 2, 4 },
		"temperature":       func(c *Config) { c.Calibration, c.Folds = "temperature", 3 },
		"classwise on val":  func(c *Config) { c.Calibration, c.Val = "classwise", "0.2" },
		"everything":        func(c *Config) { c.Views, c.TTA, c.Calibration, c.Folds = 4, 2, "classwise", 3 },
		"training set only": func(c *Config) { c.TTA, c.Calibration, c.Test = 3, "temperature", "" },
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Out = filepath.Join(t.TempDir(), "run")
			c.Epochs = 5
			change(&c)
			r := finetune(t, c)
			predictions := content(t, r.Run, predictionsFile)
			checkModel(t, filepath.Join(r.Run, modelFile), predictions)
			header, _, _ := strings.Cut(predictions, "\n")
			calibrated := c.Calibration != ""
			if got := strings.HasSuffix(header, ",confidence_before"); got != calibrated || (r.Metrics.Calibration != nil) != calibrated {
				t.Errorf("predictions.csv has the columns %s, metrics.json the calibration %+v", header, r.Metrics.Calibration)
			}
			set := c.Test
			if set == "" {
				set = c.Train
			}
			for name, cache := range map[string]string{"warm store": c.Cache, "cold store": t.TempDir()} {
				m, err := Evaluate(context.Background(), r.Run, Config{Test: set, Cache: cache, Provider: "cpu"}, Events{})
				if err != nil {
					t.Fatal(err)
				}
				if m.NLL != r.Metrics.NLL || m.ECE != r.Metrics.ECE || m.BalancedAccuracy != r.Metrics.BalancedAccuracy {
					t.Errorf("%s: evaluate gives %+v, the run gave %+v", name, m, r.Metrics)
				}
				if encoded := m.Seconds.Encode > 0; encoded != (name == "cold store") {
					t.Errorf("%s: %v seconds of encoding", name, m.Seconds.Encode)
				}
				if calibrated && (m.Calibration == nil || m.Calibration.Before.NLL != r.Metrics.Calibration.Before.NLL || m.Calibration.FittedOn != r.Metrics.Calibration.FittedOn) {
					t.Errorf("%s: evaluate says %+v of the calibration, the run %+v", name, m.Calibration, r.Metrics.Calibration)
				}
			}
		})
	}
}

// One view is what there was before there were views; the order in which views
// come into the stores does not matter.
func TestViewsAreIndependent(t *testing.T) {
	c := job(t)
	plain := content(t, finetune(t, c).Run, headFile)
	run := func(cache string, views, tta int) (head, predictions string) {
		c := c
		c.Out, c.Cache, c.Views, c.TTA = filepath.Join(t.TempDir(), "run"), cache, views, tta
		r := finetune(t, c)
		return content(t, r.Run, headFile), content(t, r.Run, predictionsFile)
	}
	if h, _ := run(c.Cache, 1, 1); h != plain {
		t.Error("views: 1, tta: 1 is not the default")
	}
	grown := t.TempDir()
	run(grown, 1, 1) // the plain view of all, then
	run(grown, 1, 3) // two more of the test images, then of the training images
	h1, p1 := run(grown, 3, 3)
	h2, p2 := run(t.TempDir(), 3, 3)
	if h1 != h2 || p1 != p2 {
		t.Error("stores that grew view by view give another head or other predictions than cold ones")
	}
	if h1 == plain {
		t.Error("three views give the head of one: they are not used")
	}
	if h, p := run(grown, 1, 3); h != plain || p == p1 {
		t.Error("tta changes the head, or views do not change the predictions")
	}
}

func TestResumeWithViewsAndCalibration(t *testing.T) {
	c := job(t)
	c.Views, c.TTA, c.Calibration, c.Folds = 2, 2, "classwise", 3
	want := finetune(t, c)
	c.Out = filepath.Join(t.TempDir(), "interrupted")
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Finetune(ctx, c, false, Events{Epoch: func(e head.Epoch) {
		if e.Number == 5 {
			cancel()
		}
	}})
	if KindOf(err) != KindInterrupted {
		t.Fatal(err)
	}
	// The time of both parts counts: the first one shall have taken an hour.
	run := runFolder(c.Out)
	saved, err := run.readCheckpoint()
	if err != nil || saved.Seconds <= 0 {
		t.Fatalf("checkpoint after %v seconds, %v", saved.Seconds, err)
	}
	saved.Seconds = 3600
	if err := run.writeCheckpoint(*saved); err != nil {
		t.Fatal(err)
	}
	got, err := Finetune(context.Background(), Config{Out: c.Out}, true, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Metrics.Seconds.Train; s <= 3600 || s > 7200 {
		t.Errorf("%v seconds of training, want a little more than 3600", s)
	}
	for _, name := range []string{headFile, predictionsFile, kappaFile} {
		if content(t, want.Run, name) != content(t, c.Out, name) {
			t.Errorf("%s differs from the uninterrupted run", name)
		}
	}
	f, err := safetensors.Read(filepath.Join(c.Out, headFile))
	if err != nil {
		t.Fatal(err)
	}
	if temperature, err := f.Tensor("temperature"); err != nil || len(temperature.Shape) != 1 || temperature.Shape[0] != 4 {
		t.Errorf("tensor temperature: %+v, %v; want one value a class", temperature, err)
	}
}

// A backbone that only declares a fixed batch is set free, in training and in
// the exported model; from then on several views are possible, too.
func TestFixedBatchIsFreed(t *testing.T) {
	c := job(t)
	c.TTA = 2
	for _, file := range []string{"batch1.onnx", "batch2.onnx"} {
		c := c
		c.Backbone, c.Out = filepath.Join("..", "onnx", "vision", "testdata", file), filepath.Join(t.TempDir(), "run")
		r := finetune(t, c)
		checkModel(t, filepath.Join(r.Run, modelFile), content(t, r.Run, predictionsFile))
	}
}

// One with the batch built into a node keeps it: a view at a time works, the
// mean of several inside the exported model cannot.
func TestFixedBatchStays(t *testing.T) {
	c := job(t)
	var m onnxpb.ModelProto
	if err := proto.Unmarshal([]byte(content(t, "..", "onnx", "vision", "testdata", "batch2.onnx")), &m); err != nil {
		t.Fatal(err)
	}
	g := m.Graph
	g.Initializer = append(g.Initializer, &onnxpb.TensorProto{
		Name: proto.String("two"), Dims: []int64{2}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{2, 8}})
	g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Reshape"), Input: []string{g.Output[0].GetName(), "two"}, Output: []string{"fixed"}})
	g.Output[0].Name = proto.String("fixed")
	text, err := proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	c.Backbone = filepath.Join(t.TempDir(), "fixed.onnx")
	if err := os.WriteFile(c.Backbone, text, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Views = 2
	r := finetune(t, c)
	session, err := onnx.NewSession([]byte(content(t, r.Run, modelFile)), onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if batch := session.Inputs()[0].Shape[0]; batch != 2 {
		t.Errorf("the exported model takes batches of %d, want 2", batch)
	}
	c.TTA, c.Out = 2, filepath.Join(t.TempDir(), "tta")
	_, err = Finetune(context.Background(), c, false, Events{})
	if KindOf(err) != KindData || !strings.Contains(err.Error(), "batches of 2 only") || !strings.Contains(err.Error(), "--tta=1") {
		t.Errorf("tta with a fixed batch: %v, want a data error with a cure", err)
	}
	if _, err := os.Stat(c.Out); err == nil {
		t.Error("it left a run folder")
	}
}

func TestOneRunAtATime(t *testing.T) {
	c := job(t)
	tried := false
	_, err := Finetune(context.Background(), c, false, Events{Epoch: func(e head.Epoch) {
		if e.Number != 2 {
			return
		}
		tried = true
		for _, resume := range []bool{false, true} {
			_, err := Finetune(context.Background(), c, resume, Events{})
			if err == nil || !strings.Contains(err.Error(), "another run") || !strings.Contains(err.Error(), c.Out) {
				t.Errorf("a second run into the folder (resume %v): %v, want it refused", resume, err)
			}
		}
	}})
	if err != nil || !tried {
		t.Fatal(err)
	}
	if _, err := Finetune(context.Background(), c, false, Events{}); err != nil {
		t.Errorf("a run after the end of the first: %v", err)
	}
}

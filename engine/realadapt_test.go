package engine_test

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
)

// inRealViT is a run that learns in the last two blocks of a real ViT, from few photos: so many of the first of four
// classes.
func inRealViT(t testing.TB, most int) options {
	if testing.Short() {
		t.Skip("trains inside a real ViT")
	}
	fewer := func(k int) int { return most - k }
	o := realJob(t, testkit.Unpacked(t, "caltech101", "train"), testkit.Unpacked(t, "caltech101", "test"), 4, fewer, 1)
	o.Adapt.Kind, o.Adapt.Blocks, o.Adapt.Rank = "adapter", "2", "4"
	o.Training = head.Settings{Epochs: 2, Batch: 8, Switch: new(1.0)}
	return o
}

// What is promised of heads holds with something below them in a real ViT: two phases and κ, temperatures out of fold,
// views, the same bits after an interruption, progress by images, a model and an adapter with what was learnt, a report
// of before and after.
func TestAdaptRealViT(t *testing.T) {
	o := inRealViT(t, 6)
	o.Views, o.Calibration = engine.Views{Train: 2, Test: 2}, engine.Calibration{Method: "temperature", Folds: 2}
	last, folds := 0, 0
	r, err := engine.Finetune(t.Context(), o, event.Events{Progress: func(s event.Stage, what string, done, all int) {
		switch {
		case s == event.Learn && what == "a fold" && done == all:
			folds++
		case s == event.Learn && what == "cvs":
			if last = done; all != 2*18 {
				t.Errorf("progress to %d images, want those of two epochs of 18", all)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Metrics.Calibration; last != 2*18 || folds != 2 || c == nil || c.FittedOn != "out-of-fold" {
		t.Errorf("progress ended at %d; %d trainings of folds; calibrated by %+v", last, folds, c)
	}
	history := read(t, o.Out, run.HistoryFile)
	kappa := read(t, o.Out, run.KappaFile)
	if history[0].Phase != head.PhaseMLA || history[1].Phase != head.PhaseCLA || len(kappa) == 0 {
		t.Errorf("phases %s and %s, %d lines of κ", history[0].Phase, history[1].Phase, len(kappa))
	}
	checkModel(t, o.Out)
	if e := evaluate(t, evaluation(o.Out, o)).Metrics; math.Abs(float64(e.NLL-r.Metrics.NLL)) > 1e-6 {
		t.Errorf("evaluate says an NLL of %v, the run %v", e.NLL, r.Metrics.NLL)
	}
	if text := content(t, o.Out, run.ReportFile); !strings.Contains(text, "Learning inside the backbone") {
		t.Error("the report does not show before and after")
	}
	other := elsewhere(t, o)
	interrupt(t, other, 1)
	resume(t, other.Out)
	same(t, "interrupted", other.Out, o.Out, run.HeadFile, run.AdapterFile, run.PredictionsFile, run.ModelFile,
		run.KappaFile)

	again := elsewhere(t, o)
	again.Adapt, again.Calibration, again.Training = engine.FinetuneOptions{}.Adapt, engine.Calibration{},
		head.Settings{Loss: "ncm"}
	again.Backbone.Adapter = run.AdapterFile.Path(run.Folder(o.Out))
	finetune(t, again)
	if was, is := read(t, o.Out, run.EnvironmentFile), read(t, again.Out, run.EnvironmentFile); is.Store.Key !=
		was.Store.Key {
		t.Error("with its adapter.safetensors the backbone has other features")
	}
}

// Every loss that has gradients, every kind of κ, and early stop train inside a real ViT, as heads of a sweep, which an
// interruption in one of them does not change; the others are their own failures.
func TestSweepAdaptsRealViT(t *testing.T) {
	one := inRealViT(t, 6)
	one.Data.Val = "0.3"
	o := engine.SweepOptions{Data: one.Data, Backbone: one.Backbone, Device: one.Device, Features: one.Features,
		Training: one.Training, Adapt: one.Adapt, Out: one.Out}
	o.Training.Switch = nil
	o.Experiment = parse(t, `{selection: val, grid: [{loss: [`+strings.Join(head.Losses(), ", ")+`]},
		{loss: cvs, kappa: [none, vit, ddc, "slope:by=label", "slope:crossfit=2"]}, {loss: la, early-stop: 1}]}`)
	ctx, cancel := context.WithCancel(t.Context())
	trained, wentOn := 0, false
	ev := event.Events{
		Progress: func(stage event.Stage, what string, done, all int) {
			if stage == event.Sweep {
				trained++
			} else if stage == event.Learn && trained == 2 && done > all/2 {
				cancel() // in the second epoch of the third head
			}
		},
		Note: func(_ event.Level, message string, _ ...any) { wentOn = wentOn || message == "training goes on" },
	}
	if _, err := engine.Sweep(ctx, o, ev); err == nil || fault.Of(err) != fault.Interrupted {
		t.Fatalf("interrupted: %v", err)
	}
	s := runSweep(t, o, ev)
	if left, err := filepath.Glob(run.SweepCheckpointFile("*").Path(run.Folder(o.Out))); !wentOn || len(left) > 0 {
		t.Errorf("the third head went on: %v; checkpoints left: %v (%v)", wentOn, left, err)
	}
	var failed []string
	for _, h := range s.Heads {
		if h.Error != "" && strings.Contains(h.Error, "closed form") {
			failed = append(failed, h.Configuration)
		} else if h.Error != "" {
			t.Errorf("%s: %s", h.Configuration, h.Error)
		}
	}
	if want := []string{"ncm", "lda", "logreg"}; !slices.Equal(failed, want) || trained < len(s.Heads) {
		t.Errorf("%q have closed forms, want %q; %d of %d heads trained", failed, want, trained, len(s.Heads))
	}
	o.Experiment, o.Out = parse(t, `{selection: val, grid: [{loss: [cb, crt]}]}`), elsewhere(t, one).Out
	runSweep(t, o, event.Events{})
	all, whole := table(t, one.Out, run.HeadsFile), table(t, o.Out, run.HeadsFile)
	for i, id := range whole["id"] {
		k := slices.Index(all["id"], id)
		if k < 0 || all["nll"][k] != whole["nll"][i] || all["selection"][k] != whole["selection"][i] {
			t.Errorf("%s: %q in a sweep that was interrupted, %q in one that was not", whole["configuration"][i],
				all["nll"], whole["nll"][i])
		}
	}
}

// The recipes of LIFT and LIFT+ run on a real ViT as they are, on fewer photos and for an epoch.
func TestRecipesRealViT(t *testing.T) {
	for _, name := range []string{"lift.yaml", "lift_plus.yaml"} {
		var o options
		dir := t.TempDir()
		testkit.WriteFile(t, run.ConfigFile.Path(run.Folder(dir)), testkit.ReadFile(t, "../experiments/"+name))
		set(t, o.Fields(), read(t, dir, run.ConfigFile).Values())
		few := inRealViT(t, 4)
		o.Data, o.Backbone, o.Device, o.Features, o.Out = few.Data, few.Backbone, few.Device, few.Features, few.Out
		o.Training.Epochs = 1
		m := finetune(t, o).Metrics
		if m.Inside == nil || m.AdaptBlocks != 12 {
			t.Errorf("%s: inside %+v", name, m.Inside)
		}
		checkModel(t, o.Out)
	}
}

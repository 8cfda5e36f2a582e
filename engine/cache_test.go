package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
)

// A run whose features are in the store opens no image, for whatever purpose: with spoilt ones it ends the same.
func TestWarmRunOpensNoImage(t *testing.T) {
	o := job(t)
	o.Data.Val, o.Views, o.Calibration.Method = "0.2", engine.Views{Train: 2, Test: 2}, metric.Classwise
	testkit.Age(t, o.Data.Train)
	testkit.Age(t, o.Data.Test)
	cold := finetune(t, o)
	defer testkit.Spoil(t, o.Data.Train)()
	defer testkit.Spoil(t, o.Data.Test)()
	warm := finetune(t, elsewhere(t, o))
	same(t, "warm", warm.Run, cold.Run, run.HeadFile, run.PredictionsFile, run.ModelFile, run.LabelsFile)
	if s := warm.Metrics.Seconds.Encode; s != 0 {
		t.Errorf("%v seconds of encoding", s)
	}
	if m := evaluate(t, evaluation(cold.Run, o)).Metrics; m.NLL != cold.Metrics.NLL {
		t.Errorf("evaluate gives NLL %v, the run %v", m.NLL, cold.Metrics.NLL)
	}
	// The spoilt files are noticed by whoever reads them.
	o.Features.Cache = t.TempDir()
	_, err := engine.Finetune(t.Context(), elsewhere(t, o), event.Events{})
	if err == nil || fault.Of(err) != fault.Data {
		t.Errorf("a cold run on spoilt images: %v", err)
	}
}

// An image that is in several sets, or in one of them twice, is read once and encoded once.
func TestImageOfTwoSetsIsReadOnce(t *testing.T) {
	o := job(t)
	o.Data.Test = o.Data.Train
	testkit.Age(t, o.Data.Train)
	want := finetune(t, o)

	o = elsewhere(t, o)
	o.Features.Cache = t.TempDir()
	counts := map[string]int{}
	restore := func() {} // from the end of the training set on, no image can be read until all are encoded
	ev := event.Events{Progress: func(stage event.Stage, what string, done, total int) {
		if stage == event.Encode {
			if counts[what]++; what == "train" && done == total {
				restore = testkit.Spoil(t, o.Data.Train)
			}
		}
	}}
	o.OnEpoch = func(e head.Epoch) {
		if e.Number == 1 {
			restore()
		}
	}
	r, err := engine.Finetune(t.Context(), o, ev)
	if err != nil {
		t.Fatal(err)
	}
	if counts["train"] != 74 || counts["test"] != 0 || r.Metrics.Samples != 74 {
		t.Errorf("encoded %v, measured on %d images; want 74 once", counts, r.Metrics.Samples)
	}
	same(t, "read once", r.Run, want.Run, run.HeadFile, run.PredictionsFile)
}

// However the work is done, the result is the same to the bit: in what batches, with features that are there or not or
// were encoded by parts, in one go or interrupted while images are encoded and again while the head is trained.
func TestHowIsNoMatter(t *testing.T) {
	o := job(t)
	o.Views, o.Calibration = engine.Views{Train: 2, Test: 2}, engine.Calibration{Method: metric.Classwise, Folds: 2}
	want := finetune(t, o)
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 30))
			o, told := elsewhere(t, o), ""
			if r.IntN(4) > 0 {
				o.Features.Cache = filepath.Join(t.TempDir(), "cache")
				if parts := r.IntN(4); parts > 1 {
					encodeParts(t, o, r, parts)
					told += fmt.Sprintf("encoded before in %d parts, ", parts)
				}
			} else {
				told += "warm, "
			}
			o.Features.Batch, o.Device.Threads = 1+r.IntN(40), r.IntN(3)
			told += fmt.Sprintf("batches of %d, %d threads", o.Features.Batch, o.Device.Threads)
			if r.IntN(2) == 0 {
				image := 1 + r.IntN(40)
				interruptEncoding(t, o, image)
				told += fmt.Sprintf(", interrupted at image %d", image)
				o.Resume = true
			}
			for epoch := 1 + r.IntN(6); epoch < 12 && r.IntN(4) > 0; epoch += 1 + r.IntN(6) {
				interrupt(t, o, epoch)
				told += fmt.Sprintf(", in epoch %d", epoch)
				o = engine.FinetuneOptions{Out: o.Out, Resume: true}
			}
			finetune(t, o)
			same(t, told, o.Out, want.Run, run.HeadFile, run.PredictionsFile, run.KappaFile)
			t.Log(told)
		})
	}
}

// encodeParts fills the store for a run by parts, in a drawn order and drawn batches.
func encodeParts(t *testing.T, o engine.FinetuneOptions, r *rand.Rand, parts int) {
	t.Helper()
	e := engine.EncodeOptions{
		Data: o.Data, Device: o.Device, Features: o.Features, Views: o.Views, Calibration: o.Calibration,
	}
	for _, i := range r.Perm(parts) {
		e.Features.Batch, e.Shard = 1+r.IntN(20), engine.Shard{Index: i, Count: parts}
		if _, err := engine.Encode(t.Context(), e, event.Events{}); err != nil {
			t.Fatal(err)
		}
	}
}

// interruptEncoding ends a run at an image that is encoded; in its first epoch if there is none to encode.
func interruptEncoding(t *testing.T, o engine.FinetuneOptions, image int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := engine.Finetune(ctx, o, event.Events{Progress: func(stage event.Stage, _ string, done, _ int) {
		if stage == event.Encode && done == image || stage == event.Train {
			cancel()
		}
	}})
	if err == nil || fault.Of(err) != fault.Interrupted {
		t.Fatalf("interrupted at image %d: %v", image, err)
	}
}

package engine_test

import (
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// realJob is a run of a real ViT on parts of sets of photos.
func realJob(t testing.TB, train, test string, classes int, most func(k int) int, tested int) engine.FinetuneOptions {
	t.Helper()
	ort.Need(t)
	return elsewhere(t, engine.FinetuneOptions{
		Data: dataset.Sources{
			Train: testkit.Manifest(t, train, classes, most),
			Test:  testkit.Manifest(t, test, classes, func(int) int { return tested }),
		},
		Backbone: backbone.Options{Name: testkit.Model(t)},
		Device:   cpu,
		Features: feature.Options{Cache: t.TempDir()},
	})
}

// On a slice of both photo sets, with a real ViT, CVS comes near what the whole sets reach and is no worse than CE on
// the rare classes. (So few images train so little that the gap of the whole sets, docs/method.md, does not show.)
func TestRealViTOnRealPhotos(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 400 photos")
	}
	longTail := func(k int) int { return max(2, 30>>k) } // 30, 15, 7, 3, 2, 2, …
	for _, x := range []struct {
		name, train string
		least       float64
	}{
		{"caltech101", "train", 0.9},
		{"cifar100", "train_ir10.csv", 0.75},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := realJob(t, testkit.Unpacked(t, x.name, x.train), testkit.Unpacked(t, x.name, "test"), 10, longTail, 12)
			cvs := finetune(t, o).Metrics
			o = elsewhere(t, o)
			o.Training.Loss = "ce"
			ce := finetune(t, o).Metrics
			few, ceFew := cvs.Groups[calib.Few].Accuracy, ce.Groups[calib.Few].Accuracy
			t.Logf("balanced accuracy: cvs %.3f, ce %.3f; few: cvs %.3f, ce %.3f", cvs.BalancedAccuracy,
				ce.BalancedAccuracy, few, ceFew)
			if float64(cvs.BalancedAccuracy) < x.least {
				t.Errorf("balanced accuracy %.3f, want %.2f or more", cvs.BalancedAccuracy, x.least)
			}
			if few < ceFew {
				t.Errorf("on rare classes cvs has %.3f, ce %.3f", few, ceFew)
			}
		})
	}
}

// With a real ViT, too, the exported model alone gives the calibrated mean over the views that the run gave.
func TestRealViTWithViews(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 100 photos")
	}
	o := realJob(t, testkit.Unpacked(t, "caltech101", "train"), testkit.Unpacked(t, "caltech101", "test"), 5,
		func(int) int { return 4 }, 2)
	o.Views, o.Calibration = engine.Views{Train: 2, Test: 4}, engine.Calibration{Method: metric.Classwise, Folds: 2}
	r := finetune(t, o)
	checkModel(t, r.Run)
	if m := evaluate(t, evaluation(r.Run, o)).Metrics; m.NLL != r.Metrics.NLL || m.Seconds.Encode != 0 {
		t.Errorf("evaluate gives NLL %v after %v seconds of encoding, want %v from the stores of the run",
			m.NLL, m.Seconds.Encode, r.Metrics.NLL)
	}
}

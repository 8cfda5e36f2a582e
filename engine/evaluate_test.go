package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
)

func TestEvaluateNeedsOnlyTheRunFolder(t *testing.T) {
	o := job(t)
	r := finetune(t, o)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(r.Run, moved); err != nil {
		t.Fatal(err)
	}
	for name, cache := range map[string]string{"warm store": o.Features.Cache, "cold store": t.TempDir()} {
		e := evaluation(moved, o)
		e.Features.Cache = cache
		m := evaluate(t, e).Metrics
		if m.NLL != r.Metrics.NLL || m.BalancedAccuracy != r.Metrics.BalancedAccuracy ||
			m.Groups[calib.Few] != r.Metrics.Groups[calib.Few] {
			t.Errorf("%s: evaluate gives %+v, the run gave %+v", name, m, r.Metrics)
		}
		if encoded := m.Seconds.Encode > 0; encoded != (name == "cold store") {
			t.Errorf("%s: %v seconds of encoding", name, m.Seconds.Encode)
		}
	}
}

// The classes are the run's, also where there are images of a few only.
func TestEvaluateKnowsTheClassesOfTheRun(t *testing.T) {
	o := job(t)
	r := finetune(t, o)
	if err := os.RemoveAll(filepath.Join(o.Data.Test, "class-a")); err != nil {
		t.Fatal(err)
	}
	m := evaluate(t, evaluation(r.Run, o)).Metrics
	if m.Samples != 18 || len(m.PerClass) != 4 || m.PerClass[0].Samples != 0 ||
		m.BalancedAccuracy != r.Metrics.BalancedAccuracy {
		t.Errorf("without images of class-a: %+v", m)
	}
}

// Evaluate heeds its own options and nothing else that made the run: neither the training images nor the settings that
// the run was made with need be there, or right.
func TestEvaluateHeedsItsOwnOptionsOnly(t *testing.T) {
	o := job(t)
	o.Data.Val, o.Data.Imbalance, o.Features.Batch = "0.2", "exp:4", 7
	r := finetune(t, o)
	config := read(t, r.Run, run.ConfigFile)
	if err := os.RemoveAll(o.Data.Train); err != nil {
		t.Fatal(err)
	}
	lone := t.TempDir()
	for _, f := range []named{run.MetricsFile, run.EnvironmentFile, run.HeadFile, run.ModelFile} {
		testkit.WriteFile(t, f.Path(run.Folder(lone)), testkit.ReadFile(t, f.Path(run.Folder(r.Run))))
	}
	testkit.WriteFile(t, run.ConfigFile.Path(run.Folder(lone)), []byte("loss: hinge\nviews: 99\nthreads: many\n"))

	var e engine.EvaluateOptions // by the keys that both have
	taken := 0
	for _, f := range e.Fields() {
		if value, is := config.Values()[f.Key]; is {
			if err := f.Set(value); err != nil {
				t.Error(err)
			}
			taken++
		}
	}
	if e.Test != o.Data.Test || e.Features.Batch != 7 || taken < 5 {
		t.Errorf("%d options from config.yaml: %+v", taken, e)
	}
	e.Run, e.Out = lone, filepath.Join(t.TempDir(), "predictions.csv")
	if m := evaluate(t, e).Metrics; m.NLL != r.Metrics.NLL || m.Samples != 24 || m.Seconds.Encode != 0 {
		t.Errorf("evaluate gives %+v, the run gave %+v", m, r.Metrics)
	}
	if string(testkit.ReadFile(t, e.Out)) != content(t, r.Run, run.PredictionsFile) {
		t.Error("the predictions are others than those of the run")
	}
}

func TestEncodeInShards(t *testing.T) {
	o := job(t)
	e := engine.EncodeOptions{Device: o.Device, Features: o.Features}
	e.Data.Train = o.Data.Train
	encode := func() engine.EncodedSet {
		r, err := engine.Encode(t.Context(), e, event.Events{})
		if err != nil || len(r.Sets) != 1 || r.Sets[0].What != "train" || r.Sets[0].Views != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r.Sets[0]
	}
	seen := 0
	for i := range 3 {
		e.Shard = engine.Shard{Index: i, Count: 3}
		seen += encode().Encoded
	}
	if seen != 74 {
		t.Errorf("three shards encoded %d images of 74", seen)
	}
	e.Shard = engine.Shard{}
	if s := encode(); s.Cached != 74 || s.Encoded != 0 || s.Images != 74 {
		t.Errorf("after the shards: %+v; want all 74 from the store", s)
	}
}

// An IDX folder holds both halves: the training set takes one, the test set the other, in encode as in finetune.
func TestEncodeTakesTheTestHalfOfAnIDXFolder(t *testing.T) {
	o := job(t)
	dir := t.TempDir()
	write := func(name string, header []byte, n, size int, value func(i int) byte) {
		data := append(header, make([]byte, n*size)...)
		for i := range n * size {
			data[len(header)+i] = value(i)
		}
		testkit.WriteFile(t, filepath.Join(dir, name), data)
	}
	for half, n := range map[string]int{"train": 6, "t10k": 4} {
		write(half+"-images-idx3-ubyte", []byte{0, 0, 8, 3, 0, 0, 0, byte(n), 0, 0, 0, 28, 0, 0, 0, 28}, n, 28*28,
			func(i int) byte { return byte(i*n + i/784*31) })
		write(half+"-labels-idx1-ubyte", []byte{0, 0, 8, 1, 0, 0, 0, byte(n)}, n, 1,
			func(i int) byte { return byte(i % 2) })
	}
	e := engine.EncodeOptions{Device: o.Device, Features: o.Features}
	e.Data.Train, e.Data.Test = dir, dir
	r, err := engine.Encode(t.Context(), e, event.Events{})
	if err != nil || len(r.Sets) != 2 || r.Sets[0].Encoded != 6 || r.Sets[1].Encoded != 4 {
		t.Errorf("%+v, %v; want 6 training and 4 test images", r, err)
	}
}

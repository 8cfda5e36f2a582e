package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// A run whose features are on the disk learns the same head from blocks of any making, when it is interrupted, and when
// it is started anew from its config.yaml, which says in which order it learned.
func TestShuffledOnDisk(t *testing.T) {
	o := job(t)
	plain := finetune(t, o)
	if got := read(t, plain.Run, run.ConfigFile).Text("shuffle"); got != "all" {
		t.Errorf("shuffle is recorded as %q", got)
	}
	o.Training.Shuffle = 30
	o = elsewhere(t, o)
	want := finetune(t, o)
	if content(t, want.Run, run.HeadFile) == content(t, plain.Run, run.HeadFile) {
		t.Error("the order is the same")
	}

	other := elsewhere(t, o)
	other.Features.Cache = filepath.Join(t.TempDir(), "cache")
	for i := range 3 { // other blocks
		part := engine.EncodeOptions{Data: o.Data, Device: o.Device, Features: other.Features,
			Shard: engine.Shard{Index: 2 - i, Count: 3}}
		if _, err := engine.Encode(t.Context(), part, event.Events{}); err != nil {
			t.Fatal(err)
		}
	}
	interrupt(t, other, 5)
	same(t, "interrupted, from other blocks", resume(t, other.Out).Run, want.Run, run.HeadFile, run.PredictionsFile)

	var again options
	set(t, again.Fields(), read(t, want.Run, run.ConfigFile).Values())
	if again.Training.Shuffle != 30 {
		t.Errorf("shuffle is recorded as %v", again.Training.Shuffle)
	}
	same(t, "from its configuration", finetune(t, elsewhere(t, again)).Run, want.Run, run.HeadFile)

	o = elsewhere(t, o)
	o.Calibration.Method, o.Views.Train = "temperature", 2
	if _, err := engine.Finetune(t.Context(), o, event.Events{}); fault.Of(err) != fault.Config ||
		!strings.HasPrefix(err.Error(), "calibration") || !strings.Contains(err.Error(), "key val") {
		t.Errorf("calibrating out of fold: %v", err)
	}
	o.Data.Val, o.DryRun = "0.2", true
	dry, err := engine.Finetune(t.Context(), o, event.Events{})
	if err != nil || dry.Forecast.Laid < 2*4*50 || !strings.Contains(dry.Forecast.Text(), "in training:") {
		t.Errorf("%+v, %v", dry.Forecast, err)
	}
	o.DryRun = false
	if m := finetune(t, o).Metrics; m.Calibration == nil {
		t.Error("not calibrated on validation images")
	}
}

// Learning inside the backbone goes the same way.
func TestAdaptOnDisk(t *testing.T) {
	o := adapting(t, "norm")
	o.Training = head.Settings{Epochs: 2, Shuffle: 30}
	finetune(t, o)
	other := elsewhere(t, o)
	interrupt(t, other, 1)
	same(t, "interrupted", resume(t, other.Out).Run, o.Out, run.HeadFile, run.PredictionsFile)
}

// kept are features in a store without what makes them.
type kept struct {
	*store.Store
	feature.Source // has nothing else
}

func (k kept) Dim() int                           { return k.Key().Dim }
func (k kept) Stored(ids []store.ID, _ int) []int { return k.Store.Stored(ids) }
func (k kept) Gather(ctx context.Context, ids []store.ID, _ int, dst []float32) error {
	return k.Store.Gather(ctx, ids, dst)
}

// Memory does not grow with the images that are learned from: what it takes is told by those that are shuffled at a
// time and what blocks may be mapped.
func TestTrainingBeyondMemory(t *testing.T) {
	const n, dim, together = 80_000, 256, 2048 // 82 MB, and as much when they are prepared
	key := store.Key{Backbone: "b", Preprocess: "p", Feature: "f", Precision: "float32", Provider: "cpu", Dim: dim}
	rng := rand.New(rand.NewPCG(1, 2))
	s, _, err := store.Open(t.Context(), bucket.Dir(t.TempDir()), key)
	if err != nil {
		t.Fatal(err)
	}
	ids, labels := make([]store.ID, n), make([]int, n)
	w, err := s.Writer(t.Context(), store.WriterOptions{})
	row := make([]float32, dim)
	for i := range ids {
		ids[i], labels[i] = sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i))), i%10
		for d := range row {
			row[d] = rng.Float32()
		}
		row[i%10]++
		err = errors.Join(err, w.Append(t.Context(), ids[i], "", row))
	}
	if err := errors.Join(err, w.Close(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ids, func(a, b store.ID) int { return slices.Compare(a[:], b[:]) })

	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20)) // of which blocks may take 8
	took := testkit.PeakMemory(t, func() {
		s, _, err := store.Open(t.Context(), bucket.Dir(filepath.Dir(s.Where())), key)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		x, dir := kept{Store: s}, t.TempDir()
		rows, err := feature.Lay(t.Context(), x, ids, 1, dir, func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		d := head.Data{Y: labels, Dim: dim, Classes: 10, Far: &head.Far{Rows: rows}}
		settings := head.Settings{Epochs: 1, Shuffle: together, Features: "standardize"}
		if !settings.Far(head.Size{Classes: 10, Dim: dim, Samples: n}) {
			t.Error("it fits into memory")
		}
		if _, err := head.Train(t.Context(), d, settings); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("took %d MiB, for features of %d", took>>20, 4*n*dim>>20)
	if took > 64<<20 {
		t.Errorf("took %d MiB", took>>20)
	}
}

// Embeddings that do not fit into memory are learned from, and judged, as others: head and predictions are those that
// they give there.
func TestEmbeddingsBeyondMemory(t *testing.T) {
	ort.Need(t)
	const n, dim = 20_000, 128
	table := &embedding.Table{Dim: dim, Vectors: make([]float32, n*dim), Rows: make([]embedding.Row, n)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range table.Rows {
		class := i % 4
		table.Rows[i] = embedding.Row{Label: string('a' + rune(class)), Split: []string{"train", "test"}[i%5/4]}
		for d := range dim {
			table.Vectors[i*dim+d] = rng.Float32()
		}
		table.Vectors[i*dim+class]++
		table.Rows[i].ID = sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
	}
	path := filepath.Join(t.TempDir(), "all.safetensors")
	if err := embedding.Write(path, table, table.Gather); err != nil {
		t.Fatal(err)
	}
	o := options{Device: cpu, Out: filepath.Join(t.TempDir(), "run"), Training: head.Settings{Epochs: 2}}
	o.Data.Train, o.Features.Cache = path, t.TempDir()
	near := finetune(t, o)
	o = elsewhere(t, o)
	o.Training.Shuffle = head.ShuffleAll // as it is where they fit
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(8*n*dim - 1))
	same(t, "beyond memory", finetune(t, o).Run, near.Run, run.HeadFile, run.PredictionsFile)
}

// Logits of all classes that memory has no room for are refused before they are made.
func TestEvaluateBeyondMemory(t *testing.T) {
	ort.Need(t)
	const classes, n, dim = 1000, 4 * 1000, 4
	table := &embedding.Table{Dim: dim, Vectors: make([]float32, n*dim), Rows: make([]embedding.Row, n)}
	for i := range table.Rows {
		table.Rows[i] = embedding.Row{Label: strconv.Itoa(i % classes), Split: []string{"train", "test"}[i/classes%2]}
		table.Rows[i].ID = sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		table.Vectors[i*dim] = float32(i%classes) / classes
	}
	path := filepath.Join(t.TempDir(), "all.safetensors")
	if err := embedding.Write(path, table, table.Gather); err != nil {
		t.Fatal(err)
	}
	o := options{Device: cpu, Out: filepath.Join(t.TempDir(), "run"), Training: head.Settings{Epochs: 1}}
	o.Data.Train, o.Features.Cache = path, t.TempDir()
	r := finetune(t, o)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(12*classes*n/2 - 1))
	_, err := engine.Evaluate(t.Context(), engine.EvaluateOptions{Run: r.Run, Test: path, Device: cpu}, event.Events{})
	if err == nil || fault.Of(err) != fault.Config ||
		!strings.Contains(err.Error(), "test: judging 2000 images of 1000 classes takes ") {
		t.Errorf("%v", err)
	}
}

package adapter_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/head/headtest"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/vision"
)

// fixture is a few pictures of three classes, their features, and their tokens.
type fixture struct {
	data   head.Data
	plan   *adapter.Plan
	tokens *feature.Extractor
	set    adapter.Set
	all    *feature.Set
}

func newFixture(t testing.TB, o adapter.Options) fixture {
	ort.Need(t)
	var f fixture
	if err := setting.Complete(o.Fields()); err != nil {
		t.Fatal(err)
	}
	b, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if f.plan, err = adapter.NewPlan(b, 4, 1, o); err != nil {
		t.Fatal(err)
	}
	sources := dataset.Sources{Train: testkit.Folder(t, 1, 12, 8, 4, 1)}
	images, err := sources.Open(t.Context(), 0, nil, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(b *backbone.Backbone) (*feature.Extractor, *feature.Set) {
		x, err := feature.Open(t.Context(), b, vision.Views(1), feature.Options{Cache: t.TempDir()}, event.Events{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		set, err := x.Ensure(t.Context(), "train", images.Train, 1)
		if err != nil {
			t.Fatal(err)
		}
		return x, set
	}
	x, set := open(b)
	f.set.IDs, f.all = set.Scan.IDs, set
	f.data = head.Data{Y: set.Data.Labels(), Dim: x.Dim(), Classes: 4}
	if f.data.X, err = feature.Interleaved(t.Context(), x, set.Scan.IDs, 1); err != nil {
		t.Fatal(err)
	}
	frozen, err := f.plan.Tokens(event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { frozen.Close() })
	f.tokens, _ = open(frozen)
	return f
}

func (f fixture) model(t testing.TB, s head.Settings) *adapter.Model {
	m, err := f.plan.Model(f.data, s, f.tokens, f.set, adapter.Set{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	r := rand.New(rand.NewPCG(3, 3)) // away from the start, where half of all gradients is zero
	for _, p := range m.Params()[len(m.Linear.Params()):] {
		for i := range p.Values {
			p.Values[i] += float32(0.1 * r.NormFloat64())
		}
	}
	return m
}

// A backbone with adapters is a model that the loop can train: its gradients are those of differences, and a training
// that is resumed ends with the same bits.
func TestTrainable(t *testing.T) {
	for _, kind := range []string{"adapter", "lora", "norm"} {
		t.Run(kind, func(t *testing.T) {
			f := newFixture(t, adapter.Options{Kind: kind, Blocks: "2", Rank: "2"})
			s := head.Settings{Epochs: 2, Batch: 8, LR: 0.01}
			headtest.TestTrainable(t, head.Loop{Settings: s, Labels: f.data.Y, Classes: 4},
				func() head.Trainable { return f.model(t, s) })
		})
	}
}

// A backbone that learns nothing to speak of gives the logits of the head alone, out of fold too: the same folds, each
// with a head of its own, a class of one image in all of them, and the views that are judged.
func TestOutOfFold(t *testing.T) {
	f := newFixture(t, adapter.Options{Kind: "adapter", Blocks: "2", Rank: "2", LR: 1e-30})
	tr := adapter.Trainer{Train: f.all, Data: f.data, Views: 1, Judged: 1,
		Features: feature.Options{Cache: t.TempDir()}}
	t.Cleanup(func() { tr.Close() })
	kappa, err := calib.New("slope:crossfit=2")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []head.Settings{{Loss: "la"}, {Loss: "cvs", Kappa: kappa}} {
		s.Epochs, s.Batch, s.LR, s.Seed = 3, 8, 0.01, 5
		want, err := head.OutOfFold(t.Context(), f.data, nil, s, 3)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tr.OutOfFold(t.Context(), f.plan, s, 3)
		if err != nil {
			t.Fatal(err)
		}
		if i := vec.Differs(got, want, 1e-2); i >= 0 || slices.Equal(got, want) {
			t.Errorf("%s: logit %d is %v, of the head alone %v", s.Loss, i, got[i], want[i])
		}
	}
}

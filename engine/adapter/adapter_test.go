package adapter_test

import (
	"math/rand/v2"
	"testing"

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
	"github.com/vitft/vitft/onnx/vision"
)

// fixture is a few pictures of three classes, their features, and their tokens.
type fixture struct {
	data   head.Data
	plan   *adapter.Plan
	tokens *feature.Extractor
	set    adapter.Set
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
	if f.plan, err = adapter.NewPlan(b, 3, 1, o); err != nil {
		t.Fatal(err)
	}
	sources := dataset.Sources{Train: testkit.Folder(t, 1, 12, 8, 4)}
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
	f.set.IDs = set.Scan.IDs
	f.data = head.Data{Y: set.Data.Labels(), Dim: x.Dim(), Classes: 3}
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
			headtest.TestTrainable(t, head.Loop{Settings: s, Labels: f.data.Y, Classes: 3},
				func() head.Trainable { return f.model(t, s) })
		})
	}
}

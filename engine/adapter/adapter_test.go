package adapter_test

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
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
	tokens adapter.Tokens
	set    adapter.Set
	all    *feature.Set
}

func newFixture(t testing.TB, o inside.Options) fixture {
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
	kept, _ := open(frozen)
	f.tokens = f.plan.Stored(kept)
	if o.Augments() {
		f.set.Items = set.Data.Items
		f.tokens = f.plan.Live(frozen, kept, 2)
	}
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
	for name, o := range map[string]inside.Options{
		"adapter": {Kind: "adapter"}, "lora": {Kind: "lora"}, "norm": {Kind: "norm"},
		"together":  {Kind: "lora+adapter+norm"},
		"augmented": {Kind: "adapter", Augment: "crop-flip", Optimizer: "sgd"},
	} {
		t.Run(name, func(t *testing.T) {
			o.Blocks, o.Rank = "2", "2"
			f := newFixture(t, o)
			s := head.Settings{Epochs: 2, Batch: 8, LR: 0.01}
			headtest.TestTrainable(t, head.Loop{Settings: s, Labels: f.data.Y, Classes: 4},
				func() head.Trainable { return f.model(t, s) })
		})
	}
}

// A backbone that learns nothing to speak of gives the logits of the head alone, out of fold too: the same folds, each
// with a head of its own, and a class of one image in all of them. Of images that are other each epoch it is the same
// each time.
func TestOutOfFold(t *testing.T) {
	kappa, err := calib.New("slope:crossfit=2")
	if err != nil {
		t.Fatal(err)
	}
	for _, augment := range []string{"none", "flip"} {
		f := newFixture(t, inside.Options{Kind: "adapter", Blocks: "2", Rank: "2", LR: 1e-30, Augment: augment})
		tr := adapter.Trainer{Train: f.all, Data: f.data, Views: 1, Judged: 1,
			Features: feature.Options{Cache: t.TempDir()}}
		t.Cleanup(func() { tr.Close() })
		for _, s := range []head.Settings{{Loss: "la"}, {Loss: "cvs", Kappa: kappa}} {
			s.Epochs, s.Batch, s.LR, s.Seed = 3, 8, 0.01, 5
			got, err := tr.OutOfFold(t.Context(), f.plan, s, 3)
			if err != nil {
				t.Fatal(err)
			}
			want, tolerance := []float32(nil), 1e-2
			if augment == "none" {
				want, err = head.OutOfFold(t.Context(), f.data, nil, s, 3)
			} else {
				want, err = tr.OutOfFold(t.Context(), f.plan, s, 3)
				tolerance = 1e-30
			}
			if err != nil {
				t.Fatal(err)
			}
			if i := vec.Differs(got, want, tolerance); i >= 0 {
				t.Errorf("%s, augment %s: logit %d is %v instead of %v", s.Loss, augment, i, got[i], want[i])
			}
		}
	}
}

// What a training would keep in memory is refused before it, with the pixels of images that are prepared.
func TestMemory(t *testing.T) {
	takes := func(augment string) (gib float64) {
		o := inside.Options{Kind: "norm", Blocks: "1", Augment: augment, Micro: 4096}
		f := newFixture(t, o)
		before := debug.SetMemoryLimit(1 << 20)
		defer debug.SetMemoryLimit(before)
		_, err := f.plan.Model(f.data, head.Settings{Head: "cosine", Features: "raw"}, f.tokens, f.set, f.set)
		if err == nil || fault.Of(err) != fault.Config {
			t.Fatal(err)
		}
		what, text, _ := strings.Cut(err.Error(), " takes ")
		if n, _ := fmt.Sscanf(text, "%g GiB", &gib); n != 1 || !strings.Contains(what, "micro-batch") {
			t.Fatal(err)
		}
		return gib
	}
	pixels := 3 * 4096 * 3 * 28 * 28 * 4.0 / (1 << 30)
	if kept, more := takes("none"), takes("flip"); more-kept < pixels || more-kept > 1.01*pixels {
		t.Errorf("%v GiB, from augmented images %v", kept, more)
	}
}

// Without a word all blocks of a small backbone are trained in, and the last six of others.
func TestAutoBlocks(t *testing.T) {
	ort.Need(t)
	for name, want := range map[string]int{"": 4, testkit.Model(t): 6} {
		o := inside.Options{Kind: "adapter"}
		if err := setting.Complete(o.Fields()); err != nil {
			t.Fatal(err)
		}
		b, err := backbone.Open(backbone.Options{Name: name}, device.Options{Provider: "cpu"}, event.Events{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := adapter.NewPlan(b, 10, 1, o)
		if err != nil || p.Blocks() != want || b.Close() != nil {
			t.Errorf("backbone %q: %v; want %d blocks", name, err, want)
		}
	}
}

// Tokens are kept as those of the graph that makes them, whatever else there is to a training: a worker that is given
// the graph runs it as it is, and where it is cut or rewritten in another way the key is another.
func TestTokensAreOfTheirGraph(t *testing.T) {
	ort.Need(t)
	d := device.Options{Provider: "cpu"}
	b, err := backbone.Open(backbone.Options{}, d, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	tokens := func(o inside.Options, classes int, seed uint64) *backbone.Backbone {
		if err := setting.Complete(o.Fields()); err != nil {
			t.Fatal(err)
		}
		p, err := adapter.NewPlan(b, classes, seed, o)
		if err != nil {
			t.Fatal(err)
		}
		k, err := p.Tokens(event.Events{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close() })
		return k
	}
	of := tokens(inside.Options{Kind: "adapter", Blocks: "2"}, 4, 1)
	key := of.Key()
	if b.Key().Graph != "" || len(key.Graph) != 64 {
		t.Fatalf("of the backbone %+v, of tokens %+v", b.Key(), key)
	}
	if other := tokens(inside.Options{Kind: "lora", Blocks: "2", Rank: "3"}, 100, 7).Key(); other != key {
		t.Errorf("by another kind they are of %+v, not %+v", other, key)
	}
	if other := tokens(inside.Options{Kind: "adapter", Blocks: "3"}, 4, 1).Key(); other.Graph == key.Graph {
		t.Error("before another block they are of the same graph")
	}
	text, err := of.Standalone()
	if err != nil {
		t.Fatal(err)
	}
	x := backbone.Exported{Preprocess: of.Preprocess, Key: key, Standalone: true}
	path := testkit.WriteFile(t, t.TempDir()+"/tokens.onnx", text)
	given, err := backbone.OpenModel(path, x, d, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { given.Close() })
	if again, err := given.Standalone(); err != nil || given.Key() != key || !slices.Equal(again, text) {
		t.Errorf("whoever is given the graph makes tokens of %+v, not %+v; %v", given.Key(), key, err)
	}
	x.Standalone = false // rewritten
	other, err := backbone.OpenModel(path, x, d, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if other.Key().Graph == key.Graph {
		t.Error("of a graph that was rewritten they have the same key")
	}
}

// embed are the embeddings of a fixture's images.
func embed(t *testing.T, f fixture, m *adapter.Model) []float32 {
	x, err := m.Embed(t.Context(), f.set)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Augmented images are those of their epoch, whether they were announced or not, and other ones in the next; a model is
// judged by plain ones. An image that has changed ends the training, by name.
func TestLive(t *testing.T) {
	f := newFixture(t, inside.Options{Kind: "adapter", Blocks: "all", Augment: "minimal"})
	m := f.model(t, head.Settings{Epochs: 3, Batch: 8, LR: 0.01})
	rows := []int{3, 1, 2}
	of := func(epoch int, announced ...int) []float32 {
		m.Begin(epoch, head.PhaseMLA)
		if announced != nil {
			m.Order(announced)
		}
		z := make([]float32, 4*len(rows))
		if _, err := m.Forward(t.Context(), rows, z); err != nil {
			t.Fatal(err)
		}
		return z
	}
	first := of(0, rows...)
	for name, z := range map[string][]float32{"not announced": of(0), "in another order": of(0, 1, 2, 3, 0)} {
		if !slices.Equal(z, first) {
			t.Errorf("%s: %v, announced %v", name, z, first)
		}
	}
	if slices.Equal(of(1, rows...), first) {
		t.Error("the next epoch sees the same")
	}
	judged := func() []float32 {
		z := make([]float32, 4*4)
		if err := m.Predict(t.Context(), false, 0, 4, z); err != nil {
			t.Fatal(err)
		}
		return z
	}
	kept := f
	kept.set.Items = nil // tokens that were encoded before, as float16
	want, got := embed(t, kept, m), embed(t, f, m)
	if i := vec.Differs(want, got, 2e-3); i >= 0 {
		t.Errorf("of images that are read feature %d is %v, of kept tokens %v", i, got[i], want[i])
	}
	plain := judged()
	of(1, rows...)
	if !slices.Equal(judged(), plain) {
		t.Error("what is judged depends on the epoch")
	}
	testkit.WriteFile(t, f.set.Items[1].Path, append(testkit.ReadFile(t, f.set.Items[1].Path), 0))
	m.Begin(2, head.PhaseMLA)
	_, err := m.Forward(t.Context(), rows, make([]float32, 12))
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), f.set.Items[1].Path) {
		t.Errorf("a changed image: %v", err)
	}
}

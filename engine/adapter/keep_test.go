package adapter_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// encoder is the embedded ViT with more tokens before its patches, whose feature is one of its tokens.
func encoder(t *testing.T, before int64, feature int64) string {
	m, err := graph.Read(filepath.Join(testkit.Root(), "models", "micro_vit.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	b := graph.NewBuilder(m, "")
	for _, w := range m.Graph().Initializer {
		v, _ := graph.Floats(w)
		switch dims := slices.Clone(w.Dims); w.GetName() {
		case "cls.token":
			dims[1] = before
			w.RawData = graph.FloatTensor(dims, slices.Repeat(v, int(before))).RawData
			w.Dims = dims
		case "position":
			more := int(before-1) * int(dims[1])
			w.RawData = graph.FloatTensor(dims, append(slices.Clone(v[:more]), v...)).RawData
			w.Dims[0] += before - 1
		}
	}
	for _, n := range m.Graph().Node {
		for i, in := range n.Input {
			if in == "cls.tail" {
				n.Input[i] = b.Int64s("tail", []int64{2}, before, 192)
			}
		}
	}
	b.Node("Gather", []string{"last_hidden_state", b.Int64s("of", nil, feature)}, "picked", graph.IntAttr("axis", 1))
	m.SetOutputs(graph.Value{Name: "picked", Type: "float32", Shape: []int64{graph.Unknown, 192}})
	if err := m.Sort(); err != nil {
		t.Fatal(err)
	}
	m.Prune()
	text, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return testkit.WriteFile(t, filepath.Join(t.TempDir(), "model.onnx"), text)
}

// What is left out of training are patches: no class token, wherever it is, and no registers; and by itself none where
// more than half of the blocks learn.
func TestKeptTokens(t *testing.T) {
	ort.Need(t)
	for name, c := range map[string]struct {
		before, feature int64
		blocks, keep    string
		want            string
	}{
		"a class token":            {1, 0, "2", "auto", "17 of 50"},
		"registers":                {5, 0, "2", "auto", "21 of 54"},
		"hardly any":               {5, 0, "2", "0.001", "6 of 54"},
		"three blocks of four":     {1, 0, "3", "auto", "50 of 50"},
		"all blocks":               {1, 0, "all", "auto", "50 of 50"},
		"of all blocks, as wanted": {1, 0, "all", "0.333", "17 of 50"},
		"a class token at the end": {1, -1, "2", "auto", "50 of 50"},
		"that, though not wanted":  {1, -1, "2", "0.5", "none can be left out; keep-tokens=1 keeps all"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := backbone.Open(backbone.Options{Name: encoder(t, c.before, c.feature)},
				device.Options{Provider: "cpu"}, event.Events{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			o := inside.Options{Kind: "adapter", Blocks: c.blocks, Keep: c.keep}
			if err := setting.Complete(o.Fields()); err != nil {
				t.Fatal(err)
			}
			p, err := adapter.NewPlan(b, 4, 1, o)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %s", err, c.want)
				}
				return
			}
			if d := p.Describe(1); !slices.Contains(d, any(c.want)) {
				t.Errorf("%v; want %s", d, c.want)
			}
		})
	}
}

// A rank that no memory holds is refused as a setting, before anything is made of it; one that no ONNX file holds, too.
func TestRankThatFitsNowhere(t *testing.T) {
	ort.Need(t)
	b, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, kind := range []string{"adapter", "lora", "lora+norm"} {
		o := inside.Options{Kind: kind, Rank: "1000000000000"}
		if err := setting.Complete(o.Fields()); err != nil {
			t.Fatal(err)
		}
		_, err := adapter.NewPlan(b, 4, 1, o)
		if fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "adapt-rank") {
			t.Errorf("%s: %v", kind, err)
		}
		found, err := adapt.Find(b.Model)
		if err != nil {
			t.Fatal(err)
		}
		_, err = found.Insert(adapt.Options{Kind: adapt.Kind(kind), Rank: 1e12})
		if !errors.Is(err, graph.ErrModel) {
			t.Errorf("%s, of a file: %v", kind, err)
		}
	}
}

// A model that judges several views of an image is refused with what to do.
func TestViewsInside(t *testing.T) {
	ort.Need(t)
	m, err := graph.Read(encoder(t, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	cut, _, err := vision.Backbone(m, vision.FeatureChoice{})
	if err == nil {
		cut, err = vision.Average(cut, vision.Views(2))
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := cut.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	name := testkit.WriteFile(t, filepath.Join(t.TempDir(), "model.onnx"), text)
	b, err := backbone.Open(backbone.Options{Name: name}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	o := inside.Options{Kind: "norm"}
	if err := setting.Complete(o.Fields()); err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.NewPlan(b, 4, 1, o); err == nil || !strings.Contains(err.Error(), "backbone that the run") {
		t.Error(err)
	}
}

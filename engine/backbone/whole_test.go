package backbone

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// What a backbone computes of its weights as it is loaded is trained as if it stood there: what is stored in float16 or
// 8 bits, what LoRA has been added to.
func TestWhole(t *testing.T) {
	plain := open(t, Options{})
	parameters := func(b *Backbone, kind adapt.Kind) (n int64) {
		m, err := b.Whole()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range insert(t, m, kind).Params() {
			n += graph.Elements(p.Shape)
		}
		return n
	}
	lora := func(m *graph.Model) (int, error) {
		a := insert(t, m, adapt.LoRA)
		var values [][]float32
		for _, p := range a.Params() {
			values = append(values, slices.Repeat([]float32{0.01}, p.Size()))
		}
		baked, err := a.Bake(values)
		*m = *baked
		return 0, err
	}
	for name, change := range map[string]func(*graph.Model) (int, error){
		"float16": vision.HalfWeights, "int8": vision.QuantizeWeights, "lora": lora,
	} {
		t.Run(name, func(t *testing.T) {
			m := plain.Model.Clone()
			if _, err := change(m); err != nil {
				t.Fatal(err)
			}
			text, err := m.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			path := testkit.WriteFile(t, filepath.Join(t.TempDir(), "model.onnx"), text)
			b := open(t, Options{Name: path})
			for _, kind := range []adapt.Kind{adapt.LoRA, adapt.Full} {
				if want, got := parameters(plain, kind), parameters(b, kind); got != want {
					t.Errorf("%s: %d parameters in place of %d", kind, got, want)
				}
			}
			whole, err := b.Whole()
			if err != nil {
				t.Fatal(err)
			}
			w, err := b.With(whole, "whole", event.Events{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if want, got := features(t, b, 2), features(t, w, 2); vec.Differs(want, got, 1e-5) >= 0 {
				t.Errorf("features %v in place of %v", got[:4], want[:4])
			}
		})
	}
}

func insert(t *testing.T, m *graph.Model, kind adapt.Kind) *adapt.Adapted {
	t.Helper()
	f, err := adapt.Find(m)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Insert(adapt.Options{Kind: kind, Rank: 2})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

package adapt_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"github.com/vitft/vitft/onnx/vision"
)

func micro(t *testing.T) *graph.Model {
	return backbone(t, filepath.Join(testkit.Root(), "models", "micro_vit.onnx"))
}

func insert(t *testing.T, m *graph.Model, o adapt.Options) *adapt.Adapted {
	t.Helper()
	f, err := adapt.Find(m)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Insert(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Backbones that adapters were put into are adapted again, in all of their blocks, and again.
func TestAdaptedAgain(t *testing.T) {
	ort.Need(t)
	const n = 2
	m := micro(t)
	in := m.Inputs()[0].Shape
	size := int(in[1] * in[2] * in[3])
	x := map[string]onnx.Tensor{vision.PixelValues: {Shape: []int64{n, in[1], in[2], in[3]}, Data: noise(1, n*size, 1)}}
	out := n * int(m.Outputs()[0].Shape[1])
	for generation := range 3 {
		a := insert(t, m, adapt.Options{Kind: "adapter+norm", Rank: 2, Seed: uint64(generation)})
		if len(a.Blocks) != 4 {
			t.Fatalf("generation %d: %d blocks", generation, len(a.Blocks))
		}
		frozen, err := a.Frozen()
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string]onnx.Tensor{adapt.Tokens: {Shape: []int64{n, a.Tokens, a.Dim},
			Data: run(t, frozen, x, n*int(a.Tokens*a.Dim))}}
		if m, err = a.Bake(params(a, parts, 0.1)); err != nil {
			t.Fatal(err)
		}
		part, err := a.Trained(adapt.Part{})
		if err != nil {
			t.Fatal(err)
		}
		if d := apart(run(t, m, x, out), run(t, part, parts, out)); d > 1e-5 {
			t.Errorf("generation %d: the parts are %g from the whole", generation, d)
		}
	}
}

// Weights that stand in Constant nodes or are sparse are trained as others are.
func TestWeightsInOtherForms(t *testing.T) {
	for name, change := range map[string]func(*graph.Graph, *graph.Tensor){
		"constant nodes": func(g *graph.Graph, w *graph.Tensor) {
			g.Node = append([]*graph.Node{{OpType: proto.String("Constant"), Output: []string{w.GetName()},
				Attribute: []*graph.Attribute{graph.TensorAttr("value", w)}}}, g.Node...)
		},
		"sparse": func(g *graph.Graph, w *graph.Tensor) {
			values, _ := graph.Floats(w)
			at := &graph.Tensor{Dims: []int64{int64(len(values))}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64))}
			for i := range values {
				at.Int64Data = append(at.Int64Data, int64(i))
			}
			if len(w.Dims) == 2 { // coordinates in place of numbers
				at.Dims, at.Int64Data = append(at.Dims, 2), nil
				for i := range values {
					at.Int64Data = append(at.Int64Data, int64(i)/w.Dims[1], int64(i)%w.Dims[1])
				}
			}
			v := graph.FloatTensor([]int64{int64(len(values))}, values)
			v.Name = w.Name
			g.SparseInitializer = append(g.SparseInitializer,
				&onnxpb.SparseTensorProto{Values: v, Indices: at, Dims: w.Dims})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := micro(t)
			g := m.Graph()
			g.Initializer = slices.DeleteFunc(g.Initializer, func(w *graph.Tensor) bool {
				if _, is := graph.Floats(w); !is || len(w.Dims) < 1 || len(w.Dims) > 2 {
					return false
				}
				change(g, w)
				return true
			})
			for _, kind := range []adapt.Kind{adapt.LoRA, adapt.Norm, adapt.Full} {
				o := adapt.Options{Kind: kind, Rank: 2, Seed: 1}
				want, got := starts(insert(t, micro(t), o)), starts(insert(t, m, o))
				if !maps.EqualFunc(got, want, slices.Equal) {
					t.Errorf("%s: %d parameters of %d", kind, len(got), len(want))
				}
			}
		})
	}
}

func starts(a *adapt.Adapted) map[string][]float32 {
	list := map[string][]float32{}
	for _, p := range a.Params() {
		list[fmt.Sprint(p.Name, p.Shape)] = p.Start()
	}
	return list
}

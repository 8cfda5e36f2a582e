package adapt_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/grad"
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
			at := &graph.Tensor{Dims: []int64{int64(len(values))},
				DataType: proto.Int32(int32(onnxpb.TensorProto_INT64))}
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

// A weight that is said to have more values than it has, as in a damaged file, takes no memory: it is refused by name.
func TestWeightsThatLack(t *testing.T) {
	m := micro(t)
	for _, w := range m.Graph().Initializer {
		if w.GetName() == "block2.norm2.weight" {
			w.Dims = []int64{1 << 40}
		}
	}
	_, err := adapt.Find(m)
	if !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), `"block2.norm2.weight" is damaged`) {
		t.Error(err)
	}
	_, err = grad.Backward(m, vision.Embedding, []string{"block3.norm1"}, grad.Options{Seed: "seed"})
	if !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), `"block2.norm2.weight" is damaged`) {
		t.Error(err)
	}
}

// between puts a node behind a tensor.
func between(m *graph.Model, tensor, op string, more ...string) {
	readers := slices.Clone(m.Index().Consumers[tensor])
	made := graph.NewBuilder(m, "between").Node(op, append([]string{tensor}, more...), "")
	for _, n := range readers {
		for i, in := range n.Input {
			if in == tensor {
				n.Input[i] = made
			}
		}
	}
}

// What is on the stream between blocks and is no sum ends those that are found: how many attentions are beyond it is
// known.
func TestBlocksOfAnotherForm(t *testing.T) {
	m := micro(t)
	f, err := adapt.Find(m)
	if err != nil || f.Before() != 0 {
		t.Fatal(f.Before(), err)
	}
	between(m, f.Blocks[0].Out, "Relu")
	if err := m.Sort(); err != nil {
		t.Fatal(err)
	}
	if f, err = adapt.Find(m); err != nil || len(f.Blocks) != 3 || f.Before() != 1 {
		t.Errorf("%d blocks, %d attentions before, %v", len(f.Blocks), f.Before(), err)
	}
}

// What is computed of how many tokens there are, as rotations may be, is no weight of a block; and scores may be
// dropped out.
func TestWeightsOfShapes(t *testing.T) {
	m := micro(t)
	full := adapt.Options{Kind: adapt.Full}
	want := len(insert(t, m, full).Params())
	scores := ""
	for _, n := range m.Graph().Node {
		if n.GetOpType() == "Softmax" {
			scores = n.Input[0]
		}
	}
	between(m, scores, "Dropout")
	b := graph.NewBuilder(m, "shapes")
	count := b.Cast(b.Node("Shape", []string{"block0.q"}, ""), "", "float32") // of three numbers
	between(m, "block0.k", "Mul", b.Node("ReduceMean", []string{b.Node("Mul", []string{count,
		b.Floats("rates", []int64{3}, 1, 2, 3)}, "")}, "", graph.FlagAttr("keepdims", false)))
	if err := m.Sort(); err != nil {
		t.Fatal(err)
	}
	if got := len(insert(t, m, full).Params()); got != want {
		t.Errorf("%d parameters instead of %d", got, want)
	}
	insert(t, m, adapt.Options{Kind: adapt.LoRA, Rank: 2})
}

// A shape that a block asks of something before it, an attention perhaps, makes that no part of the block.
func TestShapesOfOtherBlocks(t *testing.T) {
	ort.Need(t)
	m := micro(t)
	f, err := adapt.Find(m)
	if err != nil {
		t.Fatal(err)
	}
	last := len(f.Blocks) - 1
	lora := adapt.Options{Kind: adapt.LoRA, Rank: 2, Blocks: 1}
	bake := func() *graph.Model {
		a := insert(t, m, lora)
		b, err := a.Bake(params(a, map[string]onnx.Tensor{}, 0.1))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	in := map[string]onnx.Tensor{vision.PixelValues: {Shape: []int64{2, 3, 28, 28}, Data: noise(1, 2*3*28*28, 1)}}
	size := 2 * int(m.Outputs()[0].Shape[1])
	want := run(t, bake(), in, size)
	b, early := graph.NewBuilder(m, "asked"), added(m, f.Blocks[0].In, f.Blocks[0].Mid)
	block := f.Blocks[last]
	for _, branch := range []string{added(m, block.In, block.Mid), added(m, block.Mid, block.Out)} {
		between(m, branch, "Reshape", b.Node("Shape", []string{early}, ""))
	}
	if err := m.Sort(); err != nil {
		t.Fatal(err)
	}
	if again, err := adapt.Find(m); err != nil || len(again.Blocks) != len(f.Blocks) {
		t.Fatal(again, err)
	}
	if d := apart(want, run(t, bake(), in, size)); !(d < 1e-6) {
		t.Errorf("lora in the last block gives an embedding that is %g from what it was", d)
	}
}

// added is what is added to a stream.
func added(m *graph.Model, stream, sum string) string {
	in := m.Index().Producer[sum].Input
	return in[1-slices.Index(in, stream)]
}

// Blocks are found behind functions of the model, as exporters that keep modules write them.
func TestBlocksOfFunctions(t *testing.T) {
	m := micro(t)
	want := starts(insert(t, m, adapt.Options{Kind: adapt.Full}))
	var attributes []*graph.Attribute
	for _, n := range m.Graph().Node {
		if n.GetOpType() == "LayerNormalization" {
			attributes = n.Attribute
			n.Domain, n.OpType, n.Attribute = proto.String("local"), proto.String("Norm"), nil
		}
	}
	core, local, one, now := "", "local", int64(1), m.Opset()
	m.Proto().OpsetImport = append(m.Proto().OpsetImport, &onnxpb.OperatorSetIdProto{Domain: &local, Version: &one})
	m.Proto().Functions = []*onnxpb.FunctionProto{{Name: proto.String("Norm"), Domain: &local,
		Input: []string{"x", "w", "b"}, Output: []string{"y"},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: &core, Version: &now}},
		Node: []*graph.Node{{OpType: proto.String("LayerNormalization"), Input: []string{"x", "w", "b"},
			Output: []string{"y"}, Attribute: attributes}}}}
	if got := starts(insert(t, m, adapt.Options{Kind: adapt.Full})); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%d parameters of %d", len(got), len(want))
	}
}

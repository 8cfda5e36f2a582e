package gpu_test

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// vitShape is the shape of a vision transformer.
type vitShape struct {
	image, patch int64 // pixels a side
	dim, heads   int64
	layers, mlp  int64
}

var (
	vitB16 = vitShape{image: 224, patch: 16, dim: 768, heads: 12, layers: 12, mlp: 3072}
	small  = vitShape{image: 96, patch: 16, dim: 128, heads: 4, layers: 4, mlp: 512} // for quick runs
)

// randomViT makes a vision transformer (Dosovitskiy et al., ICLR 2021) with random weights in the usual ONNX form: a
// patch convolution, a class token and position embeddings; in every layer attention and a GELU perceptron, each behind
// a layer norm and around a residual; a last layer norm, and the class token's row as output. It maps pixel_values
// [batch,3,H,W] to embedding [batch,D]. Weights are normal with deviation 0.02, as before a training.
func randomViT(s vitShape, preprocess string) ([]byte, error) {
	m := graph.New("random_vit", 17)
	b := vitBuilder{graph.NewBuilder(m, ""), rand.New(rand.NewPCG(1, 2))}
	d, side := s.dim, s.image/s.patch
	node := func(op string, in []string, attributes ...*graph.Attribute) string {
		return b.Node(op, in, "", attributes...)
	}
	ints := func(v ...int64) string { return b.Int64s("list", []int64{int64(len(v))}, v...) }

	patches := node("Conv", []string{vision.PixelValues, b.weight(d, 3, s.patch, s.patch), b.constant(0, d)},
		graph.IntsAttr("strides", s.patch, s.patch))
	rows := node("Reshape", []string{patches, ints(0, d, -1)})
	batch := node("Shape", []string{vision.PixelValues}, graph.IntAttr("start", 0), graph.IntAttr("end", 1))
	class := node("Expand", []string{b.weight(1, 1, d),
		node("Concat", []string{batch, ints(1, d)}, graph.IntAttr("axis", 0))})
	tokens := node("Concat", []string{class, node("Transpose", []string{rows}, graph.IntsAttr("perm", 0, 2, 1))},
		graph.IntAttr("axis", 1))
	x := node("Add", []string{tokens, b.weight(1, side*side+1, d)})

	scale := b.Floats("attention_scale", nil, float32(1/math.Sqrt(float64(d/s.heads))))
	root2, one, half := b.Floats("root2", nil, math.Sqrt2), b.Floats("one", nil, 1), b.Floats("half", nil, 0.5)
	for range s.layers {
		qkv := node("Reshape", []string{b.linear(b.layerNorm(x, d), d, 3*d), ints(0, 0, 3, s.heads, d/s.heads)})
		qkv = node("Transpose", []string{qkv}, graph.IntsAttr("perm", 2, 0, 3, 1, 4))
		var part []string
		for _, p := range b.Nodes("Split", []string{qkv}, make([]string, 3), graph.IntAttr("axis", 0)) {
			part = append(part, node("Squeeze", []string{p, ints(0)}))
		}
		keys := node("Transpose", []string{part[1]}, graph.IntsAttr("perm", 0, 1, 3, 2))
		scores := node("Mul", []string{node("MatMul", []string{part[0], keys}), scale})
		attention := node("Softmax", []string{scores}, graph.IntAttr("axis", -1))
		heads := node("Transpose", []string{node("MatMul", []string{attention, part[2]})},
			graph.IntsAttr("perm", 0, 2, 1, 3))
		x = node("Add", []string{x, b.linear(node("Reshape", []string{heads, ints(0, 0, d)}), d, d)})

		hidden := b.linear(b.layerNorm(x, d), d, s.mlp)
		erf := node("Erf", []string{node("Div", []string{hidden, root2})}) // GELU: x (1 + erf(x/√2)) / 2
		gelu := node("Mul", []string{node("Mul", []string{hidden, node("Add", []string{erf, one})}), half})
		x = node("Add", []string{x, b.linear(gelu, s.mlp, d)})
	}
	row := node("Gather", []string{b.layerNorm(x, d), ints(0)}, graph.IntAttr("axis", 1))
	b.Node("Squeeze", []string{row, ints(1)}, vision.Embedding)

	floats := func(name string, dims ...int64) graph.Value {
		return graph.Value{Name: name, Type: "float32", Shape: append([]int64{graph.Unknown}, dims...)}
	}
	m.SetInputs(floats(vision.PixelValues, 3, s.image, s.image))
	m.SetOutputs(floats(vision.Embedding, d))
	m.SetMetadata(artifact.PreprocessKey, preprocess)
	return m.Bytes()
}

// vitBuilder adds the parts of a vision transformer, with the names of the tensors that they give.
type vitBuilder struct {
	*graph.Builder
	r *rand.Rand
}

// linear is x·W + b, with W [in,out].
func (b vitBuilder) linear(x string, in, out int64) string {
	product := b.Node("MatMul", []string{x, b.weight(in, out)}, "")
	return b.Node("Add", []string{product, b.constant(0, out)}, "")
}

func (b vitBuilder) layerNorm(x string, d int64) string {
	return b.Node("LayerNormalization", []string{x, b.constant(1, d), b.constant(0, d)}, "",
		graph.IntAttr("axis", -1), graph.FloatAttr("epsilon", 1e-6))
}

func (b vitBuilder) weight(dims ...int64) string {
	v := make([]float32, graph.Elements(dims))
	for i := range v {
		v[i] = float32(0.02 * b.r.NormFloat64())
	}
	return b.Floats(b.Fresh(), dims, v...)
}

func (b vitBuilder) constant(value float32, d int64) string {
	return b.Floats(b.Fresh(), []int64{d}, slices.Repeat([]float32{value}, int(d))...)
}

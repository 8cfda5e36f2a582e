package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// vitShape is the shape of a vision transformer.
type vitShape struct {
	image, patch int // pixels a side
	dim, heads   int
	layers, mlp  int
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
	b := vitBuilder{r: rand.New(rand.NewPCG(1, 2)), g: &onnxpb.GraphProto{Name: proto.String("random_vit")}}
	d, side := int64(s.dim), int64(s.image/s.patch)
	head := d / int64(s.heads)

	b.weight("patch.weight", d, 3, int64(s.patch), int64(s.patch))
	b.constant("patch.bias", 0, d)
	b.node("Conv", "patches", []string{"pixel_values", "patch.weight", "patch.bias"},
		ints("strides", int64(s.patch), int64(s.patch)))
	b.ints("as_rows", 0, d, -1)
	b.node("Reshape", "rows", []string{"patches", "as_rows"})
	b.node("Transpose", "patch_tokens", []string{"rows"}, ints("perm", 0, 2, 1))
	b.weight("class_token", 1, 1, d)
	b.node("Shape", "batch", []string{"pixel_values"}, integer("start", 0), integer("end", 1))
	b.ints("one_token", 1, d)
	b.node("Concat", "class_shape", []string{"batch", "one_token"}, integer("axis", 0))
	b.node("Expand", "class_tokens", []string{"class_token", "class_shape"})
	b.node("Concat", "tokens", []string{"class_tokens", "patch_tokens"}, integer("axis", 1))
	b.weight("position", 1, side*side+1, d)
	b.node("Add", "x0", []string{"tokens", "position"})

	b.ints("as_heads", 0, 0, 3, int64(s.heads), head)
	b.ints("as_tokens", 0, 0, d)
	b.floats("attention_scale", nil, float32(1/math.Sqrt(float64(head))))
	b.floats("root2", nil, math.Sqrt2)
	b.floats("one", nil, 1)
	b.floats("half", nil, 0.5)
	b.ints("first", 0)
	x := "x0"
	for layer := range s.layers {
		p := string(rune('a'+layer)) + "."
		normed := b.layerNorm(p+"norm1", x, d)
		b.node("Reshape", p+"qkv5", []string{b.linear(p+"qkv", normed, d, 3*d), "as_heads"})
		b.node("Transpose", p+"qkv", []string{p + "qkv5"}, ints("perm", 2, 0, 3, 1, 4))
		b.nodes("Split", []string{p + "q1", p + "k1", p + "v1"}, []string{p + "qkv"}, integer("axis", 0))
		for _, name := range []string{"q", "k", "v"} {
			b.node("Squeeze", p+name, []string{p + name + "1", "first"})
		}
		b.node("Transpose", p+"kT", []string{p + "k"}, ints("perm", 0, 1, 3, 2))
		b.node("MatMul", p+"scores", []string{p + "q", p + "kT"})
		b.node("Mul", p+"scaled", []string{p + "scores", "attention_scale"})
		b.node("Softmax", p+"attention", []string{p + "scaled"}, integer("axis", -1))
		b.node("MatMul", p+"heads", []string{p + "attention", p + "v"})
		b.node("Transpose", p+"merged4", []string{p + "heads"}, ints("perm", 0, 2, 1, 3))
		b.node("Reshape", p+"merged", []string{p + "merged4", "as_tokens"})
		b.node("Add", p+"x1", []string{x, b.linear(p+"proj", p+"merged", d, d)})
		hidden := b.linear(p+"fc1", b.layerNorm(p+"norm2", p+"x1", d), d, int64(s.mlp))
		b.node("Div", p+"over_root2", []string{hidden, "root2"}) // GELU: x (1 + erf(x/√2)) / 2
		b.node("Erf", p+"erf", []string{p + "over_root2"})
		b.node("Add", p+"plus1", []string{p + "erf", "one"})
		b.node("Mul", p+"twice", []string{hidden, p + "plus1"})
		b.node("Mul", p+"gelu", []string{p + "twice", "half"})
		b.node("Add", p+"x2", []string{p + "x1", b.linear(p+"fc2", p+"gelu", int64(s.mlp), d)})
		x = p + "x2"
	}
	b.node("Gather", "class_row", []string{b.layerNorm("norm", x, d), "first"}, integer("axis", 1))
	b.ints("second", 1)
	b.node("Squeeze", "embedding", []string{"class_row", "second"})

	b.g.Input = []*onnxpb.ValueInfoProto{floatInput("pixel_values", 3, int64(s.image), int64(s.image))}
	b.g.Output = []*onnxpb.ValueInfoProto{floatInput("embedding", d)}
	return proto.Marshal(&onnxpb.ModelProto{
		IrVersion: proto.Int64(8), ProducerName: proto.String("gpubench"),
		OpsetImport:   []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		MetadataProps: []*onnxpb.StringStringEntryProto{{Key: proto.String("vitft.preprocess"), Value: &preprocess}},
		Graph:         b.g,
	})
}

type vitBuilder struct {
	g *onnxpb.GraphProto
	r *rand.Rand
}

func (b *vitBuilder) node(op, out string, in []string, attributes ...*onnxpb.AttributeProto) {
	b.nodes(op, []string{out}, in, attributes...)
}

func (b *vitBuilder) nodes(op string, out, in []string, attributes ...*onnxpb.AttributeProto) {
	b.g.Node = append(b.g.Node, &onnxpb.NodeProto{OpType: &op, Name: proto.String(out[0]), Input: in, Output: out,
		Attribute: attributes})
}

// linear is x·W + b, with W [in,out].
func (b *vitBuilder) linear(name, x string, in, out int64) string {
	b.weight(name+".weight", in, out)
	b.constant(name+".bias", 0, out)
	b.node("MatMul", name+".product", []string{x, name + ".weight"})
	b.node("Add", name+".out", []string{name + ".product", name + ".bias"})
	return name + ".out"
}

func (b *vitBuilder) layerNorm(name, x string, d int64) string {
	b.constant(name+".scale", 1, d)
	b.constant(name+".bias", 0, d)
	epsilon := &onnxpb.AttributeProto{Name: proto.String("epsilon"), Type: onnxpb.AttributeProto_FLOAT.Enum(),
		F: proto.Float32(1e-6)}
	b.node("LayerNormalization", name+".out", []string{x, name + ".scale", name + ".bias"}, integer("axis", -1),
		epsilon)
	return name + ".out"
}

func (b *vitBuilder) weight(name string, dims ...int64) {
	v := make([]float32, size(dims))
	for i := range v {
		v[i] = float32(0.02 * b.r.NormFloat64())
	}
	b.floats(name, dims, v...)
}

func (b *vitBuilder) constant(name string, value float32, dims ...int64) {
	v := make([]float32, size(dims))
	for i := range v {
		v[i] = value
	}
	b.floats(name, dims, v...)
}

func (b *vitBuilder) floats(name string, dims []int64, v ...float32) {
	raw := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
	}
	b.g.Initializer = append(b.g.Initializer, &onnxpb.TensorProto{Name: &name, Dims: dims,
		DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), RawData: raw})
}

func (b *vitBuilder) ints(name string, v ...int64) {
	b.g.Initializer = append(b.g.Initializer, &onnxpb.TensorProto{Name: &name, Dims: []int64{int64(len(v))},
		DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: v})
}

func ints(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func integer(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

// floatInput declares a float32 tensor [batch, dims…].
func floatInput(name string, dims ...int64) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}}}}
	for _, d := range dims {
		shape.Dim = append(shape.Dim,
			&onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), Shape: shape}}}}
}

func size(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

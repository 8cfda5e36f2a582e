package graph

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Head is a linear classifier on the embedding x of a backbone:
//
//	x' = Transform · ((x - Mean) * InvStd)   standardisation and whitening, as far as given
//	x" = x' / max(|x'|, 1e-12)              if Normalize, for a cosine head
//	logits = Scale * Weight·x" + Bias
//	probabilities = softmax(logits / Temperature[k]), k the class of the largest logit
//
// All in float32. A cosine head's class vectors are expected to be of unit length already.
type Head struct {
	Classes     int       // C
	Weight      []float32 // [C,D]
	Bias        []float32 // [C]; nil = none
	Mean        []float32 // [D]; nil = 0
	InvStd      []float32 // [D]; nil = 1
	Transform   []float32 // [D,D]; nil = the identity
	Normalize   bool
	Scale       float32   // 0 = 1
	Temperature []float32 // [1] for all classes, or [C] by predicted class; nil = 1
}

func (h Head) check(dim int) error {
	if h.Classes < 1 || len(h.Weight) != h.Classes*dim {
		return fmt.Errorf("append head: %d classes and %d weights for an embedding of %d, need %d", h.Classes, len(h.Weight), dim, h.Classes*dim)
	}
	for _, v := range []struct {
		name      string
		got, want int
	}{{"bias", len(h.Bias), h.Classes}, {"mean", len(h.Mean), dim}, {"inverse deviation", len(h.InvStd), dim}, {"transform", len(h.Transform), dim * dim}} {
		if v.got != 0 && v.got != v.want {
			return fmt.Errorf("append head: %s has %d values, need %d", v.name, v.got, v.want)
		}
	}
	if n := len(h.Temperature); n > 1 && n != h.Classes {
		return fmt.Errorf("append head: %d temperatures for %d classes, need 1 or %[2]d", n, h.Classes)
	}
	for _, t := range h.Temperature {
		if !(t > 0) {
			return fmt.Errorf("append head: temperature %v is not above 0", t)
		}
	}
	return nil
}

// AppendHead adds a classifier to a backbone, as [Model.Backbone] returns it. The outputs are then probabilities,
// logits and embedding, in that order.
func (m *Model) AppendHead(h Head) error {
	g := m.proto.Graph
	if len(g.Output) != 1 || g.Output[0].GetName() != Embedding {
		return fmt.Errorf("append head: the model is not a backbone with the one output %s", Embedding)
	}
	shape := valueOf(g.Output[0]).Shape
	batch, dim := shape[0], int(shape[1])
	if err := h.check(dim); err != nil {
		return err
	}
	b := newBuilder(g, m.opset(), "vitft_head")
	b.free(Logits, Probabilities)
	d := []int64{int64(dim)}
	x := Embedding
	step := func(op string, more ...string) {
		y := b.prefix + op
		b.node(op, append([]string{x}, more...), y)
		x = y
	}
	if h.Mean != nil {
		step("Sub", b.floats("mean", d, h.Mean...))
	}
	if h.InvStd != nil {
		step("Mul", b.floats("inv_std", d, h.InvStd...))
	}
	if h.Transform != nil {
		y := b.prefix + "transformed"
		b.node("Gemm", []string{x, b.floats("transform", []int64{int64(dim), int64(dim)}, h.Transform...)}, y, integer("transB", 1))
		x = y
	}
	if h.Normalize {
		norm, positive := b.prefix+"norm", b.prefix+"positive_norm"
		b.norm(x, norm)
		b.node("Max", []string{norm, b.floats("epsilon", nil, 1e-12)}, positive)
		step("Div", positive)
	}
	gemm := []string{x, b.floats("weight", []int64{int64(h.Classes), int64(dim)}, h.Weight...)}
	if h.Bias != nil {
		gemm = append(gemm, b.floats("bias", []int64{int64(h.Classes)}, h.Bias...))
	}
	b.node("Gemm", gemm, Logits, integer("transB", 1), float("alpha", orOne(h.Scale)))
	scores := Logits
	if n := int64(len(h.Temperature)); n > 0 {
		temperature := b.floats("temperature", []int64{n}, h.Temperature...)
		if n > 1 {
			predicted, own := b.prefix+"predicted", b.prefix+"own_temperature"
			b.node("ArgMax", []string{Logits}, predicted, integer("axis", 1), integer("keepdims", 1))
			b.node("Gather", []string{temperature, predicted}, own, integer("axis", 0))
			temperature = own
		}
		scores = b.prefix + "tempered"
		b.node("Div", []string{Logits, temperature}, scores)
	}
	b.node("Softmax", []string{scores}, Probabilities, integer("axis", 1))
	c := int64(h.Classes)
	g.Output = []*onnxpb.ValueInfoProto{floatInfo(Probabilities, batch, c), floatInfo(Logits, batch, c), g.Output[0]}
	m.size = int64(proto.Size(m.proto))
	return nil
}

// norm adds the Euclidean length of each row, keeping the axis.
func (b *builder) norm(x, out string) {
	if b.opset < 18 {
		b.node("ReduceL2", []string{x}, out, ints("axes", 1), integer("keepdims", 1))
		return
	}
	b.node("ReduceL2", []string{x, b.int64s("feature_axis", []int64{1}, 1)}, out, integer("keepdims", 1))
}

func orOne(v float32) float32 {
	if v == 0 {
		return 1
	}
	return v
}

package vision

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
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
	if h.Classes < 1 {
		return fmt.Errorf("append head: %d classes, need 1 or more", h.Classes)
	}
	temperatures := h.Classes
	if len(h.Temperature) == 1 {
		temperatures = 1
	}
	for _, v := range []struct {
		name      string
		got, want int
	}{
		{"weight", len(h.Weight), h.Classes * dim}, {"bias", len(h.Bias), h.Classes}, {"mean", len(h.Mean), dim},
		{"inverse deviation", len(h.InvStd), dim}, {"transform", len(h.Transform), dim * dim},
		{"temperature", len(h.Temperature), temperatures},
	} {
		if v.got != v.want && (v.got > 0 || v.name == "weight") {
			return fmt.Errorf("append head: %s has %d values for %d classes and an embedding of %d, need %d",
				v.name, v.got, h.Classes, dim, v.want)
		}
	}
	if slices.ContainsFunc(h.Temperature, func(t float32) bool { return !(t > 0) }) {
		return fmt.Errorf("append head: temperature %v is not above 0", h.Temperature)
	}
	return nil
}

// AppendHead adds a classifier to a backbone, as [Backbone] returns it. The outputs are then probabilities, logits and
// embedding, in that order. The error says which of the head's slices does not fit.
func AppendHead(m *graph.Model, h Head) error {
	g := m.Graph()
	if len(g.Output) != 1 || g.Output[0].GetName() != Embedding {
		return fmt.Errorf("append head: the model is not a backbone with the one output %s", Embedding)
	}
	embedding := graph.ValueOf(g.Output[0])
	batch, d := embedding.Shape[0], embedding.Shape[1]
	if err := h.check(int(d)); err != nil {
		return err
	}
	b := graph.NewBuilder(m, "vitft_head")
	free(b, m, Logits, Probabilities)
	h.add(b, d)
	declared := g.Output[0]
	m.SetOutputs(h.probabilities(batch), h.logits(batch), embedding)
	g.Output[2] = declared
	return nil
}

// HeadAlone is a classifier of embeddings of dim values, without a backbone: embedding → probabilities, logits.
func HeadAlone(dim int, h Head) (*graph.Model, error) {
	if err := h.check(dim); err != nil {
		return nil, err
	}
	m := graph.New("head", 17)
	m.SetInputs(float32s(Embedding, graph.Unknown, int64(dim)))
	h.add(graph.NewBuilder(m, "vitft_head"), int64(dim))
	m.SetOutputs(h.probabilities(graph.Unknown), h.logits(graph.Unknown))
	return m, nil
}

func (h Head) probabilities(batch int64) graph.Value {
	return float32s(Probabilities, batch, int64(h.Classes))
}

func (h Head) logits(batch int64) graph.Value { return float32s(Logits, batch, int64(h.Classes)) }

// add adds the nodes of the head, on an embedding of d values.
func (h Head) add(b *graph.Builder, d int64) {
	c := int64(h.Classes)
	x := Embedding
	if h.Mean != nil {
		x = b.Node("Sub", []string{x, b.Floats("mean", []int64{d}, h.Mean...)}, b.Name("Sub"))
	}
	if h.InvStd != nil {
		x = b.Node("Mul", []string{x, b.Floats("inv_std", []int64{d}, h.InvStd...)}, b.Name("Mul"))
	}
	if h.Transform != nil {
		whitening := b.Floats("transform", []int64{d, d}, h.Transform...)
		x = b.Node("Gemm", []string{x, whitening}, b.Name("transformed"), graph.IntAttr("transB", 1))
	}
	if h.Normalize {
		norm := length(b, x, b.Name("norm"))
		norm = b.Node("Max", []string{norm, b.Floats("epsilon", nil, 1e-12)}, b.Name("positive_norm"))
		x = b.Node("Div", []string{x, norm}, b.Name("Div"))
	}
	gemm := []string{x, b.Floats("weight", []int64{c, d}, h.Weight...)}
	if h.Bias != nil {
		gemm = append(gemm, b.Floats("bias", []int64{c}, h.Bias...))
	}
	scores := b.Node("Gemm", gemm, Logits, graph.IntAttr("transB", 1), graph.FloatAttr("alpha", cmp.Or(h.Scale, 1)))
	if n := int64(len(h.Temperature)); n > 0 {
		temperature := b.Floats("temperature", []int64{n}, h.Temperature...)
		if n > 1 {
			axis := graph.IntAttr("axis", 1)
			predicted := b.Node("ArgMax", []string{Logits}, b.Name("predicted"), axis, graph.IntAttr("keepdims", 1))
			own := b.Name("own_temperature")
			temperature = b.Node("Gather", []string{temperature, predicted}, own, graph.IntAttr("axis", 0))
		}
		scores = b.Node("Div", []string{Logits, temperature}, b.Name("tempered"))
	}
	b.Node("Softmax", []string{scores}, Probabilities, graph.IntAttr("axis", 1))
}

// CalibrateLogits makes the output logits those that softmax makes the probabilities of, and says whether they were
// others: with temperatures the quotient is computed already, and only the name moves. It is for programs that know
// no probabilities but softmax of the logits.
func CalibrateLogits(m *graph.Model) (bool, error) {
	last := m.Index().Producer[Probabilities]
	if last == nil || last.GetOpType() != "Softmax" {
		return false, fmt.Errorf("calibrate logits: the output %s is no softmax", Probabilities)
	}
	scores := last.Input[0]
	if scores == Logits {
		return false, nil
	}
	raw := graph.NewBuilder(m, "vitft_head").Name("raw_logits")
	m.Rename(map[string]string{Logits: raw, scores: Logits})
	for _, v := range m.Graph().Output {
		if v.GetName() == raw {
			*v.Name = Logits
		}
	}
	return true, nil
}

// length adds the Euclidean length of each row, keeping the axis.
func length(b *graph.Builder, x, out string) string {
	keep := graph.IntAttr("keepdims", 1)
	if b.Opset() < 18 {
		return b.Node("ReduceL2", []string{x}, out, graph.IntsAttr("axes", 1), keep)
	}
	return b.Node("ReduceL2", []string{x, b.Int64s("feature_axis", []int64{1}, 1)}, out, keep)
}

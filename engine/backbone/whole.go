package backbone

import (
	"context"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// Whole is the model with all of its weights in it, as what is trained inside a backbone wants them: float32 tensors.
// What a model computes of its constants, once, when it is loaded, is computed: weights that are stored in float16 or
// in 8 bits, and those that low ranks were added to by another training.
func (b *Backbone) Whole() (*graph.Model, error) {
	m := b.Model.Copy()
	if b.Model.Dir() != "" {
		if err := m.Inline(); err != nil {
			return nil, err
		}
	}
	if err := m.PlainWeights(); err != nil {
		return nil, err
	}
	return m, merge(m)
}

// merging are the operators that weights are stored otherwise by, or added to; turning those that leave their values as
// they are.
var (
	merging = []string{"Add", "Cast", "Concat", "DequantizeLinear", "MatMul", "Mul", "Sub"}
	turning = []string{"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)

// merge makes weights of the float32 tensors that are computed of weights alone.
func merge(m *graph.Model) error {
	wanted := merged(m)
	if len(wanted) == 0 {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("weights that are computed of others: %w", err) }
	part, err := m.Cut([]graph.Value{{Name: "none", Type: "float32", Shape: []int64{1}}}, wanted)
	if err == nil {
		err = part.Inline()
	}
	if err != nil {
		return fail(err)
	}
	text, err := part.Bytes()
	if err != nil {
		return fail(err)
	}
	s, err := onnx.NewSession(text, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		return fail(err)
	}
	defer s.Close()
	outputs := make([]onnx.Tensor, len(wanted))
	for i, v := range wanted {
		outputs[i] = onnx.Tensor{Shape: v.Shape, Data: make([]float32, graph.Elements(v.Shape))}
	}
	none := onnx.Tensor{Shape: []int64{1}, Data: make([]float32, 1)}
	if err := s.Run(context.Background(), []onnx.Tensor{none}, outputs); err != nil {
		return fail(err)
	}
	g := m.Graph()
	for i, v := range wanted {
		g.Node = slices.DeleteFunc(g.Node, func(n *graph.Node) bool { return slices.Contains(n.Output, v.Name) })
		t := graph.FloatTensor(v.Shape, outputs[i].Data)
		t.Name = &v.Name
		g.Initializer = append(g.Initializer, t)
	}
	m.Prune()
	return nil
}

// merged lists those tensors: what reads them is computed of images.
func merged(m *graph.Model) (list []graph.Value) {
	index, shapes := m.Index(), shape.Infer(m)
	elem, other := map[string]string{}, map[string]bool{} // of tensors of weights alone; those that are not as stored
	for name, t := range index.Weight {
		elem[name] = graph.TypeOf(t)
	}
	for _, n := range m.Graph().Node {
		op := n.GetOpType()
		changes := slices.Contains(merging, op)
		of := func(in string) bool { return elem[in] != "" || in == "" }
		if !changes && !slices.Contains(turning, op) || len(n.Input) == 0 || !each(n.Input, of) {
			continue
		}
		o := n.Output[0]
		switch elem[o] = elem[n.Input[0]]; op {
		case "Cast":
			elem[o] = graph.CastTo(n)
		case "DequantizeLinear":
			elem[o] = elem[graph.Input(n, 1)]
		}
		other[o] = changes || slices.ContainsFunc(n.Input, func(in string) bool { return other[in] })
	}
	for _, n := range m.Graph().Node {
		for _, o := range n.Output {
			read := slices.ContainsFunc(index.Consumers[o], func(n *graph.Node) bool { return elem[n.Output[0]] == "" })
			if s := shapes[o]; other[o] && read && elem[o] == "float32" && graph.Elements(s) > 1 {
				list = append(list, graph.Value{Name: o, Type: "float32", Shape: s})
			}
		}
	}
	return list
}

func each(names []string, is func(string) bool) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !is(name) })
}

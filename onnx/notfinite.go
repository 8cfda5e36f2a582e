package onnx

import (
	"context"
	"fmt"

	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/graph"
)

// FirstNotFinite runs a model of images on one batch and describes the first node, in their order, that gives NaN or
// +Inf; where none does, the first that gives −Inf, which masks do on purpose. The text is "" if all is finite.
func FirstNotFinite(ctx context.Context, m *graph.Model, o SessionOptions, pixels []float32, shape []int64) (string,
	error) {
	counting := m.Copy()
	b := graph.NewBuilder(counting, "finite")
	one := b.Int64s("one", []int64{1}, 1)
	var from []*graph.Node
	var counts []string // of NaN, +Inf and −Inf in what each node gives
	count := func(op, x string, attrs ...*graph.Attribute) {
		odd := b.Cast(b.Node(op, []string{x}, "", attrs...), "", "float32")
		sum := b.Node("ReduceSum", []string{odd}, "", graph.FlagAttr("keepdims", false))
		counts = append(counts, b.Node("Reshape", []string{sum, one}, ""))
	}
	for _, n := range m.Graph().Node {
		for _, name := range n.Output {
			if name == "" {
				continue
			}
			x := b.Cast(name, "", "float32")
			count("IsNaN", x)
			count("IsInf", x, graph.FlagAttr("detect_negative", false))
			count("IsInf", x, graph.FlagAttr("detect_positive", false))
			from = append(from, n)
		}
	}
	all := b.Node("Concat", counts, b.Name("counts"), graph.IntAttr("axis", 0))
	found := Tensor{[]int64{int64(len(counts))}, make([]float32, len(counts))}
	counting.SetOutputs(graph.Value{Name: all, Type: "float32", Shape: found.Shape})
	text, err := counting.Bytes()
	if err != nil {
		return "", err
	}
	s, err := NewSession(text, o)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if err := s.Run(ctx, []Tensor{{shape, pixels}}, []Tensor{found}); err != nil {
		return "", err
	}
	minus := ""
	for i, n := range from {
		switch c := found.Data[3*i : 3*i+3]; {
		case c[0] > 0:
			return describe(m, n, "NaN"), nil
		case c[1] > 0:
			return describe(m, n, "+Inf"), nil
		case c[2] > 0 && minus == "":
			minus = describe(m, n, "-Inf")
		}
	}
	return minus, nil
}

// describe names a node, what it gives, and a weight of it that is broken already.
func describe(m *graph.Model, n *graph.Node, odd string) string {
	name := n.GetName()
	if name == "" {
		name = n.Output[0]
	}
	text := fmt.Sprintf("its node %q (%s) is the first that gives %s", name, n.GetOpType(), odd)
	weights := m.Index().Weight
	for _, in := range n.Input {
		values, _ := graph.Floats(weights[in])
		if i := vec.NotFinite(values); i >= 0 {
			return fmt.Sprintf("%s, as its weight %q holds %v", text, in, values[i])
		}
	}
	return text
}

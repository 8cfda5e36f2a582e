package grad

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// Split takes a model with gradients apart where a caller comes in: forward gives what the seed has no part in, then
// the tensors of it that the gradients need; backward takes these, the seed and the other inputs that it needs, to the
// rest of the outputs. What only gradients need is computed in backward. The seed is an input of the model.
func Split(m *graph.Model, seed string) (forward, backward *graph.Model, err error) {
	index := m.Index()
	given, gradients, err := sides(m, seed)
	if err != nil {
		return nil, nil, err
	}
	// What is made of weights alone belongs to both.
	variable := depending(m, graph.Names(m.Inputs())...)
	nodes, _ := m.Needed(graph.Names(given)...)
	before := map[string]bool{}
	for _, n := range nodes {
		for _, o := range n.Output {
			before[o] = variable[o]
		}
	}
	// Shapes and masks are cheaper computed again than kept, and a session's inputs are float32.
	kept, shapes := map[string]bool{}, shape.Infer(m)
	isFloat := floatTensors(m)
	later, _ := m.Needed(graph.Names(gradients)...)
	var saved []graph.Value
	need := map[*graph.Node]bool{}
	for _, n := range slices.Backward(later) {
		if slices.ContainsFunc(n.Output, func(o string) bool { return before[o] }) && !need[n] {
			continue
		}
		for _, in := range n.Input {
			switch {
			case !before[in] || kept[in]:
			case isFloat[in]:
				kept[in] = true
				saved = append(saved, graph.Value{Name: in, Type: "float32", Shape: shapes[in]})
			default:
				need[index.Producer[in]] = true
			}
		}
	}
	slices.Reverse(saved)
	wanted := graph.Names(given)
	extra := slices.DeleteFunc(slices.Clone(saved),
		func(v graph.Value) bool { return slices.Contains(wanted, v.Name) })
	return cut(m, seed, slices.Concat(given, extra), saved, gradients)
}

// SplitTwice is like [Split], but backward computes anew what it needs of forward, which gives nothing for it: for a
// device to which the way is longer than the computation.
func SplitTwice(m *graph.Model, seed string) (forward, backward *graph.Model, err error) {
	given, gradients, err := sides(m, seed)
	if err != nil {
		return nil, nil, err
	}
	return cut(m, seed, given, nil, gradients)
}

// sides are the outputs of a model in which a seed has no part, and the others.
func sides(m *graph.Model, seed string) (given, gradients []graph.Value, err error) {
	after := depending(m, seed)
	for _, v := range m.Outputs() {
		if after[v.Name] {
			gradients = append(gradients, v)
		} else {
			given = append(given, v)
		}
	}
	if len(given) == 0 || len(gradients) == 0 {
		return nil, nil, fmt.Errorf("%w: of its %d outputs %d depend on the input %q, and some must, others not",
			graph.ErrModel, len(m.Outputs()), len(gradients), seed)
	}
	return given, gradients, nil
}

// cut makes the halves, of which the second is handed what is saved of the first.
func cut(m *graph.Model, seed string, given, saved, gradients []graph.Value) (forward, backward *graph.Model,
	err error) {
	inputs := slices.DeleteFunc(m.Inputs(), func(v graph.Value) bool { return v.Name == seed })
	if forward, err = m.Cut(inputs, given); err != nil {
		return nil, nil, err
	}
	if backward, err = m.Cut(slices.Concat(saved, m.Inputs()), gradients); err != nil {
		return nil, nil, err
	}
	used := map[string]bool{}
	for _, n := range backward.Graph().Node {
		for _, in := range graph.Uses(n) {
			used[in] = true
		}
	}
	backward.SetInputs(slices.DeleteFunc(backward.Inputs(), func(v graph.Value) bool { return !used[v.Name] })...)
	return forward, backward, nil
}

// depending are tensors and what is computed from them.
func depending(m *graph.Model, on ...string) map[string]bool {
	all := map[string]bool{}
	for _, name := range on {
		all[name] = true
	}
	for _, n := range m.Graph().Node {
		if slices.ContainsFunc(graph.Uses(n), func(in string) bool { return all[in] }) {
			for _, o := range n.Output {
				all[o] = o != ""
			}
		}
	}
	return all
}

// floatTensors are the tensors of type float32.
func floatTensors(m *graph.Model) map[string]bool {
	is := map[string]bool{}
	for _, v := range m.Inputs() {
		is[v.Name] = v.Type == "float32"
	}
	for _, t := range m.Graph().Initializer {
		is[t.GetName()] = graph.TypeOf(t) == "float32"
	}
	for _, n := range m.Graph().Node {
		float := false
		switch n.GetOpType() {
		case "Shape", "Size", "Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual", "Not", "And", "Or", "Xor",
			"NonZero", "ArgMax", "ArgMin", "IsNaN", "IsInf", "Range":
		case "Cast":
			float = graph.CastTo(n) == "float32"
		case "Constant":
			t := graph.Attr(n, "value")
			float = t != nil && graph.TypeOf(t.T) == "float32" || graph.Attr(n, "value_float") != nil
		case "ConstantOfShape":
			t := graph.Attr(n, "value")
			float = t == nil || graph.TypeOf(t.T) == "float32"
		case "Where":
			float = is[graph.Input(n, 1)]
		default:
			float = is[graph.Input(n, 0)]
		}
		for _, o := range n.Output {
			is[o] = float
		}
	}
	return is
}

package grad

import "github.com/vitft/vitft/onnx/graph"

// What nodes and constants say.

func floatAttr(n *graph.Node, name string, def float64) float64 {
	if a := graph.Attr(n, name); a != nil {
		return float64(a.GetF())
	}
	return def
}

func textAttr(n *graph.Node, name, def string) string {
	if a := graph.Attr(n, name); a != nil {
		return string(a.S)
	}
	return def
}

// opName is the name of an operator, with its domain where that is not ONNX's own.
func opName(n *graph.Node) string {
	if graph.CoreDomain(n.GetDomain()) {
		return n.GetOpType()
	}
	return n.GetDomain() + "." + n.GetOpType()
}

// axis is an attribute that counts axes, from the end if negative.
func axisAttr(n *graph.Node, name string, def int64, rank int) int64 {
	return fromFront(graph.AttrInt(n, name, def), rank)
}

func fromFront(axis int64, rank int) int64 {
	if axis < 0 {
		return axis + int64(rank)
	}
	return axis
}

// constant returns the tensor of a weight or of a Constant node, nil if it is none.
func (t *tape) constant(name string) *graph.Tensor {
	if w := t.index.Weight[name]; w != nil {
		return w
	}
	if n := t.index.Producer[name]; n != nil && n.GetOpType() == "Constant" {
		return graph.Attr(n, "value").GetT()
	}
	return nil
}

// integers returns the elements of an integer tensor, of any length if it is a constant.
func (t *tape) integers(name string) ([]int64, bool) {
	if v, ok := t.ints[name]; ok {
		return v, true
	}
	return graph.Ints(t.constant(name))
}

// float returns a constant of one float32.
func (t *tape) float(name string) (float64, bool) {
	c := t.constant(name)
	if graph.Elements(c.GetDims()) != 1 { // others may be large
		return 0, false
	}
	v, ok := graph.Floats(c)
	if !ok {
		return 0, false
	}
	return float64(v[0]), true
}

// axes returns the axes of a reduction, which are an attribute or an input; all where none are named.
func (t *tape) axes(n *graph.Node, rank int) ([]int64, bool) {
	axes, known := graph.Attr(n, "axes").GetInts(), true
	if name := graph.Input(n, 1); axes == nil && name != "" {
		axes, known = t.integers(name)
	}
	if len(axes) == 0 && graph.AttrInt(n, "noop_with_empty_axes", 0) == 0 {
		return upTo(rank), known
	}
	out := make([]int64, len(axes))
	for i, a := range axes {
		out[i] = fromFront(a, rank)
	}
	return out, known
}

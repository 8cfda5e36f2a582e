package grad

import (
	"encoding/binary"
	"math"

	"github.com/vitft/vitft/onnx/graph"
)

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
	c := t.constant(name)
	if c == nil || c.GetDataLocation() != 0 {
		return nil, false
	}
	var out []int64
	switch graph.TypeOf(c) {
	case "int64":
		out = append(out, c.Int64Data...)
		for b := c.RawData; len(b) >= 8; b = b[8:] {
			out = append(out, int64(binary.LittleEndian.Uint64(b)))
		}
	case "int32":
		for _, v := range c.Int32Data {
			out = append(out, int64(v))
		}
		for b := c.RawData; len(b) >= 4; b = b[4:] {
			out = append(out, int64(int32(binary.LittleEndian.Uint32(b))))
		}
	}
	return out, int64(len(out)) == graph.Elements(c.Dims)
}

// float returns a constant of one float32.
func (t *tape) float(name string) (float64, bool) {
	c := t.constant(name)
	switch {
	case c == nil || graph.Elements(c.Dims) != 1 || graph.TypeOf(c) != "float32":
		return 0, false
	case len(c.FloatData) == 1:
		return float64(c.FloatData[0]), true
	case len(c.RawData) == 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.RawData))), true
	}
	return 0, false
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

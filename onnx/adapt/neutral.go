package adapt

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// withoutNeutral leaves out what changes nothing, and hides the structure: casts of float32 to float32, which tracing
// leaves behind, and masks that mask nothing, which exporters write out token by token.
func withoutNeutral(m *graph.Model) {
	x := &neutral{types: m.Types(), shapes: shape.Infer(m), all: map[string]float64{}, same: map[string]string{}}
	for _, t := range m.Graph().Initializer {
		x.weight(t)
	}
	fixed := map[string]bool{} // names that are read where they cannot be changed, or that are given
	for _, v := range m.Outputs() {
		fixed[v.Name] = true
	}
	for _, n := range m.Graph().Node {
		for _, name := range graph.Uses(n)[len(n.Input):] {
			fixed[name] = true
		}
	}
	for _, n := range m.Graph().Node {
		for i, in := range n.Input {
			if by, is := x.same[in]; is {
				n.Input[i] = by
			}
		}
		if !graph.CoreDomain(n.GetDomain()) || len(n.Output) != 1 {
			continue
		}
		x.value(n)
		if as := x.passes(n); as != "" && !fixed[n.Output[0]] {
			x.same[n.Output[0]] = as
		}
	}
	m.Prune()
}

type neutral struct {
	types  map[string]string
	shapes shape.Shapes
	all    map[string]float64 // the value that all elements of a tensor have
	same   map[string]string  // the input that a tensor is, if a node changes nothing
}

// weight knows those of one value, false and true being 0 and 1.
func (x *neutral) weight(t *graph.Tensor) {
	size := map[string]int{"bool": 1, "float32": 4}[graph.TypeOf(t)]
	raw := t.GetRawData()
	if size == 0 || len(raw) < size || int64(len(raw)) != int64(size)*graph.Elements(t.Dims) {
		if v, ok := graph.Floats(t); ok && len(v) == 1 {
			x.all[t.GetName()] = float64(v[0])
		}
		return
	}
	for at := size; at < len(raw); at += size {
		if !slices.Equal(raw[at:at+size], raw[:size]) {
			return
		}
	}
	if size == 1 {
		x.all[t.GetName()] = float64(min(raw[0], 1))
	} else {
		x.all[t.GetName()] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
}

// value knows what is made of tensors of one value.
func (x *neutral) value(n *graph.Node) {
	of := func(i int) (float64, bool) { v, is := x.all[graph.Input(n, i)]; return v, is }
	v, is := of(0)
	switch n.GetOpType() {
	case "Expand", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Slice", "Tile":
	case "Cast":
		from, to := x.types[graph.Input(n, 0)], graph.CastTo(n)
		is = is && (to == from || from == "bool" && to == "float32")
	case "Not":
		v = 1 - v
	case "And":
		w, also := of(1)
		v, is = v*w, is && also
	case "Where":
		if is && v != 0 {
			v, is = of(1)
		} else if is {
			v, is = of(2)
		}
	default:
		return
	}
	if is {
		x.all[n.Output[0]] = v
	}
}

// passes is the input that a node gives as it is, "" if there is none.
func (x *neutral) passes(n *graph.Node) string {
	a, b := graph.Input(n, 0), graph.Input(n, 1)
	is := func(tensor string, value float64) bool { v, known := x.all[tensor]; return known && v == value }
	as := ""
	switch n.GetOpType() {
	case "Cast":
		if graph.CastTo(n) == "float32" && x.types[a] == "float32" {
			return a
		}
	case "Add":
		if is(b, 0) {
			as = a
		} else if is(a, 0) {
			as = b
		}
	case "Sub":
		if is(b, 0) {
			as = a
		}
	case "Where":
		if is(a, 1) {
			as = b
		} else if is(a, 0) {
			as = graph.Input(n, 2)
		}
	}
	if s := x.shapes[as]; s == nil || !slices.Equal(s, x.shapes[n.Output[0]]) {
		return ""
	}
	return as
}

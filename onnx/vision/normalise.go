package vision

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/graph"
)

// What a graph does to pixels before anything else.

// Normalisation says that a graph normalises pixels itself: each channel becomes Scale·x + Shift.
type Normalisation struct {
	Scale  [3]float64 `json:"scale"`
	Shift  [3]float64 `json:"shift"`
	Pixels float64    `json:"pixels"` // the largest value that it takes a pixel to have: 1, or 255
}

// normalisation follows an input through sums and products with constants. It is nil where there are none, or where
// the range that they make of pixels is not one that networks are trained on.
func (f *facts) normalisation(input string, channels int) *Normalisation {
	v, rank := Normalisation{Scale: [3]float64{1, 1, 1}}, 4
walk:
	for range 16 {
		n := f.first(input)
		if n == nil {
			break
		}
		op, other := n.GetOpType(), second(n)
		if other == input {
			other = first(n)
		}
		switch s := f.shapes[n.Output[0]]; {
		case op == "Cast" || op == "Identity":
		case op == "Transpose":
			channels = slices.Index(graph.Attr(n, "perm").GetInts(), int64(channels))
		case op == "Reshape" && channels == 1 && len(s) > 2 && s[1] == 3:
			rank = len(s) // to [B,3,H·W], or back
		case !v.then(op, f.perChannel(other, channels-rank), first(n) == input):
			break walk
		}
		input = n.Output[0]
	}
	if v.Scale == [3]float64{1, 1, 1} && v.Shift == [3]float64{} {
		return nil
	}
	if slices.ContainsFunc(v.Shift[:], func(s float64) bool { return !(math.Abs(s) < 100) }) {
		return nil
	}
	for _, v.Pixels = range []float64{1, 255} {
		if !slices.ContainsFunc(v.Scale[:], func(s float64) bool { return !(s*v.Pixels > 0.9 && s*v.Pixels < 20) }) {
			return &v
		}
	}
	return nil
}

// first is the node that reads a tensor, if it is the only one and says nothing of the tensor's size.
func (f *facts) first(tensor string) *graph.Node {
	var only *graph.Node
	for _, n := range f.index.Consumers[tensor] {
		if n.GetOpType() == "Shape" {
			continue
		}
		if only != nil || len(n.Output) != 1 {
			return nil
		}
		only = n
	}
	return only
}

// then adds a sum or product with a constant; it reports false for what is none. Of a difference or quotient the pixels
// must come first.
func (v *Normalisation) then(op string, c []float64, pixelsFirst bool) bool {
	if len(c) == 0 || !pixelsFirst && (op == "Sub" || op == "Div") {
		return false
	}
	for i := range v.Scale {
		x := c[i%len(c)]
		switch op {
		case "Add":
			v.Shift[i] += x
		case "Sub":
			v.Shift[i] -= x
		case "Mul":
			v.Scale[i], v.Shift[i] = v.Scale[i]*x, v.Shift[i]*x
		case "Div":
			v.Scale[i], v.Shift[i] = v.Scale[i]/x, v.Shift[i]/x
		default:
			return false
		}
	}
	return true
}

// perChannel is a constant of one value, or of three along an axis, counted from behind, of what it meets; nil if it is
// neither.
func (f *facts) perChannel(tensor string, axis int) []float64 {
	shape := f.shapes[tensor]
	if !f.constant(tensor) || shape == nil {
		return nil
	}
	var values []float64
	for range 8 { // constants are sometimes given their shape by nodes
		if t := f.index.Weight[tensor]; t != nil {
			values = numbers(t)
			break
		}
		n := f.index.Producer[tensor]
		if n == nil {
			return nil
		}
		if n.GetOpType() == "Constant" {
			values = numbers(graph.Attr(n, "value").GetT())
			if a := graph.Attr(n, "value_float"); a != nil {
				values = []float64{float64(a.GetF())}
			}
			for _, x := range graph.Attr(n, "value_floats").GetFloats() {
				values = append(values, float64(x))
			}
			break
		}
		if op := n.GetOpType(); op != "Unsqueeze" && op != "Reshape" && op != "Cast" && op != "Identity" {
			return nil
		}
		tensor = first(n)
	}
	switch {
	case len(values) == 1:
		return values
	case len(values) == 3 && len(shape)+axis >= 0 && len(shape) <= 4 && shape[len(shape)+axis] == 3:
		return values
	}
	return nil
}

// numbers are the values of a small weight of floating-point numbers, nil if it is none.
func numbers(t *graph.Tensor) (list []float64) {
	if t == nil || graph.Elements(t.Dims) > 3 {
		return nil
	}
	v, _ := graph.Floats(t)
	switch graph.TypeOf(t) {
	case "float64":
		list = slices.Clone(t.DoubleData)
		for raw := t.RawData; len(raw) >= 8; raw = raw[8:] {
			list = append(list, math.Float64frombits(binary.LittleEndian.Uint64(raw)))
		}
	case "float16":
		half := make([]uint16, len(t.RawData)/2)
		for i := range half {
			half[i] = binary.LittleEndian.Uint16(t.RawData[2*i:])
		}
		v = make([]float32, len(half))
		vec.Widen(v, half)
	}
	for _, x := range v {
		list = append(list, float64(x))
	}
	return list
}

// String says it as a formula.
func (v Normalisation) String() string {
	mean, std := [3]float64{}, [3]float64{}
	round := func(x float64) float64 { return math.Round(x*1e4)/1e4 + 0 }
	for i := range mean {
		mean[i], std[i] = round(-v.Shift[i]/v.Scale[i]/v.Pixels), round(1/v.Scale[i]/v.Pixels)
	}
	return fmt.Sprintf("pixels in [0, %v], less mean %v and by deviation %v of that", v.Pixels, mean, std)
}

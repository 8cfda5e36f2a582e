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

// normalisation follows an input through sums and products with constants, through what does the same by fixed weights
// (a batch normalisation, a convolution of each channel by itself), and through what changes no values. It is nil where
// there are none, or where the range that they make of pixels is not one that networks are trained on.
func (f *facts) normalisation(input string, channels int) *Normalisation {
	v, rank := Normalisation{Scale: [3]float64{1, 1, 1}}, 4
	reversed, learnt := false, false
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
		case slices.Contains([]string{"Cast", "Identity", "Clip", "Pad", "Resize"}, op):
		case op == "Transpose":
			channels = slices.Index(graph.Attr(n, "perm").GetInts(), int64(channels))
		case op == "Reshape" && channels == 1 && len(s) > 2 && s[1] == 3:
			rank = len(s) // to [B,3,H·W], or back
		case f.reverses(n, channels, rank):
			v.reverse()
			reversed = !reversed
		case rank == 4 && channels == 1 && f.byChannel(n, &v):
			learnt = true
		case !v.then(op, f.perChannel(other, channels-rank), first(n) == input):
			break walk
		}
		input = n.Output[0]
	}
	if reversed {
		v.reverse()
	}
	for _, v.Pixels = range []float64{1, 255} {
		if v.likely(learnt) {
			return &v
		}
	}
	return nil
}

// likely reports whether what it makes of pixels is what networks are trained on. Weights may be a network's own and no
// normalisation: they have to take away a mean that pixels may have. So has what takes away a mean and no more, as
// Caffe's networks do.
func (v Normalisation) likely(learnt bool) bool {
	const least, most = 0.9, 20 // of white less black
	ranged, centred, plain := true, true, v.Scale == [3]float64{1, 1, 1}
	for i, s := range v.Scale {
		mean := -v.Shift[i] / s / v.Pixels
		ranged = ranged && s*v.Pixels > least && s*v.Pixels < most && math.Abs(v.Shift[i]) < 100
		centred = centred && mean > 0.1 && mean < 0.9
	}
	switch {
	case plain && v.Shift == [3]float64{}:
		return false
	case plain:
		return centred
	}
	return ranged && (centred || !learnt)
}

func (v *Normalisation) reverse() {
	slices.Reverse(v.Scale[:])
	slices.Reverse(v.Shift[:])
}

// reverses reports whether a node makes red, green and blue blue, green and red.
func (f *facts) reverses(n *graph.Node, channels, rank int) bool {
	axis := int(graph.AttrInt(n, "axis", 0))
	return n.GetOpType() == "Gather" && (axis == channels || axis == channels-rank) &&
		slices.Equal(f.values(second(n), constantDepth), []float64{2, 1, 0})
}

// byChannel adds a batch normalisation, or a convolution of single pixels that mixes no channels; it reports false for
// what is neither.
func (f *facts) byChannel(n *graph.Node, v *Normalisation) bool {
	weights := func(i int) []float64 { return f.values(graph.Input(n, i), constantDepth) }
	scale, shift := [3]float64{}, [3]float64{}
	switch n.GetOpType() {
	case "BatchNormalization":
		gamma, beta, mean, variance := weights(1), weights(2), weights(3), weights(4)
		if len(gamma) != 3 || len(beta) != 3 || len(mean) != 3 || len(variance) != 3 {
			return false
		}
		epsilon := 1e-5
		if a := graph.Attr(n, "epsilon"); a != nil {
			epsilon = float64(a.GetF())
		}
		for i := range scale {
			scale[i] = gamma[i] / math.Sqrt(variance[i]+epsilon)
			shift[i] = beta[i] - mean[i]*scale[i]
		}
	case "Conv":
		w, bias, dims := weights(1), weights(2), f.shapes[second(n)]
		single := len(dims) == 4 && dims[0] == 3 && dims[2] == 1 && dims[3] == 1
		if !single || graph.Input(n, 2) != "" && len(bias) != 3 || int64(len(w)) != 3*dims[1] ||
			slices.ContainsFunc(graph.Attr(n, "strides").GetInts(), func(s int64) bool { return s != 1 }) {
			return false
		}
		for i, x := range w {
			if len(w) == 3 {
				scale[i] = x
			} else if i/3 == i%3 {
				scale[i/3] = x
			} else if x != 0 {
				return false
			}
		}
		copy(shift[:], bias)
	default:
		return false
	}
	for i := range scale {
		v.Scale[i], v.Shift[i] = v.Scale[i]*scale[i], v.Shift[i]*scale[i]+shift[i]
	}
	return true
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
	values := f.values(tensor, constantDepth)
	switch {
	case len(values) == 1:
		return values
	case len(values) == 3 && len(shape)+axis >= 0 && len(shape) <= 4 && shape[len(shape)+axis] == 3:
		return values
	}
	return nil
}

// constantDepth is how many nodes deep a constant is computed.
const constantDepth = 8

// values are those of a small constant, which nodes may have given its shape or computed; nil if it is none.
func (f *facts) values(tensor string, depth int) []float64 {
	if t := f.index.Weight[tensor]; t != nil {
		return numbers(t)
	}
	n := f.index.Producer[tensor]
	if n == nil || depth == 0 {
		return nil
	}
	switch op := n.GetOpType(); op {
	case "Constant":
		if a := graph.Attr(n, "value_float"); a != nil {
			return []float64{float64(a.GetF())}
		}
		values := numbers(graph.Attr(n, "value").GetT())
		for _, x := range graph.Attr(n, "value_floats").GetFloats() {
			values = append(values, float64(x))
		}
		return values
	case "Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity":
		return f.values(first(n), depth-1)
	case "Reciprocal", "Sqrt", "Neg":
		values := slices.Clone(f.values(first(n), depth-1))
		for i, x := range values {
			values[i] = map[string]float64{"Reciprocal": 1 / x, "Sqrt": math.Sqrt(x), "Neg": -x}[op]
		}
		return values
	case "Add", "Sub", "Mul", "Div":
		a, b := f.values(first(n), depth-1), f.values(second(n), depth-1)
		if len(a) == 0 || len(b) == 0 || len(a) != len(b) && min(len(a), len(b)) > 1 {
			return nil
		}
		values := make([]float64, max(len(a), len(b)))
		for i := range values {
			x, y := a[i%len(a)], b[i%len(b)]
			values[i] = map[string]float64{"Add": x + y, "Sub": x - y, "Mul": x * y, "Div": x / y}[op]
		}
		return values
	}
	return nil
}

// numbers are the values of a small weight, nil if it is none.
func numbers(t *graph.Tensor) (list []float64) {
	if t == nil || graph.Elements(t.Dims) > 9 {
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
	whole, _ := graph.Ints(t)
	for _, x := range whole {
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

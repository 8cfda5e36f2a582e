package shape

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The integers that shapes are computed from.

// open stands for an integer that is not known. It is not -1, which Reshape and Slice give a meaning.
const open = math.MinInt64

// tensorInts returns the values of a small integer tensor.
func tensorInts(t *graph.Tensor) ([]int64, bool) {
	n, ok := count(t.Dims)
	if !ok || t.GetDataLocation() != 0 {
		return nil, false
	}
	out := make([]int64, 0, n)
	switch graph.TypeOf(t) {
	case "int64":
		out = append(out, t.Int64Data...)
		for b := t.RawData; len(b) >= 8; b = b[8:] {
			out = append(out, int64(binary.LittleEndian.Uint64(b)))
		}
	case "int32":
		for _, v := range t.Int32Data {
			out = append(out, int64(v))
		}
		for b := t.RawData; len(b) >= 4; b = b[4:] {
			out = append(out, int64(int32(binary.LittleEndian.Uint32(b))))
		}
	default:
		return nil, false
	}
	return out, int64(len(out)) == n
}

// count returns how many elements a tensor has; false if that is not known, or more than maxInts.
func count(dims []int64) (int64, bool) {
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > maxInts || n > maxInts {
			return 0, false
		}
		n *= d
	}
	return n, n <= maxInts
}

// dimensions reads a node's i-th input as a shape, with what is not known or negative as unknown; nil if not even its
// length is known.
func (s *inference) dimensions(n *graph.Node, i int) []int64 {
	v, ok := s.ints[graph.Input(n, i)]
	if !ok {
		if d := s.in(n, i); len(d) == 1 && d[0] > 0 && d[0] <= maxRank {
			return slices.Repeat([]int64{unknown}, int(d[0]))
		}
		return nil
	}
	out := slices.Clone(v)
	for i := range out {
		out[i] = max(out[i], unknown)
	}
	return out
}

// known makes a rule of f, which is given the elements of all inputs, where those are known and there are any.
func known(f func(s *inference, n *graph.Node, in [][]int64) []int64) intsRule {
	return func(s *inference, n *graph.Node) []int64 {
		var in [][]int64
		for _, name := range n.Input {
			v, ok := s.ints[name]
			if !ok {
				return nil
			}
			in = append(in, v)
		}
		if len(in) == 0 {
			return nil
		}
		return f(s, n, in)
	}
}

func same(_ *inference, _ *graph.Node, in [][]int64) []int64 { return in[0] }

func constantInts(_ *inference, n *graph.Node) []int64 {
	if a := graph.Attr(n, "value_ints"); a != nil {
		return a.Ints
	}
	if a := graph.Attr(n, "value_int"); a != nil {
		return []int64{a.GetI()}
	}
	return nil
}

func shapeInts(s *inference, n *graph.Node) []int64 {
	d := s.in(n, 0)
	if d == nil {
		return nil
	}
	lo, hi := graph.AttrInt(n, "start", 0), graph.AttrInt(n, "end", math.MaxInt32)
	lo, hi = clampAxis(lo, len(d)), clampAxis(hi, len(d))
	if lo > hi {
		return nil
	}
	out := slices.Clone(d[lo:hi])
	for i := range out {
		if out[i] < 0 {
			out[i] = open
		}
	}
	return out
}

func concatInts(s *inference, n *graph.Node) []int64 {
	var out []int64
	for i, name := range n.Input {
		v, ok := s.ints[name]
		if !ok {
			d := s.in(n, i)
			if len(d) != 1 || d[0] < 0 || d[0] > maxInts {
				return nil
			}
			v = slices.Repeat([]int64{open}, int(d[0]))
		}
		out = append(out, v...)
	}
	return out
}

func gatherInts(s *inference, n *graph.Node, in [][]int64) []int64 {
	if len(in) != 2 || len(s.in(n, 0)) != 1 {
		return nil
	}
	x := in[0]
	out := make([]int64, len(in[1]))
	for i, k := range in[1] {
		if k < 0 && k != open {
			k += int64(len(x))
		}
		if k < 0 || k >= int64(len(x)) {
			return nil
		}
		out[i] = x[k]
	}
	return out
}

func fill(_ *inference, n *graph.Node, in [][]int64) []int64 {
	a := graph.Attr(n, "value")
	if a == nil || a.T == nil {
		return nil
	}
	v, ok := tensorInts(a.T)
	size, fits := count(in[0])
	if !ok || len(v) != 1 || !fits {
		return nil
	}
	return slices.Repeat(v, int(size))
}

func transposeInts(s *inference, n *graph.Node, in [][]int64) []int64 {
	dims := s.in(n, 0)
	order := transpose(s, n, indices(len(dims)))
	if len(order) != len(dims) {
		return nil
	}
	walks := rowMajor(dims)
	out := make([]walk, len(dims))
	for i, k := range order {
		out[i] = walks[k]
	}
	return elements(in[0], dims, out)
}

// PyTorch's pad reverses its list of integers by a Slice of step -1.
func sliceInts(s *inference, n *graph.Node, in [][]int64) []int64 {
	dims := s.in(n, 0)
	cuts, ok := s.cuts(n, dims)
	if !ok {
		return nil
	}
	walks := rowMajor(dims)
	for _, c := range cuts {
		w := &walks[c.axis]
		w.from, w.count, w.step = c.from*w.step, c.count, c.step*w.step
	}
	return elements(in[0], dims, walks)
}

// walk leads along one axis of a tensor, through count elements of its row-major list.
type walk struct{ from, step, count int64 }

func rowMajor(dims []int64) []walk {
	walks := make([]walk, len(dims))
	stride := int64(1)
	for i, d := range slices.Backward(dims) {
		walks[i] = walk{0, stride, d}
		stride *= d
	}
	return walks
}

// elements returns the elements of x, whose shape is dims, in the order of the walks, the last one innermost.
func elements(x, dims []int64, walks []walk) []int64 {
	if n, ok := count(dims); !ok || n == 0 || n != int64(len(x)) {
		return nil
	}
	at := []int64{0}
	for _, w := range walks {
		var next []int64
		for _, k := range at {
			for i := range w.count {
				next = append(next, k+w.from+i*w.step)
			}
		}
		at = next
	}
	out := []int64{}
	for _, k := range at {
		if k < 0 || k >= int64(len(x)) { // one axis was cut twice
			return nil
		}
		out = append(out, x[k])
	}
	return out
}

func indices(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

func product(_ *inference, _ *graph.Node, in [][]int64) []int64 {
	if slices.Contains(in[0], open) {
		return []int64{open}
	}
	out := int64(1)
	for _, v := range in[0] {
		out *= v
	}
	return []int64{out}
}

func choose(_ *inference, _ *graph.Node, in [][]int64) []int64 {
	if len(in) != 3 {
		return nil
	}
	return elementwise(in, func(v []int64) int64 {
		switch {
		case v[0] == open && v[1] != v[2]:
			return open
		case v[0] != 0:
			return v[1]
		}
		return v[2]
	})
}

// arithmetic makes a rule of f, which is given one element of each of two inputs, where those are known.
func arithmetic(f func(a, b int64) int64) intsRule {
	return known(func(_ *inference, _ *graph.Node, in [][]int64) []int64 {
		if len(in) != 2 {
			return nil
		}
		return elementwise(in, func(v []int64) int64 {
			if v[0] == open || v[1] == open {
				return open
			}
			return f(v[0], v[1])
		})
	})
}

// elementwise applies f to lists of one length, or of one element, which is repeated.
func elementwise(in [][]int64, f func([]int64) int64) []int64 {
	size := 1
	for _, v := range in {
		if len(v) != 1 {
			size = len(v)
		}
	}
	args := make([]int64, len(in))
	out := make([]int64, size)
	for i := range out {
		for k, v := range in {
			switch {
			case len(v) == 1:
				args[k] = v[0]
			case len(v) == size:
				args[k] = v[i]
			default:
				return nil
			}
		}
		out[i] = f(args)
	}
	return out
}

func add(a, b int64) int64      { return a + b }
func subtract(a, b int64) int64 { return a - b }
func multiply(a, b int64) int64 { return a * b }
func larger(a, b int64) int64   { return max(a, b) }
func smaller(a, b int64) int64  { return min(a, b) }

func equal(a, b int64) int64 {
	if a == b {
		return 1
	}
	return 0
}

func divide(a, b int64) int64 {
	if b == 0 || a%b != 0 { // the quotient may be one of floating-point numbers, which pass as integers here
		return open
	}
	return a / b
}

func modulo(a, b int64) int64 {
	if b == 0 {
		return open
	}
	if r := a % b; r == 0 || a > 0 == (b > 0) { // otherwise the sign depends on an attribute
		return r
	}
	return open
}

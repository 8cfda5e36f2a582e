package graph

import (
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// The integers that shapes are computed from.

// open stands for an integer that is not known. It is not -1, which Reshape and Slice give a meaning.
const open = math.MinInt64

// dimensions reads an integer tensor as a shape, with what is not known or negative as unknown; nil if not even its
// length is known.
func (s *shapes) dimensions(name string) []int64 {
	v, ok := s.ints[name]
	if !ok {
		if d := s.dims[name]; len(d) == 1 && d[0] > 0 && d[0] <= maxRank {
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

// foldInts computes an integer tensor; nil if n gives none.
func (s *shapes) foldInts(n *onnxpb.NodeProto) []int64 {
	switch n.GetOpType() {
	case "Constant":
		if a := attr(n, "value_ints"); a != nil {
			return a.Ints
		}
		if a := attr(n, "value_int"); a != nil {
			return []int64{a.GetI()}
		}
		return nil
	case "Shape":
		return s.foldShape(n)
	case "Concat":
		var out []int64
		for _, name := range n.Input {
			v, ok := s.ints[name]
			if !ok {
				if d := s.dims[name]; len(d) != 1 || d[0] < 0 || d[0] > maxInts {
					return nil
				}
				v = slices.Repeat([]int64{open}, int(s.dims[name][0]))
			}
			out = append(out, v...)
		}
		return out
	}
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
	x := in[0]
	switch n.GetOpType() {
	case "Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Floor", "Ceil", "Round":
		return x
	case "Gather":
		if len(in) != 2 || len(s.dims[first(n)]) != 1 {
			return nil
		}
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
	case "Slice", "Transpose":
		return s.rearrange(n, x)
	case "ConstantOfShape":
		return fill(n, x)
	case "ReduceProd":
		out := int64(1)
		for _, v := range x {
			out = intOp("Mul", out, v)
		}
		return []int64{out}
	case "Where":
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
	case "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Equal":
		if len(in) != 2 {
			return nil
		}
		return elementwise(in, func(v []int64) int64 { return intOp(n.GetOpType(), v[0], v[1]) })
	}
	return nil
}

// foldShape computes a Shape node.
func (s *shapes) foldShape(n *onnxpb.NodeProto) []int64 {
	d := s.dims[first(n)]
	if d == nil {
		return nil
	}
	lo, hi := attrInt(n, "start", 0), attrInt(n, "end", math.MaxInt32)
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

// rearrange computes a Slice or Transpose node: PyTorch's pad reverses its list of integers by them.
func (s *shapes) rearrange(n *onnxpb.NodeProto, x []int64) []int64 {
	dims := s.dims[first(n)]
	count := int64(1)
	for _, d := range dims {
		if d < 1 || d > maxInts || count > maxInts {
			return nil
		}
		count *= d
	}
	if count != int64(len(x)) {
		return nil
	}
	from, step, size := make([]int64, len(dims)), make([]int64, len(dims)), slices.Clone(dims)
	stride := int64(1)
	for i, d := range slices.Backward(dims) {
		step[i] = stride
		stride *= d
	}
	if n.GetOpType() == "Transpose" {
		order := transpose(n, indices(len(dims)))
		if len(order) != len(dims) {
			return nil
		}
		strides := slices.Clone(step)
		for i, k := range order {
			step[i], size[i] = strides[k], dims[k]
		}
	} else {
		cuts, ok := s.cuts(n, dims)
		if !ok {
			return nil
		}
		for _, c := range cuts {
			from[c.axis], size[c.axis] = c.from*step[c.axis], c.count
			step[c.axis] *= c.step
		}
	}
	out := []int64{}
	var walk func(axis int, at int64)
	walk = func(axis int, at int64) {
		if axis == len(dims) {
			out = append(out, x[at])
			return
		}
		for i := range size[axis] {
			walk(axis+1, at+from[axis]+i*step[axis])
		}
	}
	walk(0, 0)
	return out
}

func indices(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// fill computes a ConstantOfShape node of integers.
func fill(n *onnxpb.NodeProto, shape []int64) []int64 {
	a := attr(n, "value")
	if a == nil || a.T == nil {
		return nil
	}
	v, ok := tensorInts(a.T)
	if !ok || len(v) != 1 {
		return nil
	}
	count := int64(1)
	for _, d := range shape {
		if d < 0 || d > maxInts || count > maxInts {
			return nil
		}
		count *= d
	}
	if count > maxInts {
		return nil
	}
	return slices.Repeat(v, int(count))
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

func intOp(op string, a, b int64) int64 {
	if a == open || b == open {
		return open
	}
	switch op {
	case "Add":
		return a + b
	case "Sub":
		return a - b
	case "Mul":
		return a * b
	case "Max":
		return max(a, b)
	case "Min":
		return min(a, b)
	case "Equal":
		if a == b {
			return 1
		}
		return 0
	}
	if b == 0 {
		return open
	}
	if op == "Mod" {
		if r := a % b; r == 0 || a > 0 == (b > 0) { // otherwise the sign depends on an attribute
			return r
		}
		return open
	}
	if a%b != 0 { // the quotient may be one of floating-point numbers, which pass as integers here
		return open
	}
	return a / b
}

package graph

import (
	"math"
	"slices"
	"strings"

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
		if len(in) != 2 {
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
	case "Slice":
		if len(in) < 3 || len(in) > 4 || len(in[1]) != 1 || len(in[2]) != 1 || in[1][0] == open || in[2][0] == open {
			return nil
		}
		a, b := clampAxis(in[1][0], len(x)), clampAxis(in[2][0], len(x))
		if a > b {
			return nil
		}
		return slices.Clone(x[a:b])
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

// tile computes the shape of a Tile node.
func (s *shapes) tile(n *onnxpb.NodeProto, x []int64) []int64 {
	times := s.dimensions(second(n))
	if len(times) != len(x) {
		return nil
	}
	out := slices.Clone(x)
	for i, t := range times {
		if out[i] < 0 || t < 0 {
			out[i] = unknown
		} else {
			out[i] *= t
		}
	}
	return out
}

// resize computes the shape of a Resize node. Images are resized, not batches or channels.
func (s *shapes) resize(n *onnxpb.NodeProto, x []int64) []int64 {
	if len(n.Input) > 3 {
		if sizes := s.dimensions(n.Input[3]); len(sizes) == len(x) {
			return sizes
		}
	}
	if len(x) < 3 {
		return nil
	}
	out := slices.Clone(x)
	for i := range out[2:] {
		out[2+i] = unknown
	}
	return out
}

// einsum computes the shape of an Einsum node with an explicit output and no ellipsis.
func (s *shapes) einsum(n *onnxpb.NodeProto) []int64 {
	a := attr(n, "equation")
	if a == nil {
		return nil
	}
	left, right, ok := strings.Cut(strings.ReplaceAll(string(a.S), " ", ""), "->")
	terms := strings.Split(left, ",")
	if !ok || strings.Contains(left, ".") || len(terms) != len(n.Input) {
		return nil
	}
	size := map[rune]int64{}
	for i, term := range terms {
		d := s.dims[n.Input[i]]
		if d != nil && len(d) != len([]rune(term)) {
			return nil
		}
		for k, label := range []rune(term) {
			if d == nil || d[k] < 0 {
				continue
			}
			size[label] = max(size[label], d[k])
		}
	}
	out := []int64{}
	for _, label := range right {
		if d, ok := size[label]; ok {
			out = append(out, d)
		} else {
			out = append(out, unknown)
		}
	}
	return out
}

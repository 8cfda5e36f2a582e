package shape

import (
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The integers that shapes are computed from.

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
	if a := graph.Attr(n, "value_int"); a != nil {
		return []int64{a.GetI()}
	}
	return graph.Attr(n, "value_ints").GetInts()
}

func shapeInts(s *inference, n *graph.Node) []int64 {
	d := s.in(n, 0)
	lo := clampAxis(graph.AttrInt(n, "start", 0), len(d))
	hi := clampAxis(graph.AttrInt(n, "end", math.MaxInt32), len(d))
	if d == nil || lo > hi {
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
	for i := range n.Input {
		v := s.list(n, i)
		if v == nil {
			return nil
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
	v, ok := tensorInts(graph.Attr(n, "value").GetT())
	size, fits := count(in[0])
	if !ok || len(v) != 1 || !fits {
		return nil
	}
	return slices.Repeat(v, int(size))
}

func transposeInts(s *inference, n *graph.Node, in [][]int64) []int64 {
	dims := s.in(n, 0)
	size, ok := count(dims)
	order := transpose(s, n, indices(len(dims)))
	if !ok || size != int64(len(in[0])) || len(order) != len(dims) {
		return nil
	}
	out := []int64{0} // positions first, in the order of the result
	for _, axis := range order {
		inner, _ := count(dims[axis+1:])
		var next []int64
		for _, at := range out {
			for i := range dims[axis] {
				next = append(next, at+i*inner)
			}
		}
		out = next
	}
	for i, at := range out {
		out[i] = in[0][at]
	}
	return out
}

// PyTorch's pad reverses its list of integers by a Slice of step -1.
func sliceInts(s *inference, n *graph.Node, in [][]int64) []int64 {
	x, dims := in[0], slices.Clone(s.in(n, 0))
	cuts, known := s.cuts(n, dims)
	if size, ok := count(dims); !ok || !known || size != int64(len(x)) {
		return nil
	}
	for _, c := range cuts {
		inner, _ := count(dims[c.axis+1:])
		out := []int64{}
		for ; int64(len(x)) >= dims[c.axis]*inner && len(x) > 0; x = x[dims[c.axis]*inner:] {
			for i := range min(c.count, dims[c.axis]) {
				at := (c.from + i*c.step) * inner
				out = append(out, x[at:at+inner]...)
			}
		}
		x, dims[c.axis] = out, c.count
	}
	return x
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

func choose(v []int64) int64 {
	switch {
	case v[0] == open && v[1] != v[2]:
		return open
	case v[0] != 0:
		return v[1]
	}
	return v[2]
}

// arithmetic makes a rule of f, which is given one element of each of two inputs, where those are known.
func arithmetic(f func(a, b int64) int64) intsRule {
	return elementwise(2, func(v []int64) int64 {
		if v[0] == open || v[1] == open {
			return open
		}
		return f(v[0], v[1])
	})
}

// elementwise makes a rule of f on an element of each of so many inputs, of one length, or of one element, repeated.
func elementwise(inputs int, f func([]int64) int64) intsRule {
	return known(func(_ *inference, _ *graph.Node, in [][]int64) []int64 {
		size := 1
		for _, v := range in {
			if len(v) != 1 {
				size = len(v)
			}
		}
		short := func(v []int64) bool { return len(v) != 1 && len(v) != size }
		if len(in) != inputs || slices.ContainsFunc(in, short) {
			return nil
		}
		args, out := make([]int64, inputs), make([]int64, size)
		for i := range out {
			for k, v := range in {
				args[k] = v[min(i, len(v)-1)]
			}
			out[i] = f(args)
		}
		return out
	})
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

// quotient is that of integers without a remainder; floating-point numbers pass as integers only where there is none.
func quotient(s *inference, n *graph.Node) []int64 {
	real := s.isReal(n)
	return arithmetic(func(a, b int64) int64 {
		if b == 0 || real && a%b != 0 {
			return open
		}
		return a / b
	})(s, n)
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

package shape

import (
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// The shape rules of operators that cut, pad and repeat.

func slice(s *inference, n *graph.Node, x []int64) []int64 {
	if x == nil {
		return nil
	}
	out := slices.Clone(x)
	if len(n.Input) < 3 { // up to operator set 9 attributes say what to take
		return slices.Repeat([]int64{unknown}, len(x))
	}
	cuts, ok := s.cuts(n, x)
	if !ok { // without all of it, at least the axes that are left alone
		axes := s.values(n, 3)
		if graph.Input(n, 3) == "" {
			axes = indices(len(s.values(n, 1)))
		}
		if len(axes) == 0 {
			axes = indices(len(x))
		}
		for _, axis := range axes {
			k := clampAxis(axis, len(x))
			if int(k) >= len(x) {
				return nil
			}
			out[k] = unknown
		}
		return out
	}
	for _, c := range cuts {
		out[c.axis] = c.count
	}
	return out
}

// sliceCut is what a Slice node takes of one axis: count elements.
type sliceCut struct {
	axis, from, step, count int64
}

// cuts reads a Slice node whose parameters are all known.
func (s *inference) cuts(n *graph.Node, x []int64) ([]sliceCut, bool) {
	lo, hi := s.values(n, 1), s.values(n, 2)
	axes, steps := s.values(n, 3), s.values(n, 4)
	if graph.Input(n, 3) == "" {
		axes = indices(len(lo))
	}
	if graph.Input(n, 4) == "" {
		steps = slices.Repeat([]int64{1}, len(lo))
	}
	if lo == nil || len(lo) != len(hi) || len(lo) != len(axes) || len(lo) != len(steps) ||
		slices.Contains(slices.Concat(lo, hi, steps), open) {
		return nil, false
	}
	out := make([]sliceCut, len(lo))
	for i, axis := range axes {
		k := clampAxis(axis, len(x))
		if axis == open || int(k) >= len(x) || x[k] < 0 || steps[i] == 0 {
			return nil, false
		}
		c := sliceCut{axis: k, step: steps[i]}
		if c.step > 0 {
			c.from = clampAxis(lo[i], int(x[k]))
			c.count = max(0, (clampAxis(hi[i], int(x[k]))-c.from+c.step-1)/c.step)
		} else {
			c.from = min(fromEnd(lo[i], x[k]), x[k]-1)
			c.count = max(0, (c.from-max(fromEnd(hi[i], x[k]), -1)-c.step-1)/-c.step)
		}
		out[i] = c
	}
	return out, true
}

// fromEnd counts a negative position from the end.
func fromEnd(k, n int64) int64 {
	if k < 0 {
		return k + n
	}
	return k
}

// pad computes the shape of a Pad node.
func pad(s *inference, n *graph.Node, x []int64) []int64 {
	pads := s.values(n, 1)
	if a := graph.Attr(n, "pads"); a != nil {
		pads = a.Ints
	}
	axes := indices(len(x))
	if graph.Input(n, 3) != "" {
		axes = s.values(n, 3)
	}
	out := slices.Clone(x)
	if len(pads) != 2*len(axes) || len(pads) == 0 {
		for i := range out {
			out[i] = unknown
		}
		return out
	}
	for i, axis := range axes {
		k := clampAxis(axis, len(x))
		if int(k) >= len(x) {
			return nil
		}
		if before, after := pads[i], pads[i+len(axes)]; out[k] >= 0 && before != open && after != open {
			out[k] = max(0, out[k]+before+after)
		} else {
			out[k] = unknown
		}
	}
	return out
}

// span computes the shape of a Range node.
func span(s *inference, n *graph.Node, _ []int64) []int64 {
	out := []int64{unknown}
	from, to, by := s.values(n, 0), s.values(n, 1), s.values(n, 2)
	if len(from) == 1 && len(to) == 1 && len(by) == 1 && from[0] != open && to[0] != open && by[0] > 0 {
		out[0] = max(0, (to[0]-from[0]+by[0]-1)/by[0])
	}
	return out
}

// tile computes the shape of a Tile node.
func tile(s *inference, n *graph.Node, x []int64) []int64 {
	times := s.dimensions(n, 1)
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

// topK computes the shapes of a TopK node: values and their positions.
func topK(s *inference, n *graph.Node, x []int64) []int64 {
	axis := clampAxis(graph.AttrInt(n, "axis", -1), len(x))
	if int(axis) >= len(x) {
		return nil
	}
	for _, name := range n.Output {
		out := slices.Clone(x)
		out[axis] = unknown
		if k := s.values(n, 1); len(k) == 1 {
			out[axis] = max(k[0], unknown)
		}
		s.dims.Refine(name, out)
	}
	return nil
}

// resize computes the shape of a Resize node. Images are resized, not batches or channels.
func resize(s *inference, n *graph.Node, x []int64) []int64 {
	if len(n.Input) > 3 {
		if sizes := s.dimensions(n, 3); len(sizes) == len(x) {
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
func einsum(s *inference, n *graph.Node, _ []int64) []int64 {
	a := graph.Attr(n, "equation")
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

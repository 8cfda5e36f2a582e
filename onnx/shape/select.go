package shape

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The shape rules of operators that take parts.

func slice(s *inference, n *graph.Node, x []int64) []int64 {
	if x == nil {
		return nil
	}
	if len(n.Input) < 3 { // up to operator set 9 attributes say what to take
		return slices.Repeat([]int64{unknown}, len(x))
	}
	out := slices.Clone(x)
	if cuts, ok := s.cuts(n, x); ok {
		for _, c := range cuts {
			out[c.axis] = c.count
		}
		return out
	}
	axes := s.cutAxes(n) // without all of it, at least the axes that are left alone
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

// sliceCut is what a Slice node takes of one axis: count elements.
type sliceCut struct {
	axis, from, step, count int64
}

// cuts reads a Slice node whose parameters are all known.
func (s *inference) cuts(n *graph.Node, x []int64) ([]sliceCut, bool) {
	lo, hi, axes, steps := s.values(n, 1), s.values(n, 2), s.cutAxes(n), s.values(n, 4)
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
		twice := slices.ContainsFunc(out[:i], func(c sliceCut) bool { return c.axis == k })
		if axis == open || int(k) >= len(x) || x[k] < 0 || steps[i] == 0 || twice {
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

// cutAxes returns the axes of a Slice node, nil if they are not known.
func (s *inference) cutAxes(n *graph.Node) []int64 {
	if graph.Input(n, 3) == "" {
		return indices(len(s.values(n, 1)))
	}
	return s.values(n, 3)
}

// fromEnd counts a negative position from the end.
func fromEnd(k, n int64) int64 {
	if k < 0 {
		return k + n
	}
	return k
}

func gather(s *inference, n *graph.Node, x []int64) []int64 {
	idx := s.in(n, 1)
	if x == nil || idx == nil {
		return nil
	}
	axis := clampAxis(graph.AttrInt(n, "axis", 0), len(x))
	if int(axis) >= len(x) {
		return nil
	}
	return append(append(slices.Clone(x[:axis]), idx...), x[axis+1:]...) // slices.Concat makes nil of a scalar's shape
}

func gatherND(s *inference, n *graph.Node, x []int64) []int64 {
	idx := s.in(n, 1)
	if x == nil || len(idx) == 0 || graph.AttrInt(n, "batch_dims", 0) != 0 {
		return nil
	}
	taken := idx[len(idx)-1]
	if taken < 0 || taken > int64(len(x)) {
		return nil
	}
	return append(slices.Clone(idx[:len(idx)-1]), x[taken:]...)
}

func split(s *inference, n *graph.Node, x []int64) []int64 {
	axis := clampAxis(graph.AttrInt(n, "axis", 0), len(x))
	if int(axis) >= len(x) {
		return nil
	}
	sizes := graph.Attr(n, "split").GetInts()
	if sizes == nil {
		sizes = s.dimensions(n, 1)
	}
	if sizes == nil && len(n.Input) < 2 && x[axis] > 0 {
		sizes = slices.Repeat([]int64{x[axis] / int64(len(n.Output))}, len(n.Output))
	}
	for i, name := range n.Output {
		out := slices.Clone(x)
		if out[axis] = unknown; i < len(sizes) {
			out[axis] = sizes[i]
		}
		s.dims.Refine(name, out)
	}
	return nil
}

// topK is of values and of their positions.
func topK(s *inference, n *graph.Node, x []int64) []int64 {
	axis := clampAxis(graph.AttrInt(n, "axis", -1), len(x))
	if int(axis) >= len(x) {
		return nil
	}
	k := s.dimensions(n, 1)
	for _, name := range n.Output {
		out := slices.Clone(x)
		if out[axis] = unknown; len(k) == 1 {
			out[axis] = k[0]
		}
		s.dims.Refine(name, out)
	}
	return nil
}

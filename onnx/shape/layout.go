package shape

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The shape rules of operators that rearrange, join, pad and repeat.

func reshape(s *inference, n *graph.Node, x []int64) []int64 {
	out := s.dimensions(n, 1)
	for i, d := range out {
		if d == 0 && graph.AttrInt(n, "allowzero", 0) == 0 {
			out[i] = unknown
			if i < len(x) {
				out[i] = x[i]
			}
		}
	}
	rest := unknown
	known := int64(1) // of the other dimensions
	for i, d := range out {
		switch {
		case d != unknown:
			known *= d
		case rest != unknown:
			return out // two unknowns: nothing more to say
		default:
			rest = i
		}
	}
	if total := graph.Elements(x); x != nil && total >= 0 && rest != unknown && known > 0 && total%known == 0 {
		out[rest] = total / known
	}
	return out
}

func transpose(_ *inference, n *graph.Node, x []int64) []int64 {
	out := slices.Clone(x)
	perm := indices(len(x))
	slices.Reverse(perm)
	if a := graph.Attr(n, "perm"); a != nil {
		perm = a.Ints
	}
	if len(perm) != len(x) || slices.ContainsFunc(perm, func(p int64) bool { return p < 0 || p >= int64(len(x)) }) {
		return nil
	}
	for i, p := range perm {
		out[i] = x[p]
	}
	return out
}

func flatten(_ *inference, n *graph.Node, x []int64) []int64 {
	if x == nil {
		return nil
	}
	axis := clampAxis(graph.AttrInt(n, "axis", 1), len(x))
	return []int64{graph.Elements(x[:axis]), graph.Elements(x[axis:])}
}

func concat(s *inference, n *graph.Node, x []int64) []int64 {
	out := slices.Clone(x)
	axis := clampAxis(graph.AttrInt(n, "axis", 0), len(x))
	for i := range n.Input {
		d := s.in(n, i)
		if d == nil || len(d) != len(out) {
			return nil
		}
		for k := range out {
			switch {
			case i > 0 && int64(k) == axis && out[k] >= 0 && d[k] >= 0:
				out[k] += d[k]
			case int64(k) == axis && d[k] < 0, int64(k) != axis && out[k] < 0:
				out[k] = d[k]
			}
		}
	}
	return out
}

// axes returns a node's axes, an attribute or in newer operator sets an input. Where added, they count to the rank.
func (s *inference) axes(n *graph.Node, rank int, added bool) (axes []int64, ok bool) {
	if a := graph.Attr(n, "axes"); a != nil {
		axes = a.Ints
	} else if name := graph.Input(n, 1); name != "" {
		if axes, ok = s.ints[name]; !ok {
			return nil, false
		}
	}
	if added {
		rank += len(axes)
	}
	axes = slices.Clone(axes)
	for i, a := range axes {
		if a < 0 {
			axes[i] += int64(rank)
		}
		if axes[i] < 0 || axes[i] >= int64(rank) {
			return nil, false
		}
	}
	slices.Sort(axes)
	return axes, true
}

func squeeze(s *inference, n *graph.Node, x []int64) []int64 {
	axes, ok := s.axes(n, len(x), false)
	if x == nil || !ok {
		return nil
	}
	out := []int64{}
	for i, d := range x {
		if (len(axes) > 0 || d != 1) && !slices.Contains(axes, int64(i)) {
			out = append(out, d)
		}
	}
	return out
}

func unsqueeze(s *inference, n *graph.Node, x []int64) []int64 {
	axes, ok := s.axes(n, len(x), true)
	if x == nil || !ok {
		return nil
	}
	out := slices.Clone(x)
	for _, a := range axes {
		out = slices.Insert(out, min(int(a), len(out)), 1)
	}
	return out
}

func pad(s *inference, n *graph.Node, x []int64) []int64 {
	pads, axes := s.values(n, 1), indices(len(x))
	if list := graph.Attr(n, "pads").GetInts(); list != nil {
		pads = list
	}
	if graph.Input(n, 3) != "" {
		axes = s.values(n, 3)
	}
	if len(pads) != 2*len(axes) || len(pads) == 0 {
		axes = indices(len(x))
		pads = slices.Repeat([]int64{open}, 2*len(axes))
	}
	out := slices.Clone(x)
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

func tile(s *inference, n *graph.Node, x []int64) []int64 {
	times := s.dimensions(n, 1)
	if len(times) != len(x) {
		return nil
	}
	out := slices.Clone(x)
	for i, t := range times {
		if out[i] *= t; x[i] < 0 || t < 0 {
			out[i] = unknown
		}
	}
	return out
}

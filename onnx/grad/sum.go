package grad

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// part is a gradient of a tensor, or of a part of it that lies along one axis.
type part struct {
	tensor    string
	some      bool // not all of it:
	axis      int
	from, end int64
}

// give adds to the gradient of a tensor, if one is wanted. It may be left to broadcasting.
func (t *tape) give(tensor, gradient string) {
	if t.live[tensor] {
		t.grads[tensor] = append(t.grads[tensor], part{tensor: gradient})
	}
}

// givePart adds to the gradient of the elements [from, end) along an axis.
func (t *tape) givePart(tensor, gradient string, axis int, from, end int64) {
	if t.live[tensor] {
		all := from == 0 && end == t.dims[tensor][axis]
		t.grads[tensor] = append(t.grads[tensor], part{gradient, !all, axis, from, end})
	}
}

// sum returns the gradient of a tensor, "" if it has none.
func (t *tape) sum(tensor string) string {
	parts := t.join(tensor, t.grads[tensor])
	if len(parts) == 0 {
		return ""
	}
	total := parts[0].tensor
	for _, p := range parts[1:] {
		total = t.add(total, p.tensor)
	}
	t.grads[tensor] = []part{{tensor: total}}
	return total
}

// join makes whole gradients of parts: neighbours are joined first, as the three of a stacked q, k and v are, and zeros
// put around the rest.
func (t *tape) join(tensor string, parts []part) (whole []part) {
	var some []part
	for _, p := range parts {
		if p.some {
			some = append(some, p)
		} else {
			whole = append(whole, p)
		}
	}
	slices.SortStableFunc(some, func(a, b part) int {
		if a.axis != b.axis {
			return a.axis - b.axis
		}
		return int(a.from - b.from)
	})
	for len(some) > 0 {
		run := []part{some[0]}
		var rest []part
		for _, p := range some[1:] {
			if end := run[len(run)-1]; p.axis == end.axis && p.from == end.end {
				run = append(run, p)
			} else {
				rest = append(rest, p)
			}
		}
		whole = append(whole, part{tensor: t.pad(tensor, run)})
		some = rest
	}
	return whole
}

// pad joins neighbours and puts zeros around them.
func (t *tape) pad(tensor string, run []part) string {
	dims, axis := t.dims[tensor], run[0].axis
	from, end := run[0].from, run[len(run)-1].end
	var names []string
	for _, p := range run {
		names = append(names, p.tensor)
	}
	x := names[0]
	if len(run) > 1 {
		joined := slices.Clone(dims)
		joined[axis] = end - from
		x = t.op("Concat", joined, names, graph.IntAttr("axis", int64(axis)))
	}
	if from == 0 && end == dims[axis] {
		return x
	}
	pads := make([]int64, 2*len(dims))
	pads[axis], pads[len(dims)+axis] = from, dims[axis]-end
	return t.op("Pad", dims, []string{x, t.list(pads...)})
}

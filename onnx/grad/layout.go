package grad

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The rules of operators that rearrange, join, take apart, pad and repeat.

// errIndices is for what is taken at places that only a run tells.
var errIndices = errors.New("what it takes is not known before it runs")

func reshape(t *tape, n *graph.Node, d []string) error {
	t.give(n.Input[0], t.reshape(d[0], t.dims[n.Input[0]], n.Input[0]))
	return nil
}

func transpose(t *tape, n *graph.Node, d []string) error {
	rank := len(t.dims[n.Input[0]])
	back := make([]int64, rank)
	perm := graph.Attr(n, "perm").GetInts()
	for i := range rank {
		from := int64(rank - 1 - i)
		if perm != nil {
			from = perm[i]
		}
		back[from] = int64(i)
	}
	t.give(n.Input[0], t.transpose(d[0], back...))
	return nil
}

func concat(t *tape, n *graph.Node, d []string) error {
	axis := axisAttr(n, "axis", 0, len(t.dims[n.Output[0]]))
	at := int64(0)
	for _, name := range n.Input {
		dims := t.dims[name]
		if len(dims) <= int(axis) || dims[axis] < 0 {
			return fmt.Errorf("the shape of its input %q is not known", name)
		}
		t.give(name, t.slice(d[0], axis, at, at+dims[axis]))
		at += dims[axis]
	}
	return nil
}

// slice takes the elements [from, end) along an axis.
func (t *tape) slice(x string, axis, from, end int64) string {
	dims := slices.Clone(t.dims[x])
	if from == 0 && dims[axis] == end {
		return x
	}
	dims[axis] = end - from
	return t.op("Slice", dims, []string{x, t.list(from), t.list(end), t.list(axis)})
}

func split(t *tape, n *graph.Node, d []string) error {
	axis := axisAttr(n, "axis", 0, len(t.dims[n.Input[0]]))
	at := int64(0)
	for i, name := range n.Output {
		dims := t.dims[name]
		if len(dims) <= int(axis) || dims[axis] < 0 {
			return fmt.Errorf("the shape of its output %q is not known", name)
		}
		if d[i] != "" {
			t.givePart(n.Input[0], d[i], int(axis), at, at+dims[axis])
		}
		at += dims[axis]
	}
	return nil
}

// slice undoes one axis after the other: what steps jumped over becomes zeros, then what was left out in front and
// behind.
func slice(t *tape, n *graph.Node, d []string) error {
	x := n.Input[0]
	dims := t.dims[x]
	from, ok1 := t.integers(graph.Input(n, 1))
	to, ok2 := t.integers(graph.Input(n, 2))
	axes, steps, ok3, ok4 := upTo(len(from)), slices.Repeat([]int64{1}, len(from)), true, true
	if graph.Input(n, 3) != "" {
		axes, ok3 = t.integers(n.Input[3])
	}
	if graph.Input(n, 4) != "" {
		steps, ok4 = t.integers(n.Input[4])
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || len(to) != len(from) || len(axes) != len(from) || len(steps) != len(from) {
		return errIndices
	}
	g := d[0]
	for i := len(from) - 1; i >= 0; i-- {
		axis := fromFront(axes[i], len(dims))
		size, count := dims[axis], t.dims[g][axis]
		if from[i] == 0 && to[i] >= math.MaxInt32 && steps[i] == 1 {
			continue // all of it
		}
		if size < 0 || count < 0 || steps[i] == 0 {
			return errIndices
		}
		start := from[i]
		if start < 0 {
			start += size
		}
		start, step := min(max(start, 0), size-1), steps[i]
		if step < 0 { // turned round: ascending from its last element
			start += step * (count - 1)
			step = -step
			g = t.turn(g, axis)
		}
		g = t.spread(g, axis, step)
		end := start + (count-1)*step + 1
		if i == 0 {
			t.givePart(x, g, int(axis), start, end)
			return nil
		}
		g = t.surround(g, axis, start, size-end)
	}
	t.give(x, g)
	return nil
}

// turn reverses an axis.
func (t *tape) turn(x string, axis int64) string {
	return t.op("Slice", t.dims[x], []string{x, t.list(-1), t.list(math.MinInt32), t.list(axis), t.list(-1)})
}

// surround puts zeros in front and behind along an axis.
func (t *tape) surround(x string, axis, front, behind int64) string {
	if front == 0 && behind == 0 {
		return x
	}
	dims := slices.Clone(t.dims[x])
	pads := make([]int64, 2*len(dims))
	pads[axis], pads[len(dims)+int(axis)] = front, behind
	dims[axis] += front + behind
	return t.op("Pad", dims, []string{x, t.list(pads...)})
}

// spread puts step-1 zeros between the elements along an axis.
func (t *tape) spread(x string, axis, step int64) string {
	dims := t.dims[x]
	if step == 1 || dims[axis] == 1 {
		return x
	}
	g := t.reshape(x, slices.Insert(slices.Clone(dims), int(axis)+1, 1), "")
	g = t.surround(g, axis+1, 0, step-1)
	flat := slices.Clone(dims)
	flat[axis] *= step
	return t.slice(t.reshape(g, flat, ""), axis, 0, flat[axis]-step+1)
}

// gather undoes what takes neighbours by zeros around them, and anything else by adding up where it was taken from.
func gather(t *tape, n *graph.Node, d []string) error {
	x, dims := n.Input[0], t.dims[n.Input[0]]
	axis := axisAttr(n, "axis", 0, len(dims))
	indexDims := t.dims[n.Input[1]]
	if indexDims == nil {
		return errIndices
	}
	index, known := t.integers(n.Input[1])
	if known && dims[axis] >= 0 {
		index = slices.Clone(index)
		neighbours := len(index) > 0
		for i := range index {
			index[i] = fromFront(index[i], int(dims[axis]))
			neighbours = neighbours && index[i] == index[0]+int64(i)
		}
		if neighbours {
			part := slices.Clone(dims)
			part[axis] = int64(len(index))
			t.givePart(x, t.reshape(d[0], part, ""), int(axis), index[0], index[0]+int64(len(index)))
			return nil
		}
	}
	if t.Opset() < 16 {
		return fmt.Errorf("its gradient needs operator set 16 or later, the model uses %d", t.Opset())
	}
	// Elements along the axis become rows, which are added up by ScatterND.
	count := size(indexDims)
	flat := slices.Concat(dims[:axis], []int64{count}, dims[axis+1:])
	g := t.reshape(d[0], flat, "")
	perm := slices.Insert(slices.Delete(upTo(len(dims)), int(axis), int(axis)+1), 0, axis)
	front := slices.Insert(slices.Delete(slices.Clone(dims), int(axis), int(axis)+1), 0, dims[axis])
	like := x
	if axis != 0 {
		g, like = t.transpose(g, perm...), t.transpose(x, perm...)
	}
	zeros := t.full(t.reshape(t.number(0), slices.Repeat([]int64{1}, len(front)), ""), like)
	places := t.op("Reshape", []int64{count, 1}, []string{t.cast(n.Input[1], "int64"), t.list(-1, 1)})
	g = t.op("ScatterND", front, []string{zeros, places, g}, graph.StringAttr("reduction", "add"))
	if axis != 0 {
		back := make([]int64, len(perm))
		for i, p := range perm {
			back[p] = int64(i)
		}
		g = t.transpose(g, back...)
	}
	t.give(x, g)
	return nil
}

func gatherND(t *tape, n *graph.Node, d []string) error {
	if graph.AttrInt(n, "batch_dims", 0) != 0 || t.Opset() < 16 {
		return errors.New("its gradient needs operator set 16 or later, and no batch_dims")
	}
	x := n.Input[0]
	t.give(x, t.op("ScatterND", t.dims[x], []string{t.full(t.number(0), x), n.Input[1], d[0]},
		graph.StringAttr("reduction", "add")))
	return nil
}

func scatterND(t *tape, n *graph.Node, d []string) error {
	if r := textAttr(n, "reduction", "none"); r != "none" {
		return fmt.Errorf("there is no rule for its reduction %q", r)
	}
	updates := n.Input[2]
	t.give(n.Input[0], t.op("ScatterND", t.dims[n.Input[0]], []string{d[0], n.Input[1],
		t.full(t.number(0), updates)}))
	t.give(updates, t.op("GatherND", t.dims[updates], []string{d[0], n.Input[1]}))
	return nil
}

func pad(t *tape, n *graph.Node, d []string) error {
	dims := t.dims[n.Input[0]]
	if mode := textAttr(n, "mode", "constant"); mode != "constant" {
		return fmt.Errorf("there is no rule for padding of mode %q", mode)
	}
	pads, ok := t.integers(graph.Input(n, 1))
	axes := upTo(len(dims))
	if name := graph.Input(n, 3); name != "" {
		var known bool
		axes, known = t.integers(name)
		ok = ok && known
	}
	if !ok || len(pads) != 2*len(axes) {
		return errIndices
	}
	g := d[0]
	for i, axis := range axes {
		axis = fromFront(axis, len(dims))
		front, behind := pads[i], pads[i+len(axes)]
		switch {
		case front == 0 && behind == 0:
		case front < 0 || behind < 0 || dims[axis] < 0:
			return errors.New("there is no rule for what it pads")
		default:
			g = t.slice(g, axis, front, front+dims[axis])
		}
	}
	t.give(n.Input[0], g)
	return nil
}

func tile(t *tape, n *graph.Node, d []string) error {
	dims, out := t.dims[n.Input[0]], t.dims[n.Output[0]]
	var apart, axes []int64 // every axis as its repetitions, and what is repeated
	for i := range dims {
		times := int64(1)
		switch {
		case dims[i] == out[i]:
		case dims[i] > 0 && out[i] != open && out[i]%dims[i] == 0:
			times = out[i] / dims[i] // a multiple of the batch if that is repeated
		default:
			return errIndices
		}
		if times != 1 {
			axes = append(axes, int64(len(apart)))
			apart = append(apart, times)
		}
		apart = append(apart, dims[i])
	}
	g := d[0]
	if len(axes) > 0 {
		g = t.reduce("ReduceSum", t.reshape(g, apart, ""), false, axes...)
	}
	t.give(n.Input[0], g)
	return nil
}

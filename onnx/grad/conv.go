package grad

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// window is how a convolution moves over its input, per spatial axis, all numbers known.
type window struct {
	size, stride, dilation, front, behind []int64
	in, out                               []int64 // positions
	group                                 int64
}

func (t *tape) window(n *graph.Node) (window, error) {
	x, w, y := t.dims[n.Input[0]], t.dims[n.Input[1]], t.dims[n.Output[0]]
	if len(x) != len(w) || len(y) != len(x) || len(x) < 3 || slices.Min(w) < 1 || slices.Min(x[1:]) < 1 ||
		slices.Min(y[1:]) < 1 {
		return window{}, errors.New("the number of its positions is not known")
	}
	spatial := len(x) - 2
	list := func(name string, def int64, size int) []int64 {
		if v := graph.Attr(n, name).GetInts(); len(v) == size {
			return v
		}
		return slices.Repeat([]int64{def}, size)
	}
	pads := list("pads", 0, 2*spatial)
	c := window{size: w[2:], stride: list("strides", 1, spatial), dilation: list("dilations", 1, spatial),
		front: pads[:spatial], behind: pads[spatial:], in: x[2:], out: y[2:], group: graph.AttrInt(n, "group", 1)}
	switch auto := textAttr(n, "auto_pad", "NOTSET"); auto {
	case "NOTSET", "VALID":
	default:
		return c, fmt.Errorf("there is no rule for auto_pad %s", auto)
	}
	return c, nil
}

// reach is how many positions of the padded input are read along an axis.
func (c window) reach(i int) int64 {
	return (c.out[i]-1)*c.stride[i] + (c.size[i]-1)*c.dilation[i] + 1
}

// left is how many positions at the end of the padded input are not read.
func (c window) left(i int) int64 { return c.in[i] + c.front[i] + c.behind[i] - c.reach(i) }

func conv(t *tape, n *graph.Node, d []string) error {
	c, err := t.window(n)
	if err != nil {
		return err
	}
	x, w := n.Input[0], n.Input[1]
	if t.live[x] {
		rest := make([]int64, len(c.size))
		for i := range rest {
			rest[i] = c.left(i)
		}
		t.give(x, t.op("ConvTranspose", t.dims[x], []string{d[0], w}, graph.IntsAttr("strides", c.stride...),
			graph.IntsAttr("pads", append(slices.Clone(c.front), c.behind...)...), graph.IntAttr("group", c.group),
			graph.IntsAttr("dilations", c.dilation...), graph.IntsAttr("output_padding", rest...)))
	}
	if t.live[w] {
		switch {
		case c.group > 1:
			t.give(w, t.shifted(c, x, w, d[0]))
		case c.apart():
			t.give(w, t.patches(c, x, w, d[0]))
		default:
			t.give(w, t.correlation(c, x, w, d[0]))
		}
	}
	if graph.Input(n, 2) != "" {
		axes := slices.Delete(upTo(len(t.dims[x])), 1, 2)
		t.give(n.Input[2], t.reduce("ReduceSum", d[0], false, axes...))
	}
	return nil
}

// apart reports whether windows lie side by side and cover the input, as patches do.
func (c window) apart() bool {
	for i := range c.size {
		if c.size[i] != c.stride[i] || c.dilation[i] != 1 || c.front[i] != 0 || c.behind[i] != 0 || c.left(i) != 0 {
			return false
		}
	}
	return true
}

// patches is the gradient of weights by one product, for windows that lie side by side.
func (t *tape) patches(c window, x, w, d string) string {
	dims, weights := t.dims[x], t.dims[w]
	split := slices.Clone(dims[:2])
	order := []int64{0} // batch and positions, then channel and place in the window
	behind := []int64{1}
	for i := range c.size {
		order, behind = append(order, int64(len(split))), append(behind, int64(len(split))+1)
		split = append(split, c.out[i], c.size[i])
	}
	columns := size(weights[1:])
	rows := size(append([]int64{dims[0]}, c.out...))
	apart := t.transpose(t.reshape(x, split, ""), append(order, behind...)...)
	flat := t.reshape(apart, []int64{rows, columns}, "")
	channels := append(slices.Insert(upTo(len(dims))[2:], 0, int64(0)), 1)
	dy := t.reshape(t.transpose(d, channels...), []int64{rows, weights[0]}, "")
	return t.reshape(t.gemm(dy, flat, true, false, 1), weights, w)
}

// correlation is the gradient of weights as a convolution in which batch and channels have changed places.
func (t *tape) correlation(c window, x, w, d string) string {
	perm := upTo(len(t.dims[x]))
	perm[0], perm[1] = 1, 0
	weights := t.dims[w]
	dims := []int64{weights[1], weights[0]}
	for i := range c.size {
		dims = append(dims, c.size[i]+c.left(i)/c.dilation[i])
	}
	g := t.op("Conv", dims, []string{t.transpose(x, perm...), t.transpose(d, perm...)},
		graph.IntsAttr("strides", c.dilation...), graph.IntsAttr("dilations", c.stride...),
		graph.IntsAttr("pads", append(slices.Clone(c.front), c.behind...)...))
	for i := range c.size {
		g = t.slice(g, int64(i+2), 0, c.size[i])
	}
	return t.transpose(g, perm...)
}

// shifted is the gradient of the weights of several groups: for every place in the window, the product of what lies
// there with the gradient, group by group.
func (t *tape) shifted(c window, x, w, d string) string {
	for i := range c.size {
		x = t.surround(x, int64(i+2), c.front[i], c.behind[i])
	}
	dims, weights := t.dims[x], t.dims[w]
	places, positions := size(c.size), size(c.out)
	dy := t.reshape(d, []int64{dims[0], c.group, weights[0] / c.group, positions}, "")
	var parts []string
	for place := range places {
		part := x
		for i := len(c.size) - 1; i >= 0; i-- {
			from := place % c.size[i] * c.dilation[i]
			place /= c.size[i]
			shape := slices.Clone(t.dims[part])
			shape[i+2] = c.out[i]
			part = t.op("Slice", shape, []string{part, t.list(from), t.list(from + (c.out[i]-1)*c.stride[i] + 1),
				t.list(int64(i + 2)), t.list(c.stride[i])})
		}
		part = t.reshape(part, []int64{dims[0], c.group, weights[1], positions}, "")
		g := t.reduce("ReduceSum", t.product(dy, t.swap(part)), false, 0)
		parts = append(parts, t.reshape(g, []int64{weights[0], weights[1], 1}, ""))
	}
	joined := t.op("Concat", []int64{weights[0], weights[1], places}, parts, graph.IntAttr("axis", 2))
	return t.reshape(joined, weights, w)
}

package grad

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// window is how a convolution moves over its input, per spatial axis, all numbers known.
type window struct {
	size, stride, dilation, front, behind []int64
	in, out                               []int64 // positions
	group                                 int64
}

// mostPlaces are as many as rules are written out for.
const mostPlaces = 1 << 26

// window is that of a convolution or a pooling of some size.
func (t *tape) window(n *graph.Node, size []int64) (window, error) {
	x, y := t.dims[n.Input[0]], t.dims[n.Output[0]]
	if len(x) != len(size)+2 || len(y) != len(x) || len(x) < 3 || slices.Min(size) < 1 || slices.Min(x[1:]) < 1 ||
		slices.Min(y[1:]) < 1 {
		return window{}, errors.New("the number of its positions is not known")
	}
	places := 1.0
	for _, d := range slices.Concat(size, y[2:]) {
		places *= float64(d)
	}
	if places > mostPlaces {
		return window{}, fmt.Errorf("its windows have %.3g places, more than %d", places, mostPlaces)
	}
	spatial := len(x) - 2
	list := func(name string, def int64, size int) []int64 {
		if v := graph.Attr(n, name).GetInts(); len(v) == size {
			return v
		}
		return slices.Repeat([]int64{def}, size)
	}
	pads := list("pads", 0, 2*spatial)
	c := window{size: size, stride: list("strides", 1, spatial), dilation: list("dilations", 1, spatial),
		front: pads[:spatial], behind: pads[spatial:], in: x[2:], out: y[2:], group: graph.AttrInt(n, "group", 1)}
	switch auto := textAttr(n, "auto_pad", "NOTSET"); auto {
	case "NOTSET", "VALID":
	default:
		return c, fmt.Errorf("there is no rule for auto_pad %s", auto)
	}
	for i := range size {
		if c.left(i) < 0 {
			return c, errors.New("there is no rule for windows that reach out of the padded input (ceil_mode)")
		}
	}
	return c, nil
}

// reach is how many positions of the padded input are read along an axis.
func (c window) reach(i int) int64 {
	return (c.out[i]-1)*c.stride[i] + (c.size[i]-1)*c.dilation[i] + 1
}

// left is how many positions at the end of the padded input are not read.
func (c window) left(i int) int64 { return c.in[i] + c.front[i] + c.behind[i] - c.reach(i) }

// transposed is the transpose of a convolution: it brings what lies at the positions back to where they were read from.
func (t *tape) transposed(c window, x, d, w string) string {
	rest := make([]int64, len(c.size))
	for i := range rest {
		rest[i] = c.left(i)
	}
	return t.op("ConvTranspose", t.dims[x], []string{d, w}, graph.IntsAttr("strides", c.stride...),
		graph.IntsAttr("pads", append(slices.Clone(c.front), c.behind...)...), graph.IntAttr("group", c.group),
		graph.IntsAttr("dilations", c.dilation...), graph.IntsAttr("output_padding", rest...))
}

func conv(t *tape, n *graph.Node, d []string) error {
	x, w := n.Input[0], n.Input[1]
	if len(t.dims[w]) < 3 {
		return errors.New("the shape of its weight is not known")
	}
	c, err := t.window(n, t.dims[w][2:])
	if err != nil {
		return err
	}
	if t.live[x] {
		t.give(x, t.transposed(c, x, d[0], w))
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
		part := t.at(c, x, place)
		part = t.reshape(part, []int64{dims[0], c.group, weights[1], positions}, "")
		g := t.reduce("ReduceSum", t.product(dy, t.swap(part)), false, 0)
		parts = append(parts, t.reshape(g, []int64{weights[0], weights[1], 1}, ""))
	}
	joined := t.op("Concat", []int64{weights[0], weights[1], places}, parts, graph.IntAttr("axis", 2))
	return t.reshape(joined, weights, w)
}

// at takes from a padded input what lies at one place, of size 1, of each window.
func (t *tape) at(c window, x string, place int64) string {
	for i := len(c.size) - 1; i >= 0; i-- {
		from := place % c.size[i] * c.dilation[i]
		place /= c.size[i]
		dims := slices.Clone(t.dims[x])
		dims[i+2] = c.out[i]
		x = t.op("Slice", dims, []string{x, t.list(from), t.list(from + (c.out[i]-1)*c.stride[i] + 1),
			t.list(int64(i + 2)), t.list(c.stride[i])})
	}
	return x
}

// putBack is the reverse of at: zeros everywhere else, and the padding gone.
func (t *tape) putBack(c window, d string, place int64) string {
	for i := len(c.size) - 1; i >= 0; i-- {
		axis, from := int64(i+2), place%c.size[i]*c.dilation[i]
		place /= c.size[i]
		d = t.spread(d, axis, c.stride[i])
		d = t.surround(d, axis, from, c.in[i]+c.front[i]+c.behind[i]-from-t.dims[d][axis])
		d = t.slice(d, axis, c.front[i], c.front[i]+c.in[i])
	}
	return d
}

// averagePool is a convolution whose weights are one over the elements that a window has.
func averagePool(t *tape, n *graph.Node, d []string) error {
	c, err := t.window(n, graph.Attr(n, "kernel_shape").GetInts())
	if err != nil {
		return err
	}
	padding := graph.AttrInt(n, "count_include_pad", 0) != 0
	shares := []float32{1}
	for i := range c.size { // position by position: one over the product of the counts along the axes
		var next []float32
		for _, share := range shares {
			for at := range c.out[i] {
				count := int64(0)
				for k := range c.size[i] {
					if p := at*c.stride[i] + k*c.dilation[i] - c.front[i]; padding || p >= 0 && p < c.in[i] {
						count++
					}
				}
				next = append(next, share/float32(max(count, 1)))
			}
		}
		shares = next
	}
	x := n.Input[0]
	c.group = t.dims[x][1]
	over := append([]int64{1, 1}, c.out...)
	share := t.Floats(n.GetName()+"/shares", over, shares...)
	weights := append([]int64{c.group, 1}, c.size...)
	ones := t.Floats(n.GetName()+"/ones", weights, slices.Repeat([]float32{1}, int(size(weights)))...)
	t.dims[share] = over
	t.give(x, t.transposed(c, x, t.mul(d[0], share), ones))
	return nil
}

// maxPool shares the gradient among equals.
func maxPool(t *tape, n *graph.Node, d []string) error {
	c, err := t.window(n, graph.Attr(n, "kernel_shape").GetInts())
	if err != nil {
		return err
	}
	x, rank := n.Input[0], len(t.dims[n.Input[0]])
	pads, dims := make([]int64, 2*rank), slices.Clone(t.dims[x])
	for i := range c.size {
		pads[i+2], pads[rank+i+2] = c.front[i], c.behind[i]
		dims[i+2] += c.front[i] + c.behind[i]
	}
	padded := t.op("Pad", dims, []string{x, t.list(pads...), t.number(math.Inf(-1))})
	var ones []string
	for place := range size(c.size) {
		ones = append(ones, t.when(t.each("Equal", t.at(c, padded, place), n.Output[0]), t.number(1), t.number(0)))
	}
	share := t.div(d[0], t.each("Sum", ones...))
	for place, one := range ones {
		t.give(x, t.putBack(c, t.mul(share, one), int64(place)))
	}
	return nil
}

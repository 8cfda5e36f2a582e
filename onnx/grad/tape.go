package grad

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// tape is a graph that nodes are added to, and what is known of its tensors.
type tape struct {
	*graph.Builder
	m     *graph.Model
	index *graph.Index // of the nodes that were there before
	dims  map[string][]int64
	ints  shape.Values
	made  map[string]string // the tensor that a node gives, by all that the node is

	live    map[string]bool   // what depends on a tensor that a gradient is wanted of
	grads   map[string][]part // of tensors that have been reached, not yet summed
	fault   error             // of the node at hand: what no rule could know
	rowSums map[string]string // of P ∘ ∂P along the last axis, by P: what the rule of Softmax needs
}

// A dimension of [tape.dims] is a number, or -k for k times the batch, or open.
const open = math.MinInt64

// batches are the two sizes of the batch that shapes are inferred for: what is the same in both is fixed, what grows
// with them is a multiple of the batch.
var batches = [2]int64{1009, 2003}

func newTape(m *graph.Model, name string) *tape {
	t := &tape{Builder: graph.NewBuilder(m, name), m: m, index: m.Index(), made: map[string]string{},
		grads: map[string][]part{}, rowSums: map[string]string{}}
	t.dims, t.ints = infer(m)
	for _, n := range m.Graph().Node {
		if len(n.Output) == 1 && len(n.Input) > 0 {
			t.made[key(n.GetDomain(), n.GetOpType(), n.Input, n.Attribute)] = n.Output[0]
		}
	}
	return t
}

func infer(m *graph.Model) (map[string][]int64, shape.Values) {
	var dims [2]shape.Shapes
	var ints [2]shape.Values
	for i, batch := range batches {
		given := m.Inputs()
		for _, v := range given {
			if len(v.Shape) > 0 && v.Shape[0] == graph.Unknown {
				v.Shape[0] = batch
			}
		}
		dims[i], ints[i] = shape.Trace(m, given...)
	}
	both := map[string][]int64{}
	for name, a := range dims[0] {
		b := dims[1][name]
		if len(a) != len(b) {
			continue
		}
		out := make([]int64, len(a))
		for i := range a {
			switch {
			case a[i] >= 0 && a[i] == b[i]:
				out[i] = a[i]
			case a[i] > 0 && a[i]%batches[0] == 0 && a[i]/batches[0]*batches[1] == b[i]:
				out[i] = -a[i] / batches[0]
			default:
				out[i] = open
			}
		}
		both[name] = out
	}
	values := shape.Values{}
	for name, v := range ints[0] {
		if slices.Equal(v, ints[1][name]) {
			values[name] = v
		}
	}
	return both, values
}

func key(domain, op string, in []string, attrs []*graph.Attribute) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%s%q", domain, op, in)
	for _, a := range attrs {
		fmt.Fprintf(&b, " %s=%v", a.GetName(), a)
	}
	return b.String()
}

// op adds a node whose output has some dimensions, unless one that is the same is there; nil says that nobody will ask.
func (t *tape) op(op string, dims []int64, in []string, attrs ...*graph.Attribute) string {
	k := key("", op, in, attrs)
	if out, ok := t.made[k]; ok {
		return out
	}
	out := t.Node(op, in, "", attrs...)
	t.made[k] = out
	if dims != nil {
		t.dims[out] = dims
	}
	return out
}

// each adds a node that works element by element, with numpy's broadcasting.
func (t *tape) each(op string, in ...string) string {
	dims := t.dims[in[0]]
	for _, x := range in[1:] {
		dims = broadcast(dims, t.dims[x])
	}
	return t.op(op, dims, in)
}

func (t *tape) add(a, b string) string { return t.each("Add", a, b) }
func (t *tape) sub(a, b string) string { return t.each("Sub", a, b) }
func (t *tape) mul(a, b string) string { return t.each("Mul", a, b) }
func (t *tape) div(a, b string) string { return t.each("Div", a, b) }
func (t *tape) neg(a string) string    { return t.each("Neg", a) }

// scale multiplies by a number.
func (t *tape) scale(a string, by float64) string {
	if by == 1 {
		return a
	}
	return t.mul(a, t.number(by))
}

// when is a where a condition holds, and b elsewhere.
func (t *tape) when(condition, a, b string) string { return t.each("Where", condition, a, b) }

// cast converts to an element type.
func (t *tape) cast(x, elem string) string {
	return t.op("Cast", t.dims[x], []string{x}, graph.CastAttr(elem))
}

// number is a constant.
func (t *tape) number(v float64) string {
	name := t.Floats(fmt.Sprint(v), nil, float32(v))
	t.dims[name] = []int64{}
	return name
}

// list is a constant list of integers.
func (t *tape) list(v ...int64) string {
	name := t.Int64s(strings.Trim(fmt.Sprint(v), "[]"), []int64{int64(len(v))}, v...)
	t.ints[name] = v
	return name
}

// broadcast applies numpy's rule; nil, for a tensor of unknown rank, against anything is nil.
func broadcast(a, b []int64) []int64 {
	if a == nil || b == nil {
		return nil
	}
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, n := range b {
		if k := i + len(a) - len(b); out[k] == 1 || out[k] == open && n != 1 {
			out[k] = n
		}
	}
	return out
}

// size multiplies dimensions; open where the product is no multiple of the batch.
func size(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		if d == open || n < 0 && d < 0 {
			return open
		}
		n *= d
	}
	return n
}

// reshape gives x the dimensions of another tensor, or some dimensions of which that is known only at run time.
func (t *tape) reshape(x string, dims []int64, like string) string {
	if slices.Equal(t.dims[x], dims) && t.dims[x] != nil && !slices.Contains(dims, open) {
		return x
	}
	target := slices.Clone(dims)
	moving := 0
	for i, d := range dims {
		if d < 0 {
			target[i] = -1
			moving++
		}
	}
	if moving <= 1 && !slices.Contains(dims, 0) {
		return t.op("Reshape", dims, []string{x, t.list(target...)})
	}
	if like == "" {
		t.fault = fmt.Errorf("the shape %s is not known", shapeText(dims))
		return x
	}
	return t.op("Reshape", dims, []string{x, t.op("Shape", nil, []string{like})})
}

// shapeText writes dimensions for people.
func shapeText(dims []int64) string {
	var list []string
	for _, d := range dims {
		switch {
		case d == open:
			list = append(list, "?")
		case d < 0:
			list = append(list, fmt.Sprintf("%d·batch", -d))
		default:
			list = append(list, fmt.Sprint(d))
		}
	}
	return "[" + strings.Join(list, ",") + "]"
}

// rows joins all axes but the last.
func (t *tape) rows(x string) string {
	d := t.dims[x]
	if len(d) == 2 {
		return x
	}
	dims := []int64{size(d[:len(d)-1]), d[len(d)-1]}
	return t.op("Reshape", dims, []string{x, t.list(-1, max(dims[1], -1))})
}

// full repeats a gradient that was left to broadcasting to the dimensions of the tensor that it belongs to.
func (t *tape) full(d, like string) string {
	want, have := t.dims[like], t.known(d)
	if want == nil || slices.Equal(want, have) {
		return d
	}
	target := slices.Clone(want)
	for i, n := range want {
		if n >= 0 {
			continue
		}
		k := i - len(want) + len(have)
		if k < 0 || have[k] == 1 {
			return t.op("Expand", want, []string{d, t.op("Shape", nil, []string{like})})
		}
		target[i] = 1 // it is there already
	}
	return t.op("Expand", want, []string{d, t.list(target...)})
}

// known returns the dimensions of a tensor, whose rank a rule has to know.
func (t *tape) known(x string) []int64 {
	if t.dims[x] == nil {
		t.fault = fmt.Errorf("the shape of %q, which its gradient takes, is not known", x)
	}
	return t.dims[x]
}

// reduce sums, or otherwise reduces, over axes.
func (t *tape) reduce(op, x string, keep bool, axes ...int64) string {
	var dims []int64
	for i, n := range t.known(x) {
		switch {
		case !slices.Contains(axes, int64(i)):
			dims = append(dims, n)
		case keep:
			dims = append(dims, 1)
		}
	}
	if dims == nil {
		dims = []int64{}
	}
	k := key("", op, []string{x}, []*graph.Attribute{graph.IntsAttr("axes", axes...), graph.FlagAttr("keepdims", keep)})
	out, ok := t.made[k]
	if !ok {
		out = t.Reduce(op, x, "", keep, axes...)
		t.made[k], t.dims[out] = out, dims
	}
	return out
}

// last is the reduction over the last axis, which stays.
func (t *tape) last(op, x string) string { return t.reduce(op, x, true, int64(len(t.dims[x])-1)) }

// transpose exchanges axes.
func (t *tape) transpose(x string, perm ...int64) string {
	d := t.dims[x]
	dims := make([]int64, len(perm))
	for i, p := range perm {
		dims[i] = d[p]
	}
	return t.op("Transpose", dims, []string{x}, graph.IntsAttr("perm", perm...))
}

// swap exchanges the last two axes.
func (t *tape) swap(x string) string {
	perm := upTo(len(t.dims[x]))
	k := len(perm)
	perm[k-1], perm[k-2] = perm[k-2], perm[k-1]
	return t.transpose(x, perm...)
}

// product multiplies matrices.
func (t *tape) product(a, b string) string {
	x, y := t.dims[a], t.dims[b]
	batch := broadcast(x[:len(x)-2], y[:len(y)-2])
	return t.op("MatMul", append(slices.Clip(batch), x[len(x)-2], y[len(y)-1]), []string{a, b})
}

// upTo is 0, 1, … n-1.
func upTo(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// sumTo sums a gradient back to an operand that was broadcast to the dimensions of y, the result.
func (t *tape) sumTo(d, y string, to []int64) string {
	all := t.dims[y]
	if slices.Equal(all, to) {
		return d
	}
	lead := len(all) - len(to)
	axes := func() (axes []int64, thin bool) {
		have := t.known(d)
		for i, n := range all {
			if n == 1 || i >= lead && to[i-lead] != 1 {
				continue
			}
			k := i - len(all) + len(have)
			thin = thin || k < 0 || have[k] == 1
			axes = append(axes, int64(k))
		}
		return axes, thin
	}
	over, thin := axes()
	if thin { // a gradient that is the same along an axis counts as often as that is long
		d = t.full(d, y)
		over, _ = axes()
	}
	if len(over) > 0 {
		// Axes in front go at once: a further node would only have to take away what is left of them.
		front := lead > 0 && len(t.dims[d]) == len(all) && int(over[len(over)-1]) < lead && len(over) == lead
		d = t.reduce("ReduceSum", d, !front, over...)
	}
	if have := t.dims[d]; len(have) > len(to) {
		d = t.reshape(d, have[len(have)-len(to):], "")
	}
	return d
}

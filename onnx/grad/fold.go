package grad

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// What is moved, before a model is differentiated, from the tokens into the weights that they are multiplied by. On the
// tokens it costs as much as there are tokens, in the forward pass and again, more than once, in the gradient.

// fold moves scales and shifts on the way from some tensors to another. What is between a scale and the product that
// takes it then holds other numbers than before, but for tensors that are asked for.
func fold(m *graph.Model, of string, wrt, asked []string) error {
	for _, move := range []struct {
		op string
		by func(*folder, *graph.Node)
	}{{"LayerNormalization", (*folder).norm}, {"Erf", (*folder).gelu}} {
		p := findPath(m, of, wrt)
		f := &folder{tape: newTape(m, "fold"), asked: map[string]bool{}}
		f.live = p.live
		for _, name := range slices.Concat(asked, wrt) {
			f.asked[name] = true
		}
		for _, n := range p.nodes {
			if opName(n) == move.op {
				// A neighbour that is not as its operator asks for is named by its rule, or by the runtime.
				_ = valid(func() error { move.by(f, n); return nil })
			}
		}
		if err := m.Sort(); err != nil {
			return err
		}
	}
	return nil
}

type folder struct {
	*tape
	asked map[string]bool // what must hold what it held
}

// linear is a product with a matrix, and the sum with a vector if that is all that reads it.
type linear struct{ product, sum *graph.Node }

// linear reports whether a node is such a product, whose own value nobody has asked for.
func (f *folder) linear(n *graph.Node) (linear, bool) {
	if n == nil || n.GetOpType() != "MatMul" || len(f.dims[n.Input[1]]) != 2 || f.asked[n.Output[0]] {
		return linear{}, false
	}
	l := linear{product: n}
	if next := f.only(n.Output[0]); next != nil && next.GetOpType() == "Add" {
		bias := f.dims[next.Input[1-slices.Index(next.Input, n.Output[0])]]
		if slices.Equal(bias, f.dims[n.Input[1]][1:]) {
			l.sum = next
		}
	}
	return l, true
}

// bias is the vector that is added.
func (l linear) bias() *string { return &l.sum.Input[1-slices.Index(l.sum.Input, l.product.Output[0])] }

// only is the one node that reads a tensor, once; nil if there are others.
func (f *folder) only(tensor string) *graph.Node {
	readers := f.index.Consumers[tensor]
	if len(readers) != 1 || f.asked[tensor] {
		return nil
	}
	n, times := readers[0], 0
	for _, in := range n.Input {
		if in == tensor {
			times++
		}
	}
	if times != 1 {
		return nil
	}
	return n
}

// norm moves scale and shift of a norm into all that it is multiplied by: (x̂∘g + s)·W = x̂·(g∘W) + s·W. The gradient
// needs x̂, which the norm gives then. Where those two are trained and the matrix is not, they stay: its gradient would
// be for them alone.
func (f *folder) norm(n *graph.Node) {
	x, gain, shift := n.Input[0], n.Input[1], graph.Input(n, 2)
	rank := len(f.dims[x])
	if rank < 2 || axisAttr(n, "axis", -1, rank) != int64(rank-1) || len(f.dims[gain]) != 1 || f.unit(n) {
		return
	}
	products, ok := f.products(n.Output[0], rank)
	if !ok {
		return
	}
	for _, l := range products {
		if shift != "" && l.sum == nil || (f.live[gain] || f.live[shift]) && !f.live[l.product.Input[1]] {
			return
		}
	}
	dim := f.dims[gain][0]
	if dim > mostPlaces { // of a damaged model
		return
	}
	for _, l := range products {
		w := l.product.Input[1]
		l.product.Input[1] = f.mul(f.reshape(gain, []int64{dim, 1}, ""), w)
		if shift != "" {
			by := f.product(f.reshape(shift, []int64{1, dim}, ""), w)
			*l.bias() = f.add(*l.bias(), f.reshape(by, f.dims[w][1:], ""))
		}
	}
	n.Input = []string{x, f.Floats("ones", []int64{dim}, slices.Repeat([]float32{1}, int(dim))...)}
}

// products are those that read a tensor, or tokens taken out of it; not ok if it is read by anything else.
func (f *folder) products(y string, rank int) (list []linear, ok bool) {
	if f.asked[y] || len(f.index.Consumers[y]) == 0 {
		return nil, false
	}
	for _, n := range f.index.Consumers[y] {
		var more []linear
		l, is := f.linear(n)
		switch op := n.GetOpType(); {
		case is && n.Input[0] == y && n.Input[1] != y:
			more = []linear{l}
		case op == "Slice" && n.Input[0] == y:
			axes, known := f.integers(graph.Input(n, 3))
			for _, a := range axes {
				known = known && fromFront(a, rank) < int64(rank-1)
			}
			if !known {
				return nil, false
			}
			if more, ok = f.products(n.Output[0], rank); !ok {
				return nil, false
			}
		default:
			return nil, false
		}
		list = append(list, more...)
	}
	return list, true
}

// unit reports whether a norm has neither scale nor shift.
func (t *tape) unit(n *graph.Node) bool {
	ones, ok := graph.Floats(t.constant(n.Input[1]))
	return ok && graph.Input(n, 2) == "" && !slices.ContainsFunc(ones, func(v float32) bool { return v != 1 })
}

// gelu brings u·(1 + erf(c·u))/2, however it is written, to z·(1 + erf z)/(2c) with z = c·u, whose gradient [multiply]
// takes as a whole, and moves c into the product that u is made by.
func (f *folder) gelu(erf *graph.Node) {
	z := erf.Input[0]
	u, c, ok := f.scaled(z)
	sum := f.only(erf.Output[0])
	if !ok || sum == nil || sum.GetOpType() != "Add" || f.asked[sum.Output[0]] {
		return
	}
	if one, ok := f.float(sum.Input[1-slices.Index(sum.Input, erf.Output[0])]); !ok || one != 1 {
		return
	}
	v, times := sum.Output[0], f.only(sum.Output[0])
	factor := 1.0
	if times != nil {
		if _, by, ok := f.scaled(times.Output[0]); ok { // the half of it comes before
			factor, v, times = by, times.Output[0], f.only(times.Output[0])
		}
	}
	if times == nil || times.GetOpType() != "Mul" {
		return
	}
	other := times.Input[1-slices.Index(times.Input, v)]
	if other != u {
		from, by, ok := f.scaled(other)
		if !ok || from != u || f.only(other) == nil {
			return
		}
		factor *= by
	}
	if f.only(z) != nil && len(f.index.Consumers[u]) == 2 && !f.asked[u] {
		if add := f.index.Producer[u]; add != nil && add.GetOpType() == "Add" {
			for _, in := range add.Input {
				if l, ok := f.linear(f.index.Producer[in]); ok && l.sum == add {
					l.product.Input[1] = f.scale(l.product.Input[1], c)
					*l.bias() = f.scale(*l.bias(), c)
					z, erf.Input[0] = u, u
					break
				}
			}
		}
	}
	times.Input = []string{z, sum.Output[0]}
	mul := "Mul"
	if next := f.only(times.Output[0]); next != nil {
		if _, by, ok := f.scaled(next.Output[0]); ok { // the half of it comes behind
			next.OpType, next.Input = &mul, []string{times.Output[0], f.number(by * factor / c)}
			return
		}
	}
	y := times.Output[0]
	times.Output[0] = f.Fresh()
	f.Node("Mul", []string{times.Output[0], f.number(factor / c)}, y)
}

// scaled says of what a tensor is a multiple, and how often it counts.
func (f *folder) scaled(tensor string) (of string, by float64, ok bool) {
	n := f.index.Producer[tensor]
	if n == nil || n.GetOpType() != "Mul" && n.GetOpType() != "Div" || len(n.Input) != 2 {
		return "", 0, false
	}
	if by, ok = f.float(n.Input[1]); ok && n.GetOpType() == "Div" {
		return n.Input[0], 1 / by, by != 0
	}
	if ok {
		return n.Input[0], by, true
	}
	by, ok = f.float(n.Input[0])
	return n.Input[1], by, ok && n.GetOpType() == "Mul"
}

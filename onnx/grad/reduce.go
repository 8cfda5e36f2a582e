package grad

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The rules of reductions and of pooling over everything.

// reduced returns the axes that a node reduces over.
func (t *tape) reduced(n *graph.Node) ([]int64, error) {
	rank := len(t.dims[n.Input[0]])
	if n.GetOpType() == "GlobalAveragePool" || n.GetOpType() == "GlobalMaxPool" {
		return upTo(rank)[2:], nil
	}
	axes, ok := t.axes(n, rank)
	if !ok {
		return nil, errIndices
	}
	return axes, nil
}

// kept gives a gradient, or the result, of a reduction the axes that went, of length 1.
func (t *tape) kept(n *graph.Node, axes []int64, tensors ...string) []string {
	thin := slices.Clone(t.dims[n.Input[0]])
	for _, a := range axes {
		thin[a] = 1
	}
	out := slices.Clone(tensors)
	for i, name := range tensors {
		out[i] = t.reshape(name, thin, "")
	}
	return out
}

func reduceSum(t *tape, n *graph.Node, d []string) error {
	x := n.Input[0]
	axes, err := t.reduced(n)
	if err != nil {
		return err
	}
	g := t.kept(n, axes, d[0])[0]
	if n.GetOpType() != "ReduceSum" {
		count := int64(1)
		for _, a := range axes {
			count = size([]int64{count, t.dims[x][a]})
		}
		if count > 0 {
			g = t.scale(g, 1/float64(count))
		} else {
			number := func(of string) string { return t.cast(t.op("Size", []int64{}, []string{of}), "float32") }
			g = t.mul(g, t.div(number(n.Output[0]), number(x)))
		}
	}
	t.give(x, g)
	return nil
}

// reduceMax shares the gradient among equals.
func reduceMax(t *tape, n *graph.Node, d []string) error {
	axes, err := t.reduced(n)
	if err != nil {
		return err
	}
	g := t.kept(n, axes, d[0], n.Output[0])
	equal := t.each("Equal", n.Input[0], g[1])
	ones := t.when(equal, t.number(1), t.number(0))
	t.give(n.Input[0], t.mul(ones, t.div(g[0], t.reduce("ReduceSum", ones, true, axes...))))
	return nil
}

func reduceL1(t *tape, n *graph.Node, d []string) error {
	axes, err := t.reduced(n)
	if err == nil {
		t.give(n.Input[0], t.mul(t.kept(n, axes, d[0])[0], t.each("Sign", n.Input[0])))
	}
	return err
}

// reduceL2 has no gradient where everything is 0, and gives 0 there.
func reduceL2(t *tape, n *graph.Node, d []string) error {
	axes, err := t.reduced(n)
	if err != nil {
		return err
	}
	g := t.kept(n, axes, d[0], n.Output[0])
	share := t.when(t.positive(g[1]), t.div(g[0], g[1]), t.number(0))
	t.give(n.Input[0], t.mul(n.Input[0], share))
	return nil
}

func reduceSquare(t *tape, n *graph.Node, d []string) error {
	axes, err := t.reduced(n)
	if err == nil {
		t.give(n.Input[0], t.mul(n.Input[0], t.scale(t.kept(n, axes, d[0])[0], 2)))
	}
	return err
}

func reduceExp(t *tape, n *graph.Node, d []string) error {
	axes, err := t.reduced(n)
	if err != nil {
		return err
	}
	g := t.kept(n, axes, d[0], n.Output[0])
	t.give(n.Input[0], t.mul(g[0], t.each("Exp", t.sub(n.Input[0], g[1]))))
	return nil
}

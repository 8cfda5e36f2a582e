package grad

import (
	"math"

	"github.com/vitft/vitft/onnx/graph"
)

// rule leads the gradients of a node's outputs to its inputs, by [tape.give]; "" is an output that has none.
type rule struct {
	run     func(t *tape, n *graph.Node, d []string) error
	thin    bool // a gradient that is left to broadcasting will do
	several bool // further outputs may have gradients too
	inputs  int  // how many inputs it has rules for, 0 = all
}

// rules are for the operators of plain ONNX; those in undone are made of these first.
var rules = func() map[string]rule {
	table := map[string]rule{
		"Add": {run: add, thin: true}, "Sub": {run: subtract, thin: true}, "Mul": {run: multiply, thin: true},
		"Div": {run: divide, thin: true}, "Pow": {run: power, thin: true}, "Sum": {run: add, thin: true},
		"Max": {run: larger("GreaterOrEqual"), thin: true}, "Min": {run: larger("LessOrEqual"), thin: true},
		"Where": {run: where, thin: true}, "PRelu": {run: prelu, thin: true},

		"Clip": {run: clip, thin: true, inputs: 1},

		"MatMul": {run: matmul}, "Gemm": {run: gemm}, "Einsum": {run: einsum},
		"Conv": {run: conv}, "AveragePool": {run: averagePool}, "MaxPool": {run: maxPool},

		"Softmax": {run: softmax}, "LogSoftmax": {run: softmax},
		"LayerNormalization": {run: layerNorm},

		"ReduceSum": {run: reduceSum, inputs: 1}, "ReduceMean": {run: reduceSum, inputs: 1},
		"ReduceMax": {run: reduceMax, inputs: 1}, "ReduceMin": {run: reduceMax, inputs: 1},
		"ReduceL1": {run: reduceL1, inputs: 1}, "ReduceL2": {run: reduceL2, inputs: 1},
		"ReduceSumSquare": {run: reduceSquare, inputs: 1}, "ReduceLogSumExp": {run: reduceExp, inputs: 1},
		"GlobalAveragePool": {run: reduceSum}, "GlobalMaxPool": {run: reduceMax},

		"Transpose": {run: transpose}, "Concat": {run: concat}, "Split": {run: split, several: true, inputs: 1},
		"Slice": {run: slice, inputs: 1}, "Gather": {run: gather, inputs: 1}, "Pad": {run: pad, inputs: 1},
		"GatherND": {run: gatherND, inputs: 1}, "ScatterND": {run: scatterND},
		"Tile": {run: tile, inputs: 1}, "Expand": {run: expand, thin: true, inputs: 1},
	}
	for op, f := range unary {
		table[op] = rule{thin: true, inputs: 1, run: func(t *tape, n *graph.Node, d []string) error {
			t.give(n.Input[0], f(t, n.Input[0], n.Output[0], d[0], n))
			return nil
		}}
	}
	for _, op := range []string{"Reshape", "Flatten", "Squeeze", "Unsqueeze"} {
		table[op] = rule{run: reshape, inputs: 1}
	}
	return table
}()

// unary has the gradients of functions of one number: from x, y = f(x) and ∂y to ∂x.
var unary = map[string]func(t *tape, x, y, d string, n *graph.Node) string{
	"Identity": pass, "Dropout": pass, "Cast": pass, "CastLike": pass,
	"Neg":  func(t *tape, x, y, d string, _ *graph.Node) string { return t.neg(d) },
	"Exp":  func(t *tape, x, y, d string, _ *graph.Node) string { return t.mul(d, y) },
	"Log":  func(t *tape, x, y, d string, _ *graph.Node) string { return t.div(d, x) },
	"Sqrt": func(t *tape, x, y, d string, _ *graph.Node) string { return t.div(t.scale(d, 0.5), y) },
	"Sin":  func(t *tape, x, y, d string, _ *graph.Node) string { return t.mul(d, t.each("Cos", x)) },
	"Cos":  func(t *tape, x, y, d string, _ *graph.Node) string { return t.neg(t.mul(d, t.each("Sin", x))) },
	"Abs":  func(t *tape, x, y, d string, _ *graph.Node) string { return t.mul(d, t.each("Sign", x)) },
	"Tanh": func(t *tape, x, y, d string, _ *graph.Node) string {
		return t.mul(d, t.sub(t.number(1), t.mul(y, y)))
	},
	"Sigmoid": func(t *tape, x, y, d string, _ *graph.Node) string {
		return t.mul(d, t.mul(y, t.sub(t.number(1), y)))
	},
	"Softplus":   func(t *tape, x, y, d string, _ *graph.Node) string { return t.mul(d, t.each("Sigmoid", x)) },
	"Reciprocal": func(t *tape, x, y, d string, _ *graph.Node) string { return t.neg(t.mul(d, t.mul(y, y))) },
	"Erf":        func(t *tape, x, y, d string, _ *graph.Node) string { return t.mul(d, t.bell(x)) },
	"Relu": func(t *tape, x, y, d string, _ *graph.Node) string {
		return t.when(t.positive(x), d, t.number(0))
	},
	"LeakyRelu": func(t *tape, x, y, d string, n *graph.Node) string {
		return t.when(t.positive(x), d, t.scale(d, floatAttr(n, "alpha", 0.01)))
	},
	"Elu": func(t *tape, x, y, d string, n *graph.Node) string {
		return t.when(t.positive(x), d, t.mul(d, t.add(y, t.number(floatAttr(n, "alpha", 1)))))
	},
	"HardSigmoid": func(t *tape, x, y, d string, n *graph.Node) string {
		inside := t.each("And", t.positive(y), t.each("Less", y, t.number(1)))
		return t.when(inside, t.scale(d, floatAttr(n, "alpha", 0.2)), t.number(0))
	},
}

func pass(_ *tape, _, _, d string, _ *graph.Node) string { return d }

// bell is the derivative of erf, 2/√π·exp(-x²), the factor in the exponent.
func (t *tape) bell(x string) string {
	return t.each("Exp", t.sub(t.number(math.Log(2/math.Sqrt(math.Pi))), t.mul(x, x)))
}

// erfOf is z where a tensor is 1 + erf z, otherwise "".
func (t *tape) erfOf(tensor string) string {
	sum := t.index.Producer[tensor]
	if sum == nil || sum.GetOpType() != "Add" {
		return ""
	}
	for i, in := range sum.Input {
		erf := t.index.Producer[in]
		if one, ok := t.float(sum.Input[1-i]); ok && one == 1 && erf != nil && erf.GetOpType() == "Erf" {
			return erf.Input[0]
		}
	}
	return ""
}

func (t *tape) positive(x string) string { return t.each("Greater", x, t.number(0)) }

// back gives a gradient to the i-th input of a node, summed where the input was broadcast.
func (t *tape) back(n *graph.Node, i int, d string) {
	if name := n.Input[i]; t.live[name] {
		t.give(name, t.sumTo(d, n.Output[0], t.dims[name]))
	}
}

func add(t *tape, n *graph.Node, d []string) error {
	for i := range n.Input {
		t.back(n, i, d[0])
	}
	return nil
}

func subtract(t *tape, n *graph.Node, d []string) error {
	t.back(n, 0, d[0])
	if t.live[n.Input[1]] {
		t.give(n.Input[1], t.neg(t.sumTo(d[0], n.Output[0], t.dims[n.Input[1]])))
	}
	return nil
}

func multiply(t *tape, n *graph.Node, d []string) error {
	for i, z := range n.Input {
		if v := n.Input[1-i]; t.live[z] && t.erfOf(v) == z {
			// z·(1 + erf z), of a GELU, as a whole: 1 + erf z + z·2/√π·exp(-z²).
			t.give(z, t.mul(d[0], t.add(v, t.mul(z, t.bell(z)))))
			return nil
		}
	}
	t.back(n, 0, t.mul(d[0], n.Input[1]))
	t.back(n, 1, t.mul(d[0], n.Input[0]))
	return nil
}

func divide(t *tape, n *graph.Node, d []string) error {
	q := t.div(d[0], n.Input[1])
	t.back(n, 0, q)
	t.back(n, 1, t.neg(t.mul(q, n.Output[0])))
	return nil
}

func power(t *tape, n *graph.Node, d []string) error {
	x, p := n.Input[0], n.Input[1]
	if e, ok := t.float(p); ok && e == 2 {
		t.back(n, 0, t.mul(d[0], t.scale(x, 2)))
		return nil
	}
	e := t.cast(p, "float32")
	t.back(n, 0, t.mul(d[0], t.mul(e, t.each("Pow", x, t.sub(e, t.number(1))))))
	t.back(n, 1, t.mul(d[0], t.mul(n.Output[0], t.each("Log", x))))
	return nil
}

// larger makes the rule of Max and Min of one or two tensors; of equal elements the first one has the gradient.
func larger(compare string) func(t *tape, n *graph.Node, d []string) error {
	return func(t *tape, n *graph.Node, d []string) error {
		if len(n.Input) == 1 {
			t.give(n.Input[0], d[0])
			return nil
		}
		first := t.each(compare, n.Input[0], n.Input[1])
		t.back(n, 0, t.when(first, d[0], t.number(0)))
		t.back(n, 1, t.when(first, t.number(0), d[0]))
		return nil
	}
}

func where(t *tape, n *graph.Node, d []string) error {
	t.back(n, 1, t.when(n.Input[0], d[0], t.number(0)))
	t.back(n, 2, t.when(n.Input[0], t.number(0), d[0]))
	return nil
}

func prelu(t *tape, n *graph.Node, d []string) error {
	x, slope := n.Input[0], n.Input[1]
	t.back(n, 0, t.when(t.positive(x), d[0], t.mul(d[0], slope)))
	t.back(n, 1, t.when(t.positive(x), t.number(0), t.mul(d[0], x)))
	return nil
}

// clip passes what it leaves as it is.
func clip(t *tape, n *graph.Node, d []string) error {
	kept := t.each("Equal", n.Input[0], n.Output[0])
	t.give(n.Input[0], t.when(kept, d[0], t.number(0)))
	return nil
}

func expand(t *tape, n *graph.Node, d []string) error {
	t.back(n, 0, d[0])
	return nil
}

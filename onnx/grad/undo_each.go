package grad

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// Activations, normalisations and fused products, of plainer operators.

// gelu is Gelu, with a bias that may be added first, by erf or tanh.
func gelu(t *tape, n *graph.Node) (string, error) {
	x := n.Input[0]
	if bias := graph.Input(n, 1); bias != "" {
		x = t.add(x, bias)
	}
	if n.GetOpType() == "FastGelu" || textAttr(n, "approximate", "none") == "tanh" {
		inner := t.add(x, t.scale(t.mul(x, t.mul(x, x)), 0.044715))
		y := t.each("Tanh", t.scale(inner, math.Sqrt(2/math.Pi)))
		return t.mul(t.scale(x, 0.5), t.add(y, t.number(1))), nil
	}
	y := t.each("Erf", t.scale(x, math.Sqrt(0.5)))
	return t.mul(t.scale(x, 0.5), t.add(y, t.number(1))), nil
}

func quickGelu(t *tape, n *graph.Node) (string, error) {
	x := n.Input[0]
	return t.mul(x, t.each("Sigmoid", t.scale(x, floatAttr(n, "alpha", 1.702)))), nil
}

func swish(t *tape, n *graph.Node) (string, error) {
	x := n.Input[0]
	return t.mul(x, t.each("Sigmoid", t.scale(x, floatAttr(n, "alpha", 1)))), nil
}

func hardSwish(t *tape, n *graph.Node) (string, error) {
	x := n.Input[0]
	gate := t.op("HardSigmoid", t.dims[x], []string{x}, graph.FloatAttr("alpha", 1.0/6), graph.FloatAttr("beta", 0.5))
	return t.mul(x, gate), nil
}

func mish(t *tape, n *graph.Node) (string, error) {
	return t.mul(n.Input[0], t.each("Tanh", t.each("Softplus", n.Input[0]))), nil
}

func selu(t *tape, n *graph.Node) (string, error) {
	elu := t.op("Elu", t.dims[n.Input[0]], n.Input, graph.FloatAttr("alpha", float32(floatAttr(n, "alpha",
		1.67326319217681884765625))))
	return t.scale(elu, floatAttr(n, "gamma", 1.05070102214813232421875)), nil
}

func softsign(t *tape, n *graph.Node) (string, error) {
	return t.div(n.Input[0], t.add(t.each("Abs", n.Input[0]), t.number(1))), nil
}

// pairs is Max or Min of more than two.
func pairs(t *tape, n *graph.Node) (string, error) {
	y := n.Input[0]
	for _, x := range n.Input[1:] {
		y = t.each(n.GetOpType(), y, x)
	}
	return y, nil
}

func mean(t *tape, n *graph.Node) (string, error) {
	return t.scale(t.each("Sum", n.Input...), 1/float64(len(n.Input))), nil
}

func rmsNorm(t *tape, n *graph.Node) (string, error) {
	if err := t.needs(n, 2, 1); err != nil {
		return "", err
	}
	return t.rms(n, n.Input[0], n.Input[1])
}

func (t *tape) rms(n *graph.Node, x, gain string) (string, error) {
	rank := len(t.dims[x])
	if rank == 0 {
		return "", errors.New("the shape of its input is not known")
	}
	square := t.reduce("ReduceMean", t.mul(x, x), true, upTo(rank)[axisAttr(n, "axis", -1, rank):]...)
	inverse := t.each("Reciprocal", t.each("Sqrt", t.add(square, t.number(floatAttr(n, "epsilon", 1e-5)))))
	return t.mul(t.mul(x, inverse), gain), nil
}

// skipNorm is of the sum of two tensors, and of a bias; the sum is its fourth output.
func skipNorm(t *tape, n *graph.Node) (string, error) {
	simple := n.GetOpType() == "SkipSimplifiedLayerNormalization"
	bias := 4
	if simple {
		bias = 3
	}
	for _, name := range n.Output[1:min(3, len(n.Output))] {
		if name != "" && len(t.index.Consumers[name]) > 0 {
			return "", fmt.Errorf("there is no rule for its output %q", name)
		}
	}
	x := n.Input[0]
	if name := graph.Input(n, bias); name != "" {
		x = t.add(x, name)
	}
	dims := broadcast(t.dims[x], t.dims[n.Input[1]])
	sum := "" // by the name that it has, so that it is seen to be what is added to next
	if len(n.Output) > 3 {
		sum = n.Output[3]
	}
	x = t.Node("Add", []string{x, n.Input[1]}, sum)
	t.dims[x] = dims
	if simple {
		return t.rms(n, x, n.Input[2])
	}
	in := []string{x, n.Input[2]}
	if beta := graph.Input(n, 3); beta != "" {
		in = append(in, beta)
	}
	return t.op("LayerNormalization", t.dims[x], in, graph.IntAttr("axis", -1),
		graph.FloatAttr("epsilon", float32(floatAttr(n, "epsilon", 1e-5)))), nil
}

// channels gives a vector, one number a channel, the rank of an image.
func (t *tape) channels(v string, rank int) string {
	dims := append([]int64{t.dims[v][0]}, slices.Repeat([]int64{1}, rank-2)...)
	return t.reshape(v, dims, "")
}

func batchNorm(t *tape, n *graph.Node) (string, error) {
	rank := len(t.dims[n.Input[0]])
	if rank < 2 || graph.AttrInt(n, "training_mode", 0) != 0 {
		return "", errors.New("there is no rule for it in training, or without channels")
	}
	in := make([]string, 5)
	for i := range in {
		in[i] = graph.Input(n, i)
		if i > 0 {
			in[i] = t.channels(in[i], rank)
		}
	}
	deviation := t.each("Sqrt", t.add(in[4], t.number(floatAttr(n, "epsilon", 1e-5))))
	return t.add(t.mul(t.sub(in[0], in[3]), t.div(in[1], deviation)), in[2]), nil
}

// standard subtracts the mean over axes and divides by the deviation.
func (t *tape) standard(x string, epsilon float64, axes ...int64) string {
	centred := t.sub(x, t.reduce("ReduceMean", x, true, axes...))
	variance := t.reduce("ReduceMean", t.mul(centred, centred), true, axes...)
	return t.div(centred, t.each("Sqrt", t.add(variance, t.number(epsilon))))
}

func instanceNorm(t *tape, n *graph.Node) (string, error) {
	rank := len(t.dims[n.Input[0]])
	if rank < 3 {
		return "", errors.New("the shape of its input is not known")
	}
	unit := t.standard(n.Input[0], floatAttr(n, "epsilon", 1e-5), upTo(rank)[2:]...)
	return t.add(t.mul(unit, t.channels(n.Input[1], rank)), t.channels(n.Input[2], rank)), nil
}

func groupNorm(t *tape, n *graph.Node) (string, error) {
	x := n.Input[0]
	dims, groups := t.dims[x], graph.AttrInt(n, "num_groups", 0)
	if len(dims) < 3 || groups < 1 || slices.Min(dims[1:]) < 1 || t.dims[n.Input[1]][0] != dims[1] {
		return "", errors.New("the shape of its input is not known, or its gain is one a group")
	}
	flat := t.reshape(x, []int64{dims[0], groups, size(dims[1:]) / groups}, "")
	unit := t.reshape(t.standard(flat, floatAttr(n, "epsilon", 1e-5), 2), dims, x)
	return t.add(t.mul(unit, t.channels(n.Input[1], len(dims))), t.channels(n.Input[2], len(dims))), nil
}

func lpNorm(t *tape, n *graph.Node) (string, error) {
	x := n.Input[0]
	op := map[int64]string{1: "ReduceL1", 2: "ReduceL2"}[graph.AttrInt(n, "p", 2)]
	if len(t.dims[x]) == 0 || op == "" {
		return "", errors.New("the shape of its input is not known, or its norm neither 1 nor 2")
	}
	return t.div(x, t.reduce(op, x, true, axisAttr(n, "axis", -1, len(t.dims[x])))), nil
}

// fusedMatMul is MatMul of matrices that are transposed first, and of which the rows may be the first axis.
func fusedMatMul(t *tape, n *graph.Node) (string, error) {
	in := slices.Clone(n.Input)
	for i, operand := range []string{"A", "B"} {
		rank := len(t.dims[in[i]])
		if rank < 2 {
			return "", errors.New("the shape of one of its inputs is not known")
		}
		if graph.AttrInt(n, "transBatch"+operand, 0) != 0 {
			in[i] = t.transpose(in[i], slices.Concat(upTo(rank - 1)[1:], []int64{0, int64(rank - 1)})...)
		}
		if graph.AttrInt(n, "trans"+operand, 0) != 0 {
			in[i] = t.swap(in[i])
		}
	}
	return t.scale(t.product(in[0], in[1]), floatAttr(n, "alpha", 1)), nil
}

// activated is a fused activation, of which some parameters are attributes.
func (t *tape) activated(x, activation string, params []float32, names ...string) (string, error) {
	var attrs []*graph.Attribute
	switch activation {
	case "":
		return x, nil
	case "Relu", "Tanh", "Sigmoid", "Softplus":
	case "Clip":
		if len(params) != 2 {
			return "", errors.New("its activation lacks parameters")
		}
		return t.each("Clip", x, t.number(float64(params[0])), t.number(float64(params[1]))), nil
	case "LeakyRelu", "HardSigmoid":
		if len(params) < len(names) {
			names = names[:len(params)]
		}
		for i, name := range names {
			attrs = append(attrs, graph.FloatAttr(name, params[i]))
		}
	default:
		return "", fmt.Errorf("there is no rule for its activation %q", activation)
	}
	return t.op(activation, t.dims[x], []string{x}, attrs...), nil
}

// fusedGemm is Gemm with an activation.
func fusedGemm(t *tape, n *graph.Node) (string, error) {
	var attrs []*graph.Attribute
	for _, name := range []string{"alpha", "beta", "transA", "transB"} {
		if a := graph.Attr(n, name); a != nil {
			attrs = append(attrs, a)
		}
	}
	params := []float32{float32(floatAttr(n, "activation_alpha", 0.01)), float32(floatAttr(n, "activation_beta", 0.5))}
	y := t.op("Gemm", t.dims[n.Output[0]], n.Input, attrs...)
	return t.activated(y, textAttr(n, "activation", ""), params, "alpha", "beta")
}

// fusedConv is Conv, to which a tensor may be added, with an activation.
func fusedConv(t *tape, n *graph.Node) (string, error) {
	var attrs []*graph.Attribute
	for _, a := range n.Attribute {
		if !slices.Contains([]string{"activation", "activation_params"}, a.GetName()) {
			attrs = append(attrs, a)
		}
	}
	y := t.op("Conv", t.dims[n.Output[0]], n.Input[:min(3, len(n.Input))], attrs...)
	if z := graph.Input(n, 3); z != "" {
		y = t.add(y, z)
	}
	params := graph.Attr(n, "activation_params").GetFloats()
	return t.activated(y, textAttr(n, "activation", ""), params, "alpha", "beta")
}

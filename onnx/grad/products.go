package grad

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// The rules of matrix products, and of what is normalised by a sum.

func matmul(t *tape, n *graph.Node, d []string) error {
	a, b, y, dy := n.Input[0], n.Input[1], n.Output[0], d[0]
	x, w := t.dims[a], t.dims[b]
	if len(x) == 0 || len(w) == 0 {
		return fmt.Errorf("the shape of one of its inputs is not known")
	}
	// Vectors are matrices of one row or column.
	whole := slices.Clone(t.dims[y])
	if len(w) == 1 {
		w, whole = []int64{w[0], 1}, append(whole, 1)
		b = t.reshape(b, w, "")
	}
	if len(x) == 1 {
		x, whole = []int64{1, x[0]}, slices.Insert(whole, len(whole)-1, 1)
		a = t.reshape(a, x, "")
	}
	dy = t.reshape(dy, whole, "")
	if t.live[n.Input[0]] {
		da := t.product(dy, t.swap(b))
		t.give(n.Input[0], t.reshape(t.sumTo(da, da, x), t.dims[n.Input[0]], n.Input[0]))
	}
	if t.live[n.Input[1]] {
		var db string
		if len(w) == 2 && len(x) > 2 { // one product for all rows, rather than a sum of many
			db = t.gemm(t.rows(a), t.rows(dy), true, false, 1)
		} else {
			db = t.product(t.swap(a), dy)
			db = t.sumTo(db, db, w)
		}
		t.give(n.Input[1], t.reshape(db, t.dims[n.Input[1]], n.Input[1]))
	}
	p := t.index.Producer[a]
	if p != nil && p.GetOpType() == "Softmax" && len(t.index.Consumers[a]) == 1 && slices.Equal(t.dims[y], whole) &&
		slices.Equal(whole[:len(whole)-1], x[:len(x)-1]) {
		// Of P·V with rows p of P: Σ p∘∂p = Σ y∘∂y, and a row of y is shorter than one of P.
		t.rowSums[a] = t.last("ReduceSum", t.mul(y, dy))
	}
	return nil
}

// gemm multiplies matrices, either of them transposed.
func (t *tape) gemm(a, b string, transA, transB bool, alpha float64) string {
	rows, cols := t.dims[a][0], t.dims[b][1]
	if transA {
		rows = t.dims[a][1]
	}
	if transB {
		cols = t.dims[b][0]
	}
	attrs := []*graph.Attribute{graph.FlagAttr("transA", transA), graph.FlagAttr("transB", transB)}
	if alpha != 1 {
		attrs = append(attrs, graph.FloatAttr("alpha", float32(alpha)))
	}
	return t.op("Gemm", []int64{rows, cols}, []string{a, b}, attrs...)
}

func gemm(t *tape, n *graph.Node, d []string) error {
	a, b, dy := n.Input[0], n.Input[1], d[0]
	alpha := floatAttr(n, "alpha", 1)
	transA, transB := graph.AttrInt(n, "transA", 0) != 0, graph.AttrInt(n, "transB", 0) != 0
	if t.live[a] && transA {
		t.give(a, t.gemm(b, dy, transB, true, alpha))
	} else if t.live[a] {
		t.give(a, t.gemm(dy, b, false, !transB, alpha))
	}
	if t.live[b] && transB {
		t.give(b, t.gemm(dy, a, true, transA, alpha))
	} else if t.live[b] {
		t.give(b, t.gemm(a, dy, !transA, false, alpha))
	}
	if graph.Input(n, 2) != "" {
		t.back(n, 2, t.scale(dy, floatAttr(n, "beta", 1)))
	}
	return nil
}

// einsum is for what is a product of tensors: every label of an operand is in the result or in another operand.
func einsum(t *tape, n *graph.Node, d []string) error {
	equation := strings.ReplaceAll(textAttr(n, "equation", ""), " ", "")
	left, result, ok := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if !ok || strings.Contains(equation, ".") || len(terms) != len(n.Input) {
		return fmt.Errorf("there is no rule for the equation %q", equation)
	}
	for i, term := range terms {
		if !t.live[n.Input[i]] {
			continue
		}
		others, in := []string{result}, []string{d[0]}
		for k := range terms {
			if k != i {
				others, in = append(others, terms[k]), append(in, n.Input[k])
			}
		}
		for _, label := range term {
			if strings.Count(term, string(label)) > 1 || !strings.ContainsRune(strings.Join(others, ""), label) {
				return fmt.Errorf("there is no rule for the equation %q", equation)
			}
		}
		reverse := graph.StringAttr("equation", strings.Join(others, ",")+"->"+term)
		t.give(n.Input[i], t.op("Einsum", t.dims[n.Input[i]], in, reverse))
	}
	return nil
}

// softmax is the rule of Softmax and of LogSoftmax.
func softmax(t *tape, n *graph.Node, d []string) error {
	x, y, rank := n.Input[0], n.Output[0], len(t.dims[n.Output[0]])
	axes := []int64{axisAttr(n, "axis", -1, rank)}
	if t.Opset() < 13 { // the axes from there on are one
		first := axisAttr(n, "axis", 1, rank)
		axes = upTo(rank)[first:]
	}
	if n.GetOpType() == "LogSoftmax" {
		t.give(x, t.sub(d[0], t.mul(t.each("Exp", y), t.reduce("ReduceSum", d[0], true, axes...))))
		return nil
	}
	sums, ok := t.rowSums[y]
	if !ok || len(axes) != 1 || axes[0] != int64(rank-1) {
		sums = t.reduce("ReduceSum", t.mul(d[0], y), true, axes...)
	}
	t.give(x, t.mul(y, t.sub(d[0], sums)))
	return nil
}

// layerNorm takes mean and deviation from the node itself, as its second and third outputs.
func layerNorm(t *tape, n *graph.Node, d []string) error {
	x, gain := n.Input[0], n.Input[1]
	rank := len(t.dims[x])
	axes := upTo(rank)[axisAttr(n, "axis", -1, rank):]
	if len(axes) == 0 {
		return errors.New("its axis is none of the tensor's")
	}
	thin := slices.Clone(t.dims[x])
	for _, a := range axes {
		thin[a] = 1
	}
	for len(n.Output) < 3 {
		n.Output = append(n.Output, "")
	}
	for i := 1; i < 3; i++ {
		if n.Output[i] == "" {
			n.Output[i] = t.Fresh()
		}
		t.dims[n.Output[i]] = thin
	}
	unit, du := n.Output[0], d[0]
	if !t.unit(n) {
		unit, du = t.mul(t.sub(x, n.Output[1]), n.Output[2]), t.mul(d[0], gain)
		t.back(n, 1, t.mul(d[0], unit))
	}
	if graph.Input(n, 2) != "" {
		t.back(n, 2, d[0])
	}
	along := t.reduce("ReduceMean", t.mul(du, unit), true, axes...)
	centred := t.sub(du, t.reduce("ReduceMean", du, true, axes...))
	t.give(x, t.mul(t.sub(centred, t.mul(unit, along)), n.Output[2]))
	return nil
}

package vision

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// What of a classifier can serve as a feature: the input of its last matrix product.

// isClassifier reports whether an output [B,C] looks like class scores: by name, or because it is a softmax or a dense
// layer with a bias. A projection to an embedding has none, and is to a number of channels that suits processors: to
// 1000 it is none.
func (f *facts) isClassifier(v graph.Value) bool {
	end, _ := f.classifierEnd(v.Name, true)
	return scores(v.Name) || end.node != nil && (end.activated || v.Shape[1] > 0 && v.Shape[1]%16 != 0)
}

// isNarrow reports whether an output [B,C] is of so few numbers that they are scores, if it ends in a dense layer.
func (f *facts) isNarrow(v graph.Value) bool {
	if n := v.Shape[1]; n < 1 || n > narrow {
		return false
	}
	_, err := f.classifierEnd(v.Name, true)
	return err == nil
}

// lastClassifier takes the input of the last matrix product of the first output that ends in one.
func (f *finder) lastClassifier(outs []graph.Value) (string, Pooling) {
	var why []string
	for _, v := range outs {
		end, err := f.classifierEnd(v.Name, true)
		if err == nil {
			layer := strings.TrimSpace(end.node.GetOpType() + " " + end.node.GetName())
			f.reason("output %s is class scores; the feature is %s, the input of its last layer (%s)", v.Name,
				end.input, layer)
			return end.input, PoolLogits
		}
		why = append(why, fmt.Sprintf("output %s %v", v.Name, err))
	}
	inside := "an output or a tensor inside the graph"
	if others := f.others(); len(others) > 0 {
		inside += ", such as " + describe(others[:1])
	}
	f.problem("no feature tensor found: %s; name one (%s)", strings.Join(why, "; "), inside)
	return "", ""
}

// classifierEnd is a classifier's last matrix product, what that takes, and whether a bias or softmax follows.
type classifierEnd struct {
	node      *graph.Node
	input     string
	activated bool
}

// classifierEnd walks back from class scores to the last product with constant weights. Where two dense layers are
// joined, as in a distilled classifier, and joins are allowed, its input is what both take a token of, if it is one
// tensor. The error continues "output NAME".
func (f *facts) classifierEnd(output string, join bool) (end classifierEnd, err error) {
	t := output
	for range f.nodes() {
		n := f.index.Producer[t]
		if n == nil {
			break
		}
		switch op := n.GetOpType(); op {
		case "Softmax", "LogSoftmax", "Sigmoid", "Log":
			t, end.activated = first(n), true
		case "Identity", "Cast", "Dropout", "Squeeze", "Reshape", "Flatten", "Clip", "QuantizeLinear",
			"DequantizeLinear":
			t = first(n)
		case "Slice", "Gather":
			if len(f.shapes[first(n)]) != 2 || op == "Gather" && !f.constant(second(n)) {
				return end, fmt.Errorf("ends in %s %q, which takes a part", op, n.GetName())
			}
			t = first(n) // some of the classes
		case "Add", "Sub", "Mul", "Div":
			scaled := f.quantised(n)
			switch logits := f.softmaxedBy(n); {
			case logits != "":
				t, end.activated = logits, true
			case f.constant(second(n)):
				t = first(n)
			case f.constant(first(n)):
				t = second(n)
			case op == "Mul" && scaled != nil:
				end.node, end.input = scaled, f.unquantised(first(scaled))
				return end, nil
			case join:
				return f.joinedEnd(n)
			default:
				return end, joins(n)
			}
			end.activated = end.activated || op == "Add"
		case "QLinearAdd":
			end.activated = true
			if t = first(n); f.constant(t) {
				t = graph.Input(n, 3)
			}
		default:
			return f.denseEnd(n, end.activated)
		}
	}
	return end, errors.New("is not computed")
}

// softmaxedBy is what n is a softmax of, or the logarithm of one, where it is spelt out: z - max z, e/Σe with e =
// exp z, z - log Σ exp z; "" if it is none of these.
func (f *facts) softmaxedBy(n *graph.Node) string {
	of := func(t string, ops ...string) string { // the last operator first
		for _, op := range ops {
			if n := f.index.Producer[t]; n != nil && n.GetOpType() == op {
				t = first(n)
			} else {
				return ""
			}
		}
		return t
	}
	a, b := first(n), second(n)
	switch n.GetOpType() {
	case "Div":
		if of(b, "ReduceSum") == a {
			return of(a, "Exp")
		}
	case "Sub":
		sums := []string{of(b, "ReduceMax"), of(b, "ReduceLogSumExp"), of(b, "Log", "ReduceSum", "Exp")}
		if slices.Contains(sums, a) {
			return a
		}
	}
	return ""
}

// denseEnd is the end of a classifier in the dense layer n, if it is one.
func (f *facts) denseEnd(n *graph.Node, activated bool) (classifierEnd, error) {
	fail := func(what string) error { return fmt.Errorf("ends in %s %q%s", n.GetOpType(), n.GetName(), what) }
	layer, ok := denseLayers[n.GetOpType()]
	w, constant := f.shapes[second(n)], f.constant(graph.Input(n, layer.weights))
	switch {
	case !ok:
		return classifierEnd{}, fail(", no dense layer")
	case strings.HasSuffix(n.GetOpType(), "Conv") && constant && (len(w) != 4 || w[2] != 1 || w[3] != 1):
		return classifierEnd{}, errors.New("ends in a convolution")
	case !constant, layer.weights == 1 && graph.AttrInt(n, "transA", 0) != 0:
		return classifierEnd{}, fail(" of two computed matrices")
	}
	end := classifierEnd{n, first(n), activated || layer.bias > 0 && graph.Input(n, layer.bias) != ""}
	if layer.weights > 1 {
		if end.input = f.unquantised(first(n)); end.input == first(n) {
			return end, fail(", whose input is in 8 bits")
		}
	}
	return end, nil
}

// denseLayers says which inputs of a dense layer are its weights and its bias, 0 if it has none.
var denseLayers = map[string]struct{ weights, bias int }{
	"Gemm": {1, 2}, "FusedGemm": {1, 2}, "MatMul": {1, 0}, "FusedMatMul": {1, 0}, "MatMulNBits": {1, 0},
	"DynamicQuantizeMatMul": {1, 0}, "Conv": {1, 0}, "FusedConv": {1, 0}, "QGemm": {3, 6}, "QLinearMatMul": {3, 0},
}

// joinedEnd is the end of a classifier in two dense layers whose results n joins.
func (f *facts) joinedEnd(n *graph.Node) (classifierEnd, error) {
	a, errA := f.classifierEnd(first(n), false)
	b, errB := f.classifierEnd(second(n), false)
	if errA != nil || errB != nil || !a.activated || !b.activated {
		return classifierEnd{}, joins(n)
	}
	tokens := f.tokensOf(a.input)
	if tokens == "" || tokens != f.tokensOf(b.input) {
		return a, joins(n)
	}
	a.input = tokens
	return a, nil
}

func joins(n *graph.Node) error {
	return fmt.Errorf("joins several branches in %s %q", n.GetOpType(), n.GetName())
}

// refineWidth completes the last dimension of the input of a dense layer, where there is one, from its weights.
func (f *finder) refineWidth(tensor string) {
	n := f.consumer(tensor, "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
	if n == nil || len(f.shapes[second(n)]) != 2 {
		return
	}
	w := f.shapes[second(n)]
	if strings.HasSuffix(n.GetOpType(), "Gemm") {
		f.shapes.Refine(tensor, []int64{graph.Unknown, w[graph.AttrInt(n, "transB", 0)&1]})
	} else if s := slices.Clone(f.shapes[tensor]); len(s) > 0 {
		s[len(s)-1] = w[0]
		f.shapes.Refine(tensor, s)
	}
}

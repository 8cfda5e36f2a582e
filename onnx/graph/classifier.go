package graph

import (
	"fmt"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// What of a classifier can serve as a feature: the input of its last matrix product.

// isClassifier reports whether an output [B,C] looks like class scores: by name, or because it is a softmax or a dense
// layer with a bias. A projection to an embedding has none.
func (f *finder) isClassifier(v Value) bool {
	if scores(v.Name) {
		return true
	}
	_, end, _ := f.classifierInput(v.Name)
	return end.node != nil && end.activated
}

// lastClassifier takes the input of the last matrix product of the first output that ends in one.
func (f *finder) lastClassifier(outs []Value) (string, Pooling) {
	var why []string
	for _, v := range outs {
		tensor, end, err := f.classifierInput(v.Name)
		if err == nil {
			f.reason("output %s is class scores; the feature is %s, the input of its last layer (%s)", v.Name, tensor, strings.TrimSpace(end.node.GetOpType()+" "+end.node.GetName()))
			return tensor, PoolLogits
		}
		why = append(why, err.Error())
	}
	f.problem("no feature tensor found: %s; name one (an output or a tensor inside the graph)", strings.Join(why, "; "))
	return "", ""
}

func (f *finder) classifier(output string) (string, Pooling) {
	return f.lastClassifier([]Value{{Name: output}})
}

// classifierEnd is the end of a classifier: its last matrix product, and whether a bias or softmax follows.
type classifierEnd struct {
	node      *onnxpb.NodeProto
	activated bool
}

// classifierInput walks back from class scores to the input of the last product with constant weights. Where two dense
// layers are joined, as in a distilled classifier, that is what both take a token of, if it is one tensor.
func (f *finder) classifierInput(output string) (string, classifierEnd, error) {
	return f.denseInput(output, true)
}

func (f *finder) denseInput(output string, join bool) (string, classifierEnd, error) {
	var end classifierEnd
	t := output
	for range f.m.proto.Graph.Node {
		n := f.producer[t]
		if n == nil {
			break
		}
		switch op := n.GetOpType(); op {
		case "Softmax", "LogSoftmax", "Sigmoid":
			end.activated = true
			t = first(n)
		case "Identity", "Cast", "Dropout", "Squeeze", "Reshape", "Flatten", "Clip", "QuantizeLinear", "DequantizeLinear":
			t = first(n)
		case "Add", "Sub", "Mul", "Div":
			switch {
			case f.constant(second(n)):
				t = first(n)
			case f.constant(first(n)):
				t = second(n)
			case op == "Mul" && f.quantised(n) != nil:
				end.node = f.quantised(n)
				return f.unquantised(first(end.node)), end, nil
			case join:
				return f.joined(n, output)
			default:
				return "", end, fmt.Errorf("output %s joins several branches in %s %q", output, op, n.GetName())
			}
			end.activated = end.activated || op == "Add"
		case "QLinearAdd":
			end.activated = true
			if t = first(n); f.constant(t) {
				t = input(n, 3)
			}
		case "QGemm", "QLinearMatMul":
			if !f.constant(input(n, 3)) {
				return "", end, fmt.Errorf("output %s ends in %s %q of two computed matrices", output, op, n.GetName())
			}
			end.node = n
			end.activated = end.activated || input(n, 6) != "" && op == "QGemm"
			t = f.unquantised(first(n))
			if t == first(n) {
				return "", end, fmt.Errorf("output %s ends in %s %q, whose input is in 8 bits", output, op, n.GetName())
			}
			return t, end, nil
		case "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulNBits", "DynamicQuantizeMatMul", "Conv", "FusedConv":
			if !f.constant(second(n)) || attrInt(n, "transA", 0) != 0 {
				return "", end, fmt.Errorf("output %s ends in %s %q of two computed matrices", output, op, n.GetName())
			}
			if w := f.shapes.of(second(n)); strings.HasSuffix(op, "Conv") && (len(w) != 4 || w[2] != 1 || w[3] != 1) {
				return "", end, fmt.Errorf("output %s ends in a convolution", output)
			}
			end.node = n
			end.activated = end.activated || strings.HasSuffix(op, "Gemm") && input(n, 2) != ""
			f.widthFromWeights(first(n), n)
			return first(n), end, nil
		default:
			return "", end, fmt.Errorf("output %s ends in %s %q, no dense layer", output, op, n.GetName())
		}
	}
	return "", end, fmt.Errorf("output %s is not computed", output)
}

// joined looks at two dense layers whose results n joins.
func (f *finder) joined(n *onnxpb.NodeProto, output string) (string, classifierEnd, error) {
	a, end, errA := f.denseInput(first(n), false)
	b, other, errB := f.denseInput(second(n), false)
	err := fmt.Errorf("output %s joins several branches in %s %q", output, n.GetOpType(), n.GetName())
	if errA != nil || errB != nil || !end.activated || !other.activated {
		return "", classifierEnd{}, err
	}
	tokens := f.tokensOf(a)
	if tokens == "" || tokens != f.tokensOf(b) {
		return "", end, err
	}
	return tokens, end, nil
}

// tokensOf returns the tokens [B,N,D] that a vector is one of, "" if it is not.
func (f *finder) tokensOf(vector string) string {
	for range f.m.proto.Graph.Node {
		n := f.producer[vector]
		if n == nil {
			return ""
		}
		switch n.GetOpType() {
		case "Gather", "Slice", "Squeeze", "Reshape", "Identity", "Dropout", "Cast":
			vector = first(n)
		default:
			return ""
		}
		if len(f.shapes.of(vector)) == 3 && n.GetOpType() != "Squeeze" && n.GetOpType() != "Reshape" {
			return vector
		}
	}
	return ""
}

// quantised returns the integer product that n scales, of a layer quantised dynamically, nil if n is none.
func (f *finder) quantised(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	for _, name := range n.Input {
		p := f.producer[name]
		if p != nil && p.GetOpType() == "Cast" {
			p = f.producer[first(p)]
		}
		if p != nil && p.GetOpType() == "MatMulInteger" && f.constant(second(p)) {
			return p
		}
	}
	return nil
}

// unquantised returns what a quantised tensor was before.
func (f *finder) unquantised(tensor string) string {
	if n := f.producer[tensor]; n != nil && (n.GetOpType() == "DynamicQuantizeLinear" || n.GetOpType() == "QuantizeLinear") {
		return first(n)
	}
	return tensor
}

// widthFromWeights completes the last dimension of a dense layer's input from its weights.
func (f *finder) widthFromWeights(tensor string, n *onnxpb.NodeProto) {
	w := f.shapes.of(second(n))
	if len(w) != 2 {
		return
	}
	k := w[0]
	if strings.HasSuffix(n.GetOpType(), "Gemm") {
		k = w[attrInt(n, "transB", 0)&1]
		f.shapes.set(tensor, []int64{unknown, k})
		return
	}
	if s := f.shapes.of(tensor); len(s) > 0 && s[len(s)-1] == unknown {
		s[len(s)-1] = k
	}
}

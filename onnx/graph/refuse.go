package graph

import (
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// What is refused whatever the feature, and because of what makes it.

// minOpset is the oldest core operator set whose pooling and softmax nodes this package writes. Vision transformers
// are younger than it.
const minOpset = 11

// supported refuses what neither this package nor ONNX Runtime's CPU provider can handle.
func (f *finder) supported() {
	g := f.m.proto.Graph
	if v := f.result.Opset; v < minOpset {
		f.problem("it uses operator set %d, need %d or later: convert it with onnx.version_converter", v, minOpset)
	}
	if len(f.result.Inputs) > 64 {
		f.problem("it has %d inputs: not an image encoder", len(f.result.Inputs))
	}
	known := map[string]bool{"": true}
	for _, v := range g.Input {
		known[v.GetName()] = true
	}
	for _, n := range g.Node {
		for _, name := range uses(n) {
			if !known[name] && f.weights[name] == nil {
				f.problem("node %s %q reads %q, which nothing before it gives: the graph is damaged, or not sorted as ONNX demands", n.GetOpType(), n.GetName(), name)
				return
			}
		}
		for _, o := range n.Output {
			known[o] = true
		}
	}
	for _, n := range g.Node {
		if d := n.GetDomain(); !knownDomain(d) && !slices.ContainsFunc(f.m.proto.Functions, func(fn *onnxpb.FunctionProto) bool { return fn.GetDomain() == d && fn.GetName() == n.GetOpType() }) {
			f.problem("it uses the operator %s of %s, which ONNX Runtime does not have: export it with standard operators only", n.GetOpType(), d)
			return
		}
	}
	bf16 := 0
	eachTensor(g, func(t *onnxpb.TensorProto) {
		if t.GetDataType() == int32(onnxpb.TensorProto_BFLOAT16) {
			bf16++
		}
	})
	for _, v := range append(f.result.Inputs, f.result.Outputs...) {
		if v.Type == "bfloat16" {
			bf16++
		}
	}
	if bf16 > 0 {
		f.problem("it computes in bfloat16, which ONNX Runtime's CPU provider does not: export it in float32 or float16")
	}
}

// knownDomain reports whether ONNX Runtime has operators of a domain: ONNX's own, or its own.
func knownDomain(d string) bool {
	return coreDomain(d) || strings.HasPrefix(d, "ai.onnx.") || strings.HasPrefix(d, "com.microsoft") || strings.HasPrefix(d, "com.ms.")
}

// sameEachTime refuses a model that gives an image another feature each time, or one that depends on its companions:
// one that was exported while training, or that hides patches at random.
func (f *finder) sameEachTime(tensor string) {
	needed := map[string]bool{tensor: true}
	for _, n := range slices.Backward(f.m.proto.Graph.Node) { // consumers stand after producers
		if !slices.ContainsFunc(n.Output, func(o string) bool { return needed[o] }) {
			continue
		}
		for _, name := range uses(n) {
			needed[name] = true
		}
		switch op := n.GetOpType(); op {
		case "RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Bernoulli", "Multinomial":
			f.problem("it draws random numbers (%s %q), so an image would have another feature each time: export it in evaluation mode, model.eval(), and without random masks", op, n.GetName())
			return
		case "BatchNormalization":
			if attrInt(n, "training_mode", 0) != 0 {
				f.problem("it was exported while training (%s %q normalises by the batch): export it in evaluation mode, model.eval()", op, n.GetName())
				return
			}
		}
	}
}

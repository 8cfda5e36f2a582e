package vision

import (
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// What is refused whatever the feature, and because of what makes it.

// minOpset is the oldest core operator set whose pooling and softmax nodes this package writes. Vision transformers are
// younger than it.
const minOpset = 11

// refuseUnsupported refuses what neither this package nor ONNX Runtime's CPU provider can handle.
func (f *finder) refuseUnsupported() {
	if v := f.result.Opset; v < minOpset {
		f.problem("it uses operator set %d, need %d or later: convert it with onnx.version_converter", v, minOpset)
	}
	if len(f.inputs) > 64 {
		f.problem("it has %d inputs: not an image encoder", len(f.inputs))
	}
	if n, name := f.model.Unsorted(); n != nil {
		f.problem("node %s %q reads %q, which nothing before it gives: the graph is damaged, or not sorted as ONNX "+
			"demands",
			n.GetOpType(), n.GetName(), name)
		return
	}
	for _, n := range f.nodes() {
		own := func(fn *onnxpb.FunctionProto) bool {
			return fn.GetDomain() == n.GetDomain() && fn.GetName() == n.GetOpType()
		}
		if !knownDomain(n.GetDomain()) && !slices.ContainsFunc(f.model.Proto().Functions, own) {
			f.problem("it uses the operator %s of %s, which ONNX Runtime does not have: export it with standard "+
				"operators only",
				n.GetOpType(), n.GetDomain())
			return
		}
	}
	const bfloat16 = "bfloat16"
	found := slices.ContainsFunc(slices.Concat(f.result.Inputs, f.result.Outputs), func(v graph.Value) bool {
		return v.Type == bfloat16
	})
	graph.EachTensor(f.model.Graph(), func(t *graph.Tensor) { found = found || graph.TypeOf(t) == bfloat16 })
	if found {
		f.problem("it computes in bfloat16, which ONNX Runtime's CPU provider does not: export it in float32 or " +
			"float16")
	}
}

// knownDomain reports whether ONNX Runtime has operators of a domain: ONNX's own, or its own.
func knownDomain(d string) bool {
	return graph.CoreDomain(d) || strings.HasPrefix(d, "ai.onnx.") || strings.HasPrefix(d, "com.microsoft") ||
		strings.HasPrefix(d, "com.ms.")
}

// refuseOtherSize sees that a size that the file leaves open is not settled inside, by a position embedding.
func (f *finder) refuseOtherSize(im ImageInput) {
	if f.patch(im.Input) == 0 {
		return
	}
	for _, p := range f.positions() {
		if len(p.computed) == 3 && p.computed[1] > 1 && p.constant[1] > 1 && p.computed[1] != p.constant[1] {
			f.problem("it declares images of any size, but its position embedding has %d tokens (%s %q), and "+
				"images of "+
				"%d×%d make %d: give the size that it was exported for, or export it with interpolation of positions",
				p.constant[1], p.node.GetOpType(), p.node.GetName(), im.Width, im.Height, p.computed[1])
			return
		}
	}
}

// refuseRandom refuses a model that gives an image another feature each time, or one that depends on its companions:
// one that was exported while training, or that hides patches at random.
func (f *finder) refuseRandom(tensor string) {
	nodes, _ := f.model.Needed(tensor)
	for _, n := range slices.Backward(nodes) {
		switch op := n.GetOpType(); op {
		case "RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Bernoulli", "Multinomial":
			f.problem("it draws random numbers (%s %q), so an image would have another feature each time: "+
				"export it in "+
				"evaluation mode, model.eval(), and without random masks", op, n.GetName())
			return
		case "BatchNormalization":
			if graph.AttrInt(n, "training_mode", 0) != 0 {
				f.problem("it was exported while training (%s %q normalises by the batch): export it in "+
					"evaluation mode, "+
					"model.eval()", op, n.GetName())
				return
			}
		}
	}
}

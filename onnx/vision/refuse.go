package vision

import (
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// What is refused whatever the feature, and because of what makes it.

// minOpset is the oldest core operator set whose nodes this package writes. Vision transformers are younger.
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
			"demands", n.GetOpType(), n.GetName(), name)
		return
	}
	for _, n := range f.nodes() {
		if !knownDomain(n.GetDomain()) && f.model.Function(n) == nil {
			f.problem("it uses the operator %s of %s, which ONNX Runtime does not have: export it with standard "+
				"operators only", n.GetOpType(), n.GetDomain())
			return
		}
	}
	types := map[string]bool{}
	for _, v := range slices.Concat(f.result.Inputs, f.result.Outputs) {
		types[v.Type] = true
	}
	graph.EachTensor(f.model.Graph(), func(t *graph.Tensor) { types[graph.TypeOf(t)] = true })
	if types["bfloat16"] {
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
	for _, p := range f.positions() {
		if f.patch(im.Input) > 0 && len(p.computed) == 3 && min(p.computed[1], p.constant[1]) > 1 &&
			p.computed[1] != p.constant[1] {
			f.problem("it declares images of any size, but its position embedding has %d tokens (%s %q), and images "+
				"of %d×%d make %d: give the size that it was exported for, or export it with interpolation of "+
				"positions", p.constant[1], p.node.GetOpType(), p.node.GetName(), im.Width, im.Height, p.computed[1])
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
			f.problem("it draws random numbers (%s %q), so an image would have another feature each time: export it "+
				"in evaluation mode, model.eval(), and without random masks", op, n.GetName())
			return
		case "BatchNormalization":
			if graph.AttrInt(n, "training_mode", 0) != 0 {
				f.problem("it was exported while training (%s %q normalises by the batch): export it in evaluation "+
					"mode, model.eval()", op, n.GetName())
				return
			}
		}
	}
}

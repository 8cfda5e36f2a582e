package vision

import (
	"iter"
	"math/bits"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// facts is what can be told from a model's graph. Its methods choose nothing and change nothing.
type facts struct {
	model  *graph.Model
	index  *graph.Index
	shapes shape.Shapes
	inputs []graph.Value
	deps   map[string]uint64 // the inputs that each tensor depends on, a bit for each
}

func newFacts(m *graph.Model) facts {
	f := facts{model: m, index: m.Index(), shapes: shape.Infer(m), deps: map[string]uint64{}}
	f.inputs = f.inferred(m.Inputs())
	for i, v := range f.inputs {
		f.deps[v.Name] = 1 << i
	}
	for _, n := range f.nodes() {
		var set uint64
		for _, name := range graph.Uses(n) {
			set |= f.deps[name]
		}
		for _, o := range n.Output {
			f.deps[o] = set
		}
	}
	return f
}

func (f *facts) nodes() []*graph.Node { return f.model.Graph().Node }

// inferred adds to declarations what follows for their shapes.
func (f *facts) inferred(values []graph.Value) []graph.Value {
	for i, v := range values {
		if s := f.shapes[v.Name]; s != nil {
			values[i].Shape = s
		}
	}
	return values
}

// dependsOn returns the inputs that a tensor is computed from.
func (f *facts) dependsOn(tensor string) []graph.Value {
	var list []graph.Value
	for set := f.deps[tensor]; set != 0; set &= set - 1 {
		list = append(list, f.inputs[bits.TrailingZeros64(set)])
	}
	return list
}

// constant reports whether a tensor depends on no input.
func (f *facts) constant(tensor string) bool {
	return tensor != "" && f.deps[tensor] == 0 && (f.index.Weight[tensor] != nil || f.index.Producer[tensor] != nil)
}

// consumer returns the first node of these operators whose first input a tensor is, nil if there is none.
func (f *facts) consumer(tensor string, ops ...string) *graph.Node {
	for _, n := range f.index.Consumers[tensor] {
		if slices.Contains(ops, n.GetOpType()) && first(n) == tensor {
			return n
		}
	}
	return nil
}

// back leads from node to node by their first inputs, beginning with what gives a tensor.
func (f *facts) back(tensor string) iter.Seq[*graph.Node] {
	return func(yield func(*graph.Node) bool) {
		for range f.nodes() { // in a damaged graph it could go in circles
			n := f.index.Producer[tensor]
			if n == nil || !yield(n) {
				return
			}
			tensor = first(n)
		}
	}
}

func first(n *graph.Node) string  { return graph.Input(n, 0) }
func second(n *graph.Node) string { return graph.Input(n, 1) }

// stem returns the convolution that images enter from an input, if any, and whether they are made NCHW of NHWC before.
func (f *facts) stem(input string) (conv *graph.Node, transposed bool) {
	for range 16 { // a few steps of normalisation at most
		n := f.consumer(input, "Cast", "Identity", "Sub", "Div", "Mul", "Add", "Transpose", "Conv", "FusedConv", "Pad",
			"Clip", "BatchNormalization")
		if n == nil || strings.HasSuffix(n.GetOpType(), "Conv") && !f.byChannel(n, new(Normalisation)) {
			return n, transposed
		}
		transposed = transposed || slices.Equal(graph.Attr(n, "perm").GetInts(), []int64{0, 3, 1, 2})
		input = n.Output[0]
	}
	return nil, transposed
}

// patch returns the size in pixels of the patches that images from an input are cut into: the stride of a stem whose
// kernel is as large, 0 if there is none.
func (f *facts) patch(input string) int64 {
	if stem, _ := f.stem(input); stem != nil {
		w := f.shapes[second(stem)]
		if len(w) == 4 && w[2] > 1 && w[2] == w[3] && slices.Equal(graph.Attr(stem, "strides").GetInts(), w[2:]) {
			return w[2]
		}
	}
	return 0
}

// position is an Add node that looks like that of a position embedding [1,N,D].
type position struct {
	node               *graph.Node
	constant, computed []int64 // shapes
}

func (f *facts) positions() []position {
	var list []position
	for _, n := range f.nodes() {
		if n.GetOpType() != "Add" || len(n.Input) != 2 {
			continue
		}
		for i, name := range n.Input {
			other := n.Input[1-i]
			if s := f.shapes[name]; f.constant(name) && !f.constant(other) && len(s) == 3 && s[0] == 1 {
				list = append(list, position{n, s, f.shapes[other]})
			}
		}
	}
	return list
}

// prepended returns how many constant tokens, perhaps repeated for the batch, the graph first joins in front of
// computed ones, 0 for none, whether the first is a CLS token (one that is not named a register) and its name.
func (f *facts) prepended() (tokens int64, cls bool, name string) {
	for _, n := range f.nodes() {
		axis := graph.AttrInt(n, "axis", 0)
		if n.GetOpType() != "Concat" || len(n.Input) < 2 || len(f.shapes[n.Output[0]]) != 3 || axis != 1 && axis != -2 {
			continue
		}
		for _, part := range n.Input {
			if e := f.index.Producer[part]; e != nil && (e.GetOpType() == "Expand" || e.GetOpType() == "Tile") {
				part = first(e)
			}
			s := f.shapes[part]
			if !f.constant(part) || len(s) != 3 || s[1] < 1 {
				if tokens > 0 {
					return tokens, cls, name
				}
				break
			}
			if tokens == 0 {
				name, cls = part, s[1] == 1 && !strings.Contains(strings.ToLower(part), "reg")
			}
			tokens += s[1]
		}
		tokens = 0 // all constant
	}
	return 0, false, ""
}

// channelsLast reports whether a feature map is [B,h,w,D] rather than [B,D,h,w], by the operators that made it and, if
// they do not tell, by which two dimensions are alike.
func (f *facts) channelsLast(tensor string, s []int64) bool {
walk:
	for n := range f.back(tensor) {
		switch op := n.GetOpType(); op {
		case "LayerNormalization", "SkipLayerNormalization", "MatMul", "FusedMatMul":
			return true
		case "Conv", "FusedConv", "BatchNormalization", "MaxPool", "AveragePool":
			return false
		case "Add", "Mul":
			if w := f.shapes[second(n)]; f.constant(second(n)) && len(w) == 1 && w[0] > 1 {
				return true // one value for each element of the last dimension
			}
		case "Transpose":
			if perm := graph.Attr(n, "perm").GetInts(); len(perm) == 4 {
				return perm[3] == 1 // what was second
			}
			break walk
		default:
			if !shape.Keeps(op) {
				break walk
			}
		}
	}
	return s[1] == s[2] && s[2] != s[3]
}

// tokensOf returns the tokens [B,N,D] that a vector is one of, "" if it is not.
func (f *facts) tokensOf(vector string) string {
	for n := range f.back(vector) {
		switch n.GetOpType() {
		case "Gather", "Slice", "Identity", "Dropout", "Cast":
			if len(f.shapes[first(n)]) == 3 {
				return first(n)
			}
		case "Squeeze", "Reshape":
		default:
			return ""
		}
	}
	return ""
}

// quantised returns the integer product that n scales, of a layer quantised dynamically, nil if n is none.
func (f *facts) quantised(n *graph.Node) *graph.Node {
	for _, name := range n.Input {
		p := f.index.Producer[name]
		if p != nil && p.GetOpType() == "Cast" {
			p = f.index.Producer[first(p)]
		}
		if p != nil && p.GetOpType() == "MatMulInteger" && f.constant(second(p)) {
			return p
		}
	}
	return nil
}

// unquantised returns what a quantised tensor was before.
func (f *facts) unquantised(tensor string) string {
	n := f.index.Producer[tensor]
	if n != nil && (n.GetOpType() == "DynamicQuantizeLinear" || n.GetOpType() == "QuantizeLinear") {
		return first(n)
	}
	return tensor
}

// endsInTanh reports whether a tensor is a tanh, which BERT's pooler ends in.
func (f *facts) endsInTanh(tensor string) bool {
	for n := range f.back(tensor) {
		if op := n.GetOpType(); op != "Identity" && op != "Cast" {
			return op == "Tanh"
		}
	}
	return false
}

package adapt

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
	"github.com/vitft/vitft/onnx/vision"
)

// Block is an attention and an MLP on the residual stream of a transformer, with norms before the two or behind their
// sums; or the two side by side, added at once.
type Block struct {
	In, Mid, Out string // the stream before, between and behind the two, [B,N,D] or [N,B,D]; Mid may be In

	attention, mlp *graph.Node // the sums that they go into
	score          *graph.Node // the product of queries and keys; nil of a fused attention, and of several
	several        int         // attentions that are added at once
}

// Transformer is a backbone and its blocks.
type Transformer struct {
	Blocks []Block // in the order of the data
	Tokens int64   // N, at the image size of the backbone
	Dim    int64   // D of the stream

	model  *graph.Model
	index  *graph.Index
	shapes shape.Shapes
	many   shape.Shapes // for a batch of manyImages, if that is open
	sizes  shape.Values // integers that shapes are computed from
	axis   int64        // of the tokens in the stream: 1, or 0

	streams map[*graph.Node]string // of residual sums, see stream
}

// manyImages is a batch that is no other dimension of a model.
const manyImages = 1009

// infer infers shapes for two batches, where it is open: exporters compute dimensions from it that do not depend on it.
func (t *Transformer) infer() {
	inputs := t.model.Inputs()
	if len(inputs) != 1 || len(inputs[0].Shape) == 0 || inputs[0].Shape[0] != graph.Unknown {
		t.shapes, t.sizes = shape.Trace(t.model)
		return
	}
	inputs[0].Shape[0] = 2 * manyImages
	t.shapes = shape.Infer(t.model, inputs...)
	inputs[0].Shape[0] = manyImages
	t.many, t.sizes = shape.Trace(t.model, inputs...)
	for name, s := range t.shapes {
		for i := range s {
			if other := t.many[name]; len(other) != len(s) || other[i] != s[i] {
				s[i] = graph.Unknown
			}
		}
	}
}

// Find finds the blocks of a backbone, as vision.Backbone makes it, which stays as it is. Where nodes that optimisers
// fused, or functions of the model, hide the residual stream, it finds those of the same backbone without such nodes.
// The error wraps [graph.ErrModel].
func Find(m *graph.Model) (*Transformer, error) {
	t, err := find(m)
	plain := unfused(m)
	if plain == nil {
		return t, err
	}
	behind, hidden := find(plain)
	if err != nil || hidden == nil && len(behind.Blocks) > len(t.Blocks) {
		return behind, hidden
	}
	return t, nil
}

// AnyBatch refuses a backbone that takes batches of one size only, since training takes any. The error wraps
// [graph.ErrModel].
func AnyBatch(m *graph.Model) error {
	if n := m.Inputs()[0].Shape[0]; n != graph.Unknown {
		return fmt.Errorf("%w: training takes batches of any size, and the model those of %d only; export it with a "+
			"dynamic batch", graph.ErrModel, n)
	}
	return nil
}

// unfused makes plain nodes of those that hide sums and products of a backbone's blocks; nil if it has none of them, or
// some that cannot be.
func unfused(m *graph.Model) *graph.Model {
	const ms = "com.microsoft."
	hiding := []string{"Attention", ms + "Attention", ms + "MultiHeadAttention", ms + "SkipLayerNormalization",
		ms + "SkipSimplifiedLayerNormalization", ms + "FusedMatMul"}
	for _, f := range m.Proto().Functions {
		hiding = append(hiding, f.GetDomain()+"."+f.GetName())
	}
	hides := func(n *graph.Node) bool {
		return slices.Contains(hiding, n.GetOpType()) || slices.Contains(hiding, n.GetDomain()+"."+n.GetOpType())
	}
	if !slices.ContainsFunc(m.Graph().Node, hides) {
		return nil
	}
	plain, err := grad.Plain(m, vision.PixelValues, vision.Embedding, hiding...)
	if err != nil || withBiases(plain) != nil {
		return nil
	}
	return plain
}

// withBiases moves the bias of a residual sum of three, as optimisers fuse it, from the stream to what is added to it.
func withBiases(m *graph.Model) error {
	t := Transformer{model: m, index: m.Index()}
	for _, sum := range m.Graph().Node {
		for i, in := range sum.Input {
			biased := t.index.Producer[in]
			if sum.GetOpType() != "Add" || biased == nil || biased.GetOpType() != "Add" ||
				len(t.index.Consumers[in]) != 1 {
				continue
			}
			at := slices.IndexFunc(biased.Input, func(in string) bool {
				w := t.index.Weight[in]
				return w != nil && len(w.Dims) == 1
			})
			if at >= 0 && t.leads(biased.Input[1-at], sum.Input[1-i]) {
				sum.Input[i], sum.Input[1-i], biased.Input[1-at] = biased.Input[1-at], in, sum.Input[1-i]
				break
			}
		}
	}
	return m.Sort()
}

func find(m *graph.Model) (*Transformer, error) {
	for _, n := range m.Graph().Node {
		if len(n.Input) < reads[n.GetOpType()] {
			return nil, fmt.Errorf("%w: %s %q lacks inputs", graph.ErrModel, n.GetOpType(), n.GetName())
		}
	}
	m = m.Copy()
	if err := m.PlainWeights(); err != nil {
		return nil, err
	}
	withoutNeutral(m)
	t := &Transformer{model: m, index: m.Index()}
	t.infer()
	t.streams = map[*graph.Node]string{}
	for _, n := range m.Graph().Node {
		if stream := t.added(n); stream != "" {
			t.streams[n] = stream
		}
	}
	for end := t.end(); end != nil; end = t.sum(t.stream(end)) {
		branch := t.computed(end)
		var attends []*graph.Node
		for _, n := range branch {
			if attention[n.GetOpType()] {
				attends = append(attends, n)
			}
		}
		if attends == nil {
			t.Blocks = append(t.Blocks, Block{Mid: t.stream(end), Out: end.Output[0], mlp: end})
			continue
		}
		if len(t.Blocks) == 0 || t.Blocks[len(t.Blocks)-1].attention != nil { // no MLP follows
			if !slices.ContainsFunc(branch, func(n *graph.Node) bool { return activation[n.GetOpType()] }) {
				return nil, fmt.Errorf("%w: the residual stream at %s has an attention without an MLP behind or "+
					"beside it: blocks of both are what can be adapted", graph.ErrModel, end.Output[0])
			}
			t.Blocks = append(t.Blocks, Block{Mid: t.stream(end), Out: end.Output[0], mlp: end})
		}
		b := &t.Blocks[len(t.Blocks)-1]
		b.In, b.attention, b.several = t.stream(end), end, len(attends)
		if b.several == 1 {
			b.score = t.scored(attends[0])
		}
	}
	slices.Reverse(t.Blocks)
	for len(t.Blocks) > 0 && t.Blocks[0].attention == nil { // an MLP alone, before the first block
		t.Blocks = t.Blocks[1:]
	}
	if len(t.Blocks) == 0 {
		return nil, fmt.Errorf("%w: no blocks of attention and MLP on a residual stream of tokens were found: what "+
			"can be adapted are transformers with a stream of images, tokens and features", graph.ErrModel)
	}
	for _, b := range t.Blocks {
		if b.attention == nil {
			return nil, fmt.Errorf("%w: the MLP that gives %s follows no attention: blocks of both are what "+
				"can be adapted", graph.ErrModel, b.Out)
		}
	}
	in := t.Blocks[0].In
	t.axis = t.along(in)
	if s := t.many[in]; len(s) > 0 && s[1-t.axis] != manyImages {
		return nil, fmt.Errorf("%w: the residual stream at %s is of parts of images, not of the tokens of each; that "+
			"cannot be adapted", graph.ErrModel, in)
	}
	t.Tokens, t.Dim = t.shapes[in][t.axis], t.shapes[in][2]
	if err := t.computes(); err != nil {
		return nil, err
	}
	return t, nil
}

// Before is how many attentions there are before the first block: where something else than sums is on the stream, no
// blocks are found beyond it.
func (t *Transformer) Before() (n int) {
	t.behind(t.Blocks[0].In, func(tensor string) bool {
		if p := t.index.Producer[tensor]; p != nil && attention[p.GetOpType()] {
			n++
		}
		return true
	})
	return n
}

// Prefix is how many tokens stand before those of the patches, such as a class token and registers: as many as there
// are more than places that a convolution gives. It is 0 where none is seen.
func (t *Transformer) Prefix() (prefix int64) {
	const most = 64
	t.behind(t.Blocks[0].In, func(tensor string) bool {
		n, s := t.index.Producer[tensor], t.shapes[tensor]
		if n == nil || n.GetOpType() != "Conv" || len(s) != 4 || s[2] < 1 || s[3] < 1 {
			return true
		}
		if more := t.Tokens - s[2]*s[3]; more > 0 && more <= most && prefix == 0 {
			prefix = more
		}
		return false
	})
	return prefix
}

// reads is how many inputs are read here of an operator's nodes, by their place.
var reads = map[string]int{"MatMul": 2, "Gemm": 2, "Gather": 2, "Reshape": 2, "Slice": 1, "Shape": 1, "Identity": 1,
	"Dropout": 1, "Transpose": 1, "Cast": 1, "Squeeze": 1, "Unsqueeze": 1}

// computes refuses blocks that compute in another precision than float32, which parameters have.
func (t *Transformer) computes() error {
	for _, b := range t.Blocks {
		for _, n := range slices.Concat(t.branch(b.attention), t.branch(b.mlp)) {
			for _, in := range n.Input {
				elem := graph.TypeOf(t.index.Weight[in])
				if n.GetOpType() != "Cast" && graph.IsFloat(elem) && elem != "float32" {
					return fmt.Errorf("%w: it computes in %s (%s %q): adapt its export in float32", graph.ErrModel,
						elem, n.GetOpType(), cmp.Or(n.GetName(), n.Output[0]))
				}
			}
		}
	}
	return nil
}

// attention are the operators that tell an attention.
var attention = map[string]bool{"Softmax": true, "Attention": true, "MultiHeadAttention": true}

// activation are operators of an MLP that attentions do without.
var activation = map[string]bool{"Erf": true, "Gelu": true, "FastGelu": true, "QuickGelu": true, "BiasGelu": true,
	"Tanh": true, "Relu": true}

// end is the last sum of the longest chain of sums that the embedding is made of, nil if there is no chain.
func (t *Transformer) end() *graph.Node {
	nodes, _ := t.model.Needed(vision.Embedding)
	length := map[*graph.Node]int{}
	var end *graph.Node
	for _, n := range nodes {
		if t.stream(n) == "" {
			continue
		}
		length[n] = 1 + length[t.sum(t.stream(n))]
		if length[n] >= length[end] {
			end = n
		}
	}
	if length[end] < 2 {
		return nil
	}
	return end
}

// sum is the residual sum that gives a tensor of the stream, as it is or behind a norm, nil if none does.
func (t *Transformer) sum(tensor string) *graph.Node {
	n := t.index.Producer[tensor]
	for n != nil && passing[n.GetOpType()] {
		n = t.index.Producer[n.Input[0]]
	}
	if n == nil || t.stream(n) == "" {
		return nil
	}
	return n
}

// passing are the operators between a residual sum and the next.
var passing = map[string]bool{"Identity": true, "Dropout": true, "LayerNormalization": true}

// stream is the operand of a residual sum that the other is computed from, "" of a node that is none.
func (t *Transformer) stream(n *graph.Node) string { return t.streams[n] }

// added finds the stream of a sum, of which those before it are known. What is added to a residual sum, and computed
// from the same operand, as an adapter beside an MLP, belongs to it.
func (t *Transformer) added(n *graph.Node) string {
	if n.GetOpType() != "Add" || len(n.Input) != 2 {
		return ""
	}
	a, b := t.shapes[n.Input[0]], t.shapes[n.Input[1]]
	if !slices.Equal(a, b) || t.along(n.Input[0]) < 0 || t.along(n.Input[0]) != t.along(n.Input[1]) {
		return ""
	}
	for i, other := range n.Input {
		if stream := n.Input[1-i]; t.leads(stream, other) {
			return stream
		}
	}
	for i, other := range n.Input {
		if stream := t.streams[t.index.Producer[n.Input[1-i]]]; stream != "" && t.leads(stream, other) {
			return stream
		}
	}
	return ""
}

// along is the axis of the tokens in a tensor of images, tokens and features, or of tokens, images and features; -1 if
// it is neither.
func (t *Transformer) along(tensor string) int64 {
	s, many := t.shapes[tensor], t.many[tensor]
	switch {
	case len(s) != 3 || s[2] < 1:
	case len(many) == 3 && many[1] == manyImages && s[0] > 1:
		return 0
	case s[1] > 1:
		return 1
	}
	return -1
}

// leads reports whether one tensor is computed from another.
func (t *Transformer) leads(from, to string) bool {
	found := false
	t.behind(to, func(tensor string) bool {
		found = found || tensor == from
		return !found
	})
	return found
}

// behind visits the tensors that one is computed from, itself first, going on beyond those for which visit is true.
func (t *Transformer) behind(tensor string, visit func(string) bool) {
	seen := map[string]bool{}
	var walk func(string)
	walk = func(tensor string) {
		if tensor == "" || seen[tensor] {
			return
		}
		seen[tensor] = true
		if n := t.index.Producer[tensor]; visit(tensor) && n != nil {
			for _, in := range n.Input {
				walk(in)
			}
		}
	}
	walk(tensor)
}

// norms are those behind the sums of block k, where norms are there.
func (t *Transformer) norms(k int) (nodes []*graph.Node) {
	between := func(tensor string, sum *graph.Node) {
		for n := t.index.Producer[tensor]; n != nil && n != sum && passing[n.GetOpType()]; {
			if n.GetOpType() == "LayerNormalization" {
				nodes = append(nodes, n)
			}
			n = t.index.Producer[n.Input[0]]
		}
	}
	b := t.Blocks[k]
	if between(b.Mid, b.attention); nodes == nil {
		return nil
	}
	if k+1 < len(t.Blocks) {
		between(t.Blocks[k+1].In, b.mlp)
		return nodes
	}
	for _, n := range t.index.Consumers[b.Out] {
		if n.GetOpType() == "LayerNormalization" {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// branch are the nodes that a residual sum's other operand is computed by, from the stream, and what they need beside
// it, in the order of the graph.
func (t *Transformer) branch(sum *graph.Node) []*graph.Node {
	stream := t.stream(sum)
	inside := map[*graph.Node]bool{}
	for _, in := range sum.Input {
		t.behind(in, func(tensor string) bool {
			if tensor == stream {
				return false
			}
			if n := t.index.Producer[tensor]; n != nil {
				inside[n] = true
			}
			return true
		})
	}
	return slices.DeleteFunc(slices.Clone(t.model.Graph().Node), func(n *graph.Node) bool { return !inside[n] })
}

// computed are the nodes of a branch that compute with the stream itself. The others compute shapes, which exporters
// ask of anything before it, and what blocks share.
func (t *Transformer) computed(sum *graph.Node) []*graph.Node {
	with := map[string]bool{t.stream(sum): true}
	return slices.DeleteFunc(t.branch(sum), func(n *graph.Node) bool {
		if n.GetOpType() == "Shape" || !slices.ContainsFunc(n.Input, func(in string) bool { return with[in] }) {
			return true
		}
		for _, o := range n.Output {
			with[o] = true
		}
		return false
	})
}

// scored is the product of queries and keys that a softmax is of, nil if there is none.
func (t *Transformer) scored(softmax *graph.Node) *graph.Node {
	for n := t.index.Producer[graph.Input(softmax, 0)]; n != nil; n = t.index.Producer[t.changed(n)] {
		switch n.GetOpType() {
		case "MatMul":
			return n
		case "Mul", "Div", "Add", "Where", "Cast", "Identity", "Dropout":
		default:
			return nil
		}
	}
	return nil
}

// changed is the input of a node that it changes a little: not the constant, mask or condition beside it.
func (t *Transformer) changed(n *graph.Node) string {
	first := 0
	if n.GetOpType() == "Where" {
		first = 1
	}
	for _, in := range n.Input[min(first, len(n.Input)):] {
		if p := t.index.Producer[in]; p != nil && p.GetOpType() != "Constant" {
			return in
		}
	}
	return ""
}

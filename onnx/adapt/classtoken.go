package adapt

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// ByClassToken reports whether the embedding is made of the first token alone, and the last block can be computed for
// it alone.
func (a *Adapted) ByClassToken() bool {
	last := a.Blocks[len(a.Blocks)-1]
	if last.score == nil {
		return false
	}
	return a.firstOnly(last.Out, a.axis)
}

// firstOnly reports whether of a tensor of tokens only the first along an axis is ever read, by itself.
func (a *Adapted) firstOnly(tensor string, along int64) bool {
	readers := a.index.Consumers[tensor]
	for _, n := range readers {
		switch op := n.GetOpType(); {
		case op == "Gather" && n.Input[0] == tensor:
			axis := graph.AttrInt(n, "axis", 0)
			if axis != along && axis != along-3 || !slices.Equal(a.ints(graph.Input(n, 1)), []int64{0}) {
				return false
			}
		case op == "Transpose" && slices.Equal(graph.Attr(n, "perm").GetInts(), []int64{1, 0, 2}):
			if !a.firstOnly(n.Output[0], 1-along) {
				return false
			}
		case tokenwise[op]:
			// What it gives has its tokens where they were.
			s := a.shapes[n.Output[0]]
			if len(s) != 3 || s[along] != a.Tokens || !a.firstOnly(n.Output[0], along) {
				return false
			}
		default:
			return false
		}
	}
	return len(readers) > 0
}

// tokenwise are the operators of a norm behind the last block, which take each token by itself if they keep the second
// of three axes.
var tokenwise = map[string]bool{"LayerNormalization": true, "Identity": true, "Dropout": true, "Cast": true,
	"ReduceMean": true, "Sub": true, "Mul": true, "Div": true, "Add": true, "Pow": true, "Sqrt": true}

// last computes the last block for the first token alone.
func (a *Adapted) last(m *graph.Model) {
	block, index := a.Blocks[len(a.Blocks)-1], m.Index()
	b := graph.NewBuilder(m, "vitft_cls")
	score := index.Producer[block.score.Output[0]]
	if err := a.alone(b, index, score); err != nil {
		score.Input[0] = first(b, score.Input[0], int64(len(a.shapes[block.score.Input[0]])-2))
	}
	// The stream may come from an adapter, by another name than before.
	sum := index.Producer[block.attention.Output[0]]
	stream := slices.Index(block.attention.Input, block.In)
	sum.Input[stream] = first(b, sum.Input[stream], a.axis)
	a.ofOne(b, index, block)
}

// ofOne lets the Reshapes between what the attention gives and the sum that it goes into take one token in place of
// all, where their shape is computed.
func (a *Adapted) ofOne(b *graph.Builder, index *graph.Index, block Block) {
	mixed := a.mixed(block)
	if mixed == nil {
		return
	}
	behind := map[string]bool{mixed.Output[0]: true}
	for _, n := range a.computed(block.attention) {
		if !behind[graph.Input(n, 0)] {
			continue
		}
		behind[n.Output[0]] = true
		here := index.Producer[n.Output[0]]
		if n.GetOpType() != "Reshape" || here == nil || index.Weight[here.Input[1]] != nil {
			continue
		}
		dims := slices.Clone(a.many[n.Output[0]])
		for i, d := range dims {
			switch {
			case d == graph.Unknown:
				return
			case d%manyImages == 0:
				dims[i] = -1
			case d == a.Tokens:
				dims[i] = 1
			}
		}
		if len(dims) > 0 {
			here.Input = []string{here.Input[0], b.Int64s(fmt.Sprint("one", dims), []int64{int64(len(dims))}, dims...)}
			here.Attribute = nil
		}
	}
}

// turned changes the first two of three axes.
func turned(b *graph.Builder, tensor string) string {
	return b.Node("Transpose", []string{tensor}, "", graph.IntsAttr("perm", 1, 0, 2))
}

// first takes the first of an axis.
func first(b *graph.Builder, tensor string, axis int64) string {
	return b.Node("Slice", []string{tensor, b.Int64s("from", []int64{1}, 0), b.Int64s("to", []int64{1}, 1),
		b.Int64s(fmt.Sprint("axis", axis), []int64{1}, axis)}, "")
}

// alone computes the attention of the first token without keys and values, of which it would need all for a single
// query: with tokens x, and for each head, q·Kᵀ = (q·Wₖᵀ)·xᵀ + q·bₖ and p·V = (p·x)·Wᵥ + bᵥ, since p sums to 1.
// That takes as many products a token as there are heads, in place of two matrices of the tokens' size. The error says
// what in the block is made otherwise.
func (a *Adapted) alone(b *graph.Builder, index *graph.Index, score *graph.Node) error {
	block := a.Blocks[len(a.Blocks)-1]
	mixed := a.mixed(block)
	if mixed == nil || !a.sumsToOne(mixed.Input[0]) {
		return errors.New("the values are not mixed by a softmax alone")
	}
	var of [3]source
	for i, tensor := range []string{block.score.Input[0], block.score.Input[1], mixed.Input[1]} {
		var err error
		if of[i], err = a.source(b, index, block, tensor); err != nil {
			return err
		}
	}
	q, k, v := of[0], of[1], of[2]
	shape := a.shapes[block.score.Input[0]] // [B, heads, N, each]
	if len(shape) != 4 || shape[1] < 1 || q.width != shape[1]*shape[3] || k.width != q.width ||
		len(a.shapes[mixed.Input[1]]) != 4 || a.shapes[mixed.Input[1]][1] != shape[1] || v.scale != 1 {
		return errors.New("queries, keys and values have other heads")
	}
	heads, each, own := shape[1], shape[3], a.shapes[mixed.Input[1]][3]
	reshape := func(x string, dims ...int64) string {
		to := b.Int64s(fmt.Sprint("shape", dims), []int64{int64(len(dims))}, dims...)
		return b.Node("Reshape", []string{x, to}, "")
	}
	// apart is the matrix of each head: [heads, each, D] or [heads, D, each].
	apart := func(s source, each int64, perm ...int64) string {
		return b.Node("Transpose", []string{reshape(s.weight, -1, heads, each)}, "", graph.IntsAttr("perm", perm...))
	}
	query := b.Node("MatMul", []string{first(b, q.tokens, 1), q.weight}, "")
	if q.bias != "" {
		query = b.Node("Add", []string{query, q.bias}, "")
	}
	if scale := q.scale * k.scale; scale != 1 {
		query = b.Node("Mul", []string{query, b.Floats("scale", nil, scale)}, "")
	}
	query = reshape(query, 0, heads, 1, each)
	scores := b.Node("MatMul", []string{query, apart(k, each, 1, 2, 0)}, "")
	turned := b.Node("Transpose", []string{k.tokens}, "", graph.IntsAttr("perm", 0, 2, 1))
	scores = reshape(b.Node("MatMul", []string{reshape(scores, 0, heads, a.Dim), turned}, ""), 0, 0, 1, -1)
	if k.bias != "" {
		scores = b.Node("Add", []string{scores,
			b.Node("MatMul", []string{query, reshape(k.bias, heads, each, 1)}, "")}, "")
	}
	become(score, "Identity", scores)

	again := index.Producer[mixed.Output[0]]
	x := b.Node("MatMul", []string{reshape(again.Input[0], 0, heads, -1), v.tokens}, "")
	x = b.Node("MatMul", []string{reshape(x, 0, heads, 1, a.Dim), apart(v, own, 1, 0, 2)}, "")
	if v.bias == "" {
		become(again, "Identity", x)
	} else {
		become(again, "Add", x, reshape(v.bias, heads, 1, own))
	}
	return nil
}

// sumsToOne reports whether a tensor is what a softmax gives.
func (a *Adapted) sumsToOne(tensor string) bool {
	for n := a.index.Producer[tensor]; n != nil; n = a.index.Producer[n.Input[0]] {
		switch n.GetOpType() {
		case "Identity", "Dropout", "Cast":
		default:
			return n.GetOpType() == "Softmax"
		}
	}
	return false
}

// become makes another node of one, with the same output.
func become(n *graph.Node, op string, in ...string) {
	n.OpType, n.Input, n.Attribute = &op, in, nil
}

// source is how queries, keys or values are made of the tokens of a part: scale·(tokens·weight + bias).
type source struct {
	tokens, weight, bias string // no bias is ""
	width                int64
	scale                float32
}

// source finds it, through what only takes apart and turns round.
func (a *Adapted) source(b *graph.Builder, index *graph.Index, block Block, tensor string) (source, error) {
	p, err := a.projection(block, tensor)
	if err != nil {
		return source{}, err
	}
	s := source{scale: 1, width: p.out / p.parts}
	here := index.Producer[p.node.Output[0]] // in the part
	if here == nil || here.GetOpType() != "MatMul" || p.in != a.Dim || len(a.shapes[p.node.Input[0]]) != 3 {
		return source{}, errors.New("it is made by no product of the tokens")
	}
	s.tokens, s.weight = here.Input[0], here.Input[1]
	if a.along(p.node.Input[0]) == 0 {
		s.tokens = turned(b, s.tokens)
	}
	for n := a.index.Producer[tensor]; n != p.node; n = a.index.Producer[tensor] {
		if n == nil {
			return source{}, fmt.Errorf("nothing gives %s", tensor)
		}
		tensor = graph.Input(n, 0)
		switch op := n.GetOpType(); op {
		case "Reshape", "Transpose", "Identity", "Dropout", "Split", "Gather", "Slice", "Squeeze", "Unsqueeze":
		case "Mul", "Div":
			by, known := a.number(graph.Input(n, 1))
			if !known && op == "Mul" {
				by, known = a.number(tensor)
				tensor = graph.Input(n, 1)
			}
			if op == "Div" {
				by = 1 / by
			}
			if s.scale *= float32(by); !known || s.bias != "" {
				return source{}, fmt.Errorf("%s %q is in between", op, n.GetName())
			}
		case "Add":
			at := slices.IndexFunc(n.Input, func(in string) bool { return a.index.Weight[in] != nil })
			if at < 0 || s.bias != "" || !slices.Equal(a.index.Weight[n.Input[at]].Dims, []int64{p.out}) {
				return source{}, fmt.Errorf("%s %q is in between", op, n.GetName())
			}
			tensor, s.bias = graph.Input(n, 1-at), index.Producer[n.Output[0]].Input[at]
		default:
			return source{}, fmt.Errorf("%s %q is in between", op, n.GetName())
		}
	}
	if p.parts > 1 {
		part := func(of string, axis int64) string {
			return b.Node("Slice", []string{of, b.Int64s(fmt.Sprint("from", p.part), []int64{1}, p.part*s.width),
				b.Int64s(fmt.Sprint("to", p.part), []int64{1}, (p.part+1)*s.width),
				b.Int64s(fmt.Sprint("axis", axis), []int64{1}, axis)}, "")
		}
		s.weight = part(s.weight, 1)
		if s.bias != "" {
			s.bias = part(s.bias, 0)
		}
	}
	return s, nil
}

// number is the value of a tensor of one element, where it is constant or computed from sizes, as exporters compute the
// scale of an attention.
func (a *Adapted) number(tensor string) (v float64, ok bool) {
	w, n := a.index.Weight[tensor], a.index.Producer[tensor]
	if n != nil && n.GetOpType() == "Constant" {
		w = graph.Attr(n, "value").GetT()
	}
	if f, ok := graph.Floats(w); ok && len(f) == 1 {
		return float64(f[0]), true
	}
	if i := a.sizes[tensor]; len(i) == 1 {
		return float64(i[0]), true
	}
	if n == nil || len(n.Input) == 0 || graph.Elements(a.shapes[tensor]) != 1 {
		return 0, false
	}
	if v, ok = a.number(n.Input[0]); !ok {
		return 0, false
	}
	switch n.GetOpType() {
	case "Cast", "Identity":
		return v, true
	case "Sqrt":
		return math.Sqrt(v), true
	case "Div", "Mul":
		by, ok := a.number(graph.Input(n, 1))
		if n.GetOpType() == "Div" {
			by = 1 / by
		}
		return v * by, ok
	}
	return 0, false
}

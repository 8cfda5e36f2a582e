package adapt

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// projection is the product with a weight that queries, keys or values are made by.
type projection struct {
	node        *graph.Node
	weight      string
	in, out     int64 // features
	transposed  bool  // the weight is [out, in]
	part, parts int64 // which of so many equal parts of out
}

// projection finds where queries, keys or values come from.
func (t *Transformer) projection(b Block, tensor string) (projection, error) {
	p := projection{parts: 1}
	err := errors.New("no product with a weight was found that it is made by")
	stacked := false // whether the part is a block of features, rather than of each head
	t.behind(tensor, func(tensor string) bool {
		n := t.index.Producer[tensor]
		if p.node != nil || n == nil || tensor == b.In {
			return false
		}
		// Queries, keys and values are parted as [B,N,3·D] or with an axis of their own, the first of four. Of four
		// axes otherwise, those of heads, rotary embeddings take halves.
		from := t.shapes[graph.Input(n, 0)]
		parting := len(from) == 3 || len(from) == 5 ||
			len(from) == 4 && from[0] == 3 && graph.AttrInt(n, "axis", 0) == 0
		switch op := n.GetOpType(); op {
		case "Split":
			if parting {
				p.part, p.parts = int64(slices.Index(n.Output, tensor)), int64(len(n.Output))
				stacked = len(from) == 3
			}
		case "Gather", "Slice":
			if at := t.offset(n); at >= 0 && parting {
				p.part, p.parts = at, parts(from, t.shapes[tensor])
				stacked = len(from) == 3
			}
		case "Reshape":
			// [B,N,3·D] to [B,N,3,H,D/H]: the parts are blocks of features if they come before the heads.
			if s := t.shapes[tensor]; p.parts > 1 && len(t.shapes[n.Input[0]]) == 3 && len(s) > 3 {
				stacked = s[2] == p.parts
			}
		case "MatMul", "Gemm":
			w, transposed := t.weight(n)
			if w == nil {
				return true
			}
			p.node, p.weight, p.transposed = n, w.GetName(), transposed
			p.in, p.out = w.Dims[0], w.Dims[1]
			if transposed {
				p.in, p.out = p.out, p.in
			}
			if err = nil; p.parts > 1 && (!stacked || p.out%p.parts != 0) {
				err = fmt.Errorf("the weight %q is stacked in another way than queries, keys and values one after "+
					"the other", p.weight)
			}
			return false
		}
		return true
	})
	if err == nil && t.elements(tensor)*p.parts != t.elements(p.node.Output[0]) {
		err = fmt.Errorf("which part of the weight %q makes it was not understood", p.weight)
	}
	return p, err
}

// elements is how many numbers a tensor has, for many images if it has a batch.
func (t *Transformer) elements(tensor string) int64 {
	if s := t.many[tensor]; s != nil {
		return graph.Elements(s)
	}
	return graph.Elements(t.shapes[tensor])
}

// weight is the constant matrix that a product is with, nil if it is with none.
func (t *Transformer) weight(product *graph.Node) (w *graph.Tensor, transposed bool) {
	name := graph.Input(product, 1)
	transposed = product.GetOpType() == "Gemm" && graph.AttrInt(product, "transB", 0) == 1
	for n := t.index.Producer[name]; n != nil; n = t.index.Producer[name] {
		switch n.GetOpType() {
		case "Transpose":
			transposed = !transposed
		case "Identity":
		default:
			return nil, false
		}
		name = n.Input[0]
	}
	w = t.index.Weight[name]
	if w == nil || len(w.Dims) != 2 || graph.TypeOf(w) != "float32" {
		return nil, false
	}
	return w, transposed
}

// offset is which of equal parts a Gather or Slice takes, -1 if that is not known.
func (t *Transformer) offset(n *graph.Node) int64 {
	v := t.listed(graph.Input(n, 1))
	if len(v) != 1 || v[0] < 0 {
		return -1
	}
	if n.GetOpType() == "Gather" {
		return v[0]
	}
	from, to := t.shapes[n.Input[0]], t.shapes[n.Output[0]]
	for i := range min(len(from), len(to)) {
		if from[i] != to[i] && to[i] > 0 {
			return v[0] / to[i]
		}
	}
	return 0
}

// parts is how many times one shape goes into another.
func parts(from, to []int64) int64 {
	whole, part := int64(1), int64(1)
	for _, d := range from {
		whole *= max(d, 1)
	}
	for _, d := range to {
		part *= max(d, 1)
	}
	return max(whole/max(part, 1), 1)
}

// mixed is the product of the attention and the values, nil if it is not found.
func (t *Transformer) mixed(b Block) *graph.Node {
	for _, n := range t.computed(b.attention) {
		if n.GetOpType() != "MatMul" || n == b.score {
			continue
		}
		for p := t.index.Producer[n.Input[0]]; p != nil; p = t.index.Producer[t.changed(p)] {
			switch p.GetOpType() {
			case "Softmax":
				return n
			case "Identity", "Dropout", "Cast", "Reshape", "Mul", "Where":
				continue
			}
			break
		}
	}
	return nil
}

// keyBias is the vector that is added to keys, "" where it is not one of its own.
func (t *Transformer) keyBias(b Block) string {
	if b.score == nil {
		return ""
	}
	p, err := t.projection(b, b.score.Input[1])
	if err != nil || p.parts > 1 {
		return ""
	}
	if p.node.GetOpType() == "Gemm" {
		return graph.Input(p.node, 2)
	}
	for _, n := range t.index.Consumers[p.node.Output[0]] {
		for _, in := range n.Input {
			if w := t.index.Weight[in]; n.GetOpType() == "Add" && w != nil && len(w.Dims) == 1 {
				return in
			}
		}
	}
	return ""
}

// listed are the values of integers that are constant, or computed from sizes; nil if they are not known.
func (t *Transformer) listed(tensor string) []int64 {
	if v := t.ints(tensor); v != nil {
		return v
	}
	return t.sizes[tensor]
}

// ints are the values of integers that are constant, nil if a tensor is none.
func (t *Transformer) ints(tensor string) []int64 {
	w := t.index.Weight[tensor]
	if n := t.index.Producer[tensor]; w == nil && n != nil && n.GetOpType() == "Constant" {
		w = graph.Attr(n, "value").GetT()
		if a := graph.Attr(n, "value_int"); a != nil {
			return []int64{a.GetI()}
		}
		if a := graph.Attr(n, "value_ints"); a != nil {
			return a.GetInts()
		}
	}
	v, ok := graph.Ints(w)
	if !ok {
		return nil
	}
	return v
}

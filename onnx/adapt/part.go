package adapt

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
	"github.com/vitft/vitft/onnx/vision"
)

// Tokens is the input of the part that is trained: the stream [B,n,D] before the first block with parameters.
const Tokens = "tokens"

// Frozen is the part of the backbone before the first block with parameters, as a backbone whose embedding are the
// tokens of that place, one after the other: [B, N·D].
func (a *Adapted) Frozen() (*graph.Model, error) {
	m := a.model.Copy()
	b := graph.NewBuilder(m, "vitft_tokens")
	in := a.Blocks[a.First].In
	if a.axis == 0 {
		in = turned(b, in)
	}
	flat := b.Node("Reshape", []string{in, b.Int64s("flat", []int64{2}, 0, a.Tokens*a.Dim)}, "")
	m.Rename(map[string]string{vision.Embedding: b.Name("was/" + vision.Embedding), flat: vision.Embedding})
	batch := a.model.Outputs()[0].Shape[0]
	m.SetOutputs(graph.Value{Name: vision.Embedding, Type: "float32", Shape: []int64{batch, a.Tokens * a.Dim}})
	m.Prune()
	return m, m.Sort()
}

// Part says what of the tokens the part that is trained computes.
type Part struct {
	Tokens int64 // so many are given; 0 is all
	// ClassToken computes the last block for the first token alone, with the keys and values of all. The embedding is
	// the same, if it is made of that token: see [Adapted.ByClassToken].
	ClassToken bool
}

// Trained is the part of the backbone from the first block with parameters on: from [Tokens] and parameters, which are
// inputs, to the embedding. With fewer tokens than the backbone has the error, which wraps [graph.ErrModel], says what
// ties a block to their number.
func (a *Adapted) Trained(p Part) (*graph.Model, error) {
	in := a.Blocks[a.First].In
	n := p.Tokens
	if n == 0 {
		n = a.Tokens
	}
	batch := a.model.Outputs()[0].Shape[0]
	tokens := graph.Value{Name: in, Type: "float32", Shape: []int64{batch, n, a.Dim}}
	inputs := []graph.Value{tokens}
	if a.axis == 0 {
		inputs[0].Shape = []int64{n, batch, a.Dim}
	}
	for _, v := range a.params {
		inputs = append(inputs, graph.Value{Name: v.input, Type: "float32", Shape: v.Shape})
	}
	whole := a.with.Copy()
	if err := a.detach(whole); err != nil {
		return nil, err
	}
	m, err := whole.Cut(inputs, a.model.Outputs())
	if err != nil {
		return nil, fmt.Errorf("blocks %d to %d read more than the tokens before them: %w", a.First,
			len(a.Blocks)-1, err)
	}
	if n != a.Tokens || p.ClassToken {
		if err := a.free(m); err != nil {
			return nil, err
		}
	}
	if p.ClassToken {
		a.last(m)
	}
	if a.axis == 0 {
		first := turned(graph.NewBuilder(m, "vitft_turned"), in)
		for _, reader := range m.Index().Consumers[in] {
			if reader.Output[0] != first {
				replace(in, first, []*graph.Node{reader})
			}
		}
		inputs[0] = tokens
		m.SetInputs(inputs...)
	}
	m.Rename(map[string]string{in: Tokens})
	if err := m.Sort(); err != nil {
		return nil, err
	}
	m.Prune()
	return m, a.fits(m, n)
}

// detach lets the blocks know the batch from their tokens where they know it from what comes before: exporters ask the
// images for it.
func (a *Adapted) detach(m *graph.Model) error {
	in := a.Blocks[a.First].In
	behind := map[string]bool{in: true}
	b := graph.NewBuilder(m, "vitft_batch")
	m.SetInputs(append(m.Inputs(), graph.Value{Name: in, Type: "float32", Shape: a.shapes[in]})...)
	for _, n := range slices.Clone(m.Graph().Node) {
		if i := slices.Index(n.Output, in); i >= 0 { // from here on an input gives it
			n.Output[i] = b.Name("was")
		}
		if n.GetOpType() == "Shape" && !behind[n.Input[0]] {
			a.known(b, n, in)
		}
		if slices.ContainsFunc(graph.Uses(n), func(name string) bool { return behind[name] }) {
			for _, o := range n.Output {
				behind[o] = true
			}
		}
	}
	return m.Sort()
}

// known replaces a node that asks for a shape by what is known of it, and the batch of the tokens in.
func (a *Adapted) known(b *graph.Builder, n *graph.Node, in string) {
	dims, many := a.shapes[n.Input[0]], a.many[n.Input[0]]
	if len(dims) == 0 || slices.Contains(dims[1:], graph.Unknown) {
		return
	}
	axis := func(name string, otherwise int64) int64 {
		k := graph.AttrInt(n, name, otherwise)
		if k < 0 {
			k += int64(len(dims))
		}
		return min(max(k, 0), int64(len(dims)))
	}
	from, to := axis("start", 0), axis("end", int64(len(dims)))
	if from >= to {
		return
	}
	list := func(v []int64) string { return b.Int64s(fmt.Sprint("dims", v), []int64{int64(len(v))}, v...) }
	all := list(dims[from:to])
	if from == 0 && dims[0] == graph.Unknown {
		if len(many) == 0 || many[0] != manyImages {
			return
		}
		batch := dimension(b, in, 1-a.axis)
		if all = batch; to > 1 {
			all = b.Node("Concat", []string{batch, list(dims[1:to])}, "", graph.IntAttr("axis", 0))
		}
	}
	op := "Identity"
	n.OpType, n.Input, n.Attribute = &op, []string{all}, nil
}

// dimension is the size of a tensor along an axis, a list of one number.
func dimension(b *graph.Builder, tensor string, axis int64) string {
	number := func(v int64) string { return b.Int64s(fmt.Sprint("dims", []int64{v}), []int64{1}, v) }
	return b.Node("Slice", []string{b.Node("Shape", []string{tensor}, ""), number(axis), number(axis + 1)}, "")
}

// fits says what in a part does not go together with so many tokens.
func (a *Adapted) fits(m *graph.Model, n int64) error {
	if n == a.Tokens {
		return nil
	}
	inputs := m.Inputs()
	if inputs[0].Shape[0] == graph.Unknown {
		inputs[0].Shape[0] = 1
	}
	shapes := shape.Infer(m, inputs...)
	for _, node := range m.Graph().Node {
		if node.GetOpType() != "Reshape" {
			continue
		}
		from, to := shapes[node.Input[0]], shapes[node.Output[0]]
		was, is := graph.Elements(from), graph.Elements(to)
		if from != nil && to != nil && was >= 0 && is >= 0 && was != is {
			return fmt.Errorf("%w: Reshape %q needs all %d tokens, so none can be left out", graph.ErrModel,
				node.GetName(), a.Tokens)
		}
	}
	return nil
}

// free lets a part take any number of tokens: shapes that name it take it from what they are the shape of. The error
// names a weight that has a place for each token.
func (a *Adapted) free(m *graph.Model) error {
	index := m.Index()
	b := graph.NewBuilder(m, "vitft_any")
	for _, n := range m.Graph().Node {
		if n.GetOpType() == "Reshape" {
			a.loosen(b, n, index)
			continue
		}
		for _, in := range n.Input {
			if t := index.Weight[in]; t != nil && slices.Contains(t.Dims, a.Tokens) && a.Tokens != a.Dim {
				return fmt.Errorf("%w: %s %q has a place for each token in the weight %q (a relative position, "+
					"perhaps), so none can be left out", graph.ErrModel, n.GetOpType(), n.GetName(), in)
			}
		}
	}
	return nil
}

// loosen lets a Reshape take the number of tokens from what it is given, where its shape names it: as a constant, or as
// one of several that are joined.
func (a *Adapted) loosen(b *graph.Builder, n *graph.Node, index *graph.Index) {
	from, one := a.shapes[n.Input[0]], []int64{1}
	literal := graph.AttrInt(n, "allowzero", 0) != 0 // 0 is not what stands there
	if dims := slices.Clone(a.ints(n.Input[1])); dims != nil {
		if literal && slices.Contains(dims, 0) {
			return
		}
		n.Attribute = nil
		var asked []int // of the tokens of the part
		for i, d := range dims {
			switch {
			case d != a.Tokens:
			case i < len(from) && from[i] == d:
				dims[i] = 0
			case !slices.Contains(dims, -1):
				dims[i] = -1
			default:
				asked = append(asked, i)
			}
		}
		to := b.Int64s(fmt.Sprint("shape", dims), []int64{int64(len(dims))}, dims...)
		if asked != nil {
			var parts []string
			for _, d := range dims {
				parts = append(parts, b.Int64s(fmt.Sprint("shape", d), one, d))
			}
			for _, i := range asked {
				parts[i] = dimension(b, a.Blocks[a.First].In, a.axis)
			}
			to = b.Node("Concat", parts, "", graph.IntAttr("axis", 0))
		}
		n.Input = []string{n.Input[0], to}
		return
	}
	join := index.Producer[n.Input[1]]
	if join == nil || join.GetOpType() != "Concat" {
		return
	}
	parts := slices.Clone(join.Input)
	for i, part := range parts {
		if !slices.Equal(a.shapes[part], one) {
			return // not one number each
		}
		d := a.listed(part) // or asked of what may be of fewer tokens
		switch {
		case literal && slices.Contains(d, 0):
			return
		case i < len(from) && from[i] == a.Tokens && slices.Equal(d, []int64{a.Tokens}):
			parts[i] = b.Int64s("same", one, 0)
		}
	}
	n.Attribute = nil
	n.Input = []string{n.Input[0], b.Node("Concat", parts, "", graph.IntAttr("axis", 0))}
}

// Bake returns the backbone with values for all parameters, in their order, as weights.
func (a *Adapted) Bake(values [][]float32) (*graph.Model, error) {
	if len(values) != len(a.params) {
		return nil, fmt.Errorf("values of %d parameters, of %d", len(values), len(a.params))
	}
	m := a.with.Copy()
	b := graph.NewBuilder(m, "")
	for i, p := range a.params {
		if int64(len(values[i])) != graph.Elements(p.Shape) {
			return nil, fmt.Errorf("parameter %s: %d values for the shape %v", p.Name, len(values[i]), p.Shape)
		}
		b.Weight(p.input, graph.FloatTensor(p.Shape, values[i]))
	}
	m.SetInputs(a.model.Inputs()...)
	m.Prune()
	return m, nil
}

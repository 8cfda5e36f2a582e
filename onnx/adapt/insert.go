package adapt

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// Kind says what is trained in a block.
type Kind string

const (
	// Adapter is AdaptFormer (Chen et al., NeurIPS 2022) as LIFT (Shi et al., ICML 2024) has it: beside the MLP, s·U
	// relu(D LN(x) + d) + u of rank r, where x is the stream before the MLP.
	Adapter Kind = "adapter"
	// LoRA (Hu et al., ICLR 2022) adds B A/r to the weights of queries and values.
	LoRA Kind = "lora"
	// Norm trains the vectors of the blocks: scales and shifts of norms, biases, scales of layers.
	Norm Kind = "norm"
	// Full trains all weights of the blocks.
	Full Kind = "full"
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Adapter, LoRA, Norm, Full} }

// Parts are the kinds that one is made of: several can be joined by a plus, as in "adapter+norm", but for [Full], which
// leaves nothing out.
func (k Kind) Parts() ([]Kind, error) {
	var parts []Kind
	for _, text := range strings.Split(string(k), "+") {
		part := Kind(text)
		if !slices.Contains(Kinds(), part) {
			return nil, fmt.Errorf("%q: %q is none of %q", string(k), text, Kinds())
		}
		if slices.Contains(parts, part) {
			return nil, fmt.Errorf("%q: it has %q twice", string(k), text)
		}
		parts = append(parts, part)
	}
	if len(parts) > 1 && slices.Contains(parts, Full) {
		return nil, fmt.Errorf("%q: full trains all weights, so nothing can be joined to it", string(k))
	}
	return parts, nil
}

// Options say what is trained.
type Options struct {
	Kind   Kind
	Blocks int // the last so many; 0 is all
	Rank   int // r of Adapter and LoRA
	Seed   uint64

	bare bool // parameters without their starts
}

// AutoRank is the rank that LIFT takes: the number of classes over twice that of blocks, rounded down to a power of
// two; at least 4.
func AutoRank(classes, blocks int) int {
	return max(4, 1<<max(bits.Len(uint(classes/(2*blocks)))-1, 0))
}

// Param is a tensor that is trained.
type Param struct {
	// Name is blocks.6.adaptformer.down_proj.weight, blocks.6.attn.q.lora_A.weight, or that of a weight of the model.
	Name   string
	Shape  []int64
	Decays bool // a matrix: weight decay applies

	input string // of the graph
	start func() []float32
}

// Start is what its training begins with, for the caller to change.
func (p Param) Start() []float32 { return p.start() }

// Size is how many numbers it has.
func (p Param) Size() int { return int(graph.Elements(p.Shape)) }

// Adapted is a transformer with parameters in some blocks. Until they are trained it computes what it did before.
type Adapted struct {
	*Transformer         // as it was
	First        int     // the first block with parameters
	params       []Param // in the order of the data
	with         *graph.Model
}

// Input is the name that a parameter has as an input of the part that is trained.
func (p Param) Input() string { return p.input }

// Params lists what is trained.
func (a *Adapted) Params() []Param { return a.params }

// Insert puts parameters into blocks. The error wraps [graph.ErrModel] where the model has no place for them. Weights
// of its own that are trained, by Norm and Full, must be in the model itself: see [graph.Model.Inline].
func (t *Transformer) Insert(o Options) (*Adapted, error) {
	if o.Blocks < 0 || o.Blocks > len(t.Blocks) {
		return nil, fmt.Errorf("%w: %d blocks are to be adapted, and there are %d", graph.ErrModel, o.Blocks,
			len(t.Blocks))
	}
	n := cmp.Or(o.Blocks, len(t.Blocks))
	a := &Adapted{Transformer: t, First: len(t.Blocks) - n, with: t.model.Copy()}
	x := &inserter{Adapted: a, rank: int64(o.Rank), bare: o.bare, b: graph.NewBuilder(a.with, "vitft_adapt"),
		rng: rand.New(rand.NewPCG(o.Seed, 0)), index: a.with.Index(), lowered: map[string]string{}}
	kinds, err := o.Kind.Parts()
	if err != nil {
		return nil, fmt.Errorf("adapters: %w", err)
	}
	if slices.Contains(kinds, Adapter) || slices.Contains(kinds, LoRA) {
		if o.Rank < 1 {
			return nil, fmt.Errorf("adapters of rank %d", o.Rank)
		}
		if size := 8 * float64(o.Rank) * float64(t.Dim) * float64(n); size > math.MaxInt32 {
			return nil, fmt.Errorf("%w: adapters of rank %d in %d blocks of %d features take %.3g GB, and an ONNX "+
				"file cannot exceed 2 GB: take a lower rank", graph.ErrModel, o.Rank, n, t.Dim, size/1e9)
		}
	}
	hidden := func(b Block) bool { return b.score == nil }
	if slices.Contains(kinds, LoRA) && slices.ContainsFunc(t.Blocks[a.First:], hidden) {
		if plain := unfused(t.model); plain != nil {
			if t, err := find(plain); err == nil {
				return t.Insert(o)
			}
		}
	}
	insert := map[Kind]func(int) error{Adapter: x.adapter, LoRA: x.lora, Norm: x.norm, Full: x.full}
	for k := a.First; k < len(t.Blocks); k++ {
		for _, kind := range kinds {
			if err := insert[kind](k); err != nil {
				return nil, err
			}
		}
	}
	inputs := a.with.Inputs()
	for _, p := range a.params {
		inputs = append(inputs, graph.Value{Name: p.input, Type: "float32", Shape: p.Shape})
	}
	a.with.SetInputs(inputs...)
	return a, a.with.Sort()
}

// inserter puts parameters into the blocks of a copy of the model.
type inserter struct {
	*Adapted
	rank  int64
	bare  bool
	b     *graph.Builder
	rng   *rand.Rand
	index *graph.Index // of the copy, as it was

	lowered map[string]string // weights with what lora has added to them
}

// param adds an input that is trained.
func (x *inserter) param(name string, start []float32, shape ...int64) string {
	return x.begun(name, func() []float32 { return slices.Clone(start) }, shape)
}

// begun adds an input that is trained, whose start is made when it is asked for.
func (x *inserter) begun(name string, start func() []float32, shape []int64) string {
	input := x.b.Name(name)
	x.params = append(x.params, Param{Name: name, Shape: shape, Decays: len(shape) > 1, input: input, start: start})
	return input
}

func (x *inserter) normal(n int, deviation float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(deviation * x.rng.NormFloat64())
	}
	return v
}

// adapter puts one beside the MLP of block k.
func (x *inserter) adapter(k int) error {
	block, d, r := x.Blocks[k], x.Dim, x.rank
	name := func(s string) string { return fmt.Sprintf("blocks.%d.adaptformer.%s", k, s) }
	ones, zeros := slices.Repeat([]float32{1}, int(d)), make([]float32, d)
	readers := slices.Clone(x.index.Consumers[block.Out])

	y := x.layerNorm(block.Mid, x.param(name("ln.weight"), ones, d), x.param(name("ln.bias"), zeros, d))
	// Kaiming's uniform and normal starts with a = √5, which PyTorch and LIFT have: a variance of 1/(3D).
	down := x.param(name("down_proj.weight"), x.normal(int(r*d), math.Sqrt(1/(3*float64(d)))), r, d)
	y = x.b.Node("MatMul", []string{y, x.transposed(down)}, "")
	y = x.b.Node("Add", []string{y, x.param(name("down_proj.bias"), make([]float32, r), r)}, "")
	y = x.b.Node("Relu", []string{y}, "")
	up := x.param(name("up_proj.weight"), make([]float32, d*r), d, r)
	bias := x.param(name("up_proj.bias"), slices.Clone(zeros), d)
	scale := x.param(name("scale"), []float32{1}, 1)
	// The scale is multiplied into the small matrix, not into every token.
	y = x.b.Node("MatMul", []string{y, x.b.Node("Mul", []string{x.transposed(up), scale}, "")}, "")
	y = x.b.Node("Add", []string{y, x.b.Node("Mul", []string{bias, scale}, "")}, "")
	replace(block.Out, x.b.Node("Add", []string{block.Out, y}, ""), readers)
	return nil
}

func (x *inserter) transposed(matrix string) string {
	return x.b.Node("Transpose", []string{matrix}, "", graph.IntsAttr("perm", 1, 0))
}

// layerNorm adds a LayerNorm over the last axis, of its parts where the operator set has none.
func (x *inserter) layerNorm(in, scale, shift string) string {
	const epsilon = 1e-5 // PyTorch's
	if x.b.Opset() >= 17 {
		return x.b.Node("LayerNormalization", []string{in, scale, shift}, "", graph.IntAttr("axis", -1),
			graph.FloatAttr("epsilon", epsilon))
	}
	centred := x.b.Node("Sub", []string{in, x.b.Reduce("ReduceMean", in, "", true, 2)}, "")
	square := x.b.Node("Mul", []string{centred, centred}, "")
	variance := x.b.Node("Add", []string{x.b.Reduce("ReduceMean", square, "", true, 2),
		x.b.Floats("epsilon", nil, epsilon)}, "")
	y := x.b.Node("Div", []string{centred, x.b.Node("Sqrt", []string{variance}, "")}, "")
	return x.b.Node("Add", []string{x.b.Node("Mul", []string{y, scale}, ""), shift}, "")
}

// lora adds to the weights of queries and values of block k.
func (x *inserter) lora(k int) error {
	block := x.Blocks[k]
	if block.several > 1 {
		return fmt.Errorf("%w: block %d has %d attentions side by side: lora has a place in one alone", graph.ErrModel,
			k, block.several)
	}
	if block.score == nil {
		return fmt.Errorf("%w: block %d has no product of queries and keys to be seen (its attention is one node): "+
			"lora has no place there", graph.ErrModel, k)
	}
	mixed := x.mixed(block)
	if mixed == nil {
		return fmt.Errorf("%w: block %d: no product of the attention with values was found", graph.ErrModel, k)
	}
	for _, target := range []struct{ name, tensor string }{{"q", block.score.Input[0]}, {"v", mixed.Input[1]}} {
		p, err := x.projection(block, target.tensor)
		if err != nil {
			return fmt.Errorf("%w: block %d, %s: %v", graph.ErrModel, k, target.name, err)
		}
		x.low(fmt.Sprintf("blocks.%d.attn.%s.", k, target.name), p)
	}
	return nil
}

// low adds B A/r to the part of a weight.
func (x *inserter) low(name string, p projection) {
	r := x.rank
	in, out := p.in, p.out/p.parts
	// Kaiming's uniform start with a = √5: within ±1/√in.
	start, bound := make([]float32, r*in), 1/math.Sqrt(float64(in))
	for i := range start {
		start[i] = float32(bound * (2*x.rng.Float64() - 1))
	}
	a := x.param(name+"lora_A.weight", start, r, in)
	b := x.param(name+"lora_B.weight", make([]float32, out*r), out, r)
	scaled := x.b.Node("Mul", []string{b, x.b.Floats("lora_scale", nil, 1/float32(r))}, "")
	product := x.b.Node("MatMul", []string{scaled, a}, "") // [out, in]
	axis := int64(0)
	if !p.transposed {
		product, axis = x.transposed(product), 1
	}
	if p.parts > 1 {
		var parts []string
		for i := range p.parts {
			if i == p.part {
				parts = append(parts, product)
				continue
			}
			shape := []int64{out, in}
			if !p.transposed {
				shape = []int64{in, out}
			}
			parts = append(parts, x.b.Floats(fmt.Sprint("zeros", shape), shape, make([]float32, out*in)...))
		}
		product = x.b.Node("Concat", parts, "", graph.IntAttr("axis", axis))
	}
	weight := cmp.Or(x.lowered[p.weight], p.weight) // of a stacked weight one comes on top of the other
	readers := x.with.Index().Consumers[weight]
	x.lowered[p.weight] = x.b.Node("Add", []string{weight, product}, "")
	replace(weight, x.lowered[p.weight], readers)
}

// norm makes the vectors of block k parameters.
func (x *inserter) norm(k int) error {
	return x.own(k, func(dims []int64) bool { return len(dims) == 1 })
}

// full makes all weights of block k parameters.
func (x *inserter) full(k int) error {
	return x.own(k, func([]int64) bool { return true })
}

// own makes those weights parameters that block k has of its own, where wanted. The bias of keys is none: a softmax
// does not see it, and its gradient is nothing but rounding.
func (x *inserter) own(k int, wanted func(dims []int64) bool) error {
	block := x.Blocks[k]
	keys := x.keyBias(block)
	readers := map[string][]*graph.Node{}
	take := func(in string, by ...*graph.Node) {
		t := x.Transformer.index.Weight[in]
		if t == nil || graph.Elements(t.Dims) < 2 || !wanted(t.Dims) || in == keys || graph.TypeOf(t) != "float32" {
			return
		}
		for _, n := range by {
			readers[in] = append(readers[in], x.copied(n))
		}
	}
	for _, sum := range slices.Compact([]*graph.Node{block.attention, block.mlp}) {
		for in, by := range x.weights(sum) {
			take(in, by...)
		}
	}
	for _, n := range x.Transformer.norms(k) {
		for _, in := range n.Input {
			take(in, n)
		}
	}
	names := slices.Sorted(maps.Keys(readers))
	if names == nil {
		return fmt.Errorf("%w: block %d has no float32 weights that could be trained", graph.ErrModel, k)
	}
	for _, name := range names {
		weight := x.index.Weight[name]
		if !graph.HasFloats(weight) && !x.bare {
			return fmt.Errorf("%w: the weight %q is in another file", graph.ErrModel, name)
		}
		start := func() []float32 { v, _ := graph.Floats(weight); return v } // not kept: all weights are many
		own := name
		if len(x.index.Consumers[name]) > len(readers[name]) { // exporters give equal weights one name
			own = fmt.Sprintf("blocks.%d.%s", k, name)
		}
		replace(name, x.begun(own, start, weight.Dims), readers[name])
	}
	return nil
}

// weights are those that the nodes of a branch read which depend on the stream, as they are or turned round, and what
// reads them. What blocks share, such as rotations computed of one table, is none.
func (t *Transformer) weights(sum *graph.Node) map[string][]*graph.Node {
	found := map[string][]*graph.Node{}
	for _, n := range t.computed(sum) {
		for _, in := range n.Input {
			reader := n
			for p := t.index.Producer[in]; p != nil && turns[p.GetOpType()] && len(t.index.Consumers[in]) == 1; {
				reader, in = p, p.Input[0]
				p = t.index.Producer[in]
			}
			if t.index.Weight[in] != nil {
				found[in] = append(found[in], reader)
			}
		}
	}
	return found
}

// turns are the operators between a weight and what multiplies by it.
var turns = map[string]bool{"Transpose": true, "Identity": true, "Cast": true, "Reshape": true, "Unsqueeze": true,
	"Squeeze": true}

// copied is the node of the copy that is made of one of the model's.
func (x *inserter) copied(n *graph.Node) *graph.Node { return x.index.Producer[n.Output[0]] }

// replace leads readers of a tensor to another one.
func replace(tensor, by string, readers []*graph.Node) {
	for _, n := range readers {
		for i, in := range n.Input {
			if in == tensor {
				n.Input[i] = by
			}
		}
	}
}

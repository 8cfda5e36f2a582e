package shape

import (
	"maps"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// Limits that no image encoder comes near, so that a hostile file cannot make inference grow without bound.
const (
	maxRank = 16
	maxInts = 64
	maxDim  = 1 << 40
)

const unknown = graph.Unknown

// open stands for an integer that is not known. It is not -1, which Reshape and Slice give a meaning.
const open = math.MinInt64

// Shapes holds the shape of each tensor whose rank is known, with [graph.Unknown] for dimensions that are not fixed. A
// tensor that is not in it has an unknown rank; a scalar's shape is empty, not nil.
type Shapes map[string][]int64

// Values holds the elements of the small integer tensors, such as axes and shapes, that are known in full.
type Values map[string][]int64

// Infer runs over the nodes of the main graph once, which must be in topological order. What is inferred completes what
// the file declares; the shapes given, of inputs for example, take precedence over that.
func Infer(m *graph.Model, given ...graph.Value) Shapes {
	shapes, _ := Trace(m, given...)
	return shapes
}

// Trace is [Infer], and returns the integers that it computed shapes from, too.
func Trace(m *graph.Model, given ...graph.Value) (Shapes, Values) {
	s := &inference{dims: Shapes{}, ints: Values{}, real: map[string]bool{}}
	g := m.Graph()
	for _, info := range slices.Concat(g.Input, g.ValueInfo, g.Output) {
		if v := graph.ValueOf(info); v.Shape != nil {
			s.dims[v.Name] = v.Shape
		}
	}
	for _, v := range given {
		s.dims[v.Name] = slices.Clone(v.Shape)
	}
	for _, t := range g.Initializer {
		s.constant(t.GetName(), t)
	}
	for _, n := range g.Node {
		s.node(n)
	}
	maps.DeleteFunc(s.ints, func(_ string, v []int64) bool { return slices.Contains(v, open) })
	return s.dims, s.ints
}

// Refine records more of a tensor's shape, with [graph.Unknown] for what is not known: dimensions that were unknown are
// filled in, a shape of another rank is replaced. dims may be changed.
func (s Shapes) Refine(tensor string, dims []int64) {
	if tensor == "" || dims == nil || len(dims) > maxRank {
		return
	}
	for i, d := range dims {
		if d < 0 || d > maxDim {
			dims[i] = unknown
		}
	}
	if old, ok := s[tensor]; ok && len(old) == len(dims) {
		for i, d := range old {
			if d != unknown {
				dims[i] = d
			}
		}
	}
	s[tensor] = dims
}

// Keeps reports whether the output of an operator always has the shape of its first input.
func Keeps(op string) bool { return slices.Contains(keeping, op) }

// inference is what is known half-way through the nodes.
type inference struct {
	dims Shapes
	ints Values          // values of small integer tensors, which shapes are computed from; see open
	real map[string]bool // those of ints that are floating-point numbers really
}

// rule says what a node of an operator gives, as far as that is known.
type rule struct {
	shape shapeRule // nil if nothing is known
	ints  intsRule  // nil for operators that shapes are not computed with
}

// A shapeRule returns the shape of a node's first output; x is that of its first input. Without a known rank it is nil.
type shapeRule func(s *inference, n *graph.Node, x []int64) []int64

// An intsRule returns the elements of a node's first output, an integer tensor, nil if they are not known.
type intsRule func(s *inference, n *graph.Node) []int64

var keeping = []string{"Identity", "Cast", "CastLike", "Dropout", "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid",
	"HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Softplus", "Softsign",
	"Mish", "Swish", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil", "Round", "Sin", "Cos", "Clip",
	"Softmax", "LogSoftmax", "Not", "Sign", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "BiasAdd",
	"LRN", "Trilu", "CumSum", "ThresholdedRelu", "Celu", "IsNaN", "IsInf", "RotaryEmbedding", "ScatterND",
	"ScatterElements", "RandomUniformLike", "RandomNormalLike", "Bernoulli"}

// rules has the rule of each operator, in whatever domain it is.
var rules = func() map[string]rule {
	table := map[string]rule{
		"Constant":        {constant, constantInts},
		"ConstantOfShape": {constantOfShape, known(fill)},
		"Shape":           {lengthOfShape, shapeInts},
		"Range":           {shape: span},

		"Add": {broadcast, arithmetic(add)}, "Sub": {broadcast, arithmetic(subtract)},
		"Mul": {broadcast, arithmetic(multiply)}, "Div": {broadcast, quotient},
		"Mod": {broadcast, arithmetic(modulo)}, "Equal": {broadcast, arithmetic(equal)},
		"Max": {broadcast, arithmetic(larger)}, "Min": {broadcast, arithmetic(smaller)},
		"Where": {broadcast, elementwise(3, choose)},

		"Reshape": {reshape, known(same)}, "Squeeze": {squeeze, known(same)}, "Unsqueeze": {unsqueeze, known(same)},
		"Flatten": {shape: flatten}, "Expand": {shape: expand}, "Tile": {shape: tile}, "Pad": {shape: pad},
		"Transpose": {transpose, known(transposeInts)}, "Slice": {slice, known(sliceInts)},
		"Concat": {concat, concatInts}, "Split": {shape: split},
		"Gather": {gather, known(gatherInts)}, "GatherElements": {shape: second}, "GatherND": {shape: gatherND},
		"TopK": {shape: topK},

		"Gemm": {shape: gemm}, "FusedGemm": {shape: gemm}, "MatMulNBits": {shape: packedMatmul},
		"Einsum":    {shape: einsum},
		"Attention": {shape: attention}, "MultiHeadAttention": {shape: attention},
		"MaxPool": {shape: pooling}, "AveragePool": {shape: pooling}, "LpPool": {shape: pooling},
		"GlobalMaxPool": {shape: positions(1)}, "GlobalAveragePool": {shape: positions(1)},
		"Resize": {shape: resize}, "Upsample": {shape: resize},
	}
	each := func(r rule, ops ...string) {
		for _, op := range ops {
			table[op] = r
		}
	}
	each(rule{shape: first}, keeping...)
	each(rule{shape: first}, "GroupNormalization", "InstanceNormalization", "BatchNormalization", "LpNormalization")
	each(rule{first, known(same)}, "Identity", "Cast", "Floor", "Ceil", "Round")
	each(rule{shape: normalised(1)}, "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization")
	each(rule{shape: skipNormalised}, "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
	each(rule{shape: broadcast}, "Sum", "Mean", "Pow", "PRelu", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
		"And", "Or")
	each(rule{shape: matmul}, "MatMul", "FusedMatMul", "MatMulInteger", "DynamicQuantizeMatMul")
	each(rule{shape: conv}, "Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv")
	each(rule{shape: reduce}, "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1",
		"ReduceSumSquare", "ReduceLogSumExp")
	each(rule{reduce, known(product)}, "ReduceProd")
	return table
}()

func (s *inference) node(n *graph.Node) {
	if len(n.Output) == 0 {
		return
	}
	out, r := n.Output[0], rules[n.GetOpType()]
	if r.ints != nil && out != "" {
		if v := r.ints(s, n); v != nil && len(v) <= maxInts {
			s.ints[out] = v
			s.real[out] = s.isReal(n)
		}
	}
	if r.shape != nil {
		s.dims.Refine(out, r.shape(s, n, s.in(n, 0)))
	}
	if d, v := s.dims[out], s.ints[out]; len(d) == 1 && d[0] == unknown && v != nil {
		d[0] = int64(len(v))
	}
}

// isReal reports whether what a node gives are floating-point numbers, if its inputs are known.
func (s *inference) isReal(n *graph.Node) bool {
	if n.GetOpType() == "Cast" {
		return graph.IsFloat(graph.CastTo(n))
	}
	return slices.ContainsFunc(n.Input, func(name string) bool { return s.real[name] })
}

// in returns the shape of a node's i-th input, nil if its rank is not known.
func (s *inference) in(n *graph.Node, i int) []int64 { return s.dims[graph.Input(n, i)] }

// values returns the elements of a node's i-th input, nil if they are not known.
func (s *inference) values(n *graph.Node, i int) []int64 { return s.ints[graph.Input(n, i)] }

func (s *inference) constant(name string, t *graph.Tensor) {
	s.dims[name] = append([]int64{}, t.Dims...)
	if v, ok := tensorInts(t); ok {
		s.ints[name] = v
	}
}

// clampAxis turns a possibly negative or huge position into one in [0, n].
func clampAxis(k int64, n int) int64 {
	if k < 0 {
		k += int64(n)
	}
	return min(max(k, 0), int64(n))
}

// tensorInts returns the values of a small integer tensor.
func tensorInts(t *graph.Tensor) ([]int64, bool) {
	if _, few := count(t.GetDims()); !few || t.GetDataLocation() != 0 {
		return nil, false
	}
	out, ok := graph.Ints(t)
	for i, v := range out { // exporters slice from the least of all numbers, for the first element
		if v == open {
			out[i]++
		}
	}
	return out, ok
}

// count returns how many elements a tensor has; false if that is not known, or more than maxInts.
func count(dims []int64) (int64, bool) {
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > maxInts || n > maxInts {
			return 0, false
		}
		n *= d
	}
	return n, n <= maxInts
}

// dimensions is list as a shape, where what is not known or negative is unknown.
func (s *inference) dimensions(n *graph.Node, i int) []int64 {
	out := slices.Clone(s.list(n, i))
	for i := range out {
		out[i] = max(out[i], unknown)
	}
	return out
}

// list is values with [open] for elements that are not known, where their number is.
func (s *inference) list(n *graph.Node, i int) []int64 {
	if v, ok := s.ints[graph.Input(n, i)]; ok {
		return v
	}
	if d := s.in(n, i); len(d) == 1 && d[0] >= 0 && d[0] <= maxInts {
		return slices.Repeat([]int64{open}, int(d[0]))
	}
	return nil
}

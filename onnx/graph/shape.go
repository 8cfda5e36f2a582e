package graph

import (
	"encoding/binary"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Limits that no image encoder comes near, so that a hostile file cannot make inference grow without bound.
const (
	maxRank = 16
	maxInts = 64
	maxDim  = 1 << 40
)

// unknown stands for a dimension that is not fixed.
const unknown = -1

// shapes is what a forward pass over a graph finds out: the shape of each tensor whose rank is known, with unknown for
// dimensions that are not fixed, and the values of the small integer tensors that shapes are computed from, with open
// for those that are not.
type shapes struct {
	model *Model
	opset int64
	dims  map[string][]int64
	ints  map[string][]int64
}

// inferShapes runs over the nodes once; a graph lists them in topological order. The shapes given take precedence over
// what the file declares.
func inferShapes(m *Model, given ...Value) *shapes {
	s := &shapes{model: m, opset: m.opset(), dims: map[string][]int64{}, ints: map[string][]int64{}}
	g := m.proto.Graph
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.ValueInfo, g.Output} {
		for _, info := range list {
			if v := valueOf(info); v.Shape != nil {
				s.dims[v.Name] = v.Shape
			}
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
	return s
}

// of returns a tensor's shape, nil if not even its rank is known.
func (s *shapes) of(name string) []int64 { return s.dims[name] }

func (s *shapes) constant(name string, t *onnxpb.TensorProto) {
	s.dims[name] = append([]int64{}, t.Dims...)
	if v, ok := tensorInts(t); ok {
		s.ints[name] = v
	}
}

// tensorInts returns the values of a small integer tensor.
func tensorInts(t *onnxpb.TensorProto) ([]int64, bool) {
	n := int64(1)
	for _, d := range t.Dims {
		if d < 0 || d > maxInts || n > maxInts {
			return nil, false
		}
		n *= d
	}
	if n > maxInts || t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		return nil, false
	}
	out := make([]int64, 0, n)
	switch onnxpb.TensorProto_DataType(t.GetDataType()) {
	case onnxpb.TensorProto_INT64:
		out = append(out, t.Int64Data...)
		for b := t.RawData; len(b) >= 8; b = b[8:] {
			out = append(out, int64(binary.LittleEndian.Uint64(b)))
		}
	case onnxpb.TensorProto_INT32:
		for _, v := range t.Int32Data {
			out = append(out, int64(v))
		}
		for b := t.RawData; len(b) >= 4; b = b[4:] {
			out = append(out, int64(int32(binary.LittleEndian.Uint32(b))))
		}
	default:
		return nil, false
	}
	return out, int64(len(out)) == n
}

// set records an inferred shape, keeping what the file declares where that is more precise.
func (s *shapes) set(name string, dims []int64) {
	if name == "" || dims == nil || len(dims) > maxRank {
		return
	}
	for i, d := range dims {
		if d < 0 || d > maxDim {
			dims[i] = unknown
		}
	}
	old, ok := s.dims[name]
	if !ok || len(old) != len(dims) {
		s.dims[name] = dims
		return
	}
	for i, d := range dims {
		if old[i] == unknown {
			old[i] = d
		}
	}
}

func (s *shapes) node(n *onnxpb.NodeProto) {
	if len(n.Output) == 0 {
		return
	}
	if v := s.foldInts(n); v != nil && len(v) <= maxInts {
		s.ints[n.Output[0]] = v
	}
	in := func(i int) []int64 {
		if i >= len(n.Input) {
			return nil
		}
		return s.dims[n.Input[i]]
	}
	x := in(0)
	out := n.Output[0]
	switch n.GetOpType() {
	case "Constant":
		if a := attr(n, "value"); a != nil && a.T != nil {
			s.constant(out, a.T)
		} else if a := attr(n, "value_int"); a != nil {
			s.set(out, []int64{})
		} else if a := attr(n, "value_ints"); a != nil {
			s.set(out, []int64{int64(len(a.Ints))})
		} else if a := attr(n, "value_float"); a != nil {
			s.set(out, []int64{})
		}
	case "Shape":
		if x != nil {
			s.set(out, []int64{int64(len(s.ints[out]))})
		}
	case "Add", "Sub", "Mul", "Div", "Pow", "Where", "Max", "Min", "Mod", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "PRelu":
		s.set(out, s.broadcast(n.Input))
	case "LayerNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
		"GroupNormalization", "InstanceNormalization", "BatchNormalization", "LpNormalization", "RMSNormalization":
		if w := in(normScale(n)); x != nil && len(w) == 1 && n.GetOpType() != "BatchNormalization" && n.GetOpType() != "GroupNormalization" && n.GetOpType() != "InstanceNormalization" {
			x = slices.Clone(x)
			if k := len(x) - 1; k >= 0 && x[k] == unknown {
				x[k] = w[0]
			}
		}
		s.set(out, slices.Clone(x))
	case "MatMul", "FusedMatMul", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits":
		s.set(out, s.matmul(n))
	case "Gemm", "FusedGemm":
		s.set(out, s.gemm(n))
	case "Attention", "MultiHeadAttention":
		s.set(out, attentionShape(n, x, in(1), in(2)))
	case "Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv":
		s.set(out, convShape(n, x, in(1)))
	case "MaxPool", "AveragePool":
		if len(x) > 2 {
			y := slices.Clone(x)
			for i := 2; i < len(y); i++ {
				y[i] = unknown
			}
			s.set(out, y)
		}
	case "GlobalAveragePool", "GlobalMaxPool":
		if len(x) > 2 {
			y := slices.Clone(x)
			for i := 2; i < len(y); i++ {
				y[i] = 1
			}
			s.set(out, y)
		}
	case "Reshape":
		s.set(out, s.reshape(n, x))
	case "Expand":
		if v := s.dimensions(second(n)); v != nil && x != nil {
			s.set(out, broadcastShapes([][]int64{x, v}))
		}
	case "Transpose":
		s.set(out, transpose(n, x))
	case "Flatten":
		s.set(out, flatten(n, x))
	case "Concat":
		s.set(out, s.concat(n))
	case "Gather":
		s.set(out, gatherShape(n, x, in(1)))
	case "GatherElements":
		s.set(out, slices.Clone(in(1)))
	case "TopK":
		s.topK(n, x)
	case "Slice":
		s.set(out, s.slice(n, x))
	case "Split":
		s.split(n, x)
	case "Squeeze":
		s.set(out, s.squeeze(n, x))
	case "Unsqueeze":
		s.set(out, s.unsqueeze(n, x))
	case "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp":
		s.set(out, s.reduce(n, x))
	case "ConstantOfShape":
		s.set(out, s.dimensions(first(n)))
	case "Pad":
		s.set(out, s.pad(n, x))
	case "Range":
		s.set(out, s.span(n))
	case "Tile":
		s.set(out, s.tile(n, x))
	case "Resize", "Upsample":
		s.set(out, s.resize(n, x))
	case "Einsum":
		s.set(out, s.einsum(n))
	default:
		if sameShape[n.GetOpType()] {
			s.set(out, slices.Clone(x))
		}
	}
	if d, v := s.dims[out], s.ints[out]; len(d) == 1 && d[0] == unknown && v != nil {
		d[0] = int64(len(v))
	}
}

// sameShape lists the operators whose output has the shape of their first input.
var sameShape = setOf("Identity", "Cast", "CastLike", "Dropout", "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid",
	"HardSwish", "Tanh", "Erf", "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Softplus", "Softsign", "Mish", "Swish", "Exp", "Log",
	"Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil", "Round", "Sin", "Cos", "Clip", "Softmax", "LogSoftmax", "Not", "Sign",
	"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "BiasAdd", "LRN", "Trilu", "CumSum", "ThresholdedRelu", "Celu", "IsNaN", "IsInf",
	"RotaryEmbedding", "ScatterND", "ScatterElements", "RandomUniformLike", "RandomNormalLike", "Bernoulli")

func setOf(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// normScale is the index of a normalisation's scale among its inputs.
func normScale(n *onnxpb.NodeProto) int {
	if op := n.GetOpType(); op == "SkipLayerNormalization" || op == "SkipSimplifiedLayerNormalization" {
		return 2
	}
	return 1
}

func (s *shapes) broadcast(inputs []string) []int64 {
	var list [][]int64
	for _, name := range inputs {
		d := s.dims[name]
		if d == nil {
			return nil
		}
		list = append(list, d)
	}
	return broadcastShapes(list)
}

// broadcastShapes applies numpy's rule. An unknown dimension against one above 1 is the latter.
func broadcastShapes(list [][]int64) []int64 {
	rank := 0
	for _, d := range list {
		rank = max(rank, len(d))
	}
	out := make([]int64, rank)
	for i := range out {
		out[i] = 1
		for _, d := range list {
			k := i - (rank - len(d))
			if k < 0 || d[k] == 1 {
				continue
			}
			if out[i] == 1 || out[i] == unknown {
				out[i] = d[k]
			}
		}
	}
	return out
}

// clampAxis turns a possibly negative or huge position into one in [0, n].
func clampAxis(k int64, n int) int64 {
	if k < 0 {
		k += int64(n)
	}
	return min(max(k, 0), int64(n))
}

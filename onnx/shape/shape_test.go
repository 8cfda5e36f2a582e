package shape

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/onnx/graph"
)

// dims is an input of a known shape, ints a constant list of integers, grid one of two dimensions, scalar a constant
// integer; nil is an input of unknown rank, and none one that is left out.
type (
	dims   []int64
	ints   []int64
	grid   [2][]int64
	scalar int64
	none   struct{}
)

// put adds an input of one of these kinds under a name.
func put(m *graph.Model, name string, in any) string {
	weight := func(shape []int64, v ...int64) {
		t := &graph.Tensor{Name: &name, Dims: shape, DataType: proto.Int32(7), Int64Data: v}
		m.Graph().Initializer = append(m.Graph().Initializer, t)
	}
	switch in := in.(type) {
	case none:
		return ""
	case dims:
		m.Graph().Input = append(m.Graph().Input, graph.Declare(graph.Value{Name: name, Type: "float32", Shape: in}))
	case nil:
		m.Graph().Input = append(m.Graph().Input, graph.Declare(graph.Value{Name: name, Type: "float32"}))
	case ints:
		weight([]int64{int64(len(in))}, in...)
	case grid:
		weight([]int64{2, int64(len(in[0]))}, slices.Concat(in[0], in[1])...)
	case scalar:
		weight(nil, int64(in))
	}
	return name
}

// node adds a node with these inputs.
func node(m *graph.Model, op, out string, attrs []*graph.Attribute, in ...any) *graph.Node {
	var names []string
	for i, x := range in {
		if name, ok := x.(string); ok { // of another node
			names = append(names, name)
			continue
		}
		names = append(names, put(m, fmt.Sprint(out, "/", i), x))
	}
	graph.NewBuilder(m, "").Node(op, names, out, attrs...)
	return m.Graph().Node[len(m.Graph().Node)-1]
}

func attrs(list ...*graph.Attribute) []*graph.Attribute { return list }

// The answers are those of the ONNX operator specification, and of ONNX Runtime's contributed operators, with -1 for
// what does not follow from the inputs. Where an operator's full rule is not needed, the answer says less.
func TestRules(t *testing.T) {
	i, list := graph.IntAttr, graph.IntsAttr
	tests := []struct {
		op    string
		attrs []*graph.Attribute
		in    []any
		want  []int64 // nil: nothing is known
	}{
		// Element by element, with numpy's broadcasting.
		{"Add", nil, []any{dims{2, 1, 5}, dims{3, 1}}, []int64{2, 3, 5}},
		{"Mul", nil, []any{dims{-1, 4}, dims{7, 4}}, []int64{7, 4}},
		{"Sub", nil, []any{dims{-1, 4}, dims{1}}, []int64{-1, 4}},
		{"Div", nil, []any{dims{3}, dims{}}, []int64{3}},
		{"Where", nil, []any{dims{4, 1}, dims{5}, dims{1, 1, 1}}, []int64{1, 4, 5}},
		{"Pow", nil, []any{dims{2, 3}, nil}, nil},
		{"Relu", nil, []any{dims{2, -1}}, []int64{2, -1}},
		{"Softmax", attrs(i("axis", 1)), []any{dims{2, 5}}, []int64{2, 5}},
		{"Cast", attrs(i("to", 1)), []any{nil}, nil},

		// Normalisations keep the shape; a scale tells the last dimension.
		{"LayerNormalization", nil, []any{dims{2, 9, -1}, dims{8}, dims{8}}, []int64{2, 9, 8}},
		{"SkipLayerNormalization", nil, []any{dims{2, 9, -1}, dims{2, 9, -1}, dims{8}}, []int64{2, 9, 8}},
		{"BatchNormalization", nil, []any{dims{2, -1, 4, 4}, dims{8}}, []int64{2, -1, 4, 4}},
		{"LayerNormalization", nil, []any{nil, dims{8}}, nil},

		// Products.
		{"MatMul", nil, []any{dims{2, 9, 4}, dims{4, 5}}, []int64{2, 9, 5}},
		{"MatMul", nil, []any{dims{7, 1, 9, 4}, dims{3, 4, 5}}, []int64{7, 3, 9, 5}},
		{"MatMul", nil, []any{dims{4}, dims{3, 4, 5}}, []int64{3, 5}},
		{"MatMul", nil, []any{dims{2, 3, 4}, dims{4}}, []int64{2, 3}},
		{"MatMul", nil, []any{dims{4, 3}, nil}, nil},
		{"FusedMatMul", attrs(i("transA", 1), i("transB", 1)), []any{dims{2, 4, 9}, dims{2, 5, 4}}, []int64{2, 9, 5}},
		{"MatMulNBits", attrs(i("K", 4), i("N", 6)), []any{dims{2, 4}, dims{6, 1, 2}}, []int64{2, 6}},
		{"MatMulNBits", nil, []any{dims{}}, nil},
		{"Gemm", nil, []any{dims{2, 4}, dims{4, 5}}, []int64{2, 5}},
		{"Gemm", attrs(i("transA", 1), i("transB", 1)), []any{dims{4, 2}, dims{5, 4}}, []int64{2, 5}},
		{"Gemm", nil, []any{nil, nil}, []int64{-1, -1}},
		{"Einsum", attrs(graph.StringAttr("equation", "bhid,bhjd->bhij")), []any{dims{2, 4, 17, 6}, dims{2, 4, 19, 6}},
			[]int64{2, 4, 17, 19}},
		{"Einsum", attrs(graph.StringAttr("equation", "ij -> ji")), []any{dims{2, -1}}, []int64{-1, 2}},
		{"Einsum", attrs(graph.StringAttr("equation", "ij->ji")), []any{dims{2, 3, 4}}, nil},
		{"Einsum", attrs(graph.StringAttr("equation", "ij")), []any{dims{2, 3}}, nil},
		{"Einsum", nil, []any{dims{2, 3}}, nil},
		{"Attention", nil, []any{dims{2, 4, 17, 6}, dims{2, 4, 19, 6}, dims{2, 4, 19, 5}}, []int64{2, 4, 17, 5}},
		{"Attention", nil, []any{dims{2, 4, 17, 6}, nil, nil}, []int64{2, 4, 17, -1}},
		{"MultiHeadAttention", nil, []any{dims{2, 17, 8}, dims{2, 17, 8}}, []int64{2, 17, 8}},
		{"MultiHeadAttention", nil, []any{dims{2, 17, 8}, dims{2, 9, 8}, dims{2, 9, 6}}, []int64{2, 17, 6}},
		{"MultiHeadAttention", nil, []any{dims{2, 17, 4, 3, 5}}, []int64{2, 17, 20}},
		{"Attention", attrs(i("q_num_heads", 4), i("kv_num_heads", 2)),
			[]any{dims{2, 17, 8}, dims{2, 9, 4}, dims{2, 9, 6}}, []int64{2, 17, 12}},
		{"Attention", nil, []any{dims{2, 17}}, nil},

		// Convolutions and pooling.
		{"Conv", attrs(list("strides", 4, 4)), []any{dims{-1, 3, 16, 32}, dims{8, 3, 4, 4}}, []int64{-1, 8, 4, 8}},
		{"Conv", attrs(list("pads", 1, 0, 1, 0), list("dilations", 1, 2)), []any{dims{2, 3, 16, 16}, dims{8, 3, 3, 3}},
			[]int64{2, 8, 16, 12}},
		{"Conv", nil, []any{dims{2, 3, -1, 16}, dims{8, 3, 1, 1}}, []int64{2, 8, -1, 16}},
		{"Conv", attrs(graph.StringAttr("auto_pad", "SAME_UPPER")), []any{dims{2, 3, 16, 16}, dims{8, 3, 3, 3}},
			[]int64{2, 8, -1, -1}},
		{"Conv", nil, []any{nil, dims{8, 3, 3, 3}}, []int64{-1, 8, -1, -1}},
		{"Conv", nil, []any{dims{2, 3, 16, 16}, nil}, nil},
		{"MaxPool", attrs(list("kernel_shape", 2, 2)), []any{dims{2, 3, 16, 17}}, []int64{2, 3, 15, 16}},
		{"AveragePool", attrs(list("kernel_shape", 3, 2), list("strides", 2, 2), list("pads", 1, 0, 1, 0)),
			[]any{dims{-1, 3, 16, 17}}, []int64{-1, 3, 8, 8}},
		{"AveragePool", attrs(list("kernel_shape", 2, 2), list("strides", 2, 2), i("ceil_mode", 1)),
			[]any{dims{2, 3, 16, 17}}, []int64{2, 3, 8, 9}},
		{"MaxPool", attrs(list("kernel_shape", 2)), []any{dims{2, 3, 16, 17}}, nil},
		{"GlobalAveragePool", nil, []any{dims{2, 3, 16, -1}}, []int64{2, 3, 1, 1}},
		{"GlobalMaxPool", nil, []any{dims{2, 3}}, nil},
		{"Resize", nil, []any{dims{2, 3, 4, 4}, none{}, none{}, ints{2, 3, 7, 9}}, []int64{2, 3, 7, 9}},
		{"Resize", nil, []any{dims{2, 3, 4, 4}, none{}, dims{4}}, []int64{2, 3, -1, -1}},
		{"Resize", nil, []any{dims{4, 4}}, nil},

		// Rearrangements.
		{"Reshape", nil, []any{dims{2, 3, 4}, ints{0, -1}}, []int64{2, 12}},
		{"Reshape", attrs(i("allowzero", 1)), []any{dims{0, 3}, ints{3, 0}}, []int64{3, 0}},
		{"Reshape", nil, []any{dims{-1, 3, 4}, ints{-1, 12}}, []int64{-1, 12}},
		{"Reshape", nil, []any{dims{-1, 3}, ints{0, -1}}, []int64{-1, -1}},
		{"Reshape", nil, []any{dims{2, 3}, dims{4}}, []int64{-1, -1, -1, -1}},
		{"Reshape", nil, []any{nil, ints{0, 5}}, []int64{-1, 5}},
		{"Reshape", nil, []any{dims{2, 3}, dims{-1}}, nil},
		{"Transpose", attrs(list("perm", 0, 3, 1, 2)), []any{dims{2, 4, 5, 3}}, []int64{2, 3, 4, 5}},
		{"Transpose", nil, []any{dims{2, 3, 4}}, []int64{4, 3, 2}},
		{"Transpose", attrs(list("perm", 0, 7)), []any{dims{2, 3}}, nil},
		{"Transpose", attrs(list("perm", 0)), []any{dims{2, 3}}, nil},
		{"Transpose", nil, []any{nil}, nil},
		{"Flatten", nil, []any{dims{2, 3, 4, 5}}, []int64{2, 60}},
		{"Flatten", attrs(i("axis", -1)), []any{dims{2, 3, 4}}, []int64{6, 4}},
		{"Flatten", attrs(i("axis", 0)), []any{dims{2, -1}}, []int64{1, -1}},
		{"Flatten", nil, []any{nil}, nil},
		{"Squeeze", nil, []any{dims{1, 3, 1}}, []int64{3}},
		{"Squeeze", nil, []any{dims{1, 3, 1}, ints{-1}}, []int64{1, 3}},
		{"Squeeze", attrs(list("axes", 0)), []any{dims{1, 3, 1}}, []int64{3, 1}},
		{"Squeeze", nil, []any{dims{1, 3}, dims{1}}, nil},
		{"Squeeze", nil, []any{nil}, nil},
		{"Unsqueeze", nil, []any{dims{3, 4}, ints{0, -1}}, []int64{1, 3, 4, 1}},
		{"Unsqueeze", attrs(list("axes", 1)), []any{dims{3, 4}}, []int64{3, 1, 4}},
		{"Unsqueeze", nil, []any{dims{3, 4}, ints{5}}, nil},
		{"Unsqueeze", nil, []any{nil, ints{0}}, nil},
		{"Expand", nil, []any{dims{3, 1}, ints{2, 1, 6}}, []int64{2, 3, 6}},
		{"Expand", nil, []any{dims{3, 1}, nil}, nil},
		{"Tile", nil, []any{dims{2, -1, 4}, ints{1, 2, 3}}, []int64{2, -1, 12}},
		{"Tile", nil, []any{dims{2, 4}, nil}, nil},
		{"Pad", nil, []any{dims{2, 3, -1}, ints{0, 1, 2, 0, 3, 4}}, []int64{2, 7, -1}},
		{"Pad", nil, []any{dims{2, 3}, ints{1, 2}, none{}, ints{-1}}, []int64{2, 6}},
		{"Pad", attrs(list("pads", 0, 1, 0, 1)), []any{dims{2, 3}}, []int64{2, 5}},
		{"Pad", nil, []any{dims{2, 3}, nil}, []int64{-1, -1}},
		{"Pad", nil, []any{dims{2, 3}, ints{1, 2}, none{}, ints{9}}, nil},
		{"Concat", attrs(i("axis", 1)), []any{dims{2, 3, 4}, dims{2, 5, 4}}, []int64{2, 8, 4}},
		{"Concat", attrs(i("axis", -1)), []any{dims{-1, 3}, dims{2, -1}}, []int64{2, -1}},
		{"Concat", attrs(i("axis", 0)), []any{dims{2}, dims{2, 3}}, nil},
		{"Concat", attrs(i("axis", 0)), []any{dims{2}, nil}, nil},

		// Selections.
		{"Slice", nil, []any{dims{2, 9}, ints{1}, ints{math.MaxInt64}, ints{1}}, []int64{2, 8}},
		{"Slice", nil, []any{dims{16}, ints{1}, ints{1 << 62}, ints{0}, ints{2}}, []int64{8}},
		{"Slice", nil, []any{dims{16}, ints{-1}, ints{-1 << 62}, ints{0}, ints{-3}}, []int64{6}},
		{"Slice", nil, []any{dims{16}, ints{-100}, ints{-50}, ints{0}, ints{-1}}, []int64{0}},
		{"Slice", nil, []any{dims{4, 5}, ints{0, 1}, ints{2, 3}}, []int64{2, 2}},
		{"Slice", nil, []any{dims{4, 5}, ints{1}, dims{1}, ints{1}}, []int64{4, -1}},
		{"Slice", nil, []any{dims{4, 5}, ints{1}, dims{1}}, []int64{-1, 5}},
		{"Slice", nil, []any{dims{4, 5}, dims{1}, dims{1}}, []int64{-1, -1}},
		{"Slice", nil, []any{dims{4, 5}, ints{1}, dims{1}, ints{7}}, nil},
		{"Slice", nil, []any{dims{4, 5}, ints{0}, ints{1}, ints{0}, ints{0}}, []int64{-1, 5}},
		{"Slice", attrs(list("starts", 0), list("ends", 1)), []any{dims{4, 5}}, []int64{-1, -1}},
		{"Slice", nil, []any{nil}, nil},
		{"Gather", attrs(i("axis", 1)), []any{dims{2, 17, 8}, scalar(0)}, []int64{2, 8}},
		{"Gather", nil, []any{dims{10, 8}, dims{2, 5}}, []int64{2, 5, 8}},
		{"Gather", attrs(i("axis", 3)), []any{dims{10, 8}, dims{2}}, nil},
		{"Gather", nil, []any{nil, dims{2}}, nil},
		{"GatherElements", nil, []any{dims{4, 5}, dims{2, 5}}, []int64{2, 5}},
		{"TopK", attrs(i("axis", 1)), []any{dims{2, 9, 4}, ints{3}}, []int64{2, 3, 4}},
		{"TopK", nil, []any{dims{2, 9}, dims{1}}, []int64{2, -1}},
		{"TopK", nil, []any{nil, ints{3}}, nil},

		// Reductions.
		{"ReduceMean", attrs(list("axes", 1), i("keepdims", 0)), []any{dims{2, 17, 8}}, []int64{2, 8}},
		{"ReduceMean", nil, []any{dims{2, 17, 8}, ints{-1}}, []int64{2, 17, 1}},
		{"ReduceSum", attrs(i("keepdims", 0)), []any{dims{2, 17}}, []int64{}},
		{"ReduceMax", nil, []any{dims{2, 17}, dims{1}}, nil},
		{"ReduceL2", nil, []any{nil}, nil},
		{"ReduceMin", attrs(list("axes", 4)), []any{dims{2, 17}}, nil},

		// Shapes of what shapes are made of.
		{"Shape", nil, []any{dims{2, 3, -1}}, []int64{3}},
		{"Shape", attrs(i("start", 1), i("end", -1)), []any{dims{2, 3, 4, 5}}, []int64{2}},
		{"Shape", nil, []any{nil}, nil},
		{"ConstantOfShape", nil, []any{ints{2, 3}}, []int64{2, 3}},
		{"ConstantOfShape", nil, []any{dims{2}}, []int64{-1, -1}},
		{"Range", nil, []any{scalar(1), scalar(8), scalar(3)}, []int64{3}},
		{"Range", nil, []any{scalar(8), scalar(1), scalar(3)}, []int64{0}},
		{"Range", nil, []any{scalar(0), dims{}, scalar(1)}, []int64{-1}},
		{"Constant", attrs(i("value_int", 3)), nil, []int64{}},
		{"Constant", attrs(list("value_ints", 3, 4)), nil, []int64{2}},
		{"Constant", attrs(graph.FloatAttr("value_float", 3)), nil, []int64{}},
		{"Constant", attrs(graph.TensorAttr("value", &graph.Tensor{Dims: []int64{2, 3}})), nil, []int64{2, 3}},
		{"Constant", nil, nil, nil},

		{"NoSuchOperator", nil, []any{dims{2, 3}}, nil},
	}
	for _, tt := range tests {
		m := graph.New("rule", 17)
		node(m, tt.op, "y", tt.attrs, tt.in...)
		got, ok := Infer(m)["y"]
		if !slices.Equal(got, tt.want) || ok != (tt.want != nil) {
			t.Errorf("%s %v of %v: %v, want %v", tt.op, tt.attrs, tt.in, got, tt.want)
		}
	}
}

func TestSeveralOutputs(t *testing.T) {
	for _, tt := range []struct {
		op    string
		attrs []*graph.Attribute
		in    []any
		want  [][]int64
	}{
		{"Split", attrs(graph.IntAttr("axis", -1)), []any{dims{2, 9}}, [][]int64{{2, 3}, {2, 3}, {2, 3}}},
		{"Split", nil, []any{dims{6, 2}, ints{1, 2, 3}}, [][]int64{{1, 2}, {2, 2}, {3, 2}}},
		{"Split", attrs(graph.IntsAttr("split", 4, 2)), []any{dims{6}}, [][]int64{{4}, {2}}},
		{"Split", nil, []any{dims{6, 2}, dims{-1}}, [][]int64{{-1, 2}, {-1, 2}}},
		{"Split", attrs(graph.IntAttr("axis", 5)), []any{dims{6}}, [][]int64{nil, nil}},
		{"Split", nil, []any{nil}, [][]int64{nil, nil}},
		{"TopK", nil, []any{dims{2, 9}, ints{4}}, [][]int64{{2, 4}, {2, 4}}},
	} {
		m := graph.New("outputs", 17)
		n := node(m, tt.op, "y0", tt.attrs, tt.in...)
		for i := range tt.want[1:] {
			n.Output = append(n.Output, fmt.Sprint("y", i+1))
		}
		s := Infer(m)
		for i, want := range tt.want {
			if got := s[fmt.Sprint("y", i)]; !slices.Equal(got, want) {
				t.Errorf("%s %v of %v: output %d is %v, want %v", tt.op, tt.attrs, tt.in, i, got, want)
			}
		}
	}
}

// The elements of a computed list show as the shape of a ConstantOfShape; -1 stands for what is not known.
func TestIntegers(t *testing.T) {
	i, list := graph.IntAttr, graph.IntsAttr
	seven := graph.TensorAttr("value", &graph.Tensor{Dims: []int64{1}, DataType: proto.Int32(7), Int64Data: []int64{7}})
	half := graph.TensorAttr("value",
		&graph.Tensor{Dims: []int64{1}, DataType: proto.Int32(1), FloatData: []float32{0.5}})
	tests := []struct {
		op    string
		attrs []*graph.Attribute
		in    []any
		want  []int64 // nil: nothing is known
	}{
		{"Constant", attrs(list("value_ints", 2, 3)), nil, []int64{2, 3}},
		{"Shape", nil, []any{dims{2, -1, 4}}, []int64{2, -1, 4}},
		{"Shape", attrs(i("start", 1)), []any{dims{2, 3, 4}}, []int64{3, 4}},
		{"Shape", attrs(i("start", 2), i("end", 1)), []any{dims{2, 3, 4}}, []int64{}},
		{"Concat", attrs(i("axis", 0)), []any{ints{2}, dims{2}, ints{3}}, []int64{2, -1, -1, 3}},
		{"Concat", attrs(i("axis", 0)), []any{ints{2}, dims{-1}}, nil},
		{"Gather", nil, []any{ints{5, 6, 7}, ints{2, -3}}, []int64{7, 5}},
		{"Gather", nil, []any{ints{5, 6, 7}, ints{3}}, []int64{-1}},
		{"Gather", nil, []any{grid{{5, 6}, {7, 8}}, ints{1}}, nil},
		{"Slice", nil, []any{ints{5, 6, 7, 8}, ints{1}, ints{-1}}, []int64{6, 7}},
		{"Slice", nil, []any{ints{5, 6, 7}, ints{-1}, ints{math.MinInt64 + 1}, ints{0}, ints{-1}}, []int64{7, 6, 5}},
		{"Slice", nil, []any{ints{5, 6, 7}, ints{0}, ints{1}, ints{0}, ints{0}}, nil}, // a step of 0
		{"Reshape", nil, []any{ints{5, 6}, ints{-1}}, []int64{5, 6}},
		{"Cast", attrs(i("to", 7)), []any{ints{5, 6}}, []int64{5, 6}},
		{"Add", nil, []any{ints{5, 6}, ints{1}}, []int64{6, 7}},
		{"Sub", nil, []any{ints{5, 6}, ints{1, 2}}, []int64{4, 4}},
		{"Mul", nil, []any{scalar(3), ints{1, 2}}, []int64{3, 6}},
		{"Div", nil, []any{ints{6, 7, 8}, ints{2, 2, 0}}, []int64{3, 3, -1}},
		{"Mod", nil, []any{ints{6, 7, 7, 7}, ints{2, 4, -4, 0}}, []int64{0, 3, -1, -1}},
		{"Max", nil, []any{ints{6, 2}, ints{4}}, []int64{6, 4}},
		{"Max", nil, []any{ints{6, 2}}, []int64{-1, -1}},
		{"Min", nil, []any{ints{6, 2}, ints{4}}, []int64{4, 2}},
		{"Equal", nil, []any{ints{6, 2}, ints{6}}, []int64{1, 0}},
		{"Where", nil, []any{ints{1, 0}, ints{5}, ints{6, 7}}, []int64{5, 7}},
		{"Add", nil, []any{ints{5, 6}, ints{1, 2, 3}}, nil}, // no valid model
		{"ConstantOfShape", attrs(seven), []any{ints{2}}, []int64{7, 7}},
		{"ConstantOfShape", attrs(half), []any{ints{2}}, []int64{-1, -1}},
		{"ConstantOfShape", nil, []any{ints{2}}, []int64{-1, -1}},
		{"ConstantOfShape", attrs(seven), []any{ints{1000}}, nil},
		{"ReduceProd", attrs(i("keepdims", 1)), []any{ints{2, 3, 4}}, []int64{24}},
	}
	for _, tt := range tests {
		m := graph.New("integers", 17)
		node(m, tt.op, "list", tt.attrs, tt.in...)
		node(m, "ConstantOfShape", "y", nil, "list")
		got := Infer(m)["y"]
		if tt.want == nil {
			if slices.ContainsFunc(got, func(d int64) bool { return d != unknown }) {
				t.Errorf("%s of %v: %v is made up", tt.op, tt.in, got)
			}
		} else if !slices.Equal(got, tt.want) {
			t.Errorf("%s %v of %v: %v, want %v", tt.op, tt.attrs, tt.in, got, tt.want)
		}
	}
}

// Unknown integers stay unknown through arithmetic, but for the choice between two of the same.
func TestOpenIntegers(t *testing.T) {
	m := graph.New("open", 17)
	node(m, "Shape", "s", nil, dims{-1, 3})
	node(m, "Add", "sum", nil, "s", ints{1})
	node(m, "Where", "same", nil, "s", ints{4}, ints{4})
	node(m, "Where", "other", nil, "s", ints{4}, ints{5})
	node(m, "ReduceProd", "product", nil, "s")
	node(m, "Gather", "picked", nil, ints{1, 2}, "s")
	s := &inference{dims: Shapes{}, ints: Values{}, real: map[string]bool{}}
	for _, w := range m.Graph().Initializer {
		s.constant(w.GetName(), w)
	}
	s.dims["s/0"] = []int64{-1, 3}
	for _, n := range m.Graph().Node {
		s.node(n)
	}
	for name, want := range map[string][]int64{"s": {open, 3}, "sum": {open, 4}, "same": {4, 4}, "other": {open, 4},
		"product": {open}, "picked": nil} {
		if got := s.ints[name]; !slices.Equal(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// Exporters slice from the least of all numbers, and halve by dividing integers; floating-point numbers are not halved
// so.
func TestExportersIntegers(t *testing.T) {
	m := graph.New("integers", 17)
	node(m, "Slice", "front", nil, ints{5, 7, 9}, ints{math.MinInt64}, ints{-1})
	node(m, "Div", "half", nil, "front", ints{2})
	node(m, "Cast", "real", attrs(graph.IntAttr("to", 1)), "front")
	node(m, "Div", "real half", nil, "real", ints{2})
	node(m, "Shape", "size", nil, dims{4, -1})
	_, got := Trace(m)
	want := Values{"front": {5, 7}, "half": {2, 3}, "real": {5, 7}}
	for _, name := range []string{"front", "half", "real", "real half", "size"} {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s is %v, want %v", name, got[name], want[name])
		}
	}
}

// PyTorch's pad: (0, 3, 0, 1) for the last two axes becomes 0, 0, 0, 0 | 0, 0, 1, 3.
func TestPadOfPyTorch(t *testing.T) {
	m := graph.New("pad", 17)
	node(m, "Concat", "list", attrs(graph.IntAttr("axis", 0)), ints{0, 3, 0, 1}, ints{0, 0, 0, 0})
	node(m, "Reshape", "pairs", nil, "list", ints{-1, 2})
	node(m, "Slice", "reversed", nil, "pairs", ints{-1}, ints{-1 << 62}, ints{0}, ints{-1})
	node(m, "Transpose", "columns", attrs(graph.IntsAttr("perm", 1, 0)), "reversed")
	node(m, "Reshape", "pads", nil, "columns", ints{-1})
	node(m, "Pad", "y", nil, dims{2, 3, 16, 16}, "pads")
	if got := Infer(m)["y"]; !slices.Equal(got, []int64{2, 3, 17, 19}) {
		t.Errorf("padded to %v", got)
	}
}

func TestDeclarations(t *testing.T) {
	m := graph.New("declared", 17)
	put(m, "x", dims{-1, 3})
	graph.NewBuilder(m, "").Node("Relu", []string{"x"}, "y")
	m.SetOutputs(graph.Value{Name: "y", Type: "float32", Shape: []int64{5, -1}})
	if got := Infer(m)["y"]; !slices.Equal(got, []int64{5, 3}) {
		t.Errorf("inferred and declared make %v", got)
	}
	given := graph.Value{Name: "x", Shape: []int64{2, 4}}
	if got := Infer(m, given)["x"]; !slices.Equal(got, []int64{2, 4}) || !slices.Equal(given.Shape, []int64{2, 4}) {
		t.Errorf("what was given is %v", got)
	}
	nothing := &graph.Node{OpType: proto.String("Relu"), Input: []string{"x"}}
	m.Graph().Node = append(m.Graph().Node, nothing)
	m.Graph().Output = nil
	if got := Infer(m); len(got) != 2 || !slices.Equal(got["y"], []int64{-1, 3}) {
		t.Errorf("without the declaration: %v", got)
	}
}

func TestRefine(t *testing.T) {
	s := Shapes{"x": {-1, 3}}
	s.Refine("x", []int64{2, 5})
	s.Refine("new", []int64{-7, 1 << 50, 4})
	s.Refine("", []int64{1})
	s.Refine("nil", nil)
	s.Refine("deep", make([]int64, 17))
	if !slices.Equal(s["x"], []int64{2, 3}) || !slices.Equal(s["new"], []int64{-1, -1, 4}) || len(s) != 2 {
		t.Errorf("%v", s)
	}
	s.Refine("x", []int64{7})
	if !slices.Equal(s["x"], []int64{7}) {
		t.Errorf("another rank: %v", s["x"])
	}
}

func TestKeeps(t *testing.T) {
	for op, want := range map[string]bool{"Relu": true, "Softmax": true, "Transpose": false,
		"BatchNormalization": false, "X": false} {
		if Keeps(op) != want {
			t.Errorf("%s: %v", op, !want)
		}
	}
}

func TestTensorInts(t *testing.T) {
	for _, tt := range []struct {
		t    *graph.Tensor
		want []int64
		ok   bool
	}{
		{&graph.Tensor{DataType: proto.Int32(6), Dims: []int64{2}, Int32Data: []int32{1, -2}}, []int64{1, -2}, true},
		{&graph.Tensor{DataType: proto.Int32(6), RawData: []byte{0xfe, 0xff, 0xff, 0xff}}, []int64{-2}, true},
		{&graph.Tensor{DataType: proto.Int32(7), RawData: []byte{1, 0, 0, 0, 0, 0, 0, 0}}, []int64{1}, true},
		{&graph.Tensor{DataType: proto.Int32(7), Dims: []int64{3}, Int64Data: []int64{1}}, nil, false},
		{&graph.Tensor{DataType: proto.Int32(7), Dims: []int64{60, 60}}, nil, false},
		{&graph.Tensor{DataType: proto.Int32(7), Dims: []int64{-1}}, nil, false},
		{&graph.Tensor{DataType: proto.Int32(1), FloatData: []float32{1}}, nil, false},
	} {
		if got, ok := tensorInts(tt.t); ok != tt.ok || ok && !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, %v", tt.t, got, ok)
		}
	}
}

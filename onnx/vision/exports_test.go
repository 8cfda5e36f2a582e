package vision

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"github.com/vitft/vitft/onnx/shape"
	"google.golang.org/protobuf/proto"
)

// What exporters were seen to write, as small graphs: images of 16 px, patches of 4, features of 8.

// sketch builds a graph; names stand for themselves.
type sketch struct {
	*graph.Builder
	*graph.Model
}

func newSketch() *sketch {
	m := graph.New("sketch", 17)
	m.SetInputs(float32s(PixelValues, -1, 3, 16, 16))
	return &sketch{graph.NewBuilder(m, ""), m}
}

// weight adds a float constant of zeros, integers a constant of integers.
func (s *sketch) weight(name string, dims ...int64) string {
	n := int64(4)
	for _, d := range dims {
		n *= d
	}
	return s.Raw(name, "float32", dims, make([]byte, n))
}

func (s *sketch) integers(name string, v ...int64) string {
	return s.Int64s(name, []int64{int64(len(v))}, v...)
}

func (s *sketch) scalar(name string, v int64) string {
	return s.Raw(name, "int64", nil, binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

// do adds a node named as its output is.
func (s *sketch) do(op, out string, in []string, attrs ...*graph.Attribute) string {
	return s.Node(op, in, out, attrs...)
}

// gives declares an output of unknown dimensions.
func (s *sketch) gives(name string, rank int) {
	var symbols []string
	for i := range rank {
		symbols = append(symbols, name+string(rune('a'+i)))
	}
	open := float32s(name, slices.Repeat([]int64{graph.Unknown}, rank)...)
	s.Graph().Output = append(s.Graph().Output, graph.Declare(open, symbols...))
}

// patches are the tokens [B,16,8] that PyTorch's tracing exporter makes of flatten(2).transpose(1, 2).
func (s *sketch) patches() string {
	s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)}, graph.IntsAttr("strides", 4, 4))
	s.do("Shape", "patch_shape", []string{"patch"})
	s.do("Slice", "batch_width", []string{"patch_shape", s.integers("zero", 0), s.integers("two", 2), s.integers("axis0", 0)})
	s.do("Concat", "flat_shape", []string{"batch_width", s.integers("minus", -1)}, graph.IntAttr("axis", 0))
	s.do("Reshape", "flat", []string{"patch", "flat_shape"})
	return s.do("Transpose", "seq", []string{"flat"}, graph.IntsAttr("perm", 0, 2, 1))
}

// expand is token.expand(batch, -1, -1) as that exporter writes it.
func (s *sketch) expand(token, like string) string {
	at := token + "/"
	s.do("Shape", at+"shape", []string{like})
	s.do("Gather", at+"batch", []string{at + "shape", s.scalar("first", 0)}, graph.IntAttr("axis", 0))
	s.do("Unsqueeze", at+"batch1", []string{at + "batch", s.integers("axis0", 0)})
	s.do("Concat", at+"list", []string{at + "batch1", s.integers("minus", -1), s.integers("minus", -1)}, graph.IntAttr("axis", 0))
	s.do("Reshape", at+"wanted", []string{at + "list", s.integers("minus", -1)})
	s.do("Shape", at+"rank", []string{at + "wanted"})
	one := graph.TensorAttr("value", &graph.Tensor{Dims: []int64{1}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{1}})
	s.do("ConstantOfShape", at+"ones", []string{at + "rank"}, one)
	s.do("Mul", at+"minus_ones", []string{at + "ones", s.scalar("minus_one", -1)})
	s.do("Equal", at+"same", []string{at + "wanted", at + "minus_ones"})
	s.do("Where", at+"target", []string{at + "same", at + "ones", at + "wanted"})
	return s.do("Expand", at+"expanded", []string{token, at + "target"})
}

// tokens joins constant tokens of the given names and counts with the patches, and normalises.
func (s *sketch) tokens(out string, put ...any) string {
	x := s.patches()
	var parts []string
	for i := 0; i < len(put); i += 2 {
		parts = append(parts, s.expand(s.weight(put[i].(string), 1, int64(put[i+1].(int)), 8), x))
	}
	if len(parts) > 0 {
		x = s.do("Concat", "joined", append(parts, x), graph.IntAttr("axis", 1))
	}
	return s.do("LayerNormalization", out, []string{x, s.weight("norm.w", 8), s.weight("norm.b", 8)})
}

func TestExports(t *testing.T) {
	tests := map[string]struct {
		build   func(s *sketch)
		tensor  string
		pooling Pooling
		prefix  int64
		dim     int64
	}{
		"the CLS token of a traced PyTorch model": {func(s *sketch) {
			s.do("Gather", "output", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
			s.gives("output", 2)
		}, "output", PoolOutput, 0, 8},
		"its tokens": {func(s *sketch) {
			s.gives(s.tokens("output", "cls_token", 1), 3)
		}, "output", PoolCLS, 1, 8},
		"a distillation token": {func(s *sketch) {
			s.gives(s.tokens("output", "cls_token", 1, "dist_token", 1), 3)
		}, "output", PoolCLS, 2, 8},
		"registers after the CLS token": {func(s *sketch) {
			s.gives(s.tokens("output", "cls_token", 1, "reg_token", 4), 3)
		}, "output", PoolCLS, 5, 8},
		"registers and no CLS token": {func(s *sketch) {
			s.gives(s.tokens("output", "a", 4), 3)
		}, "output", PoolMean, 4, 8},
		"one register and no CLS token": {func(s *sketch) {
			s.gives(s.tokens("output", "m.reg_token", 1), 3)
		}, "output", PoolMean, 1, 8},
		"a nameless pooled output beside nameless tokens": {func(s *sketch) {
			x := s.tokens("80", "cls_token", 1)
			s.do("Gather", "81", []string{x, s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
			s.do("LayerNormalization", "95", []string{"81", s.weight("post.w", 8), s.weight("post.b", 8)})
			s.gives(x, 3)
			s.gives("95", 2)
		}, "95", PoolOutput, 0, 8},
		"a nameless tanh beside nameless tokens": {func(s *sketch) {
			x := s.tokens("80", "cls_token", 1)
			s.do("Gather", "81", []string{x, s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
			s.do("Gemm", "82", []string{"81", s.weight("pool.w", 8, 8), s.weight("pool.b", 8)})
			s.do("Tanh", "83", []string{"82"})
			s.gives(x, 3)
			s.gives("83", 2)
		}, "80", PoolCLS, 1, 8},
		"a feature map, channels last": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)}, graph.IntsAttr("strides", 4, 4))
			s.do("Transpose", "last", []string{"patch"}, graph.IntsAttr("perm", 0, 2, 3, 1))
			s.do("LayerNormalization", "output", []string{"last", s.weight("norm.w", 8), s.weight("norm.b", 8)})
			s.gives("output", 4)
		}, "output", PoolMean, 0, 8},
		"a feature map of a convolution": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)}, graph.IntsAttr("strides", 4, 4))
			s.do("Relu", "output", []string{"patch"})
			s.gives("output", 4)
		}, "output", PoolMean, 0, 8},
		"a distilled classifier, the mean of two heads": {func(s *sketch) {
			x := s.tokens("norm", "cls_token", 1, "dist_token", 1)
			for i, token := range []string{"cls", "dist"} {
				s.do("Gather", token, []string{x, s.scalar("at_"+token, int64(i))}, graph.IntAttr("axis", 1))
				s.do("Gemm", token+"_head", []string{token, s.weight(token+".w", 8, 5), s.weight(token+".b", 5)})
			}
			s.do("Add", "sum", []string{"cls_head", "dist_head"})
			s.do("Div", "output", []string{"sum", s.weight("half", 1)})
			s.gives("output", 2)
		}, "norm", PoolCLS, 2, 8},
		"a classifier quantised dynamically": {func(s *sketch) {
			s.do("Gather", "cls", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
			s.Nodes("DynamicQuantizeLinear", []string{"cls"}, []string{"q", "scale", "zero_point"})
			s.Raw("head.w", "int8", []int64{8, 5}, make([]byte, 40))
			s.do("MatMulInteger", "product", []string{"q", "head.w", "zero_point"})
			s.do("Cast", "product_float", []string{"product"}, graph.IntAttr("to", int64(onnxpb.TensorProto_FLOAT)))
			s.do("Mul", "scales", []string{"scale", s.weight("head.scale", 1)})
			s.do("Mul", "scaled", []string{"product_float", "scales"})
			s.do("Add", "output", []string{"scaled", s.weight("head.b", 5)})
			s.gives("output", 2)
		}, "cls", PoolLogits, 0, 8},
		"a classifier of quantised operators": {func(s *sketch) {
			s.do("Gather", "cls", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
			s.do("QuantizeLinear", "q", []string{"cls", s.weight("scale"), s.scalar("point", 0)})
			s.do("QGemm", "product", []string{"q", "scale", "point", s.weight("head.w", 8, 5), "scale", "point", s.weight("head.b", 5), "scale", "point"})
			s.do("DequantizeLinear", "output", []string{"product", "scale", "point"})
			s.gives("output", 2)
		}, "cls", PoolLogits, 0, 8},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			tt.build(s)
			cut, in, err := Backbone(s.Model, FeatureChoice{})
			if err != nil {
				t.Fatal(err)
			}
			if f := in.Feature; f.Tensor != tt.tensor || f.Pooling != tt.pooling || f.Prefix != tt.prefix || f.Dim != tt.dim || f.Shape[0] != graph.Unknown {
				t.Errorf("%+v; reasons %q", f, in.Reasons)
			}
			// What is cut off is what was chosen: inferred anew, its shape is [B,D].
			if got := shape.Infer(cut, float32s(PixelValues, 2, 3, 16, 16))[Embedding]; !slices.Equal(got, []int64{graph.Unknown, tt.dim}) && !slices.Equal(got, []int64{2, tt.dim}) {
				t.Errorf("the embedding is %v", got)
			}
		})
	}
}

// Two heads that read different tensors leave no tensor to take.
func TestTwoHeadsApart(t *testing.T) {
	s := newSketch()
	x := s.tokens("norm", "cls_token", 1)
	s.do("Gather", "cls", []string{x, s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
	s.do("ReduceMean", "mean", []string{x}, graph.IntsAttr("axes", 1), graph.IntAttr("keepdims", 0))
	for _, part := range []string{"cls", "mean"} {
		s.do("Gemm", part+"_head", []string{part, s.weight(part+".w", 8, 5), s.weight(part+".b", 5)})
	}
	s.do("Add", "output", []string{"cls_head", "mean_head"})
	s.gives("output", 2)
	if _, err := Inspect(s.Model, FeatureChoice{}); err == nil || !strings.Contains(err.Error(), "joins several branches") {
		t.Error(err)
	}
	in, err := Inspect(s.Model, FeatureChoice{Tensor: "mean"})
	if err != nil || in.Feature.Dim != 8 {
		t.Errorf("%+v, %v", in.Feature, err)
	}
}

// A file that declares any image size may have one inside.
func TestSizeOfThePositionEmbedding(t *testing.T) {
	for size, says := range map[int]string{0: "", 16: "", 32: "17 tokens"} {
		s := newSketch()
		x := s.patches()
		x = s.do("Concat", "joined", []string{s.expand(s.weight("cls_token", 1, 1, 8), x), x}, graph.IntAttr("axis", 1))
		s.gives(s.do("Add", "output", []string{x, s.weight("pos_embed", 1, 17, 8)}), 3)
		m := s.Model
		m.SetInputs(float32s(PixelValues, graph.Unknown, 3, graph.Unknown, graph.Unknown))
		in, err := Inspect(m, FeatureChoice{Width: size, Height: size})
		if (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("size %d: %v", size, err)
		}
		if err == nil && in.Image.Width != 16 {
			t.Errorf("size %d: %+v", size, in.Image)
		}
	}
}

func TestUnsorted(t *testing.T) {
	m := read(t, "pooled.onnx")
	slices.Reverse(m.Graph().Node)
	if _, err := Inspect(m, FeatureChoice{}); !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), "not sorted") {
		t.Error(err)
	}
}

func TestOperatorsOfOthers(t *testing.T) {
	s := newSketch()
	s.gives(s.tokens("output", "cls_token", 1), 3)
	m := s.Model
	m.Graph().Node[0].Domain = proto.String("org.pytorch.aten")
	if _, err := Inspect(m, FeatureChoice{}); err == nil || !strings.Contains(err.Error(), "Conv of org.pytorch.aten") {
		t.Error(err)
	}
	m.Proto().Functions = []*onnxpb.FunctionProto{{Name: proto.String("Conv"), Domain: proto.String("org.pytorch.aten")}}
	if _, err := Inspect(m, FeatureChoice{}); err != nil {
		t.Error("a function of the model's own:", err)
	}
}

func TestNotTheSameEachTime(t *testing.T) {
	for name, tt := range map[string]struct {
		build func(s *sketch, x string) string
		says  string
	}{
		"random masks": {func(s *sketch, x string) string {
			s.do("RandomUniformLike", "noise", []string{x})
			return s.do("Add", "output", []string{x, "noise"})
		}, "draws random numbers"},
		"training": {func(s *sketch, x string) string {
			return s.do("BatchNormalization", "output", []string{x, s.weight("w", 16), s.weight("b", 16), s.weight("m", 16), s.weight("v", 16)}, graph.IntAttr("training_mode", 1))
		}, "model.eval()"},
		"neither": {func(s *sketch, x string) string {
			s.do("RandomUniformLike", "noise", []string{x})
			return s.do("Identity", "output", []string{x})
		}, ""},
	} {
		s := newSketch()
		s.gives(tt.build(s, s.tokens("norm")), 3)
		if _, err := Inspect(s.Model, FeatureChoice{}); (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

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
	s.do("Slice", "batch_width", []string{"patch_shape", s.integers("zero", 0), s.integers("two", 2),
		s.integers("axis0", 0)})
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
	s.do("Concat", at+"list", []string{at + "batch1", s.integers("minus", -1), s.integers("minus", -1)},
		graph.IntAttr("axis", 0))
	s.do("Reshape", at+"wanted", []string{at + "list", s.integers("minus", -1)})
	s.do("Shape", at+"rank", []string{at + "wanted"})
	one := graph.TensorAttr("value",
		&graph.Tensor{Dims: []int64{1}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{1}})
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
			s.do("Gather", "output", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)},
				graph.IntAttr("axis", 1))
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
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
			s.do("Transpose", "last", []string{"patch"}, graph.IntsAttr("perm", 0, 2, 3, 1))
			s.do("LayerNormalization", "output", []string{"last", s.weight("norm.w", 8), s.weight("norm.b", 8)})
			s.gives("output", 4)
		}, "output", PoolMean, 0, 8},
		"a feature map of a convolution": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
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
			s.do("Gather", "cls", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)},
				graph.IntAttr("axis", 1))
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
			s.do("Gather", "cls", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)},
				graph.IntAttr("axis", 1))
			s.do("QuantizeLinear", "q", []string{"cls", s.weight("scale"), s.scalar("point", 0)})
			s.do("QGemm", "product", []string{"q", "scale", "point", s.weight("head.w", 8, 5), "scale", "point",
				s.weight("head.b", 5), "scale", "point"})
			s.do("DequantizeLinear", "output", []string{"product", "scale", "point"})
			s.gives("output", 2)
		}, "cls", PoolLogits, 0, 8},
		"a classifier of quantised operators, its bias apart": {func(s *sketch) {
			s.do("Gather", "cls", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)},
				graph.IntAttr("axis", 1))
			s.do("QuantizeLinear", "q", []string{"cls", s.weight("scale"), s.scalar("point", 0)})
			s.do("QLinearMatMul", "product", []string{"q", "scale", "point", s.weight("head.w", 8, 5), "scale", "point",
				"scale", "point"})
			s.do("QLinearAdd", "sum",
				[]string{s.weight("head.b", 5), "scale", "point", "product", "scale", "point", "scale",
					"point"})
			s.do("DequantizeLinear", "output", []string{"sum", "scale", "point"})
			s.gives("output", 2)
		}, "cls", PoolLogits, 0, 8},
		"a classifier that is a convolution of one pixel": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
			s.do("GlobalAveragePool", "pooled", []string{"patch"})
			s.do("Conv", "scores", []string{"pooled", s.weight("head.w", 5, 8, 1, 1)})
			s.do("Flatten", "logits", []string{"scores"})
			s.gives("logits", 2)
		}, "pooled", PoolMean, 0, 8},
		"a classifier whose bias is put first": {func(s *sketch) {
			s.do("Gather", "cls", []string{s.tokens("norm", "cls_token", 1), s.scalar("zero_", 0)},
				graph.IntAttr("axis", 1))
			s.do("MatMul", "product", []string{"cls", s.weight("head.w", 8, 5)})
			s.do("Add", "sum", []string{s.weight("head.b", 5), "product"})
			s.do("Sigmoid", "output", []string{"sum"})
			s.gives("output", 2)
		}, "cls", PoolLogits, 0, 8},
		"a feature map that a scale for each channel makes": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
			s.do("Reshape", "map", []string{"patch", s.integers("wanted", -1, 4, 8, 4)})
			s.do("Mul", "scaled", []string{"map", s.weight("scale", 4)})
			s.do("Relu", "output", []string{"scaled"})
			s.gives("output", 4)
		}, "output", PoolMean, 0, 4},
		"a feature map that only its shape tells of": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
			s.do("Reshape", "map", []string{"patch", s.integers("wanted", -1, 4, 4, 8)})
			s.do("Add", "output", []string{"map", s.weight("bias", 1)})
			s.gives("output", 4)
		}, "output", PoolMean, 0, 8},
		"a feature map whose channels were moved to the front": {func(s *sketch) {
			s.do("Conv", "patch", []string{PixelValues, s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
			s.do("Transpose", "last", []string{"patch"}, graph.IntsAttr("perm", 0, 2, 3, 1))
			s.do("LayerNormalization", "norm", []string{"last", s.weight("norm.w", 8), s.weight("norm.b", 8)})
			s.do("Transpose", "output", []string{"norm"}, graph.IntsAttr("perm", 0, 3, 1, 2))
			s.gives("output", 4)
		}, "output", PoolMean, 0, 8},
		"an embedding beside a tanh": {func(s *sketch) {
			x := s.tokens("norm", "cls_token", 1)
			s.do("Gather", "cls", []string{x, s.scalar("zero_", 0)}, graph.IntAttr("axis", 1))
			s.do("Tanh", "squashed", []string{"cls"})
			s.do("Identity", "pooler_output", []string{"squashed"})
			s.gives(x, 3)
			s.gives("pooler_output", 2)
		}, "norm", PoolCLS, 1, 8},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			tt.build(s)
			cut, in, err := Backbone(s.Model, FeatureChoice{})
			if err != nil {
				t.Fatal(err)
			}
			if f := in.Feature; f.Tensor != tt.tensor || f.Pooling != tt.pooling || f.Prefix != tt.prefix ||
				f.Dim != tt.dim || f.Shape[0] != graph.Unknown {
				t.Errorf("%+v; reasons %q", f, in.Reasons)
			}
			// What is cut off is what was chosen: inferred anew, its shape is [B,D].
			if got := shape.Infer(cut, float32s(PixelValues, 2, 3, 16, 16))[Embedding]; !slices.Equal(got,
				[]int64{graph.Unknown, tt.dim}) && !slices.Equal(got, []int64{2, tt.dim}) {
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
	if _, err := Inspect(s.Model, FeatureChoice{}); err == nil ||
		!strings.Contains(err.Error(), "joins several branches") {
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
	if _, err := Inspect(m, FeatureChoice{}); !errors.Is(err, graph.ErrModel) ||
		!strings.Contains(err.Error(), "not sorted") {
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
	m.Proto().Functions = []*onnxpb.FunctionProto{{Name: proto.String("Conv"),
		Domain: proto.String("org.pytorch.aten")}}
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
			return s.do("BatchNormalization", "output",
				[]string{x, s.weight("w", 16), s.weight("b", 16), s.weight("m", 16),
					s.weight("v", 16)}, graph.IntAttr("training_mode", 1))
		}, "model.eval()"},
		"neither": {func(s *sketch, x string) string {
			s.do("RandomUniformLike", "noise", []string{x})
			return s.do("Identity", "output", []string{x})
		}, ""},
	} {
		s := newSketch()
		s.gives(tt.build(s, s.tokens("norm")), 3)
		if _, err := Inspect(s.Model, FeatureChoice{}); (err != nil) != (tt.says != "") || err != nil &&
			!strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a classifier may not end in, and what is said of it.
func TestNoClassifier(t *testing.T) {
	for says, build := range map[string]func(s *sketch){
		"ends in a convolution": func(s *sketch) {
			s.do("Conv", "logits", []string{PixelValues, s.weight("w", 5, 3, 16, 16)})
		},
		"of two computed matrices": func(s *sketch) {
			s.do("Flatten", "flat", []string{PixelValues})
			s.do("Gemm", "logits", []string{"flat", "flat"}, graph.IntAttr("transB", 1))
		},
		"whose input is in 8 bits": func(s *sketch) {
			s.do("Flatten", "flat", []string{PixelValues})
			s.do("QGemm", "logits", []string{"flat", "scale", "point", s.weight("w", 768, 5), s.weight("scale"),
				s.scalar("point", 0)})
			slices.Reverse(s.Graph().Initializer)
		},
		"no dense layer": func(s *sketch) {
			s.do("ReduceMean", "logits", []string{PixelValues}, graph.IntsAttr("axes", 2, 3),
				graph.IntAttr("keepdims", 0))
		},
		"joins several branches": func(s *sketch) {
			s.do("Flatten", "flat", []string{PixelValues})
			for _, part := range []string{"a", "b", "c"} {
				s.do("Gemm", part, []string{"flat", s.weight(part+".w", 768, 5), s.weight(part+".b", 5)})
			}
			s.do("Add", "two", []string{"a", "b"})
			s.do("Add", "logits", []string{"two", "c"})
		},
	} {
		s := newSketch()
		build(s)
		s.gives("logits", 2)
		_, err := Inspect(s.Model, FeatureChoice{Pooling: PoolLogits})
		if !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, should say %q", err, says)
		}
	}
	f := newFacts(newSketch().Model)
	if _, err := f.classifierEnd("nothing", true); err == nil || err.Error() != "is not computed" {
		t.Errorf("nothing: %v", err)
	}
}

// Where the size of patches does not tell how many tokens stand before them, other signs do.
func TestPrefixTokens(t *testing.T) {
	for _, tt := range []struct {
		put    []any
		tokens int64
		prefix int64
		cls    bool
	}{
		{nil, 16, 0, false},
		{nil, 17, 1, true},
		{nil, 18, 0, false},
		{nil, -1, 0, false},
		{[]any{"cls_token", 1}, 17, 1, true},
		{[]any{"cls_token", 1}, -1, 1, true},
		{[]any{"cls_token", 1}, 21, 5, true}, // registers were put in later
		{[]any{"reg_tokens", 4}, 20, 4, false},
	} {
		s := newSketch()
		s.tokens("output", tt.put...)
		f := newFacts(s.Model)
		prefix, cls, why := f.prefixTokens(tt.tokens, ImageInput{Input: "elsewhere"})
		if prefix != tt.prefix || cls != tt.cls {
			t.Errorf("%v, %d tokens: %d, %v, since %s", tt.put, tt.tokens, prefix, cls, why)
		}
	}
}

// What is wrong with the tensor that was asked for.
func TestUnfitTensors(t *testing.T) {
	for says, tt := range map[string]struct {
		pooling Pooling
		build   func(s *sketch) string
	}{
		"need [B,D], [B,N,D] or [B,D,h,w]": {"", func(s *sketch) string {
			return s.do("Unsqueeze", "y", []string{PixelValues, s.integers("axis", 0)})
		}},
		"cannot be inferred; run onnx.shape_inference on the model, or": {"", func(s *sketch) string {
			return s.do("Unheard", "y", []string{PixelValues})
		}},
		"the length of the feature": {"", func(s *sketch) string {
			return s.do("Reshape", "y", []string{PixelValues, s.do("Abs", "two", []string{s.weight("unknown", 2)})})
		}},
		"does not apply to the feature map": {PoolCLS, func(s *sketch) string {
			return s.do("Relu", "y", []string{PixelValues})
		}},
		"pooling pooled needs [B,D]": {PoolOutput, func(s *sketch) string {
			return s.tokens("y")
		}},
		"needs tokens [B,N,D], and y is": {PoolMean, func(s *sketch) string {
			return s.do("Flatten", "y", []string{PixelValues})
		}},
		"depends on no input": {"", func(s *sketch) string {
			return s.do("Relu", "y", []string{s.weight("w", 2, 8)})
		}},
	} {
		s := newSketch()
		tensor := tt.build(s)
		s.gives(s.tokens("output"), 3)
		_, err := Inspect(s.Model, FeatureChoice{Tensor: tensor, Pooling: tt.pooling})
		if !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, should say %q", err, says)
		}
	}
	s := newSketch()
	s.SetInputs(float32s(PixelValues, 4, 3, 16, 16))
	s.gives(s.do("Reshape", "y", []string{PixelValues, s.integers("wanted", 2, 1536)}), 2)
	if _, err := Inspect(s.Model, FeatureChoice{}); err == nil ||
		!strings.Contains(err.Error(), "not one feature per image") {
		t.Errorf("half the batch: %v", err)
	}
	s = newSketch()
	s.SetInputs(float32s(PixelValues, -1, 3, -1, -1))
	s.do("GlobalAveragePool", "pooled", []string{s.do("Conv", "c", []string{PixelValues, s.weight("w", 8, 3, 3, 3)})})
	s.gives(s.do("Flatten", "y", []string{"pooled"}), 2)
	if _, _, err := Backbone(s.Model, FeatureChoice{}); err == nil ||
		!strings.Contains(err.Error(), "say which width and height") {
		t.Errorf("any size: %v", err)
	}
	if _, in, err := Backbone(s.Model, FeatureChoice{Width: 20, Height: 10}); err != nil || in.Image.Width != 20 ||
		in.Image.Height != 10 {
		t.Errorf("a size: %+v, %v", in.Image, err)
	}
}

package vision

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// classifier adds a CLS token's class scores, without a bias, and the probabilities.
func (s *sketch) classifier() string {
	s.do("Gather", "cls_token", []string{s.tokens("norm", "cls", 1), s.scalar("at0", 0)}, graph.IntAttr("axis", 1))
	s.do("MatMul", "out", []string{"cls_token", s.weight("head.w", 8, 5)})
	return s.do("Softmax", "pr", []string{"out"}, graph.IntAttr("axis", -1))
}

// exponential adds the exponential of scores and its "sum" over the classes.
func (s *sketch) exponential(scores string) string {
	if scores == "out" {
		s.classifier()
	}
	e := s.do("Exp", "exp", []string{scores})
	s.do("ReduceSum", "sum", []string{e, s.integers("over", 1)})
	return e
}

// grid makes a map of tokens, and what a decoder makes of it: one of c channels at the size of the image.
func (s *sketch) decoder(tokens string, c int64) string {
	s.do("Transpose", "channels", []string{tokens}, graph.IntsAttr("perm", 0, 2, 1))
	s.do("Reshape", "grid", []string{"channels", s.integers("grid_shape", 0, 8, 4, 4)})
	s.do("Resize", "large", []string{"grid", "", "", s.integers("large_size", 2, 8, 16, 16)})
	s.do("Conv", "conv", []string{"large", s.weight("dec.w", c, 8, 1, 1), s.weight("dec.b", c)})
	return s.do("Relu", "map", []string{"conv"})
}

// is declares an output of a type other than float32.
func (s *sketch) is(name, elem string, dims ...int64) {
	s.Graph().Output = append(s.Graph().Output, graph.Declare(graph.Value{Name: name, Type: elem, Shape: dims}))
}

func TestBehindDecisionsAndDecoders(t *testing.T) {
	axis := func(n int64) *graph.Attribute { return graph.IntAttr("axis", n) }
	tests := map[string]struct {
		build  func(s *sketch)
		want   FeatureChoice
		tensor string
		pool   Pooling
	}{
		"the best three": {func(s *sketch) {
			s.Nodes("TopK", []string{s.classifier(), s.integers("three", 3)}, []string{"values", "indices"})
			s.gives("values", 2)
			s.is("indices", "int64", -1, 3)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"the best three in percent, numbers as int32": {func(s *sketch) {
			s.do("Mul", "percent", []string{s.classifier(), s.weight("hundred")})
			s.Nodes("TopK", []string{"percent", s.integers("three", 3)}, []string{"embedding", "i"})
			s.Cast("i", "indices", "int32")
			s.gives("embedding", 2)
			s.is("indices", "int32", -1, 3)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"the best one": {func(s *sketch) {
			s.classifier()
			s.do("ArgMax", "label", []string{"out"}, axis(1), graph.IntAttr("keepdims", 0))
			s.is("label", "int64", -1)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"the best one and how sure": {func(s *sketch) {
			s.do("ArgMax", "label", []string{s.classifier()}, axis(1), graph.IntAttr("keepdims", 1))
			s.do("ReduceMax", "confidence", []string{"pr"}, graph.IntsAttr("axes", 1), graph.IntAttr("keepdims", 1))
			s.is("label", "int64", -1, 1)
			s.gives("confidence", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"its name": {func(s *sketch) {
			s.do("ArgMax", "label", []string{s.classifier()}, axis(1), graph.IntAttr("keepdims", 0))
			s.do("Gather", "name", []string{s.Raw("names", "uint8", []int64{5}, make([]byte, 5)), "label"})
			s.is("name", "uint8", -1)
		}, FeatureChoice{Pooling: PoolLogits}, "cls_token", PoolLogits},
		"a table of names and scores": {func(s *sketch) {
			s.classifier()
			zip := s.do("ZipMap", "zipped", []string{"pr"})
			s.Graph().Node[len(s.Graph().Node)-1].Domain = proto.String("ai.onnx.ml")
			s.Graph().Output = append(s.Graph().Output, &onnxpb.ValueInfoProto{Name: &zip})
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"one of many": {func(s *sketch) {
			s.do("ArgMax", "label", []string{s.classifier()}, axis(1), graph.IntAttr("keepdims", 0))
			s.do("OneHot", "y", []string{"label", s.scalar("depth", 5), s.weight("off_on", 2)})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"where the largest is": {func(s *sketch) {
			s.do("ReduceMax", "largest", []string{s.classifier()}, graph.IntsAttr("axes", 1),
				graph.IntAttr("keepdims", 1))
			s.do("Equal", "same", []string{"pr", "largest"})
			s.Cast("same", "y", "float32")
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"some of the probabilities": {func(s *sketch) {
			s.do("Slice", "y", []string{s.classifier(), s.integers("from", 0), s.integers("to", 4),
				s.integers("axis1", 1)})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"half of the probabilities": {func(s *sketch) {
			s.Nodes("Split", []string{s.classifier(), s.integers("parts", 3, 2)}, []string{"y", "z"}, axis(1))
			s.gives("y", 2)
			s.gives("z", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"their entropy": {func(s *sketch) {
			s.do("Log", "log", []string{s.classifier()})
			s.do("Mul", "each", []string{"pr", "log"})
			s.do("ReduceSum", "y", []string{"each", s.integers("axis1", 1)})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"the best one and how sure, joined": {func(s *sketch) {
			s.do("ArgMax", "label", []string{s.classifier()}, axis(1), graph.IntAttr("keepdims", 1))
			s.do("ReduceMax", "sure", []string{"pr"}, graph.IntsAttr("axes", 1), graph.IntAttr("keepdims", 1))
			s.do("Concat", "y", []string{s.Cast("label", "number", "float32"), "sure"}, axis(1))
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"an embedding beside the best one": {func(s *sketch) {
			s.do("ArgMax", "label", []string{s.classifier()}, axis(1), graph.IntAttr("keepdims", 0))
			s.do("Identity", "embedding", []string{"cls_token"})
			s.is("label", "int64", -1)
			s.gives("embedding", 2)
		}, FeatureChoice{}, "embedding", PoolOutput},
		"the maximum over tokens is no decision": {func(s *sketch) {
			s.do("ReduceMax", "output", []string{s.tokens("norm")}, graph.IntsAttr("axes", 1),
				graph.IntAttr("keepdims", 0))
			s.gives("output", 2)
		}, FeatureChoice{}, "output", PoolOutput},
		"one score without a bias": {func(s *sketch) {
			s.do("ReduceMean", "pooled", []string{s.tokens("norm")}, graph.IntsAttr("axes", 1),
				graph.IntAttr("keepdims", 0))
			s.do("MatMul", "age", []string{"pooled", s.weight("age.w", 8, 1)})
			s.gives("age", 2)
		}, FeatureChoice{}, "pooled", PoolLogits},
		"scores without a bias": {func(s *sketch) { s.classifier(); s.gives("out", 2) }, FeatureChoice{}, "cls_token",
			PoolLogits},
		"a softmax that is spelt out": {func(s *sketch) {
			s.do("Div", "y", []string{s.exponential("out"), "sum"})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"one behind a shift": {func(s *sketch) {
			s.classifier()
			s.do("ReduceMax", "largest", []string{"out"}, graph.IntsAttr("axes", 1))
			s.do("Sub", "shifted", []string{"out", "largest"})
			s.do("Div", "y", []string{s.exponential("shifted"), "sum"})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"its logarithm": {func(s *sketch) {
			s.exponential("out")
			s.do("Log", "of_sum", []string{"sum"})
			s.do("Sub", "y", []string{"out", "of_sum"})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"its logarithm in one": {func(s *sketch) {
			s.classifier()
			s.do("ReduceLogSumExp", "of_sum", []string{"out"}, graph.IntsAttr("axes", 1))
			s.do("Sub", "y", []string{"out", "of_sum"})
			s.gives("y", 2)
		}, FeatureChoice{}, "cls_token", PoolLogits},
		"the logarithm of a softmax": {func(s *sketch) { s.do("Log", "y", []string{s.classifier()}); s.gives("y", 2) },
			FeatureChoice{}, "cls_token", PoolLogits},
		"a depth": {func(s *sketch) { s.gives(s.decoder(s.tokens("norm"), 1), 4) }, FeatureChoice{}, "norm", PoolMean},
		"a depth without its channel": {func(s *sketch) {
			s.do("Squeeze", "predicted_depth", []string{s.decoder(s.tokens("norm"), 1), s.integers("one", 1)})
			s.gives("predicted_depth", 3)
		}, FeatureChoice{}, "norm", PoolMean},
		"normals, asked for the mean": {func(s *sketch) { s.gives(s.decoder(s.tokens("norm"), 3), 4) },
			FeatureChoice{Pooling: PoolMean}, "norm", PoolMean},
		"classes of positions": {func(s *sketch) {
			s.do("ArgMax", "labels", []string{s.decoder(s.tokens("norm"), 5)}, axis(1), graph.IntAttr("keepdims", 0))
			s.is("labels", "int64", -1, 16, 16)
		}, FeatureChoice{}, "norm", PoolMean},
		"scores of positions stay a map": {func(s *sketch) { s.gives(s.decoder(s.tokens("norm"), 5), 4) },
			FeatureChoice{}, "map", PoolMean},
		"a depth behind a layer norm that is spelt out": {func(s *sketch) {
			s.do("ReduceMean", "mean", []string{s.patches()}, graph.IntsAttr("axes", -1))
			s.do("Sub", "centred", []string{"seq", "mean"})
			s.do("Mul", "square", []string{"centred", "centred"})
			s.do("ReduceMean", "variance", []string{"square"}, graph.IntsAttr("axes", -1))
			s.do("Sqrt", "deviation", []string{"variance"})
			s.do("Div", "standard", []string{"centred", "deviation"})
			s.do("Mul", "scaled", []string{"standard", s.weight("norm.w", 8)})
			s.do("Add", "norm", []string{"scaled", s.weight("norm.b", 8)})
			s.gives(s.decoder("norm", 1), 4)
		}, FeatureChoice{}, "norm", PoolMean},
		"a depth behind an RMS norm that is spelt out": {func(s *sketch) {
			s.do("Pow", "square", []string{s.patches(), s.Floats("2", nil, 2)})
			s.do("ReduceMean", "mean", []string{"square"}, graph.IntsAttr("axes", -1))
			s.do("Add", "sure", []string{"mean", s.Floats("eps", nil, 1e-6)})
			s.do("Sqrt", "deviation", []string{"sure"})
			s.do("Div", "inverse", []string{s.Floats("1", nil, 1), "deviation"})
			s.do("Mul", "standard", []string{"seq", "inverse"})
			s.do("Mul", "norm", []string{s.weight("norm.w", 8), "standard"})
			s.do("Mul", "layer_scale", []string{"norm", s.weight("gamma", 8)})
			s.gives(s.decoder("layer_scale", 1), 4)
		}, FeatureChoice{}, "norm", PoolMean},
		"boxes by a decoder's own tokens": {func(s *sketch) {
			s.do("Slice", "some", []string{s.tokens("norm"), s.integers("from", 0), s.integers("to", 6),
				s.integers("axis1", 1)})
			s.do("LayerNormalization", "queries", []string{"some", "norm.w", "norm.b"})
			s.do("MatMul", "boxes", []string{"queries", s.weight("box.w", 8, 4)})
			s.gives("boxes", 3)
		}, FeatureChoice{}, "norm", PoolMean},
		"a tensor inside": {func(s *sketch) { s.classifier(); s.gives("pr", 2) },
			FeatureChoice{Tensor: "norm", Pooling: PoolMean}, "norm", PoolMean},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			tt.build(s)
			cut, in, err := Backbone(s.Model, tt.want)
			if err != nil {
				t.Fatalf("%v; reasons %q", err, in.Reasons)
			}
			if f := in.Feature; f.Tensor != tt.tensor || f.Pooling != tt.pool || f.Dim < 5 {
				t.Errorf("feature %+v; reasons %q", f, in.Reasons)
			}
			if _, err := cut.Bytes(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is asked for and cannot be had is refused with what can.
func TestInnerTensorsRefused(t *testing.T) {
	s := newSketch()
	s.Nodes("TopK", []string{s.classifier(), s.integers("three", 3)}, []string{"values", "indices"})
	s.do("Transpose", "sequence_first", []string{"norm"}, graph.IntsAttr("perm", 1, 0, 2))
	s.gives("values", 2)
	s.gives("sequence_first", 3)
	s.is("indices", "int64", -1, 3)
	for tensor, says := range map[string]string{
		"Norm":           "norm [-1 17 8]",
		"nor":            "norm [-1 17 8]",
		"layer.norm.out": "norm",
		"xyz":            "norm float32 [-1 17 8]",
		"norm.w":         "is a weight",
		"norm:max":       `norm: unknown pooling "max"`,
		PixelValues:      "is an input",
		"indices":        "int64",
		"sequence_first": "17 rows for 2 images",
	} {
		_, in, err := Backbone(s.Model, FeatureChoice{Tensor: tensor})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", tensor, err, says)
		}
		if !slices.Contains(graph.Names(in.Others), "norm") || slices.Contains(graph.Names(in.Others), "values") {
			t.Errorf("%s: others %v", tensor, in.Others)
		}
	}
}

// Outputs that are turned around are refused, and not taken for what they look like.
func TestTurnedOutputs(t *testing.T) {
	for says, perm := range map[string][]int64{"norm": {0, 2, 1}, "17 rows for 2 images": {1, 0, 2}} {
		s := newSketch()
		s.do("Transpose", "output", []string{s.tokens("norm", "cls", 1)}, graph.IntsAttr("perm", perm...))
		s.gives("output", 3)
		if _, in, err := Backbone(s.Model, FeatureChoice{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q; reasons %q", perm, err, says, in.Reasons)
		}
	}
	s := newSketch()
	s.do("Cast", "boxes", []string{s.tokens("norm")}, graph.IntAttr("to", 7))
	s.is("boxes", "int64", -1, 16, 8)
	_, _, err := Backbone(s.Model, FeatureChoice{})
	if err == nil || !strings.Contains(err.Error(), "selection of boxes; name a tensor inside it, such as norm") {
		t.Errorf("whole numbers alone: %v", err)
	}
}

// Sums and products with constants before the first convolution are a normalisation, where they make of pixels what
// networks are trained on.
func TestNormalisation(t *testing.T) {
	floats := func(s *sketch, name string, dims []int64, v ...float32) string { return s.Floats(name, dims, v...) }
	three := []int64{1, 3, 1, 1}
	tests := map[string]struct {
		build  func(s *sketch) string
		pixels float64 // 0: none
		mean   float64 // of red in [0, 1]
	}{
		"mean and deviation": {func(s *sketch) string {
			s.do("Sub", "centred", []string{PixelValues, floats(s, "m", three, 0.485, 0.456, 0.406)})
			return s.do("Div", "x", []string{"centred", floats(s, "d", three, 0.229, 0.224, 0.225)})
		}, 1, 0.485},
		"folded": {func(s *sketch) string {
			s.do("Mul", "scaled", []string{floats(s, "d", []int64{3, 1, 1}, 4, 4.5, 4.5), PixelValues})
			return s.do("Add", "x", []string{"scaled", floats(s, "m", []int64{3, 1, 1}, -2, -2, -2)})
		}, 1, 0.5},
		"of bytes": {func(s *sketch) string {
			s.do("Div", "unit", []string{PixelValues, floats(s, "m255", nil, 255)})
			s.do("Sub", "centred", []string{"unit", floats(s, "m", nil, 0.5)})
			return s.do("Div", "x", []string{"centred", floats(s, "d", nil, 0.5)})
		}, 255, 0.5},
		"by 1/255 alone": {func(s *sketch) string {
			return s.do("Mul", "x", []string{PixelValues, floats(s, "by", []int64{1}, 1.0/255)})
		}, 255, 0},
		"by constants that nodes shape": {func(s *sketch) string {
			value := graph.TensorAttr("value", graph.FloatTensor([]int64{3}, []float32{0.5, 0.5, 0.5}))
			s.do("Constant", "flat", nil, value)
			s.do("Reshape", "mean", []string{"flat", s.integers("to", 3, 1, 1)})
			s.do("Sub", "centred", []string{PixelValues, "mean"})
			return s.do("Div", "x", []string{"centred", "mean"})
		}, 1, 0.5},
		"flattened meanwhile": {func(s *sketch) string {
			s.do("Reshape", "flat", []string{PixelValues, s.integers("flat_shape", 0, 3, -1)})
			s.do("Sub", "centred", []string{"flat", floats(s, "m", []int64{1, 3, 1}, 0.485, 0.456, 0.406)})
			s.do("Div", "scaled", []string{"centred", floats(s, "d", []int64{1, 3, 1}, 0.229, 0.224, 0.225)})
			return s.do("Reshape", "x", []string{"scaled", s.integers("back", 0, 3, 16, 16)})
		}, 1, 0.485},
		"in double precision": {func(s *sketch) string {
			var raw []byte
			for _, x := range []float64{0.485, 0.456, 0.406} {
				raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
			}
			s.do("Unsqueeze", "m", []string{s.Raw("mean", "float64", []int64{3}, raw), s.integers("axes", 0, 2, 3)})
			s.do("Sub", "centred", []string{PixelValues, s.Cast("m", "m32", "float32")})
			half := s.Raw("d", "float16", nil, []byte{0, 0x34}) // a quarter
			return s.do("Div", "x", []string{"centred", s.Cast(half, "d32", "float32")})
		}, 1, 0.485},
		"by what nodes compute, of bytes": {func(s *sketch) string {
			white := floats(s, "white", nil, 255)
			s.do("Mul", "m255", []string{floats(s, "m", three, 0.485, 0.456, 0.406), white})
			s.do("Mul", "d255", []string{floats(s, "d", three, 0.229, 0.224, 0.225), white})
			s.do("Reciprocal", "by", []string{"d255"})
			s.do("Sub", "centred", []string{PixelValues, "m255"})
			return s.do("Mul", "x", []string{"centred", "by"})
		}, 255, 0.485},
		"by a batch normalisation": {func(s *sketch) string {
			return s.do("BatchNormalization", "x", []string{PixelValues, floats(s, "g", []int64{3}, 1, 1, 1),
				floats(s, "b", []int64{3}, 0, 0, 0), floats(s, "m", []int64{3}, 0.485, 0.456, 0.406),
				floats(s, "v", []int64{3}, 0.05, 0.05, 0.05)})
		}, 1, 0.485},
		"by a batch normalisation of what is normalised": {func(s *sketch) string {
			return s.do("BatchNormalization", "x", []string{PixelValues, floats(s, "g", []int64{3}, 1, 1, 1),
				floats(s, "b", []int64{3}, 0, 0, 0), floats(s, "m", []int64{3}, 0.02, -0.01, 0.01),
				floats(s, "v", []int64{3}, 1, 1, 1)})
		}, 0, 0},
		"by a convolution": {func(s *sketch) string {
			w := floats(s, "w", []int64{3, 3, 1, 1}, 4, 0, 0, 0, 4, 0, 0, 0, 4)
			return s.do("Conv", "x", []string{PixelValues, w, floats(s, "b", []int64{3}, -2, -2, -2)})
		}, 1, 0.5},
		"by a convolution of each channel, of bytes": {func(s *sketch) string {
			w := floats(s, "w", []int64{3, 1, 1, 1}, 4/255., 4/255., 4/255.)
			return s.do("Conv", "x", []string{PixelValues, w, floats(s, "b", []int64{3}, -2, -2, -2)},
				graph.IntAttr("group", 3))
		}, 255, 0.5},
		"by a convolution that mixes": {func(s *sketch) string {
			w := floats(s, "w", []int64{3, 3, 1, 1}, 4, 1, 0, 0, 4, 0, 0, 0, 4)
			return s.do("Conv", "x", []string{PixelValues, w, floats(s, "b", []int64{3}, -2, -2, -2)})
		}, 0, 0},
		"behind clipping and blue first": {func(s *sketch) string {
			s.do("Clip", "clipped", []string{PixelValues, floats(s, "0", nil, 0), floats(s, "1", nil, 1)})
			s.do("Gather", "bgr", []string{"clipped", s.integers("order", 2, 1, 0)}, graph.IntAttr("axis", 1))
			s.do("Sub", "centred", []string{"bgr", floats(s, "m", three, 0.406, 0.456, 0.485)})
			return s.do("Div", "x", []string{"centred", floats(s, "d", three, 0.225, 0.224, 0.229)})
		}, 1, 0.485},
		"less a mean of bytes alone": {func(s *sketch) string {
			return s.do("Sub", "x", []string{PixelValues, floats(s, "m", three, 127.5, 117, 104)})
		}, 255, 0.5},
		"nothing": {func(s *sketch) string { return s.do("Identity", "x", []string{PixelValues}) }, 0, 0},
		"other statistics to these": {func(s *sketch) string { // as GoogLeNet's transform_input
			s.do("Mul", "scaled", []string{PixelValues, floats(s, "d", nil, 0.458)})
			return s.do("Add", "x", []string{"scaled", floats(s, "m", nil, -0.03)})
		}, 0, 0},
		"less pixels": {func(s *sketch) string {
			return s.do("Sub", "x", []string{floats(s, "one", nil, 1), PixelValues})
		}, 0, 0},
		"by columns": {func(s *sketch) string {
			return s.do("Mul", "x", []string{PixelValues, floats(s, "d", []int64{3}, 4, 4, 4)})
		}, 0, 0},
		"less infinity": {func(s *sketch) string {
			return s.do("Sub", "x", []string{PixelValues, floats(s, "d", nil, float32(math.Inf(1)))})
		}, 0, 0},
		"by noughts": {func(s *sketch) string {
			return s.do("Div", "x", []string{PixelValues, floats(s, "d", nil, 0)})
		}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			s.do("Conv", "patch", []string{tt.build(s), s.weight("patch.w", 8, 3, 4, 4)},
				graph.IntsAttr("strides", 4, 4))
			s.do("ReduceMean", "embedding", []string{"patch"}, graph.IntsAttr("axes", 2, 3),
				graph.IntAttr("keepdims", 0))
			s.gives("embedding", 2)
			in, err := Inspect(s.Model, FeatureChoice{})
			if err != nil {
				t.Fatal(err)
			}
			n := in.Image.Normalises
			switch {
			case (n == nil) != (tt.pixels == 0):
				t.Errorf("%+v", n)
			case n != nil && (n.Pixels != tt.pixels || math.Abs(-n.Shift[0]/n.Scale[0]/n.Pixels-tt.mean) > 1e-6):
				t.Errorf("%+v: %v", n, n)
			}
		})
	}
}

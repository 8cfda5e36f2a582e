package grad

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Two layers, of which the first is frozen: a weight is w1 or w2 by its place.
const layers = `x:B,3 w1:3,4 w2:4,2
a = MatMul(x, w1)
b = Tanh(a)
y = MatMul(b, w2)`

func TestBackwardRefuses(t *testing.T) {
	for _, tt := range []struct {
		text, of string
		wrt      []string
		seed     string
		says     string
	}{
		{layers, "y", []string{"w2"}, "", `"y" is not one number: its gradient needs a seed`},
		{layers, "z", []string{"w2"}, "s", `it has no tensor "z"`},
		{layers, "y", []string{"w3"}, "s", `it has no tensor "w3"`},
		{layers, "a", []string{"w2"}, "s", `"a" does not depend on "w2"`},
		{layers, "y", []string{"w2", "w2"}, "s", `the gradient by "w2" is asked for twice`},
		{layers, "y", []string{"w2"}, "x", `it has a tensor "x" already`},
		{"x:B,B\ny = Neg(x)", "y", []string{"x"}, "s", `input "x" has shape [-1 -1]; only its first dimension`},
		{"x:B,4\na = Floor(x)\ny = Mul(a, 2.0)", "y", []string{"x"}, "s", `"y" does not depend on "x"`},
		{"x:B,4\na = CumSum(x, 1)\nb = Celu(a)\ny = CumSum(b, 1)", "y", []string{"x"}, "s",
			`CumSum "CumSum/a": there is no rule for this operator; Celu "Celu/b": there is no rule for this operator; ` +
				`CumSum "CumSum/y": there is no rule`},
		{"x:B,3,4\ny = Pad<mode='edge'>(x, [0,1,0,0,1,0])", "y", []string{"x"}, "s",
			`Pad "Pad/y": there is no rule for padding of mode "edge"`},
		{"x:B,4 !m:4\nb = Cast<to=7>(m)\ny = Gather<axis=1>(x, b)", "y", []string{"x"}, "s", ""},
		{"x:B,4 k:1\na = Clip(x, k)\ny = Neg(a)", "y", []string{"x", "k"}, "s",
			`Clip "Clip/a": there is no rule for a gradient by its input "k"`},
		{"x:B,3,4\na = Transpose<perm=[0,2,1]>(x)\nb = Where(a)\ny = Add(a, b)", "y", []string{"x"}, "s",
			`Where "Where/b": it is not as its operator asks for: `},
		{"q:B,5,4 k:B,5,4\ny = com.microsoft.MultiHeadAttention<num_heads=2,unidirectional=1>(q, k, k)", "y",
			[]string{"q"}, "s", "there is no rule for its key padding mask, or for unidirectional"},
	} {
		m, _ := model(t, 17, tt.text)
		before, _ := m.Bytes()
		_, err := Backward(m, tt.of, tt.wrt, Options{Seed: tt.seed})
		if after, _ := m.Bytes(); string(before) != string(after) {
			t.Errorf("%s: the model has changed", tt.says)
		}
		switch {
		case tt.says == "" && err == nil:
		case err == nil || !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), tt.says):
			t.Errorf("%q, gradient of %s by %v: %v; should say %s", tt.text, tt.of, tt.wrt, err, tt.says)
		}
	}
}

// Everything that stands in the way is told at once, in the order of the graph, and nothing where all is well.
func TestSupported(t *testing.T) {
	m, _ := model(t, 17, "x:B,4\na = CumSum(x, 1)\nb = Relu(a)\ny = Celu(b)")
	refused, err := Supported(m, "y", "x")
	if err != nil || len(refused) != 2 || refused[0].Op != "CumSum" || refused[1].Node != "Celu/y" {
		t.Errorf("%v, %v", refused, err)
	}
	if refused, err := Supported(m, "b", "a"); err != nil || len(refused) != 0 {
		t.Errorf("from a to b: %v, %v", refused, err)
	}
	if _, err := Supported(m, "a", "b"); err == nil {
		t.Error("a does not depend on b")
	}
}

// A tensor inside has a gradient as weights and inputs have; what is not asked for is not computed.
func TestOnlyWhatIsAskedFor(t *testing.T) {
	m, _ := model(t, 17, layers)
	g, err := Backward(m, "y", []string{"b"}, Options{Seed: "seed"})
	if err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, n := range g.Graph().Node {
		ops = append(ops, n.GetOpType())
	}
	if !slices.Equal(ops, []string{"Transpose", "MatMul", "Identity"}) {
		t.Errorf("the gradient by the hidden layer takes %v", ops)
	}
	all, err := Backward(m, "y", []string{"w2", "b", "x"}, Options{Seed: "seed", Outputs: []string{"y", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	names := graph.Names(all.Outputs())
	if want := append([]string{"y", "a"}, all.Names...); !slices.Equal(names, want) || len(all.Names) != 3 {
		t.Errorf("outputs %v, want %v", names, want)
	}
	again, _ := Backward(m, "y", []string{"w2", "b", "x"}, Options{Seed: "seed", Outputs: []string{"y", "a"}})
	one, _ := all.Bytes()
	two, _ := again.Bytes()
	if string(one) != string(two) {
		t.Error("the same question has two answers")
	}
}

// A weight becomes an input, behind the model's own, whatever of the model is left; the loss may be in the graph.
func TestWeightsBecomeInputs(t *testing.T) {
	m := graph.New("weights", 17)
	m.SetInputs(graph.Value{Name: "x", Type: "float32", Shape: []int64{graph.Unknown, 2}})
	b := graph.NewBuilder(m, "")
	w := b.Floats("w", []int64{2, 1}, 3, 4)
	b.Node("MatMul", []string{"x", w}, "h")
	b.Reduce("ReduceSum", "h", "loss", true, 0, 1)
	m.SetOutputs(graph.Value{Name: "loss", Type: "float32", Shape: []int64{1, 1}})
	g, err := Backward(m, "loss", []string{w}, Options{Outputs: []string{"loss"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := graph.Names(g.Inputs()); !slices.Equal(got, []string{"x", w}) {
		t.Errorf("inputs %v", got)
	}
	x := onnx.Tensor{Shape: []int64{3, 2}, Data: []float32{1, 2, 3, 4, 5, 6}}
	got, err := run(t, g.Model, onnx.SessionOptions{}, []onnx.Tensor{x, {Shape: []int64{2, 1}, Data: []float32{1, 10}}},
		[]int64{1, 1}, []int64{2, 1})
	if err != nil || !slices.Equal(got[0], []float32{129}) || !slices.Equal(got[1], []float32{9, 12}) {
		t.Errorf("loss and gradient are %v, %v; want 129 and [9 12]", got, err)
	}
}

// Functions of the model are put in the place of their calls, with the attributes that the calls give.
func TestFunctions(t *testing.T) {
	m, _ := model(t, 17, "x:B,4\na = Neg(x)\ny = Exp(a)")
	inner := m.Graph().Node[0]
	inner.OpType, inner.Domain = proto.String("Leaky"), proto.String("own")
	inner.Attribute = []*graph.Attribute{graph.FloatAttr("slope", 0.25)}
	body := &graph.Node{OpType: proto.String("LeakyRelu"), Input: []string{"in"}, Output: []string{"mid"},
		Attribute: []*graph.Attribute{{Name: proto.String("alpha"), RefAttrName: proto.String("slope"),
			Type: onnxpb.AttributeProto_FLOAT.Enum()}}}
	twice := &graph.Node{OpType: proto.String("Add"), Input: []string{"mid", "mid"}, Output: []string{"out"}}
	m.Proto().Functions = []*onnxpb.FunctionProto{{Name: proto.String("Leaky"), Domain: proto.String("own"),
		Input: []string{"in"}, Output: []string{"out"}, Attribute: []string{"slope"}, Node: []*graph.Node{body, twice},
		OpsetImport: m.Proto().OpsetImport[:1]}}
	plain, wrt := model(t, 17, "x:B,4\nb = LeakyRelu<alpha=0.25>(x)\na = Add(b, b)\ny = Exp(a)")
	var got [2][][]float32
	for i, m := range []*graph.Model{m, plain} {
		g, err := Backward(m, "y", wrt, Options{Seed: "seed"})
		if err == nil {
			got[i], err = run(t, g.Model, onnx.SessionOptions{}, tensors(g.Inputs()), []int64{batch, 4})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got[0][0], got[1][0]) {
		t.Errorf("%v, want %v", got[0][0], got[1][0])
	}
}

// A float16 encoder is differentiated in float32; a real one, against the float32 one that it was made of.
func TestFloat16(t *testing.T) {
	m, err := graph.Read(testkit.Root() + "/onnx/vision/testdata/float16.onnx")
	if err != nil {
		t.Fatal(err)
	}
	of := m.Outputs()[0].Name
	g, err := Backward(m, of, []string{m.Inputs()[0].Name}, Options{Seed: "seed"})
	if err != nil {
		t.Fatal(err)
	}
	graph.EachTensor(g.Graph(), func(w *graph.Tensor) {
		if graph.TypeOf(w) == "float16" {
			t.Errorf("weight %q is float16 still", w.GetName())
		}
	})
	in := tensors(g.Inputs())
	if _, err := run(t, g.Model, onnx.SessionOptions{}, in, in[0].Shape); err != nil {
		t.Error(err)
	}
	for bits, want := range map[uint16]float32{0x3c00: 1, 0xc000: -2, 0x0001: 1.0 / (1 << 24), 0x7bff: 65504,
		0x3555: 0.33325195} {
		half := &graph.Tensor{DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT16)), Int32Data: []int32{int32(bits)}}
		w, err := toFloat32(half)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := graph.Floats(w); !ok || got[0] != want {
			t.Errorf("%#x is %v, want %v", bits, got, want)
		}
	}
	// Bytes that are no whole number are refused, whatever the type.
	for _, kind := range []onnxpb.TensorProto_DataType{onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16,
		onnxpb.TensorProto_DOUBLE} {
		damaged := &graph.Tensor{Dims: []int64{2}, DataType: proto.Int32(int32(kind)), RawData: make([]byte, 3)}
		if _, err := toFloat32(damaged); !errors.Is(err, graph.ErrModel) {
			t.Errorf("a damaged %v: %v", kind, err)
		}
	}
}

// Every image encoder among the fixtures of package vision that it takes, from feature to pixels.
func TestVisionFixtures(t *testing.T) {
	for _, name := range []string{"batch1", "batch2", "gemm", "matmul_softmax", "opset11", "opset18", "pooled",
		"registers", "tanh_pooler", "tokens_no_cls", "map_nhwc", "nhwc"} {
		m, err := graph.Read(testkit.Root() + "/onnx/vision/testdata/" + name + ".onnx")
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range graph.Names(m.Outputs()) {
			var images []string
			for _, v := range m.Inputs() {
				if len(v.Shape) == 4 {
					images = append(images, v.Name)
				}
			}
			refused, err := Supported(m, of, images...)
			if err != nil || len(refused) > 0 {
				t.Errorf("%s, %s: %v, %v", name, of, refused, err)
			}
		}
	}
}

package vision

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
)

// added returns the nodes whose names begin with a prefix, one a line: operator, inputs and output, the prefix left
// out.
func added(m *graph.Model, prefix string) string {
	var b strings.Builder
	for _, n := range m.Graph().Node {
		if strings.HasPrefix(n.GetName(), prefix) {
			fmt.Fprintln(&b, n.GetOpType(), strings.Join(n.Input, " "), "→", strings.Join(n.Output, " "))
		}
	}
	return strings.ReplaceAll(b.String(), prefix, "")
}

func backbone(t testing.TB, file string, want FeatureChoice) *graph.Model {
	t.Helper()
	m, _, err := Backbone(read(t, file), want)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParsePooling(t *testing.T) {
	for _, p := range []Pooling{PoolAuto, PoolOutput, PoolCLS, PoolMean, PoolCLSMean, PoolLogits} {
		if got, err := ParsePooling(string(p)); got != p || err != nil {
			t.Errorf("%s: %s, %v", p, got, err)
		}
	}
	if got, err := ParsePooling(""); got != PoolAuto || err != nil {
		t.Errorf("none: %s, %v", got, err)
	}
	if _, err := ParsePooling("max"); err == nil || !strings.Contains(err.Error(), "cls+mean") {
		t.Errorf("max: %v", err)
	}
}

// What is put before and behind the model's own nodes.
func TestBoundary(t *testing.T) {
	for _, tt := range []struct {
		file string
		want FeatureChoice
		says string
	}{
		{"pooled.onnx", FeatureChoice{},
			"Identity pixel_values → original/pixel_values\nIdentity original/embedding → embedding\n"},
		{"nhwc.onnx", FeatureChoice{}, "Transpose pixel_values → image\nIdentity original/embedding → embedding\n"},
		{"float16.onnx", FeatureChoice{},
			"Cast pixel_values → image\nCast original/embedding → 1\nIdentity 1 → embedding\n"},
		{"uint8.onnx", FeatureChoice{},
			"Mul pixel_values float/255 → 1\nRound 1 → 2\nClip 2 float/0 float/255 → 3\nCast 3 → image\nIdentity " +
				"original/embedding → embedding\n"},
		{"pooled.onnx", FeatureChoice{Pooling: PoolMean}, "Identity pixel_values → original/pixel_values\n" +
			"Slice last_hidden_state int/patches int/end int/token_axis → 1\nReduceMean 1 → embedding\n"},
		{"opset18.onnx", FeatureChoice{Pooling: PoolCLSMean}, "Identity pixel_values → original/pixel_values\n" +
			"Gather last_hidden_state int/first → 1\nSlice last_hidden_state int/patches int/end int/token_axis → 3\n" +
			"ReduceMean 3 int/axes[1] → 2\nConcat 1 2 → embedding\n"},
		{"pooled.onnx", FeatureChoice{Tensor: "patch"},
			"Identity pixel_values → original/pixel_values\nCast patch → 1\nReduceMean 1 → embedding\n"},
		{"map_nhwc.onnx", FeatureChoice{},
			"Identity pixel_values → original/pixel_values\nReduceMean map → embedding\n"},
	} {
		m := backbone(t, tt.file, tt.want)
		if got := added(m, "vitft/"); got != tt.says {
			t.Errorf("%s %+v:\n%swant:\n%s", tt.file, tt.want, got, tt.says)
		}
		in, out := m.Inputs(), m.Outputs()
		if len(in) != 1 || in[0].Name != PixelValues || in[0].Type != "float32" ||
			!slices.Equal(in[0].Shape, []int64{-1, 3, 16, 16}) {
			t.Errorf("%s: inputs %v", tt.file, in)
		}
		if len(out) != 1 || out[0].Name != Embedding || out[0].Type != "float32" || len(out[0].Shape) != 2 ||
			out[0].Shape[1] < 8 {
			t.Errorf("%s: outputs %v", tt.file, out)
		}
	}
	axes := graph.Attr(backbone(t, "map_nhwc.onnx", FeatureChoice{}).Graph().Node[4], "axes").GetInts()
	if !slices.Equal(axes, []int64{1, 2}) {
		t.Errorf("a map [B,h,w,D] is pooled over %v", axes)
	}
}

func TestAppendHead(t *testing.T) {
	ones := func(n int) []float32 { return slices.Repeat([]float32{1}, n) }
	full := Head{
		Classes: 2, Weight: ones(16), Bias: ones(2), Mean: ones(8), InvStd: ones(8), Transform: ones(64),
		Normalize: true, Scale: 16, Temperature: []float32{1, 2},
	}
	const whole = "Sub embedding float/mean → Sub\nMul Sub float/inv_std → Mul\nGemm Mul float/transform → " +
		"transformed\n%sMax norm float/epsilon → positive_norm\nDiv transformed positive_norm → Div\nGemm Div " +
		"float/weight float/bias → logits\nArgMax logits → predicted\nGather float/temperature predicted → " +
		"own_temperature\nDiv logits own_temperature → tempered\nSoftmax tempered → probabilities\n"
	for _, tt := range []struct {
		file  string
		head  Head
		alpha float32
		says  string
	}{
		{"opset11.onnx", full, 16, fmt.Sprintf(whole, "ReduceL2 transformed → norm\n")},
		{"opset18.onnx", full, 16, fmt.Sprintf(whole, "ReduceL2 transformed int/feature_axis → norm\n")},
		{"pooled.onnx", Head{Classes: 2, Weight: ones(16)}, 1,
			"Gemm embedding float/weight → logits\nSoftmax logits → probabilities\n"},
		{"pooled.onnx", Head{Classes: 2, Weight: ones(16), Temperature: []float32{3}}, 1,
			"Gemm embedding float/weight → logits\nDiv logits float/temperature → tempered\nSoftmax tempered → " +
				"probabilities\n"},
	} {
		m := backbone(t, tt.file, FeatureChoice{})
		if err := AppendHead(m, tt.head); err != nil {
			t.Fatal(err)
		}
		if got := added(m, "vitft_head/"); got != tt.says {
			t.Errorf("%s:\n%swant:\n%s", tt.file, got, tt.says)
		}
		var names []string
		for _, v := range m.Outputs() {
			names = append(names, fmt.Sprint(v.Name, v.Shape))
		}
		if !slices.Equal(names, []string{"probabilities[-1 2]", "logits[-1 2]", "embedding[-1 8]"}) {
			t.Errorf("%s: outputs %v", tt.file, names)
		}
		if got := graph.Attr(m.Index().Producer[Logits], "alpha").GetF(); got != tt.alpha {
			t.Errorf("%s: scale %v", tt.file, got)
		}
	}
}

// Cubic convolution gives what is quadratic back exactly, away from the edges.
func TestEnlarge(t *testing.T) {
	const n = 24
	value := func(x float64) float64 { return 3 - x/2 + x*x/16 }
	for _, v := range []View{{Zoom: 2}, {Zoom: 1.5, DX: -0.3}, {Zoom: 3, DX: 1, Flip: true}} {
		m := enlarge(n, v.Zoom, v.DX, v.Flip, false)
		transposed := enlarge(n, v.Zoom, v.DX, v.Flip, true)
		for i := range n {
			row := i
			if v.Flip {
				row = n - 1 - i
			}
			at := (n-n/v.Zoom)/2*(1+v.DX) + (float64(i)+0.5)/v.Zoom - 0.5
			sum, total := 0.0, 0.0
			for k := range n {
				w := float64(m[row*n+k])
				if m[row*n+k] != transposed[k*n+row] {
					t.Fatalf("%+v: the other matrix is not transposed", v)
				}
				sum, total = sum+w*value(float64(k)), total+w
			}
			if math.Abs(total-1) > 1e-6 {
				t.Errorf("%+v: the weights of pixel %d add up to %v", v, i, total)
			}
			if at >= 1 && at <= n-2 && math.Abs(sum-value(at)) > 1e-5 {
				t.Errorf("%+v: pixel %d, at %v, is %v, want %v", v, i, at, sum, value(at))
			}
		}
	}
}

func TestViewModel(t *testing.T) {
	m := backbone(t, "batch2.onnx", FeatureChoice{})
	for v, says := range map[View]string{
		{}: "Identity pixel_values → viewed_pixels\n",
		{Flip: true}: "Slice pixel_values int/last int/before_first int/across int/back → 1\nIdentity 1 → " +
			"viewed_pixels\n",
		{Zoom: 2, DY: 1}: "MatMul pixel_values float/columns 2 0 false → 2\nMatMul float/rows 2 1 2 → 1\n" +
			"Identity 1 → viewed_pixels\n",
	} {
		alone, err := ViewModel(m, v)
		if err != nil {
			t.Fatal(err)
		}
		if got := added(alone, "vitft_view/"); got != says {
			t.Errorf("%v:\n%swant:\n%s", v, got, says)
		}
		if in, out := alone.Inputs()[0], alone.Outputs()[0]; !slices.Equal(in.Shape, []int64{-1, 3, 16, 16}) ||
			!slices.Equal(out.Shape, in.Shape) {
			t.Errorf("%v: from %v to %v", v, in, out)
		}
	}
	for _, v := range []View{{Zoom: 0.5}, {Zoom: 2, DX: 1.5}, {Zoom: math.NaN()}, {Zoom: 2, DY: -2}} {
		if _, err := ViewModel(m, v); err == nil {
			t.Errorf("%+v is accepted", v)
		}
	}
	if _, err := ViewModel(read(t, "gemm.onnx"), View{}); err == nil ||
		!strings.Contains(err.Error(), "not a backbone") {
		t.Errorf("a model that is no backbone: %v", err)
	}
}

// TestSingle takes a backbone out of its average, and of the average of that, again.
func TestSingle(t *testing.T) {
	for _, file := range []string{"pooled.onnx", "opset18.onnx", "if_clash.onnx"} {
		m := backbone(t, file, FeatureChoice{})
		if Single(m) != m {
			t.Errorf("%s: there is nothing to undo", file)
		}
		want, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		averaged, err := Average(m, Views(3))
		if err != nil {
			t.Fatal(err)
		}
		twice, err := Average(averaged, Views(2))
		if err != nil {
			t.Fatal(err)
		}
		if !uniqueNames(twice.Graph()) {
			t.Errorf("%s: names are not unique", file)
		}
		if err := AppendHead(twice, Head{Classes: 1, Weight: make([]float32, 8)}); err != nil {
			t.Fatal(err)
		}
		if got, err := Single(Single(twice)).Bytes(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: it is not what it was (%v)", file, err)
		}
		if after, err := m.Bytes(); err != nil || !bytes.Equal(after, want) {
			t.Errorf("%s: averaging changed the backbone (%v)", file, err)
		}
	}
	m := backbone(t, "pooled.onnx", FeatureChoice{})
	if averaged, err := Average(m, []View{{}, {Flip: true}}); err != nil ||
		!strings.HasPrefix(added(averaged, "vitft_views/"),
			"Slice pixel_values int/last int/before_first int/across int/back → 2\nConcat pixel_values 2 → "+
				"original/pixel_values\n") {
		t.Errorf("%v", err)
	}
}

func TestFreeBatch(t *testing.T) {
	m := backbone(t, "batch2.onnx", FeatureChoice{})
	if _, err := Average(m, Views(2)); !errors.Is(err, graph.ErrModel) ||
		!strings.Contains(err.Error(), "batches of 2") {
		t.Errorf("a fixed batch: %v", err)
	}
	free, err := FreeBatch(m)
	if err != nil {
		t.Fatal(err)
	}
	if in, out := free.Inputs()[0], free.Outputs()[0]; !slices.Equal(in.Shape, []int64{-1, 3, 16, 16}) ||
		!slices.Equal(out.Shape, []int64{-1, 8}) {
		t.Errorf("from %v to %v", in, out)
	}
	if m.Inputs()[0].Shape[0] != 2 {
		t.Error("the batch of the backbone itself is free too")
	}
	if _, err := Average(free, []View{{Zoom: 0.1}}); err == nil {
		t.Error("an impossible view is accepted")
	}
	for name, f := range map[string]func(*graph.Model) (*graph.Model, error){
		"free": FreeBatch, "average": func(m *graph.Model) (*graph.Model, error) { return Average(m, Views(2)) },
	} {
		if _, err := f(read(t, "gemm.onnx")); err == nil || !strings.Contains(err.Error(), "not a backbone") {
			t.Errorf("%s of what is no backbone: %v", name, err)
		}
	}
}

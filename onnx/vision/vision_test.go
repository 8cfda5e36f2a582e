package vision

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/graph"
)

func read(t testing.TB, name string) *graph.Model {
	t.Helper()
	m, err := graph.Read(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestInspect(t *testing.T) {
	tests := []struct {
		file    string
		want    FeatureChoice
		tensor  string
		pooling Pooling
		dim     int64
		batch   int64
		size    int64
	}{
		{file: "pooled.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: -1, size: 16},
		{file: "pooled.onnx", want: FeatureChoice{Pooling: PoolCLS}, tensor: "last_hidden_state", pooling: PoolCLS,
			dim:   8,
			batch: -1, size: 16},
		{file: "pooled.onnx", want: FeatureChoice{Pooling: PoolCLSMean}, tensor: "last_hidden_state",
			pooling: PoolCLSMean,
			dim:     16, batch: -1, size: 16},
		{file: "pooled.onnx", want: FeatureChoice{Tensor: "x1", Pooling: PoolMean}, tensor: "x1", pooling: PoolMean,
			dim: 8, batch: -1, size: 16},
		{file: "pooled.onnx", want: FeatureChoice{Tensor: "patch"}, tensor: "patch", pooling: PoolMean, dim: 8,
			batch: -1,
			size:  16},
		{file: "pooled.onnx", want: FeatureChoice{Pooling: PoolLogits}, tensor: "embedding", pooling: PoolLogits,
			dim:   8,
			batch: -1, size: 16},
		{file: "opset11.onnx", tensor: "last_hidden_state", pooling: PoolMean, dim: 8, batch: -1, size: 16},
		{file: "opset18.onnx", tensor: "last_hidden_state", pooling: PoolCLS, dim: 8, batch: -1, size: 16},
		{file: "tokens_no_cls.onnx", tensor: "last_hidden_state", pooling: PoolMean, dim: 8, batch: -1, size: 16},
		{file: "gemm.onnx", tensor: "cls_token", pooling: PoolLogits, dim: 8, batch: -1, size: 16},
		{file: "matmul_softmax.onnx", tensor: "cls_token", pooling: PoolLogits, dim: 8, batch: -1, size: 16},
		{file: "tanh_pooler.onnx", tensor: "last_hidden_state", pooling: PoolCLS, dim: 8, batch: -1, size: 16},
		{file: "tanh_pooler.onnx", want: FeatureChoice{Pooling: PoolOutput}, tensor: "pooler_output",
			pooling: PoolOutput,
			dim:     8, batch: -1, size: 16},
		{file: "float16.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: -1, size: 16},
		{file: "batch1.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: 1, size: 16},
		{file: "batch2.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: 2, size: 16},
		{file: "dynamic_size.onnx", tensor: "last_hidden_state", pooling: PoolCLS, dim: 8, batch: -1, size: 16},
		{file: "external.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: -1, size: 16},
		{file: "nhwc.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: -1, size: 16},
		{file: "uint8.onnx", tensor: "embedding", pooling: PoolOutput, dim: 8, batch: -1, size: 16},
		{file: "if_clash.onnx", tensor: "features", pooling: PoolOutput, dim: 8, batch: -1, size: 16},
		{file: "registers.onnx", tensor: "tokens", pooling: PoolMean, dim: 8, batch: -1, size: 16},
		{file: "map_nhwc.onnx", tensor: "map", pooling: PoolMean, dim: 8, batch: -1, size: 16},
		{file: "clip.onnx", tensor: "image_embeds", pooling: PoolOutput, dim: 6, batch: -1, size: 16},
	}
	for _, tt := range tests {
		t.Run(tt.file+"/"+tt.want.Tensor+string(tt.want.Pooling), func(t *testing.T) {
			in, err := Inspect(read(t, tt.file), tt.want)
			if err != nil {
				t.Fatal(err)
			}
			f, im := in.Feature, in.Image
			if f.Tensor != tt.tensor || f.Pooling != tt.pooling || f.Dim != tt.dim || im.Batch != tt.batch ||
				im.Width != tt.size || im.Height != tt.size {
				t.Errorf("feature %+v, image %+v; reasons %q", f, im, in.Reasons)
			}
			if len(in.Reasons) == 0 || in.Parameters == 0 || in.Opset == 0 || in.FileSize == 0 {
				t.Errorf("incomplete: %+v", in)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		file string
		want FeatureChoice
		says []string
	}{
		{"refuse_bert.onnx", FeatureChoice{}, []string{"takes no images", "input_ids", "text model"}},
		{"refuse_clip_logits.onnx", FeatureChoice{}, []string{"no output depends on the image alone", "input_ids"}},
		{"clip.onnx", FeatureChoice{Tensor: "logits_per_image"}, []string{"depends on the inputs", "input_ids"}},
		{"clip.onnx", FeatureChoice{Tensor: "text_embeds"}, []string{"input_ids", "no image"}},
		{"refuse_grey.onnx", FeatureChoice{}, []string{"1 channels", "RGB"}},
		{"refuse_two_heads.onnx", FeatureChoice{}, []string{"joins several branches", "name one"}},
		{"refuse_bfloat16.onnx", FeatureChoice{}, []string{"bfloat16", "float32"}},
		{"refuse_opset9.onnx", FeatureChoice{}, []string{"operator set 9", "version_converter"}},
		{"pooled.onnx", FeatureChoice{Tensor: "nowhere"}, []string{`"nowhere"`, "last_hidden_state"}},
		{"pooled.onnx", FeatureChoice{Width: 32, Height: 32}, []string{"width 16 only, not 32"}},
		{"gemm.onnx", FeatureChoice{Pooling: PoolMean}, []string{"needs tokens", "logits"}},
		{"gemm.onnx", FeatureChoice{Pooling: PoolOutput}, []string{"no output is a pooled embedding"}},
		{"tokens_no_cls.onnx", FeatureChoice{Pooling: PoolCLS}, []string{"no", "CLS"}},
	}
	for _, tt := range tests {
		t.Run(tt.file+"/"+tt.want.Tensor+string(tt.want.Pooling), func(t *testing.T) {
			_, in, err := Backbone(read(t, tt.file), tt.want)
			if !errors.Is(err, graph.ErrModel) || len(in.Problems) == 0 {
				t.Fatalf("error %v, problems %q", err, in.Problems)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

func TestBackboneIsMinimal(t *testing.T) {
	m := read(t, "clip.onnx")
	before, _ := m.Bytes()
	cut, _, err := Backbone(m, FeatureChoice{})
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := m.Bytes(); !slices.Equal(before, after) {
		t.Error("Backbone changed the model it cut from")
	}
	data, err := cut.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := graph.ReadSignature(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(sig.Inputs) != 1 || sig.Inputs[0].Name != PixelValues || sig.Inputs[0].Type != "float32" ||
		!slices.Equal(sig.Inputs[0].Shape, []int64{-1, 3, 16, 16}) {
		t.Errorf("inputs %v", sig.Inputs)
	}
	if len(sig.Outputs) != 1 || sig.Outputs[0].Name != Embedding ||
		!slices.Equal(sig.Outputs[0].Shape, []int64{-1, 6}) {
		t.Errorf("outputs %v", sig.Outputs)
	}
	for _, w := range cut.Graph().Initializer {
		if w.GetName() == "vocab" {
			t.Error("the text half's weights are still there")
		}
	}
	if !sig.Ops["Shape"] || sig.Float16 {
		t.Errorf("signature %+v", sig)
	}
	// Cutting what was cut changes nothing but names.
	again, in, err := Backbone(cut, FeatureChoice{})
	if err != nil || in.Feature.Tensor != Embedding {
		t.Fatalf("%+v, %v", in.Feature, err)
	}
	if !uniqueNames(again.Graph()) {
		t.Error("names are not unique after a second cut")
	}
}

func uniqueNames(g *graph.Graph) bool {
	seen := map[string]bool{}
	for _, t := range g.Initializer {
		if seen[t.GetName()] {
			return false
		}
		seen[t.GetName()] = true
	}
	for _, n := range g.Node {
		for _, o := range n.Output {
			if seen[o] {
				return false
			}
			seen[o] = true
		}
	}
	return true
}

// TestExternalDataBehindLinks lays a model out as the Hugging Face cache does.
func TestExternalDataBehindLinks(t *testing.T) {
	blobs, snapshot := t.TempDir(), t.TempDir()
	for _, name := range []string{"external.onnx", "external.onnx.data"} {
		copyFile(t, blobs, name)
		if err := os.Symlink(filepath.Join(blobs, name), filepath.Join(snapshot, name)); err != nil {
			t.Skip(err)
		}
	}
	m, err := graph.Read(filepath.Join(snapshot, "external.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	cut, _, err := Backbone(m, FeatureChoice{})
	if err != nil {
		t.Fatal(err)
	}
	if cut.Dir() != "" {
		t.Errorf("left outside, in %s", cut.Dir())
	}
}

func TestAppendHeadChecks(t *testing.T) {
	m := read(t, "pooled.onnx")
	if err := AppendHead(m, Head{Classes: 2, Weight: make([]float32, 16)}); err == nil {
		t.Error("a model that is no backbone was accepted")
	}
	for name, h := range map[string]Head{
		"no classes": {},
		"weights":    {Classes: 2, Weight: make([]float32, 15)},
		"bias":       {Classes: 2, Weight: make([]float32, 16), Bias: make([]float32, 3)},
		"mean":       {Classes: 2, Weight: make([]float32, 16), Mean: make([]float32, 2)},
		"deviation":  {Classes: 2, Weight: make([]float32, 16), InvStd: make([]float32, 9)},
		"cold":       {Classes: 2, Weight: make([]float32, 16), Temperature: []float32{-1}},
		"classwise":  {Classes: 2, Weight: make([]float32, 16), Temperature: []float32{1, 1, 1}},
	} {
		cut, _, err := Backbone(m, FeatureChoice{})
		if err != nil {
			t.Fatal(err)
		}
		if err := AppendHead(cut, h); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Feature stores are told apart by the text of a view.
func TestViewsHaveTextOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for i, v := range append(Views(MaxViews), View{Zoom: 1.5}, View{Zoom: 1.5, DX: 0.25}, View{Zoom: 1.5, DY: 0.25}) {
		if (v.String() == "plain") != (i == 0) || seen[v.String()] {
			t.Errorf("view %d, %+v, is called %s", i, v, v)
		}
		seen[v.String()] = true
	}
	if same := (View{Zoom: 1}).String(); same != "plain" {
		t.Errorf("zoom 1 is called %s", same)
	}
}

func TestSharedModel(t *testing.T) {
	m, err := graph.Read(testkit.Model(t))
	if err != nil {
		t.Fatal(err)
	}
	in, err := Inspect(m, FeatureChoice{})
	if err != nil {
		t.Fatal(err)
	}
	if in.Feature.Tensor != "embedding" || in.Feature.Dim != 192 || in.Image.Width != 224 || in.Image.Batch != -1 {
		t.Errorf("%+v %+v", in.Feature, in.Image)
	}
}

func copyFile(t *testing.T, dir, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzBackbone(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.onnx")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := graph.Parse(data)
		if err != nil {
			if !errors.Is(err, graph.ErrModel) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		for _, p := range []Pooling{PoolAuto, PoolMean, PoolLogits} {
			cut, in, err := Backbone(m, FeatureChoice{Pooling: p})
			if err != nil {
				if !errors.Is(err, graph.ErrModel) {
					t.Fatalf("untyped error %v", err)
				}
				continue
			}
			if in.Feature.Dim < 1 {
				t.Fatalf("accepted with D = %d", in.Feature.Dim)
			}
			data, err := cut.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := graph.ReadSignature(data); err != nil {
				t.Fatal(err)
			}
		}
	})
}

package adapt_test

import (
	"errors"
	"flag"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

var exports = flag.String("exports", "", "a folder of .onnx files to try in TestExports, in place of the small ones")

// In real exports, as several libraries and exporters write them, the part that is trained gives what the whole gives,
// with parameters far from their start, for each kind that Support says; and so does the part of the class token alone,
// or it fails aloud. -v lists what can be done with each file.
func TestExports(t *testing.T) {
	ort.Need(t)
	dir := *exports
	if dir == "" {
		dir = filepath.Join(testkit.Root(), "onnx", "grad", "testdata", "exports")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no exports in %s: %v", dir, err)
	}
	adaptable := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			m, err := graph.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			b, _, err := vision.Backbone(m, vision.FeatureChoice{})
			if err != nil {
				t.Fatal(err)
			}
			var f *adapt.Transformer
			if err = onnx.Fold(b); err == nil {
				f, err = adapt.Find(b)
			}
			if err != nil {
				t.Logf("refused: %v", err)
				return
			}
			kinds, why := f.Support()
			t.Logf("%d blocks of %d tokens of %d: %v, %v", len(f.Blocks), f.Tokens, f.Dim, kinds, why)
			if len(kinds) > 0 {
				adaptable++
			}
			for _, kind := range kinds {
				half(t, b, f, kind)
			}
		})
	}
	t.Logf("%d of %d can be adapted", adaptable, len(files))
	if adaptable == 0 {
		t.Error("none can be adapted")
	}
}

// half puts parameters into half of the blocks and compares the parts with the whole.
func half(t *testing.T, b *graph.Model, f *adapt.Transformer, kind adapt.Kind) {
	t.Helper()
	a, err := f.Insert(adapt.Options{Kind: kind, Rank: 2, Blocks: (len(f.Blocks) + 1) / 2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := a.Frozen()
	if err != nil {
		t.Fatal(err)
	}
	image := b.Inputs()[0].Shape
	n, dim := max(image[0], 2), int(b.Outputs()[0].Shape[1])
	pixels := onnx.Tensor{Shape: []int64{n, 3, image[2], image[3]}, Data: noise(1, int(n*3*image[2]*image[3]), 1)}
	in := map[string]onnx.Tensor{vision.PixelValues: pixels}
	tokens := run(t, frozen, in, int(n*f.Tokens*f.Dim))
	in[adapt.Tokens] = onnx.Tensor{Shape: []int64{n, f.Tokens, f.Dim}, Data: tokens}
	whole, err := a.Bake(params(a, in, 0.05))
	if err != nil {
		t.Fatal(err)
	}
	want := run(t, whole, in, int(n)*dim)
	if slices.Equal(want, run(t, b, in, int(n)*dim)) {
		t.Errorf("%s: the parameters change nothing", kind)
	}
	part, err := a.Trained(adapt.Part{})
	if err != nil {
		t.Fatal(err)
	}
	if d := apart(want, run(t, part, in, int(n)*dim)); !(d < 1e-4) {
		t.Errorf("%s: the part is %g from the whole", kind, d)
	}
	if !a.ByClassToken() {
		return
	}
	one, err := a.Trained(adapt.Part{ClassToken: true})
	if errors.Is(err, graph.ErrModel) {
		t.Logf("%s: not by the class token: %v", kind, err)
		return
	} else if err != nil {
		t.Fatal(err)
	}
	got, err := tried(t, one, in, int(n)*dim)
	if err != nil {
		t.Logf("%s: not by the class token: %.300v", kind, err)
	} else if d := apart(want, got); !(d < 1e-4) {
		t.Errorf("%s: of the class token it is %g from the whole", kind, d)
	} else if kind == adapt.Adapter {
		trained(t, a, in, int(n), dim)
	}
}

// trained compares the gradients of the class token, computed in two halves as in a training, with those of the whole.
func trained(t *testing.T, a *adapt.Adapted, in map[string]onnx.Tensor, n, dim int) {
	t.Helper()
	in["seed"] = onnx.Tensor{Shape: []int64{int64(n), int64(dim)}, Data: noise(2, n*dim, 1)}
	want, _ := gradients(t, a, adapt.Part{}, in)
	m, err := a.Gradients(adapt.Part{ClassToken: true}, "seed")
	if err != nil {
		t.Fatal(err)
	}
	forward, backward, err := grad.Split(m, "seed")
	if err != nil {
		t.Fatal(err)
	}
	halves, err := onnx.NewGradientModel(forward, backward, "seed", onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer halves.Close()
	feed, grads := []onnx.Tensor{in[adapt.Tokens]}, []onnx.Tensor{}
	for i, p := range a.Params() {
		feed = append(feed, in[p.Input()])
		grads = append(grads, onnx.Tensor{Shape: p.Shape, Data: make([]float32, len(want[1+i]))})
	}
	err = halves.Forward(t.Context(), feed, n, make([]float32, n*dim))
	if err = errors.Join(err, halves.Backward(t.Context(), in["seed"].Data, n, grads)); err != nil {
		t.Fatal(err)
	}
	for i, p := range a.Params() {
		if d := apart(want[1+i], grads[i].Data); !(d < 1e-3) {
			t.Errorf("%s: the gradient of the class token alone is %g from the whole's", p.Name, d)
		}
	}
}

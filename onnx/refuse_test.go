package onnx

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
)

// imageModel is a model from images of 3×8×8, or what shape says, to an output of the given width, which build may
// break its word on.
func imageModel(t *testing.T, shape []int64, width int64, build func(b *graph.Builder, pixels string)) []byte {
	t.Helper()
	m := graph.New("images", 17)
	build(graph.NewBuilder(m, "n"), "x")
	m.SetInputs(graph.Value{Name: "x", Type: "float32", Shape: shape})
	m.SetOutputs(graph.Value{Name: "y", Type: "float32", Shape: []int64{shape[0], width}})
	text, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// flat gives [B,192].
func flat(b *graph.Builder, pixels string) { b.Node("Flatten", []string{pixels}, "y") }

// expand wants more memory than any machine can address, so that no machine is brought down.
func expand(b *graph.Builder, pixels string) {
	most := b.Reduce("ReduceMax", b.Node("Flatten", []string{pixels}, ""), "", true, 1)
	wide := b.Node("Expand", []string{most, b.Int64s("wide", []int64{2}, 1, 1<<52)}, "")
	b.Reduce("ReduceMax", wide, "y", true, 1)
}

// isFault checks that an error is one against the model, says all this, and is of one line.
func isFault(t *testing.T, name string, err error, says ...string) {
	t.Helper()
	var kind interface{ Kind() string }
	if !errors.Is(err, graph.ErrModel) || !errors.As(err, &kind) || kind.Kind() != "data" || !contains(err, says...) ||
		strings.ContainsRune(err.Error(), '\n') {
		t.Errorf("%s: %v, want an error against the model that says %q in one line", name, err, says)
	}
}

// What ONNX Runtime says against a model when it runs is the model's fault. It would fail again.
func TestRunIsTheModelsFault(t *testing.T) {
	needRuntime(t)
	any8 := []int64{-1, 3, 8, 8}
	for name, x := range map[string]struct {
		model []byte
		width int
		says  string
	}{
		"declared width": {imageModel(t, any8, 16, flat), 16, "computed output shape for this run is {3,192}"},
		"memory":         {imageModel(t, any8, 1, expand), 1, "Failed to allocate memory"},
		"fixed batch": {imageModel(t, any8, 96, func(b *graph.Builder, pixels string) {
			b.Node("Reshape", []string{pixels, b.Int64s("to", []int64{2}, 2, 96)}, "y")
		}), 96, "Got: 3 Expected: 2"},
	} {
		m, err := NewImageModel(x.model, SessionOptions{Provider: CPU, Name: "liar.onnx"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer m.Close()
		const n = 3
		pixels, out := make([]float32, n*192), make([]float32, n*x.width)
		isFault(t, name, m.Run(t.Context(), pixels, n, out), "run 3 images", "liar.onnx does not run", x.says)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Run(ended, pixels, n, out); !errors.Is(err, context.Canceled) || errors.Is(err, graph.ErrModel) {
			t.Errorf("%s, context ended: %v", name, err)
		}
		if err := m.Run(t.Context(), pixels, n); err == nil || errors.Is(err, graph.ErrModel) {
			t.Errorf("%s, no room for outputs: %v, which is the caller's fault", name, err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if err := m.Run(t.Context(), pixels, n, out); !errors.Is(err, ErrClosed) || errors.Is(err, graph.ErrModel) {
			t.Errorf("%s, closed: %v", name, err)
		}
	}
	// Means are tried when the model is loaded.
	_, err := NewImageModel(imageModel(t, any8, 1, func(b *graph.Builder, pixels string) {
		b.Reduce("ReduceMean", b.Node("Flatten", []string{pixels}, ""), "mean", true, 1)
		expand(b, pixels)
	}), SessionOptions{Provider: CPU})
	isFault(t, "when loaded", err, "it does not run", "Failed to allocate memory")

	provider := &ProviderError{Provider: CUDA, Missing: "a GPU", Err: errors.New("none")}
	if err := (&ImageModel{}).blame(t.Context(), provider); err != error(provider) {
		t.Errorf("what the provider lacks: %v", err)
	}
}

// A file of a few bytes can fix a batch that no memory holds; it is refused before any is taken.
func TestRunIsBounded(t *testing.T) {
	needRuntime(t)
	const most = (512 << 20) / (4 * (192 + 192)) // images of 3×8×8 with as many outputs
	for name, x := range map[string]struct {
		shape []int64
		width int64
		says  string // "" if it is taken
	}{
		"largest":    {[]int64{most, 3, 8, 8}, 192, ""},
		"one more":   {[]int64{most + 1, 3, 8, 8}, 192, "takes 349526 images of 3×8×8 and gives 192 values for each"},
		"million":    {[]int64{1e6, 3, 8, 8}, 8, "0.80 GB"},
		"every":      {[]int64{-1, 3, 8, 8}, 192, ""},
		"wide":       {[]int64{-1, 3, 8, 8}, 1 << 40, "takes 1 images of 3×8×8 and gives 1099511627776 values"},
		"large":      {[]int64{-1, 3, 1 << 20, 1 << 20}, 8, "13194.14 GB"},
		"overflow":   {[]int64{math.MaxInt64, 3, 8, 8}, 8, "takes 9223372036854775807 images"},
		"overflow 2": {[]int64{-1, 3, 1 << 32, 1 << 32}, 8, "takes 1 images of 3×4294967296×4294967296"},
	} {
		m, err := NewImageModel(imageModel(t, x.shape, x.width, flat), SessionOptions{Provider: CPU})
		if err == nil {
			defer m.Close()
		}
		if x.says != "" {
			isFault(t, name, err, x.says, "0.54 GB", "smaller batch")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

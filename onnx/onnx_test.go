package onnx

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// needRuntime loads the runtime library, or skips the test.
func needRuntime(t testing.TB) Library {
	t.Helper()
	lib, err := Find("")
	if err != nil {
		t.Skip(err)
	}
	if err := Load(lib); err != nil {
		t.Fatal(err)
	}
	return lib
}

// sharedModel returns the backbone of the real ViT-Tiny, or skips the test.
func sharedModel(t testing.TB) *graph.Model {
	t.Helper()
	m, err := graph.Read(testkit.Model(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func backbone(t testing.TB, m *graph.Model, c vision.FeatureChoice) ([]byte, *graph.Model) {
	t.Helper()
	cut, _, err := vision.Backbone(m, c)
	if err != nil {
		t.Fatal(err)
	}
	data, err := cut.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data, cut
}

func newFeatureModel(t testing.TB, model []byte, o SessionOptions) *FeatureModel {
	t.Helper()
	needRuntime(t)
	e, err := NewFeatureModel(model, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func randoms(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// fixturePixels are the images that vision/testdata/make.py computes.
func fixturePixels(n int) []float32 {
	v := make([]float32, n*3*16*16)
	for i := range v {
		v[i] = float32(math.Sin(float64(i) * 0.37))
	}
	return v
}

// TestFixtures runs every kind of model that graph understands and compares with ONNX Runtime's Python binding.
func TestFixtures(t *testing.T) {
	needRuntime(t)
	data, err := os.ReadFile("vision/testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string][][]float64
	if err := json.Unmarshal(data, &expected); err != nil {
		t.Fatal(err)
	}
	for file, choices := range expected {
		for pooling, want := range choices {
			t.Run(file+"/"+pooling, func(t *testing.T) {
				m, err := graph.Read(filepath.Join("vision", "testdata", file))
				if err != nil {
					t.Fatal(err)
				}
				model, cut := backbone(t, m, vision.FeatureChoice{Pooling: vision.Pooling(pooling)})
				e := newFeatureModel(t, model, SessionOptions{Provider: CPU, ExternalDataDir: cut.Dir()})
				pixels := fixturePixels(len(want))
				if file == "uint8.onnx" { // values in [0,1] are what such a model takes
					for i, v := range pixels {
						pixels[i] = min(max(v, 0), 1)
					}
				}
				got := make([]float32, len(want)*e.Dim())
				if err := e.Run(t.Context(), pixels, len(want), got); err != nil {
					t.Fatal(err)
				}
				tolerance := 2e-5
				if file == "float16.onnx" {
					tolerance = 2e-2
				}
				for i, row := range want {
					for j, w := range row {
						if g := float64(got[i*e.Dim()+j]); math.Abs(g-w) > tolerance {
							t.Fatalf("image %d, feature %d: %v, want %v", i, j, g, w)
						}
					}
				}
			})
		}
	}
}

// TestBatchInvariance holds that an image's feature has the same bits in every batch, at every place and with any
// number of threads.
func TestBatchInvariance(t *testing.T) {
	needRuntime(t)
	for _, file := range []string{"pooled.onnx", "gemm.onnx", "clip.onnx", "tanh_pooler.onnx", "float16.onnx",
		"batch2.onnx", "opset18.onnx"} {
		t.Run(file, func(t *testing.T) {
			m, err := graph.Read(filepath.Join("vision", "testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			model, _ := backbone(t, m, vision.FeatureChoice{})
			checkInvariance(t, model, 3*16*16, 32, []int{1, 2, 3, 8, 16, 32})
		})
	}
	t.Run("vit_tiny", func(t *testing.T) {
		m := sharedModel(t)
		batches := []int{1, 2, 3, 8}
		if !testing.Short() {
			batches = append(batches, 16, 32)
		}
		model, _ := backbone(t, m, vision.FeatureChoice{})
		checkInvariance(t, model, 3*224*224, batches[len(batches)-1], batches)
	})
}

func checkInvariance(t *testing.T, model []byte, image, total int, batches []int) {
	pixels := randoms(1, total*image)
	var want []float32
	for _, threads := range []int{1, 2} {
		e := newFeatureModel(t, model, SessionOptions{Provider: CPU, Threads: threads})
		if want == nil {
			want = make([]float32, total*e.Dim())
			if err := e.Run(t.Context(), pixels, total, want); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]float32, total*e.Dim())
		for _, n := range batches {
			at := 0
			if n < total {
				at = total % n // so that the images stand elsewhere in their batch
			}
			for ; at+n <= total && (n > 3 || at < 8); at += n {
				if err := e.Run(t.Context(), pixels[at*image:], n, got); err != nil {
					t.Fatal(err)
				}
				for i := range n * e.Dim() {
					if math.Float32bits(got[i]) != math.Float32bits(want[at*e.Dim()+i]) {
						t.Fatalf("threads %d, batch %d, image %d: %v, want %v", threads, n, at+i/e.Dim(), got[i],
							want[at*e.Dim()+i])
					}
				}
			}
		}
	}
}

// TestLogitsOnly cuts the shared model down to its logits; the feature found behind them must be the embedding.
func TestLogitsOnly(t *testing.T) {
	m := sharedModel(t)
	whole, _ := backbone(t, m, vision.FeatureChoice{})
	behind, cut := backbone(t, m, vision.FeatureChoice{Pooling: vision.PoolLogits})
	if cut == nil {
		t.Fatal("no backbone")
	}
	pixels := randoms(2, 3*224*224)
	a := newFeatureModel(t, whole, SessionOptions{Provider: CPU})
	b := newFeatureModel(t, behind, SessionOptions{Provider: CPU})
	fa, fb := make([]float32, a.Dim()), make([]float32, b.Dim())
	if err := errors.Join(a.Run(t.Context(), pixels, 1, fa), b.Run(t.Context(), pixels, 1, fb)); err != nil {
		t.Fatal(err)
	}
	if len(fa) != 192 || len(fb) != 192 {
		t.Fatalf("dimensions %d, %d", len(fa), len(fb))
	}
	for i := range fa {
		if fa[i] != fb[i] {
			t.Fatalf("feature %d: %v and %v", i, fa[i], fb[i])
		}
	}
}

// TestAppendHead compares the exported model's outputs with the same head computed here in float64.
func TestAppendHead(t *testing.T) {
	needRuntime(t)
	const dim, classes, n = 8, 5, 3
	vec := func(seed uint64, n int) []float32 { return randoms(seed, n) }
	heads := map[string]vision.Head{
		"plain":  {Classes: classes, Weight: vec(1, classes*dim)},
		"affine": {Classes: classes, Weight: vec(1, classes*dim), Bias: vec(2, classes), Temperature: []float32{1.7}},
		"standardised": {Classes: classes, Weight: vec(1, classes*dim), Bias: vec(2, classes), Mean: vec(3, dim),
			InvStd: vec(4, dim)},
		"cosine": {Classes: classes, Weight: vec(1, classes*dim), Mean: vec(3, dim), InvStd: vec(4, dim),
			Normalize: true, Scale: 16},
		"classwise": {Classes: classes, Weight: vec(1, classes*dim), Bias: vec(2, classes),
			Temperature: []float32{0.5, 1, 1.5, 2, 3}},
	}
	for _, file := range []string{"pooled.onnx", "opset18.onnx", "opset11.onnx", "float16.onnx", "external.onnx",
		"batch2.onnx"} {
		for name, h := range heads {
			t.Run(file+"/"+name, func(t *testing.T) {
				m, err := graph.Read(filepath.Join("vision", "testdata", file))
				if err != nil {
					t.Fatal(err)
				}
				_, cut := backbone(t, m, vision.FeatureChoice{})
				if err := errors.Join(cut.Inline(), vision.AppendHead(cut, h)); err != nil {
					t.Fatal(err)
				}
				data, err := cut.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				s, err := NewSession(data, SessionOptions{Provider: CPU})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				n := n
				if file == "batch2.onnx" {
					n = 2
				}
				p, z, x := make([]float32, n*classes), make([]float32, n*classes), make([]float32, n*dim)
				rows := func(d []float32, cols int) Tensor {
					return Tensor{Shape: []int64{int64(n), int64(cols)},
						Data: d}
				}
				in := Tensor{Shape: []int64{int64(n), 3, 16, 16}, Data: fixturePixels(n)}
				if err := s.Run(t.Context(), []Tensor{in},
					[]Tensor{rows(p, classes), rows(z, classes), rows(x, dim)}); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					wantZ, wantP := headInFloat64(h, x[i*dim:(i+1)*dim])
					for c := range classes {
						if got := float64(z[i*classes+c]); math.Abs(got-wantZ[c]) > 1e-4*(1+math.Abs(wantZ[c])) {
							t.Errorf("image %d, logit %d: %v, want %v", i, c, got, wantZ[c])
						}
						if got := float64(p[i*classes+c]); math.Abs(got-wantP[c]) > 1e-4 {
							t.Errorf("image %d, probability %d: %v, want %v", i, c, got, wantP[c])
						}
					}
				}
			})
		}
	}
}

func headInFloat64(h vision.Head, embedding []float32) (logits, probabilities []float64) {
	x := make([]float64, len(embedding))
	norm := 0.0
	for i, v := range embedding {
		x[i] = float64(v)
		if h.Mean != nil {
			x[i] -= float64(h.Mean[i])
		}
		if h.InvStd != nil {
			x[i] *= float64(h.InvStd[i])
		}
		norm += x[i] * x[i]
	}
	scale := 1.0
	if h.Scale != 0 {
		scale = float64(h.Scale)
	}
	if h.Normalize {
		scale /= math.Sqrt(norm)
	}
	for c := range h.Classes {
		z := 0.0
		for i := range x {
			z += float64(h.Weight[c*len(x)+i]) * x[i] * scale
		}
		if h.Bias != nil {
			z += float64(h.Bias[c])
		}
		logits = append(logits, z)
	}
	temperature, sum := 1.0, 0.0
	switch best := slices.Index(logits, slices.Max(logits)); len(h.Temperature) {
	case 0:
	case 1:
		temperature = float64(h.Temperature[0])
	default:
		temperature = float64(h.Temperature[best])
	}
	for _, z := range logits {
		probabilities = append(probabilities, math.Exp(z/temperature))
		sum += probabilities[len(probabilities)-1]
	}
	for c := range probabilities {
		probabilities[c] /= sum
	}
	return logits, probabilities
}

func TestCancel(t *testing.T) {
	model, _ := backbone(t, sharedModel(t), vision.FeatureChoice{})
	e := newFeatureModel(t, model, SessionOptions{Provider: CPU})
	const n = 64
	pixels, features := randoms(3, n*3*224*224), make([]float32, n*e.Dim())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx, pixels, n, features); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.Run(ctx, pixels, n, features); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("cancelled during: %v (the batch of %d should take longer)", err, n)
	}
	// The session goes on working, for others during and for the same caller after.
	if err := e.Run(t.Context(), pixels, 1, features); err != nil {
		t.Fatal(err)
	}
}

func TestCancelOneOfMany(t *testing.T) {
	needRuntime(t)
	m, err := graph.Read("vision/testdata/pooled.onnx")
	if err != nil {
		t.Fatal(err)
	}
	model, _ := backbone(t, m, vision.FeatureChoice{})
	e := newFeatureModel(t, model, SessionOptions{Provider: CPU, Threads: 1})
	want := make([]float32, 8)
	if err := e.Run(t.Context(), fixturePixels(1), 1, want); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%2 == 0 {
					go cancel()
				}
				got := make([]float32, 8)
				err := e.Run(ctx, fixturePixels(1), 1, got)
				cancel()
				if err != nil && (i%2 != 0 || !errors.Is(err, context.Canceled)) {
					t.Errorf("goroutine %d, run %d: %v", i, j, err)
				}
				if err == nil && got[0] != want[0] {
					t.Errorf("goroutine %d, run %d: %v, want %v", i, j, got[0], want[0])
				}
			}
		})
	}
	wg.Wait()
}

// A session at rest runs again, to the same bits, for many at once; what it cannot load again it says, each time.
func TestRest(t *testing.T) {
	model, e := pooled(t)
	want := make([]float32, 64*8)
	if err := e.Run(t.Context(), fixturePixels(64), 64, want); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 8 {
				got := make([]float32, 64*8)
				err := cmp.Or(e.Rest(func() ([]byte, error) { return model, nil }),
					e.Run(t.Context(), fixturePixels(64), 64, got))
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%v, or other features after a rest", err)
				}
			}
		})
	}
	wg.Wait()
	gone := errors.New("the file is gone")
	if err := e.Rest(func() ([]byte, error) { return nil, gone }); err != nil || e.Dim() != 8 || e.Provider() != "cpu" {
		t.Errorf("at rest: %v", err)
	}
	for range 2 {
		if err := e.Run(t.Context(), fixturePixels(64), 64, want); !errors.Is(err, gone) {
			t.Errorf("what cannot be loaded again runs: %v", err)
		}
	}
	if err := cmp.Or(e.Close(), e.Rest(nil)); err != nil {
		t.Error(err)
	}
	if err := e.Run(t.Context(), fixturePixels(64), 64, want); !errors.Is(err, ErrClosed) {
		t.Errorf("closed at rest: %v", err)
	}
}

// pooled is a small backbone that runs on the CPU, and its file.
func pooled(t *testing.T) ([]byte, *FeatureModel) {
	t.Helper()
	needRuntime(t)
	m, err := graph.Read("vision/testdata/pooled.onnx")
	if err != nil {
		t.Fatal(err)
	}
	model, _ := backbone(t, m, vision.FeatureChoice{})
	return model, newFeatureModel(t, model, SessionOptions{Provider: CPU})
}

func TestCloseInFlight(t *testing.T) {
	_, e := pooled(t)
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			features := make([]float32, 64*8)
			for once := true; ; once = false {
				if err := e.Run(t.Context(), fixturePixels(64), 64, features); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				if once {
					started <- struct{}{}
				}
			}
		})
	}
	<-started
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestSessionErrors(t *testing.T) {
	needRuntime(t)
	m, err := graph.Read("vision/testdata/pooled.onnx")
	if err != nil {
		t.Fatal(err)
	}
	model, _ := backbone(t, m, vision.FeatureChoice{})
	s, err := NewSession(model, SessionOptions{Provider: CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out := []Tensor{{Shape: []int64{1, 8}, Data: make([]float32, 8)}}
	for name, in := range map[string]Tensor{
		"wrong shape": {Shape: []int64{1, 3, 20, 16}, Data: make([]float32, 3*20*16)},
		"short data":  {Shape: []int64{1, 3, 16, 16}, Data: make([]float32, 5)},
		"negative":    {Shape: []int64{-1, 3, 16, 16}, Data: make([]float32, 5)},
	} {
		err := s.Run(t.Context(), []Tensor{in}, out)
		if err == nil || !contains(err, "pixel_values", "[embedding] of shapes [[1 8]]") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Run(t.Context(), nil, out); err == nil {
		t.Error("no input: accepted")
	}
	if _, err := NewSession(model[:len(model)/2], SessionOptions{Provider: CPU}); !errors.Is(err, graph.ErrModel) {
		t.Errorf("cut short: %v", err)
	}
	raw, err := os.ReadFile("vision/testdata/clip.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSession(raw, SessionOptions{Provider: CPU}); !errors.Is(err, graph.ErrModel) ||
		!contains(err, "input_ids is int64") {
		t.Errorf("int64 input: %v", err)
	}
	if _, err := NewFeatureModel(raw, SessionOptions{Provider: CPU}); !errors.Is(err, graph.ErrModel) {
		t.Errorf("two inputs: %v", err)
	}
}

// What callers tell errors apart by.
func TestKinds(t *testing.T) {
	_, provider := ParseProvider("tpu")
	_, library := Find(t.TempDir())
	_, model := NewSession([]byte("no model"), SessionOptions{Provider: CPU})
	for want, err := range map[string]error{
		"config": provider, "data": model, "runtime": library,
		"runtime ": &ProviderError{Provider: CUDA, Missing: "a GPU", Err: errors.New("none")},
	} {
		var kind interface{ Kind() string }
		if !errors.As(err, &kind) || kind.Kind() != strings.TrimSpace(want) {
			t.Errorf("%v should be of kind %s", err, want)
		}
	}
	if !errors.Is(library, ErrRuntime) || errors.Is(library, graph.ErrModel) || !errors.Is(model, graph.ErrModel) {
		t.Errorf("%v; %v", library, model)
	}
}

// BenchmarkSession measures bare runs of the ViT-Tiny on pixels that are there already: what encoding can reach.
func BenchmarkSession(b *testing.B) {
	needRuntime(b)
	model, _ := backbone(b, sharedModel(b), vision.FeatureChoice{})
	s, err := NewSession(model, SessionOptions{Provider: CPU})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, n := range []int{1, 8, 16, 32} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			in := []Tensor{{Shape: []int64{int64(n), 3, 224, 224}, Data: randoms(1, n*3*224*224)}}
			out := []Tensor{{Shape: []int64{int64(n), 192}, Data: make([]float32, n*192)}}
			for b.Loop() {
				if err := s.Run(b.Context(), in, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

package onnx

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

func fixture(t testing.TB, file string) *graph.Model {
	t.Helper()
	m, err := graph.Read(filepath.Join("vision", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func serialised(t testing.TB, m *graph.Model, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// look computes a view from its definition, a pixel at a time: out(y, x) is the cubic interpolation of the image at the
// point that the window shows there.
func look(v vision.View, pixels []float32, n, h, w int) []float32 {
	zoom := max(v.Zoom, 1)
	keys := func(d float64) float64 {
		switch d = math.Abs(d); {
		case d < 1:
			return 1.5*d*d*d - 2.5*d*d + 1
		case d < 2:
			return -0.5*d*d*d + 2.5*d*d - 4*d + 2
		}
		return 0
	}
	source := func(i, size int, offset float64) float64 {
		return (float64(size)-float64(size)/zoom)/2*(1+offset) + (float64(i)+0.5)/zoom - 0.5
	}
	out := make([]float32, len(pixels))
	for plane := range n * 3 {
		in := pixels[plane*h*w : (plane+1)*h*w]
		for y := range h {
			for x := range w {
				column := x
				if v.Flip {
					column = w - 1 - x
				}
				sy, sx := source(y, h, v.DY), source(column, w, v.DX)
				sum := 0.0
				for ky := int(math.Floor(sy)) - 1; ky <= int(math.Floor(sy))+2; ky++ {
					for kx := int(math.Floor(sx)) - 1; kx <= int(math.Floor(sx))+2; kx++ {
						sum += keys(sy-float64(ky)) * keys(sx-float64(kx)) * float64(in[min(max(ky, 0),
							h-1)*w+min(max(kx, 0), w-1)])
					}
				}
				out[plane*h*w+y*w+x] = float32(sum)
			}
		}
	}
	return out
}

// TestViews compares the nodes of every view, in operator sets old and new, with its definition, and what an averaged
// backbone gives with the mean over its views.
func TestViews(t *testing.T) {
	needRuntime(t)
	const n, dim, size = 3, 8, 16
	views := append(vision.Views(vision.MaxViews), vision.View{Zoom: 2.3, DX: 0.4, DY: -0.7}, vision.View{Zoom: 1})
	for _, file := range []string{"opset11.onnx", "pooled.onnx", "opset18.onnx", "float16.onnx", "nhwc.onnx",
		"dynamic_size.onnx", "external.onnx"} {
		t.Run(file, func(t *testing.T) {
			// A float16 model rounds what differs in the last bit.
			tolerance := 1e-4
			if file == "float16.onnx" {
				tolerance = 3e-2
			}
			model, cut := backbone(t, fixture(t, file), vision.FeatureChoice{Width: size, Height: size})
			options := SessionOptions{Provider: CPU, ExternalDataDir: cut.Dir()}
			plain := newFeatureModel(t, model, options)
			pixels := fixturePixels(n)
			mean := make([]float64, n*dim)
			for _, v := range views {
				alone, err := vision.ViewModel(cut, v)
				s, err := NewSession(serialised(t, alone, err), options)
				if err != nil {
					t.Fatal(err)
				}
				got, want := make([]float32, len(pixels)), look(v, pixels, n, size, size)
				at := func(d []float32) []Tensor { return []Tensor{{Shape: []int64{n, 3, size, size}, Data: d}} }
				if err := s.Run(t.Context(), at(pixels), at(got)); err != nil {
					t.Fatal(err)
				}
				for i := range want {
					if math.Abs(float64(got[i]-want[i])) > 1e-5 {
						t.Fatalf("view %v, pixel %d: %v, want %v", v, i, got[i], want[i])
					}
				}
				s.Close()
				features := make([]float32, n*dim)
				if err := plain.Run(t.Context(), want, n, features); err != nil {
					t.Fatal(err)
				}
				for i, f := range features {
					mean[i] += float64(f) / float64(len(views))
				}
			}
			averaged, err := vision.Average(cut, views)
			e := newFeatureModel(t, serialised(t, averaged, err), options)
			got := make([]float32, n*dim)
			if err := e.Run(t.Context(), pixels, n, got); err != nil {
				t.Fatal(err)
			}
			for i, want := range mean {
				if math.Abs(float64(got[i])-want) > tolerance {
					t.Fatalf("mean feature %d: %v, want %v", i, got[i], want)
				}
			}
		})
	}
}

// TestSingleUndoesAverage takes the backbone out of an exported model again: its features have the old bits.
func TestSingleUndoesAverage(t *testing.T) {
	needRuntime(t)
	models := map[string]*graph.Model{}
	for _, file := range []string{"pooled.onnx", "opset11.onnx", "opset18.onnx", "nhwc.onnx"} {
		models[file] = fixture(t, file)
	}
	if !testing.Short() {
		models["vit_tiny"] = sharedModel(t)
	}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			model, cut := backbone(t, m, vision.FeatureChoice{})
			want := newFeatureModel(t, model, SessionOptions{Provider: CPU})
			twice, err := vision.Average(cut, vision.Views(2))
			if err != nil {
				t.Fatal(err)
			}
			// An averaged backbone may be averaged again, as when an exported model is the backbone of another run.
			for depth, averaged := range []*graph.Model{nil, twice} {
				inner := cut
				if averaged != nil {
					inner = averaged
				}
				outer, err := vision.Average(inner, vision.Views(3))
				if err != nil {
					t.Fatal(err)
				}
				dim := want.Dim()
				if err := vision.AppendHead(outer,
					vision.Head{Classes: 2, Weight: make([]float32, 2*dim)}); err != nil {
					t.Fatal(err)
				}
				back := vision.Single(outer)
				if depth == 1 {
					back = vision.Single(back)
				}
				if vision.Single(back) != back {
					t.Error("there is more to undo than was done")
				}
				got := newFeatureModel(t, serialised(t, back, nil), SessionOptions{Provider: CPU})
				pixels := randoms(1, 2*want.pixels)
				a, b := make([]float32, 2*dim), make([]float32, 2*dim)
				if err := errors.Join(want.Run(t.Context(), pixels, 2, a),
					got.Run(t.Context(), pixels, 2, b)); err != nil {
					t.Fatal(err)
				}
				for i := range a {
					if a[i] != b[i] {
						t.Fatalf("depth %d, feature %d: %v, was %v", depth, i, b[i], a[i])
					}
				}
			}
		})
	}
}

func TestViewsNeedADynamicBatch(t *testing.T) {
	for _, file := range []string{"batch1.onnx", "batch2.onnx"} {
		_, cut := backbone(t, fixture(t, file), vision.FeatureChoice{})
		if _, err := vision.Average(cut, vision.Views(2)); !errors.Is(err, graph.ErrModel) {
			t.Errorf("%s: %v, want a model error", file, err)
		}
		if _, err := vision.ViewModel(cut, vision.View{Flip: true}); err != nil {
			t.Errorf("%s: a single view: %v", file, err)
		}
		free, err := vision.FreeBatch(cut)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vision.Average(free, vision.Views(2)); err != nil {
			t.Errorf("%s, batch freed: %v", file, err)
		}
	}
	_, cut := backbone(t, fixture(t, "pooled.onnx"), vision.FeatureChoice{})
	for _, v := range []vision.View{{Zoom: 0.5}, {Zoom: 2, DX: 1.5}, {Zoom: math.NaN()}} {
		if _, err := vision.ViewModel(cut, v); err == nil {
			t.Errorf("%+v is accepted", v)
		}
	}
}

// BenchmarkViews measures what a view costs beside the real backbone.
func BenchmarkViews(b *testing.B) {
	model, cut := backbone(b, sharedModel(b), vision.FeatureChoice{})
	const n = 16
	pixels := randoms(1, n*3*224*224)
	b.Run("backbone", func(b *testing.B) {
		e := newFeatureModel(b, model, SessionOptions{Provider: CPU})
		out := make([]float32, n*e.Dim())
		for b.Loop() {
			if err := e.Run(b.Context(), pixels, n, out); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*n), "ms/image")
	})
	for _, v := range vision.Views(4)[1:] {
		b.Run(v.String(), func(b *testing.B) {
			alone, err := vision.ViewModel(cut, v)
			s, err := NewSession(serialised(b, alone, err), SessionOptions{Provider: CPU})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			at := func(d []float32) []Tensor { return []Tensor{{Shape: []int64{n, 3, 224, 224}, Data: d}} }
			out := make([]float32, len(pixels))
			for b.Loop() {
				if err := s.Run(b.Context(), at(pixels), at(out)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*n), "ms/image")
		})
	}
}

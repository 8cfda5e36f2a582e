package onnx

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// withHeads are the real ViT-Tiny with heads of so many classes each.
func withHeads(t testing.TB, classes ...int) [][]byte {
	t.Helper()
	cut, found, err := vision.Backbone(sharedModel(t), vision.FeatureChoice{})
	if err != nil {
		t.Fatal(err)
	}
	var models [][]byte
	for i, n := range classes {
		m := cut.Clone()
		err := vision.AppendHead(m, vision.Head{Classes: n, Weight: randoms(uint64(i), n*int(found.Feature.Dim))})
		models = append(models, serialised(t, m, err))
	}
	return models
}

// asFloats are the outputs of a model for images.
func asFloats(t testing.TB, m *ImageModel, pixels []float32, n int) [][]float32 {
	t.Helper()
	var out [][]float32
	for _, v := range m.Outputs() {
		out = append(out, make([]float32, int64(n)*v.Shape[1]))
	}
	if err := m.Run(t.Context(), pixels, n, out...); err != nil {
		t.Fatal(err)
	}
	return out
}

func openedWith(t testing.TB, w *Weights, models ...[]byte) []*ImageModel {
	t.Helper()
	var list []*ImageModel
	for _, model := range models {
		m, err := NewImageModel(model, SessionOptions{Provider: CPU, Weights: w})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		list = append(list, m)
	}
	return list
}

// inCommon says how many sessions there are, and how many bytes of weights they have in common.
func inCommon(w *Weights) (sessions int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.held {
		bytes += x.bytes
	}
	return w.sessions, bytes
}

// TestWeightsInCommon: models of one backbone hold it once, give the bits that each gives for itself, alone and in
// batches, at the same time, and free it with the last of them.
func TestWeightsInCommon(t *testing.T) {
	needRuntime(t)
	models := withHeads(t, 10, 10, 7)
	w := InCommon(slices.Values(models))
	if w == nil {
		t.Fatal("nothing in common")
	}
	own, common := openedWith(t, nil, models...), openedWith(t, w, models...)
	sessions, bytes := inCommon(w)
	all, err := graph.StoredWeights(models[0])
	if err != nil {
		t.Fatal(err)
	}
	backbone := int64(0)
	for _, s := range all {
		backbone += int64(len(s.Raw))
	}
	if sessions != 3 || bytes < backbone*98/100 || bytes > backbone {
		t.Errorf("%d sessions hold %d bytes, one has %d", sessions, bytes, backbone)
	}
	const n = 3
	pixels := randoms(9, n*3*224*224)
	var runs sync.WaitGroup
	for i, m := range common {
		runs.Go(func() {
			want := asFloats(t, own[i], pixels, n)
			for k, got := range asFloats(t, m, pixels, n) {
				if !slices.Equal(got, want[k]) {
					t.Errorf("model %d, output %d: other bits", i, k)
				}
			}
			for k, got := range asFloats(t, m, pixels, 1) {
				if !slices.Equal(got, want[k][:len(got)]) {
					t.Errorf("model %d, output %d: an image alone has other bits", i, k)
				}
			}
		})
	}
	runs.Wait()

	for i, m := range common {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if sessions, bytes := inCommon(w); sessions != 2-i || (bytes == 0) != (i == 2) {
			t.Errorf("%d are closed, and %d sessions hold %d bytes", i+1, sessions, bytes)
		}
	}
	if _, err := common[0].aloneDiffers(); !errors.Is(err, ErrClosed) {
		t.Errorf("a run after it was closed: %v", err)
	}
	again := openedWith(t, w, models[2])[0]
	if got, want := asFloats(t, again, pixels, 1), asFloats(t, own[2], pixels, 1); !slices.Equal(got[0], want[0]) {
		t.Error("opened again it gives other bits")
	}
}

// TestNothingInCommon: models of other weights share nothing, nor does one alone, or what is no model.
func TestNothingInCommon(t *testing.T) {
	model := withHeads(t, 5)[0]
	if InCommon(slices.Values([][]byte{model})) != nil || InCommon(slices.Values([][]byte{{1, 2}, {1, 2}})) != nil {
		t.Error("something in common")
	}
}

// TestWeightsThatAreTurned: a weight that the library turns round to do without transpositions is not held together, of
// whatever shape it is, and the models say what they say alone.
func TestWeightsThatAreTurned(t *testing.T) {
	needRuntime(t)
	for _, channels := range []int64{8, 40} { // turned round, 8 by 8 by 8 is of the same shape
		m := graph.New("turned", 17)
		m.SetInputs(graph.Value{Name: "x", Type: "float32", Shape: []int64{graph.Unknown, 3, 11, 11}})
		b := graph.NewBuilder(m, "")
		weight := func(name string, dims ...int64) string {
			return b.Floats(name, dims, randoms(uint64(len(name)), int(graph.Elements(dims)))...)
		}
		y := b.Node("Conv", []string{"x", weight("patches", channels, 3, 4, 4)}, "")
		y = b.Node("Transpose", []string{y}, "", graph.IntsAttr("perm", 0, 2, 3, 1))
		y = b.Node("Relu", []string{b.Node("Add", []string{y, weight("places", 8, 8, channels)}, "")}, "")
		y = b.Node("Transpose", []string{y}, "", graph.IntsAttr("perm", 0, 3, 1, 2))
		b.Node("Flatten", []string{b.Node("GlobalAveragePool", []string{y}, "")}, "y", graph.IntAttr("axis", 1))
		m.SetOutputs(graph.Value{Name: "y", Type: "float32", Shape: []int64{graph.Unknown, channels}})
		text, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		w := InCommon(slices.Values([][]byte{text, text}))
		own, common := openedWith(t, nil, text)[0], openedWith(t, w, text)[0]
		pixels := randoms(9, 3*11*11)
		if got, want := asFloats(t, common, pixels, 1)[0], asFloats(t, own, pixels, 1)[0]; !slices.Equal(got, want) {
			t.Errorf("%d channels: %v, alone %v", channels, got, want)
		}
		if _, bytes := inCommon(w); bytes != channels*3*4*4*4 {
			t.Errorf("%d channels: %d bytes in common", channels, bytes)
		}
	}
}

// TestCommonWeightsStop: a run stops with its context, and what is wrong with a model is said as ever.
func TestCommonWeightsStop(t *testing.T) {
	needRuntime(t)
	models := withHeads(t, 5, 6)
	w := InCommon(slices.Values(models))
	m := openedWith(t, w, models[0])[0]
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		const n = 64
		done <- m.Run(ctx, make([]float32, n*3*224*224), n, make([]float32, n*5), make([]float32, n*5),
			make([]float32, n*192))
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	broken := withHeads(t, 5)[0]
	broken = broken[:len(broken)-200]
	if _, err := NewImageModel(broken, SessionOptions{Provider: CPU, Weights: w}); !errors.Is(err, graph.ErrModel) {
		t.Error(err)
	}
	if sessions, _ := inCommon(w); sessions != 1 {
		t.Errorf("%d sessions", sessions)
	}
}

// BenchmarkWeightsInCommon is a run of 16 images, of models in turn, with weights of their own and in common.
func BenchmarkWeightsInCommon(b *testing.B) {
	needRuntime(b)
	models := withHeads(b, 10, 10, 10, 10, 10, 10, 10, 10)
	for _, x := range []struct {
		name string
		w    *Weights
	}{{"own", nil}, {"common", InCommon(slices.Values(models))}} {
		b.Run(x.name, func(b *testing.B) {
			list := openedWith(b, x.w, models...)
			const n = 16
			pixels := randoms(1, n*3*224*224)
			for i := 0; b.Loop(); i++ {
				asFloats(b, list[i%len(list)], pixels, n)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

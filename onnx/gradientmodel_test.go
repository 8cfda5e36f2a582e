package onnx_test

import (
	"math"
	"testing"

	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
)

// Batches of several sizes take turns in the room of the largest: each has its own gradients, tanh'(x·w)·x summed, and
// those of a batch that was not run last are refused. So it is when the second half computes the first anew.
func TestGradientModelTakesBatchesInTurns(t *testing.T) {
	if err := onnx.Load(ort.Need(t)); err != nil {
		t.Fatal(err)
	}
	m := graph.New("tanh", 17)
	m.SetInputs(graph.Value{Name: "x", Type: "float32", Shape: []int64{graph.Unknown, 1}})
	b := graph.NewBuilder(m, "")
	w := b.Floats("w", []int64{1, 1}, 0)
	b.Node("Tanh", []string{b.Node("MatMul", []string{"x", w}, "")}, "y")
	m.SetOutputs(graph.Value{Name: "y", Type: "float32", Shape: []int64{graph.Unknown, 1}})
	g, err := grad.Backward(m, "y", []string{w}, grad.Options{Seed: "seed", Outputs: []string{"y"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, split := range map[string]func(*graph.Model, string) (forward, backward *graph.Model, err error){
		"kept": grad.Split, "twice": grad.SplitTwice,
	} {
		t.Run(name, func(t *testing.T) {
			forward, backward, err := split(g.Model, "seed")
			if err != nil {
				t.Fatal(err)
			}
			s, err := onnx.NewGradientModel(forward, backward, "seed", onnx.SessionOptions{Provider: onnx.CPU})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			x, ones := []float32{0.5, -1, 2, 0.25}, []float32{1, 1, 1, 1, 1}
			by := onnx.Tensor{Shape: []int64{1, 1}, Data: []float32{0}}
			for _, n := range []int{3, 2, 4, 1, 3} {
				in := []onnx.Tensor{
					{Shape: []int64{int64(n), 1}, Data: x[:n]}, {Shape: []int64{1, 1}, Data: []float32{0.7}},
				}
				y := make([]float32, n)
				if err := s.Forward(t.Context(), in, n, y); err != nil {
					t.Fatal(err)
				}
				if err := s.Backward(t.Context(), ones[:n+1], n+1, []onnx.Tensor{by}); err == nil {
					t.Errorf("gradients of %d samples after %d", n+1, n)
				}
				if err := s.Backward(t.Context(), ones[:n], n, []onnx.Tensor{by}); err != nil {
					t.Fatal(err)
				}
				want := 0.0
				for _, v := range x[:n] {
					z := math.Tanh(0.7 * float64(v))
					want += (1 - z*z) * float64(v)
				}
				if got := float64(by.Data[0]); math.Abs(got-want) > 1e-6 {
					t.Errorf("%d samples: %v, want %v", n, got, want)
				}
			}
		})
	}
}

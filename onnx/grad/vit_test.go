package grad

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

// The blocks of the real ViT-Tiny are named by number, its tokens are 197 of width 192.
const blocks, tokens, width = 12, 197, 192

// lastBlocks returns the real ViT-Tiny from the tokens that enter its last blocks on, and their name.
func lastBlocks(t testing.TB, count int) (*graph.Model, string) {
	t.Helper()
	m, err := graph.Read(testkit.Model(t))
	if err != nil {
		t.Fatal(err)
	}
	from := "x0"
	if count < blocks {
		from = fmt.Sprintf("%d.x2", blocks-count-1)
	}
	x := graph.Value{Name: from, Type: "float32", Shape: []int64{graph.Unknown, tokens, width}}
	y := graph.Value{Name: "embedding", Type: "float32", Shape: []int64{graph.Unknown, width}}
	c, err := m.Cut([]graph.Value{x}, []graph.Value{y})
	if err != nil {
		t.Fatal(err)
	}
	return c, from
}

// Weights of every kind and the tokens themselves, against central differences in float64. The gradient by the keys'
// bias is 0: softmax does not change when all of a row does.
func TestRealViT(t *testing.T) {
	m, from := lastBlocks(t, 2)
	wrt := []string{from, "11.fc1.w", "11.fc2.b", "11.q.w", "11.g1", "10.b2", "10.v.b", "10.proj.w", "gf", "10.k.b"}
	g, err := Backward(m, "embedding", wrt, Options{Seed: "seed", Outputs: []string{"embedding"}})
	if err != nil {
		t.Fatal(err)
	}
	c := m.Copy()
	inputs, err := weightsToInputs(c, wrt)
	if err != nil {
		t.Fatal(err)
	}
	c.SetInputs(inputs...)
	c.Rename(map[string]string{"embedding": "y"})
	weights := m.Index().Weight
	in := tensors(g.Inputs())
	shapes := [][]int64{{batch, width}}
	for i, v := range g.Inputs() {
		if w := weights[v.Name]; w != nil {
			in[i].Data = weightFloats(w)
		}
	}
	for _, name := range wrt {
		shapes = append(shapes, fixed(valueOf(c, name).Shape))
	}
	got, err := run(t, g.Model, onnx.SessionOptions{}, in, shapes...)
	if err != nil {
		t.Fatal(err)
	}
	written, err := run(t, g.Model, onnx.SessionOptions{AsWritten: true}, in, shapes...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range wrt {
		if name == "10.k.b" {
			for _, v := range got[i+1] {
				if math.Abs(float64(v)) > 1e-4 {
					t.Errorf("%s has gradient %v, want 0", name, v)
				}
			}
			continue
		}
		if e := off(got[i+1], written[i+1]); !(e < 1e-4) {
			t.Errorf("%s: optimised and as written differ by %.1e", name, e)
		}
		e, double := difference(t, c, wrt, in, name, got[i+1])
		if !(e < 1e-5) || !double {
			t.Errorf("%s is off by %.1e (float64: %v)", name, e, double)
		}
		t.Logf("%s: %.1e, optimised against as written %.1e", name, e, off(got[i+1], written[i+1]))
	}
}

func weightFloats(w *graph.Tensor) []float32 {
	f := toFloat64(w)
	out := make([]float32, len(f.RawData)/8)
	for i := range out {
		bits := uint64(0)
		for k := range 8 {
			bits |= uint64(f.RawData[8*i+k]) << (8 * k)
		}
		out[i] = float32(math.Float64frombits(bits))
	}
	return out
}

// adapt puts an adapter of rank 4 beside the MLP of each of the last blocks, as LIFT has it, and returns its weights.
func adapt(m *graph.Model, count int) (weights []string) {
	const rank = 4
	for l := blocks - count; l < blocks; l++ {
		b := graph.NewBuilder(m, fmt.Sprintf("adapter%d", l))
		weight := func(name string, dims ...int64) string {
			w := b.Floats(name, dims, values(name, dims)...)
			weights = append(weights, w)
			return w
		}
		out := fmt.Sprintf("%d.x2", l)
		last := m.Index().Producer[out]
		x := fmt.Sprintf("%d.x1", l)
		h := b.Node("LayerNormalization", []string{x, weight("g", width), weight("b", width)}, "")
		h = b.Node("Add", []string{b.Node("MatMul", []string{h, weight("down", width, rank)}, ""), weight("db", rank)},
			"")
		h = b.Node("Relu", []string{h}, "")
		scale := weight("scale", 1)
		up := b.Node("Mul", []string{weight("up", rank, width), scale}, "")
		ub := b.Node("Mul", []string{weight("ub", width), scale}, "")
		h = b.Node("Add", []string{b.Node("MatMul", []string{h, up}, ""), ub}, "")
		last.Output[0] = b.Name("frozen")
		b.Node("Add", []string{last.Output[0], h}, out)
	}
	return weights
}

// One step of adapters in the last blocks, beside the forward pass of the same blocks without them. Each run of either
// follows one of the other.
func BenchmarkStep(b *testing.B) {
	if err := onnx.Load(ort.Need(b)); err != nil {
		b.Fatal(err)
	}
	for _, count := range []int{3, 6, 12} {
		for _, kind := range []string{"adapters", "all weights"} {
			b.Run(fmt.Sprintf("%d blocks, %s", count, kind), func(b *testing.B) { benchmarkStep(b, count, kind) })
		}
	}
}

func benchmarkStep(b *testing.B, count int, kind string) {
	const images = 16
	m, from := lastBlocks(b, count)
	trained := m.Copy()
	var wrt []string
	if kind == "adapters" {
		wrt = adapt(trained, count)
		if err := trained.Sort(); err != nil {
			b.Fatal(err)
		}
	} else {
		for _, w := range trained.Graph().Initializer {
			if graph.TypeOf(w) == "float32" && graph.Elements(w.Dims) >= width {
				wrt = append(wrt, w.GetName())
			}
		}
	}
	g, err := Backward(trained, "embedding", wrt, Options{Seed: "seed", Outputs: []string{"embedding"}})
	if err != nil {
		b.Fatal(err)
	}
	shapes := map[string][]int64{from: {images, tokens, width}, "seed": {images, width}, "embedding": {images, width}}
	open := func(m *graph.Model) (run func() time.Duration) {
		data, err := m.Bytes()
		if err != nil {
			b.Fatal(err)
		}
		s, err := onnx.NewSession(data, onnx.SessionOptions{Provider: onnx.CPU})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		tensor := func(v graph.Value) onnx.Tensor {
			shape := v.Shape
			if s := shapes[v.Name]; s != nil {
				shape = s
			}
			data := values(v.Name, shape)
			for i := range data {
				data[i] *= 0.1
			}
			return onnx.Tensor{Shape: shape, Data: data}
		}
		var in, out []onnx.Tensor
		for _, v := range s.Inputs() {
			in = append(in, tensor(v))
		}
		for _, v := range s.Outputs() {
			out = append(out, tensor(v))
		}
		return func() time.Duration {
			from := time.Now()
			if err := s.Run(context.Background(), in, out); err != nil {
				b.Fatal(err)
			}
			return time.Since(from)
		}
	}
	forward, step := open(m), open(g.Model)
	forward()
	step()
	var forwards, steps []time.Duration
	for b.Loop() {
		forwards, steps = append(forwards, forward()), append(steps, step())
	}
	middle := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(forwards), "forward-ms")
	b.ReportMetric(middle(steps), "step-ms")
	b.ReportMetric(middle(steps)/middle(forwards), "step/forward")
	b.ReportMetric(float64(len(g.Graph().Node)), "nodes")
}

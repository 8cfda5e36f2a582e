package adapt_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// BenchmarkSum sums the graph that makes tokens before the last block of ViT-Tiny: almost all of its weights.
func BenchmarkSum(b *testing.B) {
	ort.Need(b)
	t, err := adapt.Find(backbone(b, testkit.Model(b)))
	if err != nil {
		b.Fatal(err)
	}
	a, err := t.Insert(adapt.Options{Kind: adapt.Norm, Blocks: 1})
	if err != nil {
		b.Fatal(err)
	}
	frozen, err := a.Frozen()
	if err != nil {
		b.Fatal(err)
	}
	text, err := frozen.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := frozen.Sum(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStep measures a step of adapters of rank 4, forward and backward, against the forward pass of the same
// blocks from the model's own nodes, in turns: 16 images of ViT-Tiny, all tokens. "×forward" is the ratio by the clock,
// "×forward-cpu" in processor time, which others on the machine disturb less.
func BenchmarkStep(b *testing.B) {
	ort.Need(b)
	const n = 16
	whole := backbone(b, testkit.Model(b))
	t, err := adapt.Find(whole)
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []adapt.Kind{adapt.Adapter, adapt.LoRA, adapt.Norm, adapt.Full} {
		for _, blocks := range []int{3, 6, 12} {
			b.Run(fmt.Sprintf("%s/blocks=%d", kind, blocks), func(b *testing.B) {
				a, err := t.Insert(adapt.Options{Kind: kind, Blocks: blocks, Rank: 4})
				if err != nil {
					b.Fatal(err)
				}
				tokens := onnx.Tensor{Shape: []int64{n, t.Tokens, t.Dim}, Data: noise(1, n*int(t.Tokens*t.Dim), 3)}
				in := []onnx.Tensor{tokens}
				var grads []onnx.Tensor
				for _, p := range a.Params() {
					in = append(in, onnx.Tensor{Shape: p.Shape, Data: p.Start()})
					grads = append(grads, onnx.Tensor{Shape: p.Shape, Data: make([]float32, p.Size())})
				}
				step, forward := stepOf(b, a), forwardOf(b, t, a.First)
				out, dout := make([]float32, n*192), noise(2, n*192, 1)
				var stepping, alone, steppingCPU, aloneCPU time.Duration
				for b.Loop() {
					begin, beginCPU := time.Now(), processor(b)
					if err := step.Forward(b.Context(), in, n, out); err != nil {
						b.Fatal(err)
					}
					if err := step.Backward(b.Context(), dout, n, grads); err != nil {
						b.Fatal(err)
					}
					middle, middleCPU := time.Now(), processor(b)
					if err := forward.Run(b.Context(), in[:1],
						[]onnx.Tensor{{Shape: []int64{n, 192}, Data: out}}); err != nil {
						b.Fatal(err)
					}
					stepping, alone = stepping+middle.Sub(begin), alone+time.Since(middle)
					steppingCPU, aloneCPU = steppingCPU+middleCPU-beginCPU, aloneCPU+processor(b)-middleCPU
				}
				b.ReportMetric(stepping.Seconds()/alone.Seconds(), "×forward")
				b.ReportMetric(steppingCPU.Seconds()/aloneCPU.Seconds(), "×forward-cpu")
				b.ReportMetric(float64(n*b.N)/stepping.Seconds(), "images/s")
				kept, err := step.Kept(in)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(kept)/1e6, "MB-kept")
			})
		}
	}
}

// processor is the processor time that this process has taken.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func stepOf(b *testing.B, a *adapt.Adapted) *onnx.GradientModel {
	m, err := a.Gradients(adapt.Part{ClassToken: a.ByClassToken()}, "seed")
	if err != nil {
		b.Fatal(err)
	}
	forward, backward, err := grad.Split(m, "seed")
	if err != nil {
		b.Fatal(err)
	}
	g, err := onnx.NewGradientModel(forward, backward, "seed", onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { g.Close() })
	return g
}

// forwardOf is the part of the model from a block on.
func forwardOf(b *testing.B, t *adapt.Transformer, block int) *onnx.Session {
	m := backbone(b, testkit.Model(b))
	part, err := m.Cut([]graph.Value{{Name: t.Blocks[block].In, Type: "float32", Shape: []int64{-1, t.Tokens, t.Dim}}},
		[]graph.Value{{Name: vision.Embedding, Type: "float32", Shape: []int64{-1, 192}}})
	if err != nil {
		b.Fatal(err)
	}
	data, err := part.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	s, err := onnx.NewSession(data, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

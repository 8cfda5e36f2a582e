package gpu_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
)

// steps measures training inside a backbone: forward and backward through all its blocks, with adapters of rank 16, on
// a third of the tokens: as vitft finetune --adapt does, on a GPU computing the forward pass twice. What keeping its
// tensors in main memory gives there instead is measured too. It checks that both providers give the same gradients.
func (b *bench) steps(m measured) {
	const rank, seed = 16, "seed"
	model, err := graph.Parse(m.backbone)
	b.must(err)
	t, err := adapt.Find(model)
	b.must(err)
	a, err := t.Insert(adapt.Options{Kind: adapt.Adapter, Rank: rank})
	b.must(err)
	tokens := 1 + (t.Tokens-1)/3
	whole, err := a.Gradients(adapt.Part{Tokens: tokens, ClassToken: a.ByClassToken()}, seed)
	b.must(err)
	type splitting func(*graph.Model, string) (forward, backward *graph.Model, err error)
	load := func(provider onnx.Provider, split splitting) *onnx.GradientModel {
		forward, backward, err := split(whole, seed)
		b.must(err)
		g, err := onnx.NewGradientModel(forward, backward, seed, onnx.SessionOptions{Provider: provider})
		b.must(err)
		return g
	}
	kept := load(b.provider, grad.Split)
	defer kept.Close()
	models := map[onnx.Provider]*onnx.GradientModel{}
	for provider, split := range map[onnx.Provider]splitting{onnx.CPU: grad.Split, b.provider: grad.SplitTwice} {
		models[provider] = load(provider, split)
		defer models[provider].Close()
	}
	batches := []int{16, 64}
	if b.quick {
		batches = batches[:1]
	}
	rng := rand.New(rand.NewPCG(1, 2))
	normal := func(n int64, size float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(size * rng.NormFloat64())
		}
		return v
	}
	var values []onnx.Tensor
	for _, p := range a.Params() {
		v := onnx.Tensor{Shape: p.Shape, Data: normal(graph.Elements(p.Shape), 0.05)} // away from zero
		values = append(values, v)
	}
	dim := m.models[onnx.CPU].Dim()
	for _, batch := range batches {
		n := int64(batch)
		in := append([]onnx.Tensor{{Shape: []int64{n, tokens, t.Dim}, Data: normal(n*tokens*t.Dim, 1)}}, values...)
		toward, out := normal(n*int64(dim), 1), make([]float32, batch*dim)
		grads := map[onnx.Provider][]onnx.Tensor{}
		for provider := range models {
			for _, p := range a.Params() {
				g := onnx.Tensor{Shape: p.Shape, Data: make([]float32, graph.Elements(p.Shape))}
				grads[provider] = append(grads[provider], g)
			}
		}
		step := func(g *onnx.GradientModel, provider onnx.Provider) error {
			return errors.Join(g.Forward(b.ctx, in, batch, out), g.Backward(b.ctx, toward, batch, grads[provider]))
		}
		rate := func(g *onnx.GradientModel, provider onnx.Provider) (float64, error) {
			if err := step(g, provider); err != nil { // the first is slower
				return 0, err
			}
			images, begin := 0, time.Now()
			for time.Since(begin).Seconds() < b.seconds {
				if err := step(g, provider); err != nil {
					return 0, err
				}
				images += batch
			}
			return float64(images) / time.Since(begin).Seconds(), nil
		}
		cpu, other := b.inTurns(func(provider onnx.Provider) ([]float64, error) {
			once, err := rate(models[provider], provider)
			if err != nil || provider == onnx.CPU {
				return []float64{once, once}, err
			}
			inMain, err := rate(kept, provider)
			return []float64{once, inMain}, err
		})
		for i, how := range []string{"", ", kept in main memory"} {
			b.printf("| training steps inside, batch %d%s | %.1f | %.1f | %.2f | | |\n", batch, how, cpu[i], other[i],
				other[i]/cpu[i])
		}
		if batch == batches[0] {
			largest := 0.0
			for i, want := range grads[onnx.CPU] {
				largest = max(largest, relative(want.Data, grads[b.provider][i].Data))
			}
			defer func() {
				b.check(fmt.Sprintf("gradients of %d tensors, cpu against %s: largest difference %.2g of the largest "+
					"value (at most %g)", len(values), b.provider, largest, bound), atMost(largest, bound))
			}()
		}
	}
}

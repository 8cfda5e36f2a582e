package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/onnx"
)

// bound is how much results may differ between providers: features and weights relative to the largest magnitude among
// them, probabilities as they are.
const bound = 1e-3

// speed measures one model.
func (b *bench) speed(ctx context.Context, s *subject, p *pictures) error {
	b.printf("## %s\n\n", s.name)
	models := map[onnx.Provider]*onnx.FeatureModel{}
	starts := map[onnx.Provider]float64{}
	for _, provider := range []onnx.Provider{onnx.CPU, b.provider} {
		begin := time.Now()
		m, err := onnx.NewFeatureModel(s.backbone, onnx.SessionOptions{Provider: provider})
		if err != nil {
			return err
		}
		defer m.Close()
		models[provider], starts[provider] = m, time.Since(begin).Seconds()
	}
	if err := b.same(ctx, s, p, models); err != nil {
		return err
	}

	b.printf("\n| images/s | cpu | %s | times | of bare, cpu | of bare, %[1]s |\n|---|---|---|---|---|---|\n",
		b.provider)
	if err := b.bare(ctx, p, s, models); err != nil {
		return err
	}
	batches := []int{16, 64}
	if b.quick {
		batches = batches[:1]
	}
	for _, batch := range batches {
		pixels, err := p.tensor(s, batch)
		if err != nil {
			return err
		}
		// against measures something and, just before, bare runs of the same batch.
		against := func(what string, measure func(provider onnx.Provider, bare float64) (float64, error)) error {
			cpu, other, err := b.inTurns(ctx, func(provider onnx.Provider) ([]float64, error) {
				bare, err := bareRate(ctx, models[provider], pixels, batch, 1, b.seconds/2)
				if err != nil {
					return nil, err
				}
				rate, err := measure(provider, bare)
				return []float64{rate, rate / bare}, err
			})
			if err != nil {
				return err
			}
			b.printf("| %s, batch %d | %.1f | %.1f | %.2f | %.2f | %.2f |\n", what, batch, cpu[0], other[0],
				other[0]/cpu[0], cpu[1], other[1])
			return nil
		}
		err = against("engine.Encode, JPEG files to stored features",
			func(provider onnx.Provider, bare float64) (float64, error) {
				return b.encodeRate(ctx, s, p, provider, batch, min(max(int(b.seconds*bare), 2*batch), b.images))
			})
		if err != nil {
			return err
		}
		if err := b.classify(ctx, s, p, batch, against); err != nil {
			return err
		}
	}
	b.printf("\nLoading the model: %.1f s on cpu, %.1f s on %s, of which ONNX Runtime's own start the first time.\n",
		starts[onnx.CPU], starts[b.provider], b.provider)
	b.memory("with " + s.name)
	b.printf("\n")
	return nil
}

// bare measures session runs on batches that are ready.
func (b *bench) bare(ctx context.Context, p *pictures, s *subject, models map[onnx.Provider]*onnx.FeatureModel) error {
	const mostOnCPU = 64 // a larger batch only takes longer there
	batches := []int{1, 16, 64, 256}
	if b.quick {
		batches = batches[:2]
	}
	for _, batch := range batches {
		pixels, err := p.tensor(s, batch)
		if err != nil {
			return err
		}
		for _, runs := range []int{1, 2} {
			cpu, other, err := b.inTurns(ctx, func(provider onnx.Provider) ([]float64, error) {
				if provider == onnx.CPU && batch > mostOnCPU {
					return []float64{math.NaN()}, nil
				}
				rate, err := bareRate(ctx, models[provider], pixels, batch, runs, b.seconds)
				return []float64{rate}, err
			})
			if err != nil {
				return err
			}
			what := fmt.Sprintf("bare session runs, batch %d", batch)
			if runs > 1 {
				what += ", two at a time"
			}
			b.printf("| %s | %.1f | %.1f | %.2f | | |\n", what, cpu[0], other[0], other[0]/cpu[0])
		}
	}
	return nil
}

// same checks that both providers give the same features, in batches and alone, and the same probabilities.
func (b *bench) same(ctx context.Context, s *subject, p *pictures, models map[onnx.Provider]*onnx.FeatureModel) error {
	const n = 32
	pixels, err := p.tensor(s, n)
	if err != nil {
		return err
	}
	cpu, other := models[onnx.CPU], models[b.provider]
	want, got, alone := make([]float32, n*cpu.Dim()), make([]float32, n*cpu.Dim()), make([]float32, n*cpu.Dim())
	if err := errors.Join(cpu.Run(ctx, pixels, n, want), other.Run(ctx, pixels, n, got)); err != nil {
		return err
	}
	size, d := s.preprocess.Size(), cpu.Dim()
	for i := range n {
		if err := other.Run(ctx, pixels[i*size:(i+1)*size], 1, alone[i*d:(i+1)*d]); err != nil {
			return err
		}
	}
	features, batches := relative(want, got), relative(got, alone)
	b.check(fmt.Sprintf("features of %d images, cpu against %s: largest difference %.2g of the largest value (at most "+
		"%g)", n, b.provider, features, bound), atMost(features, bound))
	b.check(fmt.Sprintf("features on %s, in a batch against alone: %.2g", b.provider, batches), atMost(batches, bound))

	var answers [2][]classify.Prediction
	for k, provider := range []onnx.Provider{onnx.CPU, b.provider} {
		c, err := classify.New(s.classifier, classify.Options{Device: device.Options{Provider: string(provider)}})
		if err != nil {
			return err
		}
		answers[k], err = c.ClassifyPixels(ctx, pixels, n)
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	largest, labels := 0.0, 0
	for i := range n {
		largest = max(largest, difference(answers[0][i].Probabilities, answers[1][i].Probabilities))
		if answers[0][i].Class != answers[1][i].Class {
			labels++
		}
	}
	b.check(fmt.Sprintf("probabilities of %d images: largest difference %.2g (at most %g), %d other labels", n, largest,
		bound, labels), atMost(largest, bound))
	return nil
}

// relative is the largest difference in relation to the largest magnitude; NaN if anything is not finite.
func relative(want, got []float32) float64 {
	largest := 0.0
	for _, v := range want {
		largest = max(largest, math.Abs(float64(v)))
	}
	return difference(want, got) / largest
}

func difference(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i]))) // max keeps NaN
	}
	return d
}

// bareRate is the images a second that a model does for so long, so many runs at a time.
func bareRate(ctx context.Context, m *onnx.FeatureModel, pixels []float32, batch, flights int,
	seconds float64) (float64, error) {
	var images atomic.Int64
	errs := make([]error, flights)
	warm := make([]float32, batch*m.Dim())
	if err := m.Run(ctx, pixels, batch, warm); err != nil {
		return 0, err
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for k := range flights {
		wg.Go(func() {
			features := make([]float32, batch*m.Dim())
			for errs[k] == nil && time.Since(begin).Seconds() < seconds {
				errs[k] = m.Run(ctx, pixels, batch, features)
				images.Add(int64(batch))
			}
		})
	}
	wg.Wait()
	return float64(images.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// encodeRate is the images a second of engine.Encode on n files, with an empty store.
func (b *bench) encodeRate(ctx context.Context, s *subject, p *pictures, provider onnx.Provider, batch, n int) (float64,
	error) {
	manifest, err := p.manifest(n)
	if err != nil {
		return 0, err
	}
	cache, err := os.MkdirTemp(b.dir, "cache-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(cache)
	done, err := engine.Encode(ctx, engine.EncodeOptions{
		Data: dataset.Sources{Train: manifest}, Backbone: backbone.Options{Name: s.file},
		Device: device.Options{Provider: string(provider)}, Features: feature.Options{Batch: batch, Cache: cache},
	}, event.Events{})
	if err != nil {
		return 0, err
	}
	if done.Sets[0].Encoded != n {
		return 0, fmt.Errorf("encoded %d of %d images", done.Sets[0].Encoded, n)
	}
	return done.Sets[0].Rate(), nil
}

// classify measures a Classifier that 64 goroutines ask, with JPEGs and with pixels that are ready.
func (b *bench) classify(ctx context.Context, s *subject, p *pictures, batch int,
	against func(string, func(onnx.Provider, float64) (float64, error)) error) error {
	pixels, err := p.tensor(s, 64)
	if err != nil {
		return err
	}
	size := s.preprocess.Size()
	classifiers := map[onnx.Provider]*classify.Classifier{}
	for _, provider := range []onnx.Provider{onnx.CPU, b.provider} {
		c, err := classify.New(s.classifier,
			classify.Options{Device: device.Options{Provider: string(provider)}, MaxBatch: batch})
		if err != nil {
			return err
		}
		defer c.Close()
		classifiers[provider] = c
	}
	for _, x := range []struct {
		what string
		ask  func(c *classify.Classifier, i int) error
	}{
		{"JPEGs", func(c *classify.Classifier, i int) error {
			_, err := c.ClassifyBytes(ctx, p.encoded[i%len(p.encoded)])
			return err
		}},
		{"pixels", func(c *classify.Classifier, i int) error {
			at := i % 64 * size
			_, err := c.ClassifyPixels(ctx, pixels[at:at+size], 1)
			return err
		}},
	} {
		err := against("Classifier, 64 goroutines, "+x.what, func(provider onnx.Provider, _ float64) (float64, error) {
			return askRate(func(i int) error { return x.ask(classifiers[provider], i) }, b.seconds)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// askRate is the questions a second that 64 goroutines get answered.
func askRate(ask func(i int) error, seconds float64) (float64, error) {
	if err := ask(0); err != nil {
		return 0, err
	}
	var asked atomic.Int64
	var failed atomic.Pointer[error]
	begin := time.Now()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for failed.Load() == nil && time.Since(begin).Seconds() < seconds {
				if err := ask(int(asked.Add(1))); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(asked.Load()) / time.Since(begin).Seconds(), nil
}

package gpu_test

import (
	"errors"
	"fmt"
	"math"
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

// measured is a model with its sessions and pictures for it.
type measured struct {
	*subject
	*pictures
	models map[onnx.Provider]*onnx.FeatureModel
}

// speed measures one model.
func (b *bench) speed(s *subject, p *pictures) {
	b.printf("## %s\n\n", s.name)
	m := measured{s, p, map[onnx.Provider]*onnx.FeatureModel{}}
	starts := map[onnx.Provider]float64{}
	for _, provider := range []onnx.Provider{onnx.CPU, b.provider} {
		begin := time.Now()
		e, err := onnx.NewFeatureModel(s.backbone, onnx.SessionOptions{Provider: provider})
		b.must(err)
		defer e.Close()
		m.models[provider], starts[provider] = e, time.Since(begin).Seconds()
	}
	b.same(m)

	b.printf("\n| images/s | cpu | %s | times | of bare, cpu | of bare, %[1]s |\n|---|---|---|---|---|---|\n",
		b.provider)
	b.bare(m)
	batches := []int{16, 64}
	if b.quick {
		batches = batches[:1]
	}
	for _, batch := range batches {
		b.against(m, batch, "engine.Encode, JPEG files to stored features",
			func(provider onnx.Provider, bare float64) (float64, error) {
				return b.encodeRate(m, provider, batch, min(max(int(b.seconds*bare), 2*batch), b.images))
			})
		b.classify(m, batch)
	}
	b.steps(m)
	b.printf("\nLoading the model: %.1f s on cpu, %.1f s on %s, of which ONNX Runtime's own start the first time.\n",
		starts[onnx.CPU], starts[b.provider], b.provider)
	b.memory("with " + s.name)
	b.printf("\n")
}

// against measures something and, just before, bare runs of the same batch.
func (b *bench) against(m measured, batch int, what string,
	measure func(provider onnx.Provider, bare float64) (float64, error)) {
	pixels := b.tensor(m.pictures, m.subject, batch)
	cpu, other := b.inTurns(func(provider onnx.Provider) ([]float64, error) {
		bare, err := b.bareRate(m.models[provider], pixels, batch, 1, b.seconds/2)
		if err != nil {
			return nil, err
		}
		rate, err := measure(provider, bare)
		return []float64{rate, rate / bare}, err
	})
	b.printf("| %s, batch %d | %.1f | %.1f | %.2f | %.2f | %.2f |\n", what, batch, cpu[0], other[0],
		other[0]/cpu[0], cpu[1], other[1])
}

// bare measures session runs on batches that are ready.
func (b *bench) bare(m measured) {
	const mostOnCPU = 64 // a larger batch only takes longer there
	batches := []int{1, 16, 64, 256}
	if b.quick {
		batches = batches[:2]
	}
	for _, batch := range batches {
		pixels := b.tensor(m.pictures, m.subject, batch)
		for more, what := range []string{"", ", two at a time"} {
			cpu, other := b.inTurns(func(provider onnx.Provider) ([]float64, error) {
				if provider == onnx.CPU && batch > mostOnCPU {
					return []float64{math.NaN()}, nil
				}
				rate, err := b.bareRate(m.models[provider], pixels, batch, 1+more, b.seconds)
				return []float64{rate}, err
			})
			b.printf("| bare session runs, batch %d%s | ", batch, what)
			if batch > mostOnCPU {
				b.printf("– | %.1f | – | | |\n", other[0])
			} else {
				b.printf("%.1f | %.1f | %.2f | | |\n", cpu[0], other[0], other[0]/cpu[0])
			}
		}
	}
}

// same checks that both providers give the same features, in batches and alone, and the same probabilities.
func (b *bench) same(m measured) {
	const n = 32
	pixels := b.tensor(m.pictures, m.subject, n)
	cpu, other := m.models[onnx.CPU], m.models[b.provider]
	size, d := m.preprocess.Size(), cpu.Dim()
	want, got, alone := make([]float32, n*d), make([]float32, n*d), make([]float32, n*d)
	b.must(cpu.Run(b.ctx, pixels, n, want))
	b.must(other.Run(b.ctx, pixels, n, got))
	for i := range n {
		b.must(other.Run(b.ctx, pixels[i*size:(i+1)*size], 1, alone[i*d:(i+1)*d]))
	}
	features, batches := relative(want, got), relative(got, alone)
	b.check(fmt.Sprintf("features of %d images, cpu against %s: largest difference %.2g of the largest value (at most "+
		"%g)", n, b.provider, features, bound), atMost(features, bound))
	b.check(fmt.Sprintf("features on %s, in a batch against alone: %.2g", b.provider, batches), atMost(batches, bound))

	var answers [2][]classify.Prediction
	for k, c := range b.classifiers(m.subject, 0) {
		var err error
		answers[k], err = c.ClassifyPixels(b.ctx, pixels, n)
		b.must(errors.Join(err, c.Close()))
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
}

// classifiers are the model on the CPU and on the other provider, to be closed by the caller.
func (b *bench) classifiers(s *subject, batch int) (both [2]*classify.Classifier) {
	for k, provider := range []onnx.Provider{onnx.CPU, b.provider} {
		o := classify.Options{Device: device.Options{Provider: string(provider)}, MaxBatch: batch}
		var err error
		both[k], err = classify.New(s.classifier, o)
		b.must(err)
	}
	return both
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
func (b *bench) bareRate(m *onnx.FeatureModel, pixels []float32, batch, flights int, seconds float64) (float64, error) {
	var images atomic.Int64
	err := m.Run(b.ctx, pixels, batch, make([]float32, batch*m.Dim())) // the first is slower
	if err != nil {
		return 0, err
	}
	errs := make([]error, flights)
	begin := time.Now()
	var wg sync.WaitGroup
	for k := range flights {
		wg.Go(func() {
			features := make([]float32, batch*m.Dim())
			for errs[k] == nil && time.Since(begin).Seconds() < seconds {
				errs[k] = m.Run(b.ctx, pixels, batch, features)
				images.Add(int64(batch))
			}
		})
	}
	wg.Wait()
	return float64(images.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// encodeRate is the images a second of engine.Encode on n files, with an empty store.
func (b *bench) encodeRate(m measured, provider onnx.Provider, batch, n int) (float64, error) {
	done, err := engine.Encode(b.ctx, engine.EncodeOptions{
		Data:     dataset.Sources{Train: b.manifest(m.pictures, n)},
		Backbone: backbone.Options{Name: m.file},
		Device:   device.Options{Provider: string(provider)},
		Features: feature.Options{Batch: batch, Cache: b.TempDir()},
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
func (b *bench) classify(m measured, batch int) {
	pixels, size := b.tensor(m.pictures, m.subject, 64), m.preprocess.Size()
	both := b.classifiers(m.subject, batch)
	defer both[0].Close()
	defer both[1].Close()
	for _, x := range []struct {
		what string
		ask  func(c *classify.Classifier, i int) error
	}{
		{"JPEGs", func(c *classify.Classifier, i int) error {
			_, err := c.ClassifyBytes(b.ctx, m.encoded[i%len(m.encoded)])
			return err
		}},
		{"pixels", func(c *classify.Classifier, i int) error {
			at := i % 64 * size
			_, err := c.ClassifyPixels(b.ctx, pixels[at:at+size], 1)
			return err
		}},
	} {
		b.against(m, batch, "Classifier, 64 goroutines, "+x.what, func(p onnx.Provider, _ float64) (float64, error) {
			c := both[0]
			if p == b.provider {
				c = both[1]
			}
			return askRate(func(i int) error { return x.ask(c, i) }, b.seconds)
		})
	}
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

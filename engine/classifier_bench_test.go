package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// classifierModel is a backbone with a head of random weights.
func classifierModel(b *testing.B, backbone string, classes int) []byte {
	c := Config{Backbone: backbone, Provider: "cpu"}
	c.EnsureDefaults()
	bb, err := openBackbone(c, Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer bb.encoder.Close()
	d := bb.encoder.Dim()
	h := &head.Head{Classes: classes, Dim: d, W: make([]float32, classes*d), B: make([]float32, classes)}
	r := rand.New(rand.NewPCG(1, 1))
	labels := make([]string, classes)
	for i := range h.W {
		h.W[i] = float32(r.NormFloat64()) / 10
	}
	for k := range labels {
		labels[k] = fmt.Sprint("class ", k)
	}
	model, err := bb.export(h, vision.Views(1), calib.Scaling{}, labels)
	if err != nil {
		b.Fatal(err)
	}
	return model
}

// BenchmarkClassifier measures a Classifier that 64 goroutines ask about encoded
// images, or pixels, against bare session runs on one batch that is ready: same
// model, batch, threads and moment. "of-bare" is the ratio of the rates, the
// median over alternating rounds.
func BenchmarkClassifier(b *testing.B) {
	needRuntime(b)
	for _, x := range []struct {
		name   string
		images int
		open   func(b *testing.B) (model []byte, encoded [][]byte)
	}{
		{"embedded", 512, func(b *testing.B) ([]byte, [][]byte) {
			return classifierModel(b, DefaultBackbone(), 10), readAll(b, filepath.Join(writeImages(b, 1, 20), "*", "*"))
		}},
		{"vit-tiny", 96, func(b *testing.B) ([]byte, [][]byte) {
			return classifierModel(b, sharedModel(b), 100), readAll(b, filepath.Join(shared(b, "data", "imagenet_sanity20"), "*.JPEG"))
		}},
	} {
		b.Run(x.name, func(b *testing.B) {
			model, encoded := x.open(b)
			c, err := NewClassifier(model, ClassifierOptions{Provider: "cpu"})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			bare, err := onnx.NewImageModel(model, onnx.SessionOptions{Provider: onnx.CPU})
			if err != nil {
				b.Fatal(err)
			}
			defer bare.Close()
			const rounds = 5
			var fromBytes, fromPixels, rates []float64
			for b.Loop() {
				for range rounds {
					alone := bareRun(b, bare, c, encoded, x.images)
					pixels := ask(b, x.images, pixelsOf(b, c, encoded))
					bytes := ask(b, x.images, func(ctx context.Context, i int) error {
						_, err := c.ClassifyBytes(ctx, encoded[i%len(encoded)])
						return err
					})
					fromBytes, fromPixels = append(fromBytes, alone/bytes), append(fromPixels, alone/pixels)
					rates = append(rates, float64(x.images)/bytes)
				}
			}
			for name, v := range map[string][]float64{"of-bare": fromBytes, "pixels-of-bare": fromPixels, "images/s": rates} {
				slices.Sort(v)
				b.ReportMetric(v[len(v)/2], name)
			}
		})
	}
}

func readAll(b *testing.B, pattern string) (files [][]byte) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		b.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}

// pixelsOf is a question with images that are preprocessed already.
func pixelsOf(b *testing.B, c *Classifier, encoded [][]byte) func(context.Context, int) error {
	prepared := make([][]float32, len(encoded))
	for i, data := range encoded {
		prepared[i] = make([]float32, c.preprocess.Size())
		if err := c.preprocess.Bytes(data, prepared[i]); err != nil {
			b.Fatal(err)
		}
	}
	return func(ctx context.Context, i int) error {
		_, err := c.ClassifyPixels(ctx, prepared[i%len(prepared)], 1)
		return err
	}
}

// bareRun is the seconds that the model takes for so many images in batches of
// 16, which are ready.
func bareRun(b *testing.B, m *onnx.ImageModel, c *Classifier, encoded [][]byte, images int) float64 {
	const batch = 16
	size := c.preprocess.Size()
	pixels := make([]float32, batch*size)
	for i := range batch {
		if err := c.preprocess.Bytes(encoded[i%len(encoded)], pixels[i*size:(i+1)*size]); err != nil {
			b.Fatal(err)
		}
	}
	var outputs [][]float32
	for _, v := range m.Outputs() {
		outputs = append(outputs, make([]float32, batch*v.Shape[1]))
	}
	begin := time.Now()
	for at := 0; at < images; at += batch {
		if err := m.Run(context.Background(), pixels, min(batch, images-at), outputs...); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin).Seconds()
}

// ask is the seconds that 64 goroutines take to ask about so many images.
func ask(b *testing.B, images int, question func(ctx context.Context, i int) error) float64 {
	next := make(chan int, images)
	for i := range images {
		next <- i
	}
	close(next)
	begin := time.Now()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range next {
				if err := question(context.Background(), i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin).Seconds()
}

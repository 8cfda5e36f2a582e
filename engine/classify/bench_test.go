package classify_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// classifierOf is a backbone file with a head of random weights.
func classifierOf(b *testing.B, path string, classes int) []byte {
	p := vit.DefaultPreprocess(224, 224)
	m, err := graph.Read(path)
	if err != nil {
		b.Fatal(err)
	}
	cut, found, err := vision.Backbone(m, vision.FeatureChoice{Width: p.Width, Height: p.Height})
	if err != nil {
		b.Fatal(err)
	}
	h := vision.Head{Classes: classes, Weight: make([]float32, classes*int(found.Feature.Dim))}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range h.Weight {
		h.Weight[i] = float32(r.NormFloat64()) / 10
	}
	names := make([]string, classes)
	for k := range names {
		names[k] = fmt.Sprint("class ", k)
	}
	model, err := artifact.Build(artifact.Parts{Backbone: cut, Head: h, Labels: names, Preprocess: p})
	if err != nil {
		b.Fatal(err)
	}
	return model
}

// BenchmarkClassifier measures a Classifier that 64 goroutines ask about encoded images, or pixels, against bare
// session runs on one batch that is ready: same model, batch, threads and moment. "of-bare" is the ratio of the rates,
// the median over alternating rounds.
func BenchmarkClassifier(b *testing.B) {
	for _, x := range []struct {
		name   string
		images int
		open   func(b *testing.B) (model []byte, encoded [][]byte)
	}{
		{"embedded", 512, func(b *testing.B) ([]byte, [][]byte) {
			return model(b), photos(5)
		}},
		{"vit-tiny", 96, func(b *testing.B) ([]byte, [][]byte) {
			photos := readAll(b, filepath.Join(testkit.Shared(b, "data", "imagenet_sanity20"), "*.JPEG"))
			return classifierOf(b, testkit.Model(b), 100), photos
		}},
	} {
		b.Run(x.name, func(b *testing.B) {
			model, encoded := x.open(b)
			c, err := classify.New(model, classify.Options{Device: onCPU})
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
			metrics := map[string][]float64{"of-bare": fromBytes, "pixels-of-bare": fromPixels, "images/s": rates}
			for name, v := range metrics {
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
		files = append(files, testkit.ReadFile(b, path))
	}
	return files
}

// pixelsOf is a question with images that are preprocessed already.
func pixelsOf(b *testing.B, c *classify.Classifier, encoded [][]byte) func(context.Context, int) error {
	prepared := make([][]float32, len(encoded))
	for i, data := range encoded {
		prepared[i] = make([]float32, c.Preprocess().Size())
		if err := c.Preprocess().Bytes(data, prepared[i]); err != nil {
			b.Fatal(err)
		}
	}
	return func(ctx context.Context, i int) error {
		_, err := c.ClassifyPixels(ctx, prepared[i%len(prepared)], 1)
		return err
	}
}

// bareRun is the seconds that the model takes for so many images in batches of 16, which are ready.
func bareRun(b *testing.B, m *onnx.ImageModel, c *classify.Classifier, encoded [][]byte, images int) float64 {
	const batch = 16
	size := c.Preprocess().Size()
	pixels := make([]float32, batch*size)
	for i := range batch {
		if err := c.Preprocess().Bytes(encoded[i%len(encoded)], pixels[i*size:(i+1)*size]); err != nil {
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
	ctx, begin := context.Background(), time.Now()
	err := par.For(ctx, images, 64, func(i int) {
		if err := question(ctx, i); err != nil {
			b.Error(err)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(begin).Seconds()
}

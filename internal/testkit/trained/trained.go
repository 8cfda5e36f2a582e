// Package trained makes classifiers for tests without training: the embedded backbone and a head of class means.
package trained

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// shots is how many photos of each class a model has seen: numbers 0 to shots-1.
const shots = 12

// Photo is the JPEG of a drawn picture of a class, 0, 1, ….
func Photo(class int, number uint64) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, testkit.Picture(class, 11, number), &jpeg.Options{Quality: 90}); err != nil {
		panic(err) // memory takes it
	}
	return b.Bytes()
}

// Run writes a folder with what a classifier reads of a run: a model of these classes and a card. It returns the
// folder, whose name is that of the classes.
func Run(dir string, labels ...string) (string, error) {
	model, err := Model(labels...)
	if err != nil {
		return "", err
	}
	run := filepath.Join(dir, strings.Join(labels, "-"))
	card := fmt.Sprintf("---\npipeline_tag: image-classification\n---\n# %s\n\nTells %d classes of images apart. "+
		"[Source](https://example.com)\n", filepath.Base(run), len(labels))
	return run, cmp.Or(
		os.MkdirAll(run, 0o755),
		os.WriteFile(filepath.Join(run, artifact.ModelFile), model, 0o644),
		os.WriteFile(filepath.Join(run, artifact.CardFile), []byte(card), 0o644),
	)
}

// Model is the content of a model.onnx that tells the classes of [Photo] apart: a cosine head whose class vectors are
// the means of standardised features, calibrated with a temperature for each class.
func Model(labels ...string) ([]byte, error) {
	cut, p, err := Backbone()
	if err != nil {
		return nil, err
	}
	features, dim, err := encode(cut, p, len(labels))
	if err != nil {
		return nil, err
	}
	h := vision.Head{
		Classes: len(labels), Weight: make([]float32, len(labels)*dim), Normalize: true, Scale: 16,
		Mean: make([]float32, dim), InvStd: make([]float32, dim),
	}
	for d := range dim {
		var sum, squares float64
		for i := d; i < len(features); i += dim {
			sum, squares = sum+float64(features[i]), squares+float64(features[i])*float64(features[i])
		}
		n := float64(len(features) / dim)
		h.Mean[d] = float32(sum / n)
		h.InvStd[d] = float32(1 / math.Sqrt(squares/n-sum/n*sum/n+1e-6))
	}
	for k := range labels {
		w := h.Weight[k*dim : (k+1)*dim]
		length := 0.0
		for d := range w {
			for i := k * shots; i < (k+1)*shots; i++ {
				w[d] += (features[i*dim+d] - h.Mean[d]) * h.InvStd[d]
			}
			length += float64(w[d]) * float64(w[d])
		}
		for d := range w {
			w[d] /= float32(math.Sqrt(length))
		}
		h.Temperature = append(h.Temperature, 1+float32(k)/4)
	}
	return artifact.Build(artifact.Parts{Backbone: cut, Head: h, Labels: labels, Preprocess: p})
}

// Backbone is the embedded one, cut off at its feature, and its preprocessing.
func Backbone() (*graph.Model, vit.Preprocess, error) {
	known := models.Default()
	p, err := vit.ParsePreprocess(known.Preprocess)
	if err != nil {
		return nil, p, err
	}
	text, err := known.Bytes()
	if err != nil {
		return nil, p, err
	}
	m, err := graph.Parse(text)
	if err != nil {
		return nil, p, err
	}
	cut, _, err := vision.Backbone(m, vision.FeatureChoice{Width: p.Width, Height: p.Height})
	return cut, p, err
}

// encode gives the features [classes·shots, dim] of the photos that a model has seen.
func encode(cut *graph.Model, p vit.Preprocess, classes int) (features []float32, dim int, err error) {
	library, err := onnx.Find("")
	if err != nil {
		return nil, 0, err
	}
	if err := onnx.Load(library); err != nil {
		return nil, 0, err
	}
	text, err := cut.Bytes()
	if err != nil {
		return nil, 0, err
	}
	encoder, err := onnx.NewFeatureModel(text, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		return nil, 0, err
	}
	defer encoder.Close()
	dim = encoder.Dim()
	features = make([]float32, classes*shots*dim)
	pixels := make([]float32, p.Size())
	for i := range classes * shots {
		if err := p.Bytes(Photo(i/shots, uint64(i%shots)), pixels); err != nil {
			return nil, 0, err
		}
		if err := encoder.Run(context.Background(), pixels, 1, features[i*dim:(i+1)*dim]); err != nil {
			return nil, 0, err
		}
	}
	return features, dim, nil
}

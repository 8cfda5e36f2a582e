// Package trained makes classifiers for tests without training: the embedded backbone and a head of class means.
package trained

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/vision"
)

// shots is how many photos of each class a model has seen: numbers 0 to shots-1.
const shots = 12

// Photo is the JPEG of a drawn picture of a class, 0, 1, ….
func Photo(class int, number uint64) []byte {
	var b bytes.Buffer
	jpeg.Encode(&b, testkit.Picture(class, 11, number), &jpeg.Options{Quality: 90}) // memory takes it
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
	b, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	data := head.Data{Dim: b.Session.Dim(), Classes: len(labels)}
	pixels, feature := make([]float32, b.Preprocess.Size()), make([]float32, data.Dim)
	var temperatures []float32
	for k := range labels {
		for i := range uint64(shots) {
			err := cmp.Or(
				b.Preprocess.Bytes(Photo(k, i), pixels),
				b.Session.Run(context.Background(), pixels, 1, feature),
			)
			if err != nil {
				return nil, err
			}
			data.X, data.Y = append(data.X, feature...), append(data.Y, k)
		}
		temperatures = append(temperatures, 1+float32(k)/4)
	}
	means, err := head.Train(context.Background(), data, head.Settings{
		Loss: "ncm", Head: "cosine", Scale: 16, Features: "standardize"})
	if err != nil {
		return nil, err
	}
	h := means.Head
	return artifact.Build(artifact.Parts{
		Backbone: b.Model, Labels: labels, Preprocess: b.Preprocess, Head: vision.Head{
			Classes: h.Classes, Weight: h.W, Mean: h.Mean, InvStd: h.InvStd, Normalize: h.Normalize,
			Temperature: temperatures,
		}})
}

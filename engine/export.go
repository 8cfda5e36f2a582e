package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

// labelsKey is the metadata under which a model carries its class names, a JSON
// array in the order of the outputs.
const labelsKey = "vitft.labels"

// export turns the backbone into the whole classifier, pixel_values →
// probabilities, logits, embedding, as one file with labels and preprocessing
// in its metadata. The nodes that made the features stay as they are; of several
// views the embedding is the mean.
func (b *backbone) export(h *head.Head, views []graph.View, scaling calib.Scaling, classes []string) ([]byte, error) {
	m := b.model.Clone()
	var err error
	if len(views) > 1 {
		if m, err = m.Average(views); err != nil {
			return nil, err
		}
	}
	var temperature []float32
	for _, t := range scaling.Temperature {
		temperature = append(temperature, float32(t))
	}
	err = m.AppendHead(graph.Head{
		Classes: h.Classes, Weight: h.W, Bias: h.B,
		Mean: h.Mean, InvStd: h.InvStd, Transform: h.Transform, Normalize: h.Normalize,
		Temperature: temperature,
	})
	if err != nil {
		return nil, err
	}
	labels, err := json.Marshal(classes)
	if err != nil {
		return nil, err
	}
	preprocess, err := json.Marshal(b.preprocess)
	if err != nil {
		return nil, err
	}
	m.SetMetadata(labelsKey, string(labels))
	m.SetMetadata(preprocessKey, string(preprocess))
	if err := m.Inline(); err != nil {
		return nil, err
	}
	return m.Bytes()
}

// checkedImages is how many images of the evaluated set the exported model has
// to classify as training did before it is written.
const checkedImages = 8

// tie is how far apart two logits may be for rounding to decide between them:
// on another batch, or another provider, features differ in the last bits.
const tie = 1e-3

// uncertain is how far apart the confidences in an answer may be for the same
// reason.
const uncertain = 1e-2

// checkExport runs the exported model on the first images of a set and compares
// its answers, and its confidence in them, with those of training.
func (e *encoding) checkExport(ctx context.Context, model []byte, set *encodedSet, logits []float32, scaling calib.Scaling) error {
	provider := onnx.Provider(e.backbone.encoder.Provider())
	s, err := onnx.NewSession(model, onnx.SessionOptions{Provider: provider, Threads: e.config.Threads})
	if err != nil {
		return err
	}
	defer s.Close()
	pre := e.backbone.preprocess
	classes, dim := int64(len(set.data.Classes)), int64(e.backbone.encoder.Dim())
	batch := max(s.Inputs()[0].Shape[0], 1)
	pixels := make([]float32, batch*int64(pre.Size()))
	p, z, embedding := make([]float32, batch*classes), make([]float32, batch*classes), make([]float32, batch*dim)
	for i, item := range set.data.Items[:min(checkedImages, len(set.data.Items))] {
		content, err := item.Bytes()
		if err == nil {
			err = pre.Bytes(content, pixels[:pre.Size()])
		}
		if err != nil {
			return fmt.Errorf("check the exported model on %s: %w", item.Path, err)
		}
		err = s.Run(ctx, []onnx.Tensor{{Shape: []int64{batch, 3, int64(pre.Height), int64(pre.Width)}, Data: pixels}}, []onnx.Tensor{
			{Shape: []int64{batch, classes}, Data: p}, {Shape: []int64{batch, classes}, Data: z}, {Shape: []int64{batch, dim}, Data: embedding}})
		if err != nil {
			return fmt.Errorf("check the exported model on %s: %w", item.Path, err)
		}
		trained := logits[i*int(classes) : (i+1)*int(classes)]
		if got, want := argmax(z[:classes]), argmax(trained); trained[want]-trained[got] > tie {
			return fmt.Errorf("the exported model says %q of %s where training said %q; it is not written",
				set.data.Classes[got], item.Path, set.data.Classes[want])
		}
		confidence := probabilities(trained, int(classes), scaling)
		if got, want := p[argmax(z[:classes])], confidence[argmax(trained)]; math.Abs(float64(got-want)) > uncertain {
			return fmt.Errorf("the exported model is %.3f sure of %s where training was %.3f; it is not written", got, item.Path, want)
		}
	}
	return nil
}

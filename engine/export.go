package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/vision"
)

// labelsKey is the metadata under which a model carries its class names, a JSON
// array in the order of the outputs.
const labelsKey = "vitft.labels"

// export turns the backbone into the whole classifier, pixel_values →
// probabilities, logits, embedding, as one file with labels and preprocessing
// in its metadata. The nodes that made the features stay as they are; of several
// views the embedding is the mean.
func (b *backbone) export(h *head.Head, views []vision.View, scaling calib.Scaling, classes []string) ([]byte, error) {
	m := b.model.Clone()
	var err error
	if len(views) > 1 {
		if m, err = vision.Average(m, views); err != nil {
			return nil, err
		}
	}
	var temperature []float32
	for _, t := range scaling.Temperature {
		temperature = append(temperature, float32(t))
	}
	err = vision.AppendHead(m, vision.Head{
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

// tie and uncertain are how far the exported model of a fresh run may be from
// what training saw: with another batch on CUDA features differ in the last
// bits, and a sharp softmax enlarges that. Export is stricter.
const (
	tie       = 1e-3
	uncertain = 1e-2
)

// checkExport runs the exported model on the first images of a set.
func (e *encoding) checkExport(ctx context.Context, model []byte, set *encodedSet, logits []float32, scaling calib.Scaling) error {
	a, err := agreement(ctx, model, ClassifierOptions{Provider: e.backbone.encoder.Provider(), Threads: e.config.Threads},
		set.data.Items[:min(checkedImages, len(set.data.Items))], logits, scaling)
	if err == nil {
		err = a.within(tie, uncertain)
	}
	if err != nil {
		return fmt.Errorf("check the exported model: %w", err)
	}
	return nil
}

// Agreement compares what an exported model says of images with what its run
// said. Differences are of probabilities.
type Agreement struct {
	Images         int     // compared
	Same           int     // of them, given the same label
	Margin         float64 // where labels differ: how much surer the run was of its label than of the model's, at most
	Largest        float64 // difference of any class on any image
	Mean           float64 // over the images, of the largest on each
	marginOf, from string  // where Margin and Largest were found
}

// agreement asks the serialised model about the items and compares its answers
// with the run's logits [n,C] and scaling.
func agreement(ctx context.Context, model []byte, o ClassifierOptions, items []dataset.Item, logits []float32, scaling calib.Scaling) (Agreement, error) {
	a := Agreement{Images: len(items)}
	c, err := NewClassifier(model, o)
	if err != nil {
		return a, err
	}
	defer c.Close()
	classes := len(c.labels)
	trained := probabilities(logits[:len(items)*classes], classes, scaling)
	encoded := make([][]byte, 0, checkedTogether)
	for at := 0; at < len(items); at += checkedTogether {
		part := items[at:min(at+checkedTogether, len(items))]
		encoded = encoded[:0]
		for _, item := range part {
			data, err := item.Bytes()
			if err != nil {
				return a, err
			}
			encoded = append(encoded, data)
		}
		results, err := c.ClassifyBatch(ctx, encoded)
		if err != nil {
			return a, err
		}
		for i, r := range results {
			if r.Err != nil {
				return a, fmt.Errorf("%s: %w", part[i].Path, r.Err)
			}
			row := (at + i) * classes
			a.add(part[i].Path, argmax(logits[row:row+classes]), trained[row:row+classes], r.Prediction)
		}
	}
	return a, nil
}

// checkedTogether bounds the files in memory while a model is checked.
const checkedTogether = 64

func (a *Agreement) add(path string, label int, trained []float32, p Prediction) {
	if p.Class == label {
		a.Same++
	} else if d := float64(trained[label] - trained[p.Class]); a.marginOf == "" || d > a.Margin {
		a.Margin, a.marginOf = d, fmt.Sprintf("%s, which is now %q with %.4f", path, p.Label, p.Confidence)
	}
	worst := 0.0
	for k, v := range trained {
		worst = max(worst, math.Abs(float64(v-p.Probabilities[k])))
	}
	if worst > a.Largest {
		a.Largest, a.from = worst, path
	}
	a.Mean += worst / float64(a.Images)
}

// within refuses a model that gives another label where the run was surer of its
// own by margin or more, or a probability that is off by more than difference.
func (a Agreement) within(margin, difference float64) error {
	switch {
	case a.Same < a.Images && a.Margin >= margin:
		return dataError("%d of %d images get another label than from the run, and not for a tie: it was surer of its own by %.4f, %g is allowed, of %s",
			a.Images-a.Same, a.Images, a.Margin, margin, a.marginOf)
	case a.Largest > difference:
		return dataError("a probability is off by %.2g, more than %g, on %s", a.Largest, difference, a.from)
	}
	return nil
}

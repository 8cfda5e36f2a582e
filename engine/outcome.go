package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// checkedImages is how many images of the evaluated set the exported model has to classify as training did; tie and
// uncertain are how far it may be from what training saw: with another batch on CUDA features differ in the last bits,
// and a sharp softmax enlarges that. Export is stricter.
const (
	checkedImages = 8
	tie           = 1e-3
	uncertain     = 1e-2
)

// outcome is a trained head, measured, and the classifier that is made of it.
type outcome struct {
	*trained
	set     *feature.Set // that it was measured on
	logits  []float32    // [n, C]
	metrics metric.Metrics
	model   []byte // model.onnx; nil if there is none
}

// measure measures a head on the test set, else the validation set, else the training set.
func (t *training) measure(ctx context.Context, trained *trained) (*outcome, error) {
	begin := time.Now()
	set := t.sets.Evaluated()
	logits, err := t.logits(ctx, trained.head, set, t.gemm)
	if err != nil {
		return nil, err
	}
	m := trained.fit.Measure(logits, set.Data.Labels(), set.Data.Classes, t.sets.Train.Data.Counts())
	m.Split, m.Loss, m.Epochs = set.Name, t.Training.Loss, t.Training.Epochs
	m.SwitchEpoch, m.Seed, m.Inside = t.Training.SwitchEpoch(), t.Training.Seed, t.said(trained.head)
	m.EarlyStop = trained.state.EarlyStop()
	m.Warnings = append(trained.state.Warnings(), m.Warnings...)
	for _, w := range m.Warnings {
		t.events.Warn(w)
	}
	for _, s := range t.sets.All() {
		m.Seconds.Encode += metric.Number(s.Seconds)
	}
	m.Seconds.Train, m.Seconds.Evaluate = metric.Number(trained.seconds), metric.Number(time.Since(begin).Seconds())
	return &outcome{trained: trained, set: set, logits: logits, metrics: m}, nil
}

// export makes the content of model.onnx and runs it on some of the images that the head was measured on.
func (t *training) export(ctx context.Context, o *outcome) (err error) {
	t.events.Info("exporting", "model", run.ModelFile.Path(t.dir))
	h, scaling := o.head, o.fit.Scaling
	var temperature []float32
	for _, v := range scaling.Temperature {
		temperature = append(temperature, float32(v))
	}
	parts := artifact.Parts{
		Labels: o.set.Data.Classes, Dim: h.Dim,
		Head: vision.Head{
			Classes: h.Classes, Weight: h.W, Bias: h.B, Mean: h.Mean, InvStd: h.InvStd, Transform: h.Transform,
			Normalize: h.Normalize, Temperature: temperature,
		},
	}
	if t.backbone != nil {
		parts.Backbone, parts.Preprocess = t.backbone.Model, t.backbone.Preprocess
		parts.Views = vision.Views(t.views.Test)
	}
	o.model, err = artifact.Build(parts)
	if errors.Is(err, graph.ErrModel) { // more than an ONNX file can hold; the rest of the run is good
		t.events.Warn("there is no model.onnx", "reason", err)
		return nil
	} else if err != nil {
		return fmt.Errorf("export the model: %w", err)
	}
	a, err := t.agreement(ctx, o.model, o.set, checkedImages, o.logits, scaling)
	if err == nil {
		err = a.Within(tie, uncertain)
	}
	if err != nil {
		return fmt.Errorf("check the exported model: %w", err)
	}
	return nil
}

// write writes what a finished run leaves, metrics.json and the sums of all files last.
func (t *training) write(ctx context.Context, o *outcome) error {
	steps := []func() error{
		func() error { return run.HeadFile.Write(t.dir, run.Head{Head: o.head, Scaling: o.fit.Scaling}) },
		func() error { return run.LabelsFile.Write(t.dir, o.set.Data.Classes) },
		func() error { return run.PredictionsFile.Write(t.dir, predictions(o.set, o.logits, o.fit.Scaling)) },
		func() error { return run.WarningsFile.Write(t.dir, t.warnings) },
		func() error { t.vouch(o.model); return run.ModelFile.Write(t.dir, o.model) },
		func() error { return t.dir.WriteCard(t.config, t.env, o.metrics) },
		func() error { return t.pictures(ctx, o) },
		func() error { return t.report(o) },
		func() error { return run.MetricsFile.Write(t.dir, o.metrics) },
		t.dir.Seal,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// vouch notes that a model has the nodes of the backbone.
func (t *training) vouch(model []byte) {
	if x, is := t.features.(*feature.Extractor); is {
		x.Vouch(artifact.SumOf(model))
	}
}

// report writes report.html from the other files and the metrics to come.
func (t *training) report(o *outcome) error {
	r, err := report.LoadWith(string(t.dir), o.metrics)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return r.Save()
}

// pictures writes what the report shows of photos and their features.
func (t *training) pictures(ctx context.Context, o *outcome) error {
	of := func(set *feature.Set) report.Images {
		images := report.Images{Set: set.Name, Labels: set.Data.Labels()}
		for _, item := range set.Data.Items {
			images.Paths = append(images.Paths, item.Path)
		}
		images.Open = func(i int) ([]byte, error) { return t.features.Bytes(set.Scan.IDs[i], set.Data.Items[i]) }
		return images
	}
	shown, err := report.Gather(o.set.Data.Classes, of(t.sets.Train), of(o.set),
		predictions(o.set, o.logits, o.fit.Scaling).Rows, func(rows []int) ([]float32, error) {
			ids := make([]store.ID, len(rows))
			for i, row := range rows {
				ids[i] = o.set.Scan.IDs[row]
			}
			return feature.Mean(ctx, t.features, ids, t.views.Test)
		})
	if err != nil {
		return fmt.Errorf("gather the pictures of the report: %w", err)
	}
	return run.PicturesFile.Write(t.dir, shown)
}

// predictions are the rows of predictions.csv.
func predictions(set *feature.Set, logits []float32, scaling calib.Scaling) run.Predictions {
	paths := make([]string, len(set.Data.Items))
	for i, item := range set.Data.Items {
		paths[i] = item.Path
	}
	return run.Predict(paths, set.Data.Labels(), logits, set.Data.Classes, scaling)
}

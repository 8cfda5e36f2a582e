package engine

import (
	"context"
	"path/filepath"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

// Evaluate measures the run in the folder dir on the images of c.Test. It needs
// nothing but the folder: the backbone is the front part of its model.onnx.
// Only the settings of c that change speed matter beside Test.
func Evaluate(ctx context.Context, dir string, c Config, ev Events) (_ Metrics, err error) {
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	var none Metrics
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return none, err
	}
	if dir == "" || c.Test == "" {
		return none, configError("evaluate needs a run folder (run) and images (test)")
	}
	if err := c.checkSources(); err != nil {
		return none, err
	}
	run := runFolder(dir)
	var trained Metrics
	var env environment
	if !run.has(metricsFile) {
		return none, dataError("%s is no finished run: it has no %s", dir, metricsFile)
	}
	if err := run.readJSON(metricsFile, &trained); err != nil {
		return none, err
	}
	if err := run.readJSON(environmentFile, &env); err != nil {
		return none, err
	}
	h, scaling, err := run.readHead()
	if err != nil {
		return none, err
	}
	classes, counts := make([]string, len(trained.PerClass)), make([]int, len(trained.PerClass))
	for k, class := range trained.PerClass {
		classes[k], counts[k] = class.Label, class.TrainCount
	}
	if h.Classes != len(classes) {
		return none, dataError("%s: the head has %d classes, %s names %d", dir, h.Classes, metricsFile, len(classes))
	}
	d, findings, err := dataset.Open(c.Test, dataset.Options{Classes: classes})
	if err != nil {
		return none, err
	}
	tell(findings, ev)

	enc, err := run.openEncoding(env, c, ev)
	if err != nil {
		return none, err
	}
	defer enc.close()
	set, err := enc.encode(ctx, "test", d, len(enc.views))
	if err != nil {
		return none, err
	}
	begin := time.Now()
	gemm, err := onnx.NewGemm(c.Threads, onnx.CPU)
	if err != nil {
		return none, err
	}
	defer gemm.Close()
	logits, err := enc.logits(h, set, gemm)
	if err != nil {
		return none, err
	}
	fit := calibration{scaling: scaling}
	if trained.Calibration != nil {
		fit.method, fit.fittedOn = trained.Calibration.Method, trained.Calibration.FittedOn
	}
	m := fit.measure(logits, set.labels(), classes, counts)
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = filepath.Base(c.Test), trained.Loss, trained.Epochs, trained.SwitchEpoch, trained.Seed
	m.Seconds = Seconds{Encode: Number(enc.seconds), Train: trained.Seconds.Train, Evaluate: Number(time.Since(begin).Seconds())}
	return m, nil
}

// openEncoding makes the backbone of a finished run ready: the part of its
// model.onnx that computes the embedding of a view, with the feature stores of
// the original backbone, whose nodes these are.
func (r runFolder) openEncoding(env environment, c Config, ev Events) (*encoding, error) {
	model, err := graph.Read(r.path(modelFile))
	if err != nil {
		return nil, err
	}
	pre := env.Backbone.Preprocess
	cut, inspection, err := model.Single().Backbone(graph.FeatureChoice{Tensor: graph.Embedding, Width: pre.Width, Height: pre.Height})
	if err != nil {
		return nil, err
	}
	b := &backbone{name: r.path(modelFile), sha256: env.Backbone.SHA256, model: cut, inspection: inspection, preprocess: pre}
	if err := b.open(c, ev); err != nil {
		return nil, err
	}
	key := env.Store.Fields
	key.Provider = b.encoder.Provider()
	views := env.TTA
	if views == nil {
		views = graph.Views(1)
	}
	c.TTA = len(views)
	return b.encoding(key, views, c, ev)
}

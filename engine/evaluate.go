package engine

import (
	"context"
	"path/filepath"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// Evaluate measures the run in the folder dir on the images of c.Test. It needs
// nothing but the folder: the backbone is the front part of its model.onnx.
// Beside Test and Out, only the settings of c that change speed matter.
func Evaluate(ctx context.Context, dir string, c Config, ev Events) (_ Metrics, err error) {
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	var none Metrics
	out := c.Out // without the default, which is for run folders
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
	run, err := openFinished(dir)
	if err != nil {
		return none, err
	}
	trained, classes := run.metrics, run.classes
	d, findings, err := dataset.Open(c.Test, dataset.Options{Classes: classes})
	if err != nil {
		return none, err
	}
	tell(findings, ev)

	enc, err := run.openEncoding(c, ev)
	if err != nil {
		return none, err
	}
	defer enc.close()
	set, err := enc.encode(ctx, "test", d, len(enc.views))
	if err != nil {
		return none, err
	}
	begin := time.Now()
	gemm, err := onnx.NewGemm(c.Threads, onnx.Provider(enc.backbone.encoder.Provider()))
	if err != nil {
		return none, err
	}
	defer gemm.Close()
	logits, err := enc.logits(run.head, set, gemm)
	if err != nil {
		return none, err
	}
	fit := calibration{scaling: run.scaling}
	if trained.Calibration != nil {
		fit.method, fit.fittedOn = trained.Calibration.Method, trained.Calibration.FittedOn
	}
	m := fit.measure(logits, set.labels(), classes, run.counts)
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = filepath.Base(c.Test), trained.Loss, trained.Epochs, trained.SwitchEpoch, trained.Seed
	if out != "" {
		if err := runFolder(filepath.Dir(out)).writeCSV(filepath.Base(out), predictions(set, logits, run.scaling)); err != nil {
			return none, err
		}
	}
	m.Seconds = Seconds{Encode: Number(enc.seconds), Train: trained.Seconds.Train, Evaluate: Number(time.Since(begin).Seconds())}
	return m, nil
}

// finished is a run that has been trained to its end.
type finished struct {
	runFolder
	metrics Metrics
	env     environment
	head    *head.Head
	scaling calib.Scaling
	classes []string
	counts  []int // training images of the classes
}

func openFinished(dir string) (*finished, error) {
	r := &finished{runFolder: runFolder(dir)}
	if !r.has(metricsFile) {
		return nil, dataError("%s is no finished run: it has no %s", dir, metricsFile)
	}
	if err := r.readJSON(metricsFile, &r.metrics); err != nil {
		return nil, err
	}
	if err := r.readJSON(environmentFile, &r.env); err != nil {
		return nil, err
	}
	var err error
	if r.head, r.scaling, err = r.readHead(); err != nil {
		return nil, err
	}
	for _, class := range r.metrics.PerClass {
		r.classes, r.counts = append(r.classes, class.Label), append(r.counts, class.TrainCount)
	}
	if r.head.Classes != len(r.classes) {
		return nil, dataError("%s: the head has %d classes, %s names %d", dir, r.head.Classes, metricsFile, len(r.classes))
	}
	return r, nil
}

// openEncoding makes the backbone of a finished run ready: the part of its
// model.onnx that computes the embedding of a view, with the feature stores of
// the original backbone, whose nodes these are.
func (r *finished) openEncoding(c Config, ev Events) (*encoding, error) {
	model, err := graph.Read(r.path(modelFile))
	if err != nil {
		return nil, err
	}
	pre := r.env.Backbone.Preprocess
	cut, inspection, err := vision.Backbone(vision.Single(model), vision.FeatureChoice{Tensor: vision.Embedding, Width: pre.Width, Height: pre.Height})
	if err != nil {
		return nil, err
	}
	b := &backbone{name: r.path(modelFile), sha256: r.env.Backbone.SHA256, model: cut, inspection: inspection, preprocess: pre}
	if err := b.open(c, ev); err != nil {
		return nil, err
	}
	key := r.env.Store.Fields
	key.Provider = b.encoder.Provider()
	views := r.env.TTA
	if views == nil {
		views = vision.Views(1)
	}
	c.TTA = len(views)
	return b.encoding(key, views, c, ev)
}

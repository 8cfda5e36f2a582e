package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
)

// EvaluateOptions say which run to measure, and on what.
type EvaluateOptions struct {
	Run      string // the folder of a finished run; nothing else of it is needed
	Test     string // images with labels, see dataset.Sources
	Out      string // a file to write in the form of predictions.csv; none by default
	Device   device.Options
	Features feature.Options
}

// Fields declares the settings.
func (o *EvaluateOptions) Fields() []setting.Field {
	return append([]setting.Field{
		runField(&o.Run),
		setting.Path("test", &o.Test, "", "images with labels"),
		setting.Text("out", &o.Out, "", nil, "CSV file for path, label, predicted and confidence of each image").Here(),
	}, fieldsOf(&o.Device, &o.Features)...)
}

// runField is the setting of tasks that need a finished run.
func runField(p *string) setting.Field {
	return setting.Text("run", p, "", nil, "run folder written by finetune").Here()
}

// EvaluateResult is how a run does on other images.
type EvaluateResult struct{ Metrics metric.Metrics }

// Evaluate measures a run on other images. The backbone is the front part of the run's model.onnx.
func Evaluate(ctx context.Context, o EvaluateOptions, ev event.Events) (_ *EvaluateResult, err error) {
	defer place.Hold()()
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	if o.Run == "" || o.Test == "" {
		return nil, fault.Config.Errorf("evaluate needs a run folder (run) and images (test)")
	}
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	out, err := place.Out(o.Out)
	if err == nil && o.Out != "" {
		err = artifact.Free(out.Name())
	}
	if err != nil {
		return nil, err
	}
	r, err := run.Open(o.Run)
	if err != nil {
		return nil, err
	}
	d, given, findings, err := openFor(r, "test", o.Test)
	if err != nil {
		return nil, err
	}
	dataset.Warn(findings, ev)
	s, err := reopen(ctx, r, given, o.Device, o.Features, ev)
	if err != nil {
		return nil, err
	}
	defer s.close()
	begin := time.Now()
	set, logits, err := s.judge(ctx, r, d)
	if err != nil {
		return nil, err
	}
	trained := r.Metrics
	fit := metric.Fit{Scaling: r.Scaling}
	if c := trained.Calibration; c != nil {
		fit.Method, fit.FittedOn = c.Method, c.FittedOn
	}
	m := fit.Measure(logits, set.Data.Labels(), r.Classes, r.Counts)
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = d.Name, trained.Loss, trained.Epochs,
		trained.SwitchEpoch, trained.Seed
	m.EarlyStop = trained.EarlyStop
	if o.Out != "" {
		err := predictions(set, logits, r.Scaling).WriteFile(out.Path)
		if err = cmp.Or(err, out.Publish("", nil)); err != nil {
			return nil, err
		}
	}
	m.Seconds = metric.Seconds{
		Encode: metric.Number(set.Seconds), Train: trained.Seconds.Train,
		Evaluate: metric.Number(time.Since(begin).Seconds() - set.Seconds),
	}
	return &EvaluateResult{m}, nil
}

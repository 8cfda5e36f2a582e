package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// FinetuneOptions are everything that decides a run. The zero value of all but Data.Train is right for most uses: each
// default stands in the Fields of its group, those of the loss in docs/method.md.
type FinetuneOptions struct {
	Data        dataset.Sources
	Backbone    backbone.Options
	Device      device.Options
	Features    feature.Options
	Views       Views
	Calibration Calibration
	Training    head.Settings // but for Gemm, Val, Resume and Events

	Out     string           // the run folder; "run"
	Resume  bool             // go on with the interrupted run in Out; all else may then be left at its zero value
	OnEpoch func(head.Epoch) // follows each epoch, if not nil
}

// Fields declares the settings.
func (o *FinetuneOptions) Fields() []setting.Field {
	return append(slices.Concat(o.untrained(), o.Training.Fields()),
		setting.Text("out", &o.Out, "run", nil, "run folder; one that is there already is kept under another name").Here(),
		setting.Flag("resume", &o.Resume, "go on with the interrupted run in --out").Here(),
	)
}

// untrained are the fields of what comes before and after training.
func (o *FinetuneOptions) untrained() []setting.Field {
	return fieldsOf(&o.Data, &o.Backbone, &o.Device, &o.Features, &o.Views, &o.Calibration)
}

// complete fills in the defaults and reports everything that is wrong.
func (o *FinetuneOptions) complete() error {
	o.Training = o.Training.WithDefaults()
	setting.Fill(o.Fields())
	if err := errors.Join(setting.Check(o.untrained()), o.Training.Validate()); err != nil {
		return err
	}
	if o.Data.Train == "" {
		return fault.Config.Errorf("train: name the training images: a folder of class folders, a .csv or .jsonl manifest, or an IDX file")
	}
	return o.Data.Exist()
}

// FinetuneResult is a finished run.
type FinetuneResult struct {
	Run     string // the run folder
	Metrics metric.Metrics
}

// checkedImages is how many images of the evaluated set the exported model has to classify as training did; tie and
// uncertain are how far it may be from what training saw: with another batch on CUDA features differ in the last bits,
// and a sharp softmax enlarges that. Export is stricter.
const (
	checkedImages = 8
	tie           = 1e-3
	uncertain     = 1e-2
)

// Finetune trains a head and leaves a run folder.
//
// When ctx is cancelled the features encoded and the epochs trained so far are on disk, and the error wraps ctx.Err().
func Finetune(ctx context.Context, o FinetuneOptions, ev event.Events) (_ *FinetuneResult, err error) {
	begun := o.Resume // there is a folder to go on with
	defer func() {
		cure := "the same command goes on"
		if begun {
			cure = "go on with --resume"
		}
		err = interruption(ctx, err, cure)
	}()
	var warnings []string
	ev = ev.Recording(&warnings)
	dir := run.Folder(cmp.Or(o.Out, "run"))
	if o.Resume {
		lock, err := dir.Lock()
		if err == nil {
			defer lock.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := o.continueRun(dir); err != nil {
			return nil, err
		}
		if run.MetricsFile.Exists(dir) {
			ev.Info("the run is finished already", "run", string(dir))
			m, err := run.MetricsFile.Read(dir)
			return &FinetuneResult{string(dir), m}, err
		}
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	images, err := o.Data.Open(o.Training.Seed, ev)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, o.Backbone, o.Device, o.Features, o.Views, ev)
	if err != nil {
		return nil, err
	}
	defer s.close()
	config, err := run.ConfigOf(o.Fields())
	if err != nil {
		return nil, err
	}
	if !o.Resume {
		lock, err := dir.Create(config, ev)
		if err != nil {
			return nil, err
		}
		defer lock.Close()
		begun = true
	}
	env, err := s.environment()
	if err != nil {
		return nil, err
	}
	if err := run.EnvironmentFile.Write(dir, env); err != nil {
		return nil, err
	}
	judged := o.Data.Val == "" && o.Data.Test == "" || o.Calibration.outOfFold(o.Data.Val)
	sets, err := s.encode(ctx, images, judged)
	if skipErr := run.SkippedFile.Write(dir, skipped(sets)); err == nil {
		err = skipErr
	}
	if err != nil {
		return nil, err
	}

	gemm, err := s.gemm()
	if err != nil {
		return nil, err
	}
	defer gemm.Close()
	t := training{FinetuneOptions: o, session: s, dir: dir, sets: sets, gemm: gemm}
	trained, err := t.train(ctx)
	if err != nil {
		return nil, err
	}

	begin := time.Now()
	set := sets.Evaluated()
	logits, err := s.logits(ctx, trained.head, set, gemm)
	if err != nil {
		return nil, err
	}
	m := trained.fit.Measure(logits, set.Data.Labels(), set.Data.Classes, sets.Train.Data.Counts())
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = set.Name, o.Training.Loss, o.Training.Epochs, o.Training.SwitchEpoch(), o.Training.Seed
	m.Seconds = metric.Seconds{
		Encode: metric.Number(seconds(sets)), Train: metric.Number(trained.seconds), Evaluate: metric.Number(time.Since(begin).Seconds()),
	}

	ev.Info("exporting", "model", run.ModelFile.Path(dir))
	model, err := s.build(trained.head, trained.fit.Scaling, set.Data.Classes)
	switch {
	case errors.Is(err, graph.ErrModel): // more than an ONNX file can hold; the rest of the run is good
		ev.Warn("there is no model.onnx", "reason", err)
	case err != nil:
		return nil, fmt.Errorf("export the model: %w", err)
	default:
		a, err := s.agreement(ctx, model, set, checkedImages, logits, trained.fit.Scaling)
		if err == nil {
			err = a.Within(tie, uncertain)
		}
		if err != nil {
			return nil, fmt.Errorf("check the exported model: %w", err)
		}
	}
	steps := []func() error{
		func() error {
			return run.HeadFile.Write(dir, run.Head{Head: trained.head, Scaling: trained.fit.Scaling})
		},
		func() error { return run.LabelsFile.Write(dir, set.Data.Classes) },
		func() error { return run.PredictionsFile.Write(dir, predictions(set, logits, trained.fit.Scaling)) },
		func() error { return run.WarningsFile.Write(dir, warnings) },
		func() error { return run.ModelFile.Write(dir, model) },
		func() error { return dir.WriteCard(config, env, m) },
		func() error { return s.report(dir, m, set) },
		func() error { return run.MetricsFile.Write(dir, m) }, // the last: with it the run is finished
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &FinetuneResult{string(dir), m}, nil
}

// continueRun replaces o by the options of the run in the folder; what o sets itself must agree with them.
func (o *FinetuneOptions) continueRun(dir run.Folder) error {
	if !run.ConfigFile.Exists(dir) {
		return fault.Config.Errorf("resume: there is no run to go on with in %s (no %s)", dir, run.ConfigFile.Name)
	}
	saved, err := run.ConfigFile.Read(dir)
	if err != nil {
		return err
	}
	before := FinetuneOptions{Out: o.Out, Resume: true, OnEpoch: o.OnEpoch}
	before.Device.Library = o.Device.Library
	if err := setting.Set(before.Fields(), saved.Values()); err != nil {
		return run.ConfigFile.Damaged(dir, err)
	}
	given := setting.Given(o.Fields())
	o.Training, before.Training = o.Training.WithDefaults(), before.Training.WithDefaults()
	setting.Fill(o.Fields())
	setting.Fill(before.Fields())
	if d := setting.Differences(given, o.Fields(), before.Fields()); d != nil {
		return fault.Config.Errorf("resume: the run in %s has other settings (%s); leave them out, or start a run anew", dir, strings.Join(d, "; "))
	}
	*o = before
	return nil
}

// environment is what environment.json holds.
func (s *session) environment() (run.Environment, error) {
	b, key := s.backbone, s.backbone.Key()
	fields, err := json.Marshal(key)
	if err != nil {
		return run.Environment{}, err
	}
	library, _ := onnx.Loaded()
	env := run.Here()
	env.Runtime = run.Library{Path: library.Path, Version: library.Version, API: library.API, Source: library.Source}
	env.Provider = run.Provider{Asked: s.device.Provider, Ran: b.Session.Provider(), Note: b.Session.Note()}
	env.Backbone = run.Backbone{Name: b.Name, SHA256: b.SHA256, Feature: b.Inspection.Feature, Preprocess: b.Preprocess}
	env.Store = run.Store{Key: key.Hash(), Fields: fields}
	if s.views.Test > 1 {
		env.TTA = vision.Views(s.views.Test)
	}
	return env, nil
}

// build makes the content of model.onnx.
func (s *session) build(h *head.Head, scaling calib.Scaling, classes []string) ([]byte, error) {
	var t []float32
	for _, v := range scaling.Temperature {
		t = append(t, float32(v))
	}
	return artifact.Build(artifact.Parts{
		Backbone: s.backbone.Model, Views: vision.Views(s.views.Test), Labels: classes, Preprocess: s.backbone.Preprocess,
		Head: vision.Head{
			Classes: h.Classes, Weight: h.W, Bias: h.B, Mean: h.Mean, InvStd: h.InvStd, Transform: h.Transform,
			Normalize: h.Normalize, Temperature: t,
		},
	})
}

// report writes report.html from the other files and the metrics to come, with pictures from the copies of images.
func (s *session) report(dir run.Folder, m metric.Metrics, set *feature.Set) error {
	r, err := report.LoadWith(string(dir), m)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	at := make(map[string]int, len(set.Data.Items))
	for i, item := range set.Data.Items {
		at[item.Path] = i
	}
	r.Open = func(path string) ([]byte, error) {
		i, ok := at[path]
		if !ok {
			return nil, fmt.Errorf("%s is no image of the set: %w", path, fs.ErrNotExist)
		}
		return s.features.Bytes(set.Scan.IDs[i], set.Data.Items[i])
	}
	return r.Save()
}

// skipped lists the images that were left out.
func skipped(s *feature.Sets) []run.Skipped {
	var all []run.Skipped
	for _, set := range s.All() {
		for _, u := range set.Unreadable {
			all = append(all, run.Skipped{Set: set.Name, Path: u.Path, Reason: u.Reason})
		}
	}
	return all
}

// seconds is what encoding all sets took.
func seconds(s *feature.Sets) float64 {
	sum := 0.0
	for _, set := range s.All() {
		sum += set.Seconds
	}
	return sum
}

// predictions are the rows of predictions.csv.
func predictions(set *feature.Set, logits []float32, scaling calib.Scaling) run.Predictions {
	paths := make([]string, len(set.Data.Items))
	for i, item := range set.Data.Items {
		paths[i] = item.Path
	}
	return run.Predict(paths, set.Data.Labels(), logits, set.Data.Classes, scaling)
}

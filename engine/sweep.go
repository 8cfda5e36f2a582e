package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
)

// SweepOptions say which heads to train and to compare, and on what.
type SweepOptions struct {
	Data        dataset.Sources
	Backbone    backbone.Options
	Device      device.Options
	Features    feature.Options
	Views       Views
	Calibration Calibration
	// what heads share where the grid does not say otherwise; its Seed also decides what Data.Val holds out
	Training head.Settings
	Adapt    inside.Options // likewise

	Experiment sweep.Experiment
	Out        string // the folder of the sweep
	TakeOver   bool   // though another machine seems to be writing to Out, which is in an object store
}

// Fields declares the settings.
func (o *SweepOptions) Fields() []setting.Field {
	return append(slices.Concat(o.shared(), o.Training.Fields(), o.Adapt.Fields()),
		setting.Text("out", &o.Out, "", nil, "folder of the sweep (default: sweep- and the name of the file)").Here(),
		takeOver(&o.TakeOver))
}

// shared are the fields of what is one for all heads.
func (o *SweepOptions) shared() []setting.Field {
	return fieldsOf(&o.Data, &o.Backbone, &o.Device, &o.Features, &o.Views, &o.Calibration)
}

// ofImages are the fields of what makes features of images.
func (o *SweepOptions) ofImages() []setting.Field { return fieldsOf(&o.Backbone, &o.Views) }

// Recipe is what heads share where the grid does not say otherwise.
func (o *SweepOptions) Recipe() sweep.Recipe { return sweep.Recipe{Head: o.Training, Below: o.Adapt} }

// SweepResult is a finished sweep.
type SweepResult struct {
	Folder  string
	Summary *sweep.Summary
}

// ParseSweep reads an experiment file: the experiment, and the settings outside it, by the keys of SweepOptions.
func ParseSweep(text []byte) (sweep.Experiment, map[string]any, error) {
	var o SweepOptions
	return sweep.Parse(text, setting.Keys(o.Fields()), setting.Keys(new(sweep.Recipe).Fields()))
}

// Sweep trains the heads of an experiment on features that are encoded once, and leaves their tables in a folder.
//
// Each head is kept in a file of its own soon after it is trained: the same sweep again goes on where it was
// interrupted, and one with another grid uses the heads that still fit. A head that cannot be trained is recorded as
// failed and does not stop the others.
func Sweep(ctx context.Context, o SweepOptions, ev event.Events) (_ *SweepResult, err error) {
	defer place.Hold()()
	caller := ctx
	defer func() { err = interruption(caller, err, "the same command goes on") }()
	idle := o.Data.WithoutEffect()
	plan, err := o.Experiment.Plan(sweep.Resolver(o.Recipe()))
	if err != nil {
		return nil, err
	}
	given, err := embedding.Given(ctx, &o.Data, o.ofImages(), ev)
	if err != nil {
		return nil, err
	}
	if err := o.complete(ctx, plan, ev); err != nil {
		return nil, err
	}
	warnWithoutEffect(append(idle, o.Experiment.Idle(o.Recipe())...), ev)
	for _, key := range o.Experiment.WithoutEffect(o.Recipe()) {
		ev.Warn("every block of the grid sets this key, so that its value outside the grid has no effect", "key", key)
	}
	images, s, err := begin(ctx,
		inputs{o.Data, o.Backbone, o.Device, o.Features, o.Views, o.Training.Seed, given}, ev)
	if err != nil {
		return nil, err
	}
	defer s.close()
	below, err := s.plans(plan, images)
	if err != nil {
		return nil, err
	}
	config, err := o.config(given)
	judged := images.Images() - len(images.Train.Items)
	if err = errors.Join(err, plan.Check(s.size(images, judged, o.Calibration, o.needsFolds()))); err != nil {
		return nil, err
	}
	out, err := place.Out(o.Out)
	if err != nil {
		return nil, err
	}
	dir := run.Folder(out.Path)
	lock, err := dir.CreateSweep(config)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	shared, err := dir.ShareSweep(ctx, out, o.TakeOver, ev)
	if err != nil {
		return nil, err
	}
	defer func() { err = shared.Close(err) }()
	ctx = shared.Context(ctx)
	sets, err := s.encode(ctx, images, o.needsFolds())
	if err != nil {
		return nil, err
	}
	gemm, err := onnx.NewGemm(1, onnx.CPU) // heads are trained side by side
	if err != nil {
		return nil, err
	}
	defer gemm.Close()
	t, err := o.trainer(ctx, s, sets)
	if err != nil {
		return nil, err
	}
	t.Plan, t.Gemm, t.Events = plan, gemm, ev
	inside, err := o.inside(ctx, t, s, sets, below)
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	alone := func(h sweep.Head) error {
		c, err := o.configOf(h, given)
		if err == nil {
			err = run.SweepConfigFile(h.ID).Write(dir, c)
		}
		return err
	}
	t.Kept = func(id string) (sweep.Head, error) {
		h, err := run.SweepHeadFile(id).Read(dir)
		if err == nil && !run.SweepConfigFile(id).Exists(dir) { // it was trained on another machine
			err = alone(h)
		}
		return h, err
	}
	t.Keep = func(h sweep.Head) error {
		err := alone(h)
		if err == nil {
			err = run.SweepHeadFile(h.ID).Write(dir, h)
		}
		if err == nil {
			shared.Saved(run.SweepHeadFile(h.ID).File)
			err = run.SweepCheckpointFile(h.ID).Delete(dir)
		}
		return err
	}
	t.Save = func(id string, s *head.State) error {
		f := run.SweepCheckpointFile(id)
		err := f.Write(dir, &run.Checkpoint{Images: t.Version, State: *s})
		if err == nil {
			shared.Saved(f.File)
		}
		return err
	}
	t.Begun = func(id string) (*head.State, error) {
		c, err := run.SweepCheckpointFile(id).Read(dir)
		if c == nil || c.Images != t.Version {
			return nil, err
		}
		return &c.State, nil
	}
	heads, err := t.Run(ctx)
	if err != nil {
		return nil, err
	}
	summary := sweep.Summarize(o.Experiment, plan, heads, t.Test.Y, t.Test.Classes)
	err = errors.Join(
		run.HeadsFile.Write(dir, summary),
		run.SummaryFile.Write(dir, summary),
		run.SummaryTextFile.Write(dir, []byte(summary.Markdown())),
	)
	if err == nil {
		_, err = report.Save(out.Path)
	}
	if err == nil {
		err = dir.Seal()
	}
	if err != nil {
		return nil, err
	}
	if summary.Failed() == len(summary.Heads) {
		return nil, fault.Config.Errorf("every head failed (%s); the first: %s", run.HeadsFile.Path(dir),
			summary.Heads[0].Error)
	}
	shared.Settle()
	return &SweepResult{out.Name(), summary}, publish(out, run.SummaryFile.File, ev)
}

// complete fills in the defaults outside the heads, resolves the data and reports everything that is wrong.
func (o *SweepOptions) complete(ctx context.Context, plan *sweep.Plan, ev event.Events) error {
	o.Out = cmp.Or(o.Out, "sweep")
	err := errors.Join(setting.Complete(o.shared()), plan.Below(func(_ string, below inside.Options) error {
		return below.Validate(o.Backbone.Adapter, o.Views.Train)
	}))
	if err == nil {
		err = o.Data.Resolve(ctx, ev)
	}
	if err != nil {
		return err
	}
	switch {
	case o.Data.Train == "" || o.Data.Test == "":
		return fault.Config.Errorf("train, test: a sweep needs both, images to learn from and images to measure on")
	case o.Experiment.Selection == sweep.SelectVal && o.Data.Val == "":
		return fault.Config.Errorf("selection: val needs validation images: name them, or a fraction to hold out, " +
			"with the key val; or select by cv")
	}
	early := func(c sweep.Configuration) bool { return c.Settings["early-stop"] != 0 }
	return stoppable(slices.ContainsFunc(plan.Configurations, early), o.Data.Val)
}

// needsFolds says whether heads are judged by out-of-fold logits, for their score or to calibrate.
func (o *SweepOptions) needsFolds() bool {
	return o.Experiment.Selection == sweep.SelectCV || o.Calibration.outOfFold(o.Data.Val)
}

// config is the experiment file with every default outside the heads filled in. A setting of heads that is left out is
// a default of its loss: there is no one value to write.
func (o *SweepOptions) config(given *embedding.Source) (run.Config, error) {
	unset := func(f setting.Field) bool { return !f.IsSet() }
	recipe := o.Recipe()
	c, err := run.ConfigOf(append(given.Recorded(o.shared(), o.ofImages()),
		slices.DeleteFunc(recipe.Fields(), unset)...))
	if err != nil {
		return nil, err
	}
	return c.With(o.Experiment)
}

// configOf are the settings by which finetune trains a head of the sweep.
func (o *SweepOptions) configOf(h sweep.Head, given *embedding.Source) (run.Config, error) {
	var r sweep.Recipe
	if err := setting.Set(r.Fields(), h.Settings); err != nil {
		return nil, err
	}
	r.Head.Seed = h.Seed
	setting.Fill(r.Fields())
	return run.ConfigOf(append(given.Recorded(o.shared(), o.ofImages()), r.Fields()...))
}

// trainer has the features in memory.
func (o *SweepOptions) trainer(ctx context.Context, s *session, sets *feature.Sets) (*sweep.Trainer, error) {
	t := &sweep.Trainer{
		Name: o.Experiment.Name, Selection: o.Experiment.Selection, Method: o.Calibration.Method,
		Folds: o.Calibration.Folds, Classes: sets.Train.Data.Classes, Version: run.Version(),
	}
	learned := sets.Learned()
	t.Order = learned.Classes
	hash := sha256.New()
	fmt.Fprintln(hash, s.key(), t.Selection, t.Method)
	if o.needsFolds() {
		fmt.Fprintln(hash, t.Folds)
	}
	learned.Identify(hash)
	t.Identity = hex.EncodeToString(hash.Sum(nil))
	var errs [4]error
	t.Learn, errs[0] = s.toLearn(ctx, learned.Train)
	t.Test, errs[1] = s.toJudge(ctx, sets.Test)
	if learned.Val != nil {
		t.Val, errs[2] = s.toJudge(ctx, learned.Val)
	}
	if o.needsFolds() {
		t.Held, errs[3] = s.toJudge(ctx, learned.Train)
	}
	return t, errors.Join(errs[:]...)
}

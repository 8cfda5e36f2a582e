package engine

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
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
	Adapt       inside.Options
	Training    head.Settings // but for Gemm, Val, Resume and Events

	Out      string           // the run folder; "run"
	Resume   bool             // go on with the interrupted run in Out; all else may then be left at its zero value
	TakeOver bool             // though another machine seems to be writing to Out, which is in an object store
	DryRun   bool             // only say what would be encoded and trained
	OnEpoch  func(head.Epoch) // follows each epoch, if not nil
	// Zeros are the keys of settings that are asked for at their zero value, which o cannot tell from those that are
	// left out: a run that is resumed must agree in them too. In a run that begins, both are the same.
	Zeros []string
}

// Fields declares the settings.
func (o *FinetuneOptions) Fields() []setting.Field {
	return slices.Concat(o.untrained(), o.Training.Fields(), setting.In("output",
		setting.Text("out", &o.Out, "run", nil,
			"run folder; one that is there already is kept under another name").Here(),
		setting.Flag("resume", &o.Resume, "go on with the interrupted run in --out").Here(),
		takeOver(&o.TakeOver),
		setting.Flag("dry-run", &o.DryRun,
			"say what would be encoded, on which disk and in which time, what is trained, and what is wrong with the "+
				"data").Here(),
	))
}

// takeOver is the field of what takes an output over from another machine.
func takeOver(p *bool) setting.Field {
	return setting.Flag("take-over", p, "write to an --out in an object store though another machine did so just now, "+
		"which is gone").Here()
}

// untrained are the fields of what comes before and after training.
func (o *FinetuneOptions) untrained() []setting.Field {
	return fieldsOf(&o.Data, &o.Backbone, &o.Device, &o.Features, &o.Views, &o.Calibration, &o.Adapt)
}

// ofImages are the fields of what makes features of images.
func (o *FinetuneOptions) ofImages() []setting.Field {
	return fieldsOf(&o.Backbone, &o.Views, &o.Adapt)
}

// complete fills in the defaults, resolves the data and reports everything that is wrong.
func (o *FinetuneOptions) complete(ctx context.Context, ev event.Events) error {
	o.Training = o.Adapt.Recipe(o.Training).WithDefaults()
	setting.Fill(o.Fields())
	err := errors.Join(setting.Check(o.untrained()), o.Training.Validate(),
		o.Adapt.Validate(o.Backbone.Adapter, o.Views.Train))
	if err == nil {
		err = o.Adapt.Trains(o.Training)
	}
	if err != nil {
		return err
	}
	if o.Data.Train == "" {
		return fault.Config.Errorf("train: name the training images: a folder of class folders, a list (.csv, " +
			".jsonl, …), or a file of images (.parquet, .tar, .zip, …)")
	}
	if err := o.Data.Resolve(ctx, ev); err != nil {
		return err
	}
	return stoppable(o.Training.EarlyStop > 0, o.Data.Val)
}

// FinetuneResult is a finished run.
type FinetuneResult struct {
	Run      string // the run folder
	Metrics  metric.Metrics
	Forecast *Forecast // of a dry run, which has nothing else; nil of others
}

// Finetune trains a head and leaves a run folder.
//
// When ctx is cancelled the features encoded and the epochs trained so far are on disk, and the error wraps ctx.Err().
func Finetune(ctx context.Context, o FinetuneOptions, ev event.Events) (_ *FinetuneResult, err error) {
	defer place.Hold()()
	begun := o.Resume // there is a folder to go on with
	caller := ctx
	defer func() {
		cure := "the same command goes on"
		if begun {
			cure = "go on with --resume"
		}
		err = interruption(caller, err, cure)
	}()
	out, err := place.Out(cmp.Or(o.Out, "run"))
	if err != nil {
		return nil, err
	}
	t := training{dir: run.Folder(out.Path)}
	ev = ev.Recording(&t.warnings)
	if o.Resume && o.DryRun {
		return nil, fault.Config.Errorf("dry-run, resume: what an interrupted run does is decided; leave one of the " +
			"two out")
	}
	defer func() { err = t.shared.Close(err) }()
	if o.Resume {
		shared, dir, err := t.dir.GoOn(ctx, out, o.TakeOver, ev)
		if t.shared = shared; err != nil {
			return nil, err
		}
		lock, finished, err := o.resume(ctx, dir, ev)
		if err == nil && finished != nil {
			finished.Run = out.Name()
			if dir == t.dir {
				t.shared.Settle()
				err = publish(out, run.MetricsFile.File, ev)
			}
		}
		if err != nil || finished != nil {
			return finished, err
		}
		defer lock.Close()
	}
	idle := slices.Concat(o.Data.WithoutEffect(), o.Calibration.withoutEffect(o.Data.Val), o.Adapt.WithoutEffect(),
		o.Training.WithoutEffect())
	given, err := embedding.Given(ctx, &o.Data, o.ofImages(), ev)
	if err != nil {
		return nil, err
	}
	if err := o.complete(ctx, ev); err != nil {
		return nil, err
	}
	warnWithoutEffect(idle, ev)
	images, s, err := begin(ctx,
		inputs{o.Data, o.Backbone, o.Device, o.Features, o.Views, o.Training.Seed, given}, ev)
	if err != nil {
		return nil, err
	}
	t.FinetuneOptions, t.session = o, s
	defer func() { err = errors.Join(err, t.session.close()) }()
	if err := t.place(images); err != nil {
		return nil, err
	}
	if err := t.plan(images); err != nil {
		return nil, err
	}
	if t.below != nil {
		defer func() { err = errors.Join(err, t.below.Close()) }()
	}
	if t.config, err = run.ConfigOf(given.Recorded(t.Fields(), o.ofImages())); err != nil {
		return nil, err
	}
	if o.DryRun {
		forecast, err := t.foresee(ctx, images)
		return &FinetuneResult{Forecast: forecast}, err
	}
	if o.Adapt.On() { // whose tokens take the disk that features do not
		if _, err := t.forecast(ctx, images); err != nil {
			return nil, err
		}
	}
	if !o.Resume {
		lock, err := t.dir.Create(t.config, ev)
		if err != nil {
			return nil, err
		}
		defer lock.Close()
		begun = true
		if t.shared, err = t.dir.Share(ctx, out, o.TakeOver, ev); err != nil {
			return nil, err
		}
	}
	ctx = t.shared.Context(ctx)
	if err := t.encode(ctx, images); err != nil {
		return nil, err
	}
	if t.gemm, err = s.gemm(); err != nil {
		return nil, err
	}
	defer t.gemm.Close()
	trained, err := t.train(ctx)
	if err != nil {
		return nil, err
	}
	done, err := t.measure(ctx, trained)
	if err != nil {
		return nil, err
	}
	if err := t.export(ctx, done); err != nil {
		return nil, err
	}
	if err := t.write(ctx, done); err != nil {
		return nil, err
	}
	t.shared.Settle()
	return &FinetuneResult{Run: out.Name(), Metrics: done.metrics}, publish(out, run.MetricsFile.File, ev)
}

// publish leaves the folder of a finished run or sweep, which one of its files makes whole, where it is to be.
func publish(out *place.Output, last run.File, ev event.Events) error {
	return out.Publish(last.Name, func(as string) {
		ev.Info("the run that was here is kept", "run", out.Name(), "kept", as)
	})
}

// resume locks the folder and replaces o by the options of the run in it; what o sets itself must agree with them, but
// for the cache, which decides nothing, and is another where a run goes on on another machine. If the run is finished
// it returns the result in place of the lock.
func (o *FinetuneOptions) resume(ctx context.Context, dir run.Folder, ev event.Events) (lock io.Closer,
	finished *FinetuneResult, err error) {
	held, err := dir.Lock()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if lock == nil {
			err = errors.Join(err, held.Close())
		}
	}()
	saved, err := run.ConfigFile.Read(dir)
	if err != nil {
		return nil, nil, err
	}
	before := FinetuneOptions{Out: o.Out, Resume: true, TakeOver: o.TakeOver, OnEpoch: o.OnEpoch}
	before.Device.Library, before.Features.Copies = o.Device.Library, o.Features.Copies
	if err := setting.Set(before.Fields(), saved.Values()); err != nil {
		return nil, nil, run.ConfigFile.Damaged(dir, err)
	}
	if _, err := os.Stat(before.Features.Cache); o.Features.Cache != "" ||
		errors.Is(err, fs.ErrNotExist) && !place.IsURL(before.Features.Cache) {
		before.Features.Cache = o.Features.Cache
	}
	given := append(setting.Given(o.Fields()), o.Zeros...)
	o.Training, before.Training = o.Adapt.Recipe(o.Training).WithDefaults(), before.Training.WithDefaults()
	setting.Fill(o.Fields())
	setting.Fill(before.Fields())
	if err := o.Data.Resolve(ctx, event.Events{}); err != nil {
		return nil, nil, err
	}
	if d := setting.Differences(given, o.Fields(), before.Fields()); d != nil {
		return nil, nil, fault.Config.Errorf("resume: the run in %s has other settings (%s); leave them out, or "+
			"start a run anew", dir, strings.Join(d, "; "))
	}
	*o = before
	if !run.MetricsFile.Exists(dir) {
		if err := dir.Unseal(); err != nil {
			return nil, nil, err
		}
		return held, nil, nil
	}
	ev.Info("the run is finished already", "run", string(dir))
	m, err := run.MetricsFile.Read(dir)
	return nil, &FinetuneResult{Run: string(dir), Metrics: m}, errors.Join(err, dir.Finish())
}

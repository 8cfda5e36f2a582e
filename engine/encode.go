package engine

import (
	"context"
	"errors"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
)

// EncodeOptions say which images to encode, and how: for which run, that is to come. The zero value of all but Data is
// right for most uses.
type EncodeOptions struct {
	Data        dataset.Sources // of which one at least must be named
	Backbone    backbone.Options
	Device      device.Options
	Features    feature.Options
	Views       Views
	Calibration Calibration    // one without Data.Val looks at training images as at test time
	Adapt       inside.Options // if anything is to learn inside the backbone, its tokens are encoded too
	Seed        uint64         // it decides what a fraction as Data.Val holds out
	Shard       Shard
	DryRun      bool // only say what would be encoded

	// Ahead, if set, encodes the images elsewhere before this process looks what is still missing.
	Ahead feature.Ahead
}

// Fields declares the settings.
func (o *EncodeOptions) Fields() []setting.Field {
	return append(fieldsOf(&o.Data, &o.Backbone, &o.Device, &o.Features, &o.Views, &o.Calibration, &o.Adapt),
		setting.Number("seed", &o.Seed, 0, setting.Seeds, "seed of --val, as for finetune"),
		setting.Parsed("shard", &o.Shard, Shard{}, ParseShard,
			"encode only part i of N, written i/N with i from 1, or i+1/N with i from 0").Here(),
		setting.Flag("dry-run", &o.DryRun,
			"say what would be encoded, on which disk and in which time, and what is wrong with the data").Here(),
	)
}

// run is the one that is to come, as far as it is known.
func (o *EncodeOptions) run() FinetuneOptions {
	return FinetuneOptions{Data: o.Data, Backbone: o.Backbone, Device: o.Device, Features: o.Features, Views: o.Views,
		Calibration: o.Calibration, Adapt: o.Adapt, Training: head.Settings{Seed: o.Seed}}
}

// EncodeResult says what Encode did with each data set that it came to.
type EncodeResult struct {
	Sets     []EncodedSet
	Forecast *Forecast // of a dry run, which has nothing else
}

// EncodedSet says what Encode did with one data set.
type EncodedSet struct {
	What                                string // "train", "val" or "test", or of the first two "train tokens"
	Images, Encoded, Cached, Unreadable int
	Views                               int     // of each image
	Seconds                             float64 // of decoding and running the backbone
}

// Rate is images encoded per second, 0 if none were.
func (e EncodedSet) Rate() float64 {
	if e.Encoded == 0 {
		return 0
	}
	return float64(e.Encoded) / e.Seconds
}

// Encode fills the feature store and trains nothing. The result is there beside an error.
func Encode(ctx context.Context, o EncodeOptions, ev event.Events) (_ EncodeResult, err error) {
	defer place.Hold()()
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	var done EncodeResult
	idle := o.Adapt.WithoutEffect()
	var t training
	ev = ev.Recording(&t.warnings)
	err = setting.Complete(o.Fields())
	if err == nil {
		err = o.Adapt.Validate(o.Backbone.Adapter, o.Views.Train)
	}
	if err == nil {
		err = o.Data.Resolve(ctx, ev)
	}
	if err != nil {
		return done, err
	}
	warnWithoutEffect(idle, ev)
	all, s, err := begin(ctx, inputs{o.Data, o.Backbone, o.Device, o.Features, o.Views, o.Seed, nil}, ev)
	if err != nil {
		return done, err
	}
	defer s.close()
	images := o.Shard.of(all)
	t.FinetuneOptions, t.session, t.ahead = o.run(), s, o.Ahead != nil
	if err := t.plan(images); err != nil {
		return done, err
	}
	if t.below != nil {
		defer func() { err = errors.Join(err, t.below.Close()) }()
	}
	if o.DryRun {
		done.Forecast, err = t.foresee(ctx, images)
		if f := done.Forecast; f != nil && f.Data != nil && all.Train != nil {
			f.Data.Count(all.Train)
		}
		return done, err
	}
	if o.Adapt.On() { // whose tokens take the disk that features do not
		if _, err := t.forecast(ctx, images); err != nil {
			return done, err
		}
	}
	err = o.encode(ctx, &t, images, &done)
	return done, err
}

// encode sees to the features of images, and then to the tokens of those that can be used.
func (o *EncodeOptions) encode(ctx context.Context, t *training, images *dataset.Sets, done *EncodeResult) error {
	train, others := o.Views.needed(o.Calibration.judgesTraining(o.Data.Val, o.Data.Test))
	if x, encodes := t.features.(*feature.Extractor); encodes {
		if err := x.EncodeAhead(ctx, o.Ahead, images, max(train, others)); err != nil {
			return err
		}
	}
	usable := map[string]*dataset.Dataset{}
	for _, p := range images.Parts() {
		views := others
		if p.Name == "train" {
			views = train
		}
		set, err := t.features.Ensure(ctx, p.Name, p.Data, views)
		if done.add(set, views); err != nil {
			return err
		}
		usable[p.Name] = set.Data
	}
	tokens, err := t.tokens(ctx, usable["train"], usable["val"])
	if t.inside != nil && err == nil && tokens == nil {
		t.events.Warn("a run with these settings takes no tokens of these images, and none are encoded", "adapt",
			o.Adapt.Kind, "augment", o.Adapt.Augment)
	}
	for _, w := range tokens {
		if err := w.EncodeAhead(ctx, o.Ahead, &dataset.Sets{Train: w.Data}, w.Views); err != nil {
			return err
		}
		set, err := w.Ensure(ctx, w.Name, w.Data, w.Views)
		if done.add(set, w.Views); err != nil {
			return err
		}
	}
	return err
}

// add says what was done with a set, if it has come so far.
func (r *EncodeResult) add(set *feature.Set, views int) {
	if set != nil {
		r.Sets = append(r.Sets, encodedSet(set, views))
	}
}

func encodedSet(set *feature.Set, views int) EncodedSet {
	n := len(set.Data.Items)
	return EncodedSet{
		What: set.Name, Images: n + len(set.Unreadable), Encoded: set.Encoded, Cached: n - set.Encoded,
		Unreadable: len(set.Unreadable), Views: views, Seconds: set.Seconds,
	}
}

package engine

import (
	"context"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/setting"
)

// EncodeOptions say which images to encode, and how. The zero value of all but Data is right for most uses.
type EncodeOptions struct {
	Data        dataset.Sources // of which one at least must be named
	Backbone    backbone.Options
	Device      device.Options
	Features    feature.Options
	Views       Views
	Calibration Calibration // of the run that is to come: one without Data.Val looks at training images as at test time
	Seed        uint64      // of that run: it decides what a fraction as Data.Val holds out
	Shard       Shard

	// Ahead, if set, encodes the images elsewhere before this process looks what is still missing: package work does,
	// on a queue.
	Ahead func(ctx context.Context, images *dataset.Sets, b *backbone.Backbone, x *feature.Extractor, views int) error
}

// Fields declares the settings.
func (o *EncodeOptions) Fields() []setting.Field {
	return append(fieldsOf(&o.Data, &o.Backbone, &o.Device, &o.Features, &o.Views, &o.Calibration),
		setting.Number("seed", &o.Seed, 0, setting.Seeds, "seed of --val, as for finetune"),
		setting.Parsed("shard", &o.Shard, Shard{}, ParseShard,
			"encode only part i of N, written i/N with i from 1, or i+1/N with i from 0").Here(),
	)
}

// EncodeResult says what Encode did with each data set that it came to.
type EncodeResult struct{ Sets []EncodedSet }

// EncodedSet says what Encode did with one data set.
type EncodedSet struct {
	What                                string // "train", "val" or "test"
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
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	var done EncodeResult
	err = setting.Complete(o.Fields())
	if err == nil {
		err = o.Data.Resolve(ctx, ev)
	}
	if err != nil {
		return done, err
	}
	d, s, err := begin(ctx, inputs{o.Data, o.Backbone, o.Device, o.Features, o.Views, o.Seed, nil}, ev)
	if err != nil {
		return done, err
	}
	defer s.close()
	train, others := o.Views.needed(o.Calibration.judgesTraining(o.Data.Val, o.Data.Test))
	if x, encodes := s.features.(*feature.Extractor); encodes && o.Ahead != nil {
		err := o.Ahead(ctx, d, s.backbone, x, max(train, others))
		if err == nil {
			err = x.Reopen(ctx)
		}
		if err != nil {
			return done, err
		}
	}
	for _, p := range d.Parts() {
		views := others
		if p.Name == "train" {
			views = train
		}
		set, err := s.features.Ensure(ctx, p.Name, p.Data.Every(max(o.Shard.Count, 1), o.Shard.Index), views)
		if set != nil {
			done.Sets = append(done.Sets, encodedSet(set, views))
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func encodedSet(set *feature.Set, views int) EncodedSet {
	n := len(set.Data.Items)
	return EncodedSet{
		What: set.Name, Images: n + len(set.Unreadable), Encoded: set.Encoded, Cached: n - set.Encoded,
		Unreadable: len(set.Unreadable), Views: views, Seconds: set.Seconds,
	}
}

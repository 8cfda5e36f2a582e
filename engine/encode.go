package engine

import (
	"context"

	"github.com/vitft/vitft/engine/dataset"
)

// Shard is a part of every data set: the images whose position leaves
// remainder Index when divided by Count. The zero value is everything.
type Shard struct{ Index, Count int }

// Encoded says what Encode did with one data set.
type Encoded struct {
	What                                string // "train", "val" or "test"
	Images, Encoded, Cached, Unreadable int
	Views                               int     // of each image
	Seconds                             float64 // of decoding and running the backbone
}

// Rate is images encoded per second, 0 if none were.
func (e Encoded) Rate() float64 {
	if e.Encoded == 0 {
		return 0
	}
	return float64(e.Encoded) / e.Seconds
}

// Encode fills the feature store with the images of c.Train, c.Val and c.Test,
// of which one at least must be named, and trains nothing.
func Encode(ctx context.Context, c Config, shard Shard, ev Events) (results []Encoded, err error) {
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := c.checkSources(); err != nil {
		return nil, err
	}
	d, err := openAny(c, ev)
	if err != nil {
		return nil, err
	}
	enc, err := openEncoding(c, ev)
	if err != nil {
		return nil, err
	}
	defer enc.close()
	for _, s := range d.sets() {
		enc.seconds = 0
		set, err := enc.encode(ctx, s.what, shard.of(s.data), c.viewsOf(s.what))
		if set != nil {
			n := len(set.data.Items)
			results = append(results, Encoded{
				What: s.what, Images: n + len(set.unreadable), Encoded: set.fresh, Cached: n - set.fresh,
				Unreadable: len(set.unreadable), Views: c.viewsOf(s.what), Seconds: enc.seconds,
			})
		}
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// openAny is openData for encoding, which can do without training images: then
// val and test have class lists of their own.
func openAny(c Config, ev Events) (*data, error) {
	if c.Train != "" {
		return openData(c, ev)
	}
	if _, holdout := c.holdout(); holdout || c.Val+c.Test == "" {
		return nil, configError("train, val, test: name at least one set of images to encode")
	}
	d := new(data)
	for _, s := range []struct {
		path string
		into **dataset.Dataset
	}{{c.Val, &d.val}, {c.Test, &d.test}} {
		if s.path == "" {
			continue
		}
		set, findings, err := dataset.Open(s.path, dataset.Options{})
		if err != nil {
			return nil, err
		}
		tell(findings, ev)
		*s.into = set
	}
	return d, nil
}

// of is the shard's part of d.
func (s Shard) of(d *dataset.Dataset) *dataset.Dataset {
	if s.Count <= 1 {
		return d
	}
	var part []int
	for i := s.Index; i < len(d.Items); i += s.Count {
		part = append(part, i)
	}
	return d.Select(part)
}

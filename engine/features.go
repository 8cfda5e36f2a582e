package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/store"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

// encoding is how images become features: a backbone and the store that
// remembers what it has seen.
type encoding struct {
	backbone *backbone
	store    *store.Store
	config   Config
	events   Events
	seconds  float64 // spent decoding images and running the backbone
}

// openEncoding opens the backbone and the feature store that belongs to it.
func openEncoding(c Config, ev Events) (*encoding, error) {
	b, err := openBackbone(c, ev)
	if err != nil {
		return nil, err
	}
	return b.encoding(b.key(), c, ev)
}

// encoding opens the feature store of key for b, which it closes on failure.
func (b *backbone) encoding(key store.Key, c Config, ev Events) (*encoding, error) {
	s, report, err := store.Open(filepath.Join(c.Cache, "features"), key)
	if err != nil {
		return nil, errors.Join(err, b.encoder.Close())
	}
	for _, bad := range report.Bad {
		ev.warn("a block of the feature store is damaged; its images are encoded again", "block", bad.Path, "reason", bad.Err)
	}
	ev.info("feature store", "folder", s.Dir(), "features", report.Features)
	return &encoding{backbone: b, store: s, config: c, events: ev}, nil
}

func (e *encoding) close() error { return errors.Join(e.store.Close(), e.backbone.encoder.Close()) }

// encodedSet is a data set whose features are in the store.
type encodedSet struct {
	what       string           // "train", "val" or "test"
	data       *dataset.Dataset // the readable images
	scan       *dataset.Scan    // of data
	unreadable []unreadable
	fresh      int // images that were not in the store before
}

// unreadable is an image that could not be used, and why.
type unreadable struct{ path, reason string }

// encode makes sure that the store holds the feature of every readable image
// of d. Images that cannot be read or decoded are left out and listed; more of
// them than MaxUnreadable allows is an error, with the set beside it.
func (e *encoding) encode(ctx context.Context, what string, d *dataset.Dataset) (*encodedSet, error) {
	scan, err := d.Scan(ctx, dataset.ScanOptions{Progress: func(done, total int) { e.events.progress("scan", what, done, total) }})
	if err != nil {
		return nil, err
	}
	var missing []int
	queued := map[store.ID]bool{}
	for _, i := range scan.Readable() {
		if id := store.ID(scan.IDs[i]); !e.store.Has(id) && !queued[id] {
			queued[id] = true
			missing = append(missing, i)
		}
	}
	undecodable, err := e.run(ctx, what, d, scan, missing)
	if err != nil {
		return nil, err
	}
	set := &encodedSet{what: what, fresh: len(missing) - len(undecodable)}
	for _, u := range scan.Unreadable {
		set.unreadable = append(set.unreadable, unreadable{u.Path, u.Err.Error()})
	}
	var kept []int
	ids := make([]store.ID, 0, len(scan.IDs))
	for _, i := range scan.Readable() {
		if reason := undecodable[scan.IDs[i]]; reason != nil {
			set.unreadable = append(set.unreadable, unreadable{d.Items[i].Path, reason.Error()})
			continue
		}
		kept, ids = append(kept, i), append(ids, scan.IDs[i])
	}
	set.data, set.scan = d.Select(kept), &dataset.Scan{IDs: ids}
	return set, e.tolerate(set, len(d.Items))
}

// run encodes the missing images into the store and returns, by content, why
// some could not be decoded.
func (e *encoding) run(ctx context.Context, what string, d *dataset.Dataset, scan *dataset.Scan, missing []int) (map[store.ID]error, error) {
	undecodable := map[store.ID]error{}
	if len(missing) == 0 {
		return undecodable, nil
	}
	library, _ := onnx.Loaded()
	w, err := e.store.Writer(store.WriterOptions{Library: library.Version})
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	defer func() { e.seconds += time.Since(begin).Seconds() }()
	encoder := vit.Encoder{Model: e.backbone.encoder, Preprocess: e.backbone.preprocess, Batch: e.config.Batch}
	load := func(k int) ([]byte, error) { return d.Items[missing[k]].Bytes() }
	err = encoder.Encode(ctx, len(missing), load, func(k int, feature []float32, fault error) error {
		e.events.progress("encode", what, k+1, len(missing))
		i := missing[k]
		if fault != nil {
			undecodable[scan.IDs[i]] = fault
			return nil
		}
		return w.Append(scan.IDs[i], d.Items[i].Path, feature)
	})
	// What is encoded is kept, whatever stopped the rest.
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s images: %w", what, err)
	}
	return undecodable, nil
}

// tolerate decides whether a set with those unreadable images is fit for use.
func (e *encoding) tolerate(set *encodedSet, total int) error {
	if n := len(set.unreadable); n > 0 {
		first := set.unreadable[0]
		if float64(n) > *e.config.MaxUnreadable*float64(total) {
			return dataError("%s: %d of %d images cannot be read, more than the share of %g that max-unreadable allows; mend or remove them, or allow more; the first is %s: %s",
				set.what, n, total, *e.config.MaxUnreadable, first.path, first.reason)
		}
		e.events.warn("unreadable images are skipped", "set", set.what, "images", n, "of", total, "first", first.path, "reason", first.reason)
	}
	if len(set.data.Items) == 0 {
		return dataError("%s: no image can be read", set.what)
	}
	return nil
}

// encodedSets are the sets of a run. Val and test may be nil.
type encodedSets struct {
	train, val, test *encodedSet
}

// encodeAll encodes every set of a run and looks for copies among the images.
// On an error the sets that were encoded are returned beside it.
func (e *encoding) encodeAll(ctx context.Context, d *data) (*encodedSets, error) {
	sets := new(encodedSets)
	into := map[string]**encodedSet{"train": &sets.train, "val": &sets.val, "test": &sets.test}
	for _, s := range d.sets() {
		set, err := e.encode(ctx, s.what, s.data)
		*into[s.what] = set
		if err != nil {
			return sets, err
		}
	}
	for k, n := range sets.train.data.Counts() {
		if n == 0 {
			return sets, dataError("train: no image of class %q can be read; remove the class or mend its images", d.train.Classes[k])
		}
	}
	tell(dataset.CheckContent(sets.train.data, sets.train.scan), e.events)
	for _, other := range []*encodedSet{sets.val, sets.test} {
		if other != nil {
			tell(dataset.CheckLeak(sets.train.data, sets.train.scan, other.data, other.scan), e.events)
		}
	}
	return sets, nil
}

// all lists the sets that there are.
func (s *encodedSets) all() []*encodedSet {
	var sets []*encodedSet
	for _, set := range []*encodedSet{s.train, s.val, s.test} {
		if set != nil {
			sets = append(sets, set)
		}
	}
	return sets
}

// evaluated is the set that metrics.json is about: test, else val, else train.
func (s *encodedSets) evaluated() *encodedSet {
	sets := s.all()
	return sets[len(sets)-1]
}

// labels are the classes of the set's images.
func (s *encodedSet) labels() []int {
	y := make([]int, len(s.data.Items))
	for i, item := range s.data.Items {
		y[i] = item.Class
	}
	return y
}

// headData is the set as package head takes it.
func (e *encoding) headData(s *encodedSet) (head.Data, error) {
	d := head.Data{Dim: e.backbone.encoder.Dim(), Classes: len(s.data.Classes), Y: s.labels()}
	d.X = make([]float32, len(d.Y)*d.Dim)
	return d, e.store.Gather(s.scan.IDs, d.X)
}

// logits are the raw logits [n,C] of a set under a head.
func (e *encoding) logits(h *head.Head, s *encodedSet, g head.Gemm) ([]float32, error) {
	d, err := e.headData(s)
	if err != nil {
		return nil, err
	}
	z := make([]float32, len(d.Y)*d.Classes)
	return z, h.Logits(g, d.X, z)
}

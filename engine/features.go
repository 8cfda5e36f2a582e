package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/store"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// encoding is how images become features: a backbone, the views it is shown,
// and the stores that remember what it has seen.
type encoding struct {
	backbone *backbone
	views    []view // the plain one first
	config   Config
	events   Events
	seconds  float64 // spent decoding images and running the backbone
}

// openEncoding opens the backbone and the feature stores of the views that c
// asks for.
func openEncoding(c Config, ev Events) (*encoding, error) {
	b, err := openBackbone(c, ev)
	if err != nil {
		return nil, err
	}
	if c.TTA > 1 { // what cannot be exported is not begun
		if _, err := vision.Average(b.model, vision.Views(c.TTA)); err != nil {
			return nil, errors.Join(fmt.Errorf("tta: %w, or use --tta=1", err), b.encoder.Close())
		}
	}
	return b.encoding(b.key(), vision.Views(max(c.Views, c.TTA)), c, ev)
}

// encoding opens the feature stores of the views for b, which it closes on
// failure. key is that of the plain view.
func (b *backbone) encoding(key store.Key, views []vision.View, c Config, ev Events) (*encoding, error) {
	e := &encoding{backbone: b, config: c, events: ev}
	for _, v := range views {
		opened, err := b.openView(v, key, c, ev)
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.views = append(e.views, opened)
	}
	return e, nil
}

// storeKey tells features of other images, backbones or views apart.
func (e *encoding) storeKey() string {
	key := e.views[0].store.Key().Hash()
	if e.config.Views > 1 || e.config.TTA > 1 {
		key = fmt.Sprintf("%s views %d tta %d", key, e.config.Views, e.config.TTA)
	}
	return key
}

func (e *encoding) close() error {
	errs := []error{e.backbone.encoder.Close()}
	for _, v := range e.views {
		errs = append(errs, v.close())
	}
	return errors.Join(errs...)
}

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

// encode makes sure that the stores of the first n views hold the feature of
// every readable image of d. Images that cannot be read or decoded are left out
// and listed; more of them than MaxUnreadable allows is an error, with the set
// beside it.
func (e *encoding) encode(ctx context.Context, what string, d *dataset.Dataset, n int) (*encodedSet, error) {
	scan, err := d.Scan(ctx, dataset.ScanOptions{Progress: func(done, total int) { e.events.progress("scan", what, done, total) }})
	if err != nil {
		return nil, err
	}
	missing := map[viewSet][]int{} // images by the views they lack
	images := 0
	queued := map[store.ID]bool{}
	for _, i := range scan.Readable() {
		id := store.ID(scan.IDs[i])
		if lacking := e.lacking(id, n); lacking != 0 && !queued[id] {
			queued[id] = true
			missing[lacking] = append(missing[lacking], i)
			images++
		}
	}
	undecodable, err := e.run(ctx, what, d, scan, missing, images)
	if err != nil {
		return nil, err
	}
	set := &encodedSet{what: what, fresh: images - len(undecodable)}
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

// run encodes the missing images into the stores, each decoded once for all the
// views it lacks, and returns, by content, why some could not be decoded.
func (e *encoding) run(ctx context.Context, what string, d *dataset.Dataset, scan *dataset.Scan, missing map[viewSet][]int, images int) (map[store.ID]error, error) {
	undecodable := map[store.ID]error{}
	if images == 0 {
		return undecodable, nil
	}
	begin := time.Now()
	defer func() { e.seconds += time.Since(begin).Seconds() }()
	done := 0
	for _, lacking := range slices.Sorted(maps.Keys(missing)) {
		items := missing[lacking]
		w, err := e.writers(lacking)
		if err != nil {
			return nil, err
		}
		encoder := vit.Encoder{Model: e.looking(lacking), Preprocess: e.backbone.preprocess, Batch: e.config.Batch}
		load := func(k int) ([]byte, error) { return d.Items[items[k]].Bytes() }
		err = encoder.Encode(ctx, len(items), load, func(k int, features []float32, fault error) error {
			done++
			e.events.progress("encode", what, done, images)
			i := items[k]
			if fault != nil {
				undecodable[scan.IDs[i]] = fault
				return nil
			}
			return w.append(scan.IDs[i], d.Items[i].Path, features)
		})
		// What is encoded is kept, whatever stopped the rest.
		if closeErr := w.close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("encode %s images: %w", what, err)
		}
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
		set, err := e.encode(ctx, s.what, s.data, e.config.viewsOf(s.what))
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

// trainData is a set as package head learns from it: several views of every
// image.
func (e *encoding) trainData(s *encodedSet) (head.Data, error) {
	n := e.config.Views
	d := head.Data{Dim: e.backbone.encoder.Dim(), Classes: len(s.data.Classes), Views: n, Y: s.labels()}
	d.X = make([]float32, len(d.Y)*n*d.Dim)
	for k, v := range e.views[:n] {
		for i := range d.Y {
			at := (i*n + k) * d.Dim
			if err := v.store.Gather(s.scan.IDs[i:i+1], d.X[at:at+d.Dim]); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

// evalData is a set as heads are judged by it: the mean over the test-time views
// of every image.
func (e *encoding) evalData(s *encodedSet) (head.Data, error) {
	n := e.config.TTA
	d := head.Data{Dim: e.backbone.encoder.Dim(), Classes: len(s.data.Classes), Y: s.labels()}
	d.X = make([]float32, len(d.Y)*d.Dim)
	if err := e.views[0].store.Gather(s.scan.IDs, d.X); err != nil || n == 1 {
		return d, err
	}
	mean, one := d.X, make([]float32, len(d.X))
	for _, v := range e.views[1:n] {
		if err := v.store.Gather(s.scan.IDs, one); err != nil {
			return d, err
		}
		for i, x := range one {
			mean[i] += x
		}
	}
	for i := range mean {
		mean[i] /= float32(n)
	}
	return d, nil
}

// logits are the raw logits [n,C] of a set under a head.
func (e *encoding) logits(h *head.Head, s *encodedSet, g head.Gemm) ([]float32, error) {
	d, err := e.evalData(s)
	if err != nil {
		return nil, err
	}
	z := make([]float32, len(d.Y)*d.Classes)
	return z, h.Logits(g, d.X, z)
}

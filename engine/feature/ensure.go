package feature

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

// Ensure makes sure that the stores of the first n views hold the feature of every readable image of d, by encoding
// those that are missing; an image is decoded once for all the views that it lacks. See [Source].
func (x *Extractor) Ensure(ctx context.Context, name string, d *dataset.Dataset, n int) (*Set, error) {
	j, err := x.begin(ctx, name, d, n)
	if err != nil {
		return nil, err
	}
	for round := 0; ; round++ { // one that encodes, more only if images change at this moment
		missing, images, err := j.lacking(ctx)
		if err != nil {
			return nil, err
		}
		if images == 0 {
			break
		}
		if round == 10 {
			return nil, fmt.Errorf("encode %s images: some change again and again while they are read, as does %s; "+
				"try again when nothing writes to them", name, d.Items[slices.Collect(maps.Values(missing))[0][0]].Path)
		}
		if err := x.options.Room(x.bytes(missing), 0); err != nil {
			return nil, err
		}
		if err := j.encode(ctx, missing, images); err != nil {
			return nil, err
		}
		x.saveIndex()
	}
	set := j.set()
	return set, set.judge(len(d.Items), *x.options.MaxUnreadable, x.events)
}

// begin scans images for Ensure.
func (x *Extractor) begin(ctx context.Context, name string, d *dataset.Dataset, n int) (*job, error) {
	if n < 1 || n > len(x.views) {
		return nil, fmt.Errorf("features of %s images in %d views, of %d that are open", name, n, len(x.views))
	}
	progress := func(done, total int) { x.events.Report(event.Scan, name, done, total) }
	scan, err := d.Scan(ctx, dataset.ScanOptions{Index: x.index, Lazy: true, Progress: progress})
	if err != nil {
		return nil, err
	}
	x.saveIndex()
	j := &job{Extractor: x, name: name, data: d, scan: scan, views: n,
		unread: map[int]bool{}, unreadable: map[int]error{}, undecodable: map[store.ID]error{}}
	for _, i := range scan.Unread {
		j.unread[i] = true
	}
	for _, u := range scan.Unreadable {
		j.unreadable[u.Index] = u.Err
	}
	for i, it := range d.Items {
		if err := x.shunned[it.Path]; err != nil {
			j.unreadable[i] = err
		}
	}
	return j, nil
}

// errKnown says of an image that was read to find out what is in it that there are features of that already.
var errKnown = errors.New("known")

// unanswered is the fault of an image as that of the object store, which may answer another time.
func unanswered(err error) error { return fault.Other.Errorf("%w", err) }

// job is one call of Ensure. The ids of its scan are corrected when images turn out to have changed.
type job struct {
	*Extractor
	name        string
	data        *dataset.Dataset
	scan        *dataset.Scan
	views       int
	unread      map[int]bool       // items whose content is not known before they are encoded
	unreadable  map[int]error      // by item
	undecodable map[store.ID]error // by content
	encoded     int
	seconds     float64
}

// lacking is missing, of stores without what turns out to be damaged.
func (j *job) lacking(ctx context.Context) (items map[viewSet][]int, images int, err error) {
	for _, v := range j.Extractor.views[:j.views] {
		bad, err := v.store.Verify(ctx, j.scan.IDs)
		if err != nil {
			return nil, 0, err
		}
		j.warn(bad)
	}
	items, images = j.missing()
	return items, images, nil
}

// missing are the images to encode, one for each content, by the views that they lack, and how many.
func (j *job) missing() (items map[viewSet][]int, images int) {
	items = map[viewSet][]int{}
	all := j.lacks(store.ID{}, j.views) // nothing has that id
	seen := map[store.ID]bool{}
	for i, id := range j.scan.IDs {
		if j.unread[i] {
			items[all] = append(items[all], i)
			images++
			continue
		}
		if j.fault(i) != nil || seen[id] {
			continue
		}
		seen[id] = true
		if lacks := j.lacks(id, j.views); lacks != 0 {
			items[lacks] = append(items[lacks], i)
			images++
		}
	}
	return items, images
}

// fault is why an item cannot be used.
func (j *job) fault(item int) error {
	if err := j.unreadable[item]; err != nil {
		return err
	}
	return j.undecodable[j.scan.IDs[item]]
}

// encode encodes images into the stores of the views that they lack.
func (j *job) encode(ctx context.Context, missing map[viewSet][]int, images int) error {
	defer func(begin time.Time) { j.seconds += time.Since(begin).Seconds() }(time.Now())
	done := 0
	progress := func() {
		done++
		j.events.Report(event.Encode, j.name, done, images)
	}
	for _, lacks := range slices.Sorted(maps.Keys(missing)) {
		if err := j.encodeViews(ctx, j.in(lacks), missing[lacks], progress); err != nil {
			return fmt.Errorf("encode %s images: %w", j.name, err)
		}
	}
	return nil
}

func (j *job) encodeViews(ctx context.Context, views []view, items []int, progress func()) (err error) {
	library, _ := onnx.Loaded()
	writers := make([]*store.Writer, len(views))
	for k, v := range views {
		if writers[k], err = v.store.Writer(ctx, store.WriterOptions{
			Library: library.Version, Before: j.backbone.Unchanged}); err != nil {
			return err
		}
		defer func() { // What is encoded is kept, whatever stopped the rest.
			err = cmp.Or(err, writers[k].Close(context.WithoutCancel(ctx)))
		}()
	}
	ids := make([]store.ID, len(items)) // of the bytes that are decoded; zero of what cannot be read
	read := j.data.Select(items).Reader()
	all := j.lacks(store.ID{}, j.views)
	unread := maps.Clone(j.unread) // which shrinks while others read it
	var claimed sync.Map           // contents that are encoded
	load := func(k int) ([]byte, error) {
		content, err := read(k)
		if err == nil {
			ids[k] = sha256.Sum256(content)
			if unread[items[k]] {
				if _, before := claimed.LoadOrStore(ids[k], true); before || j.lacks(ids[k], j.views) != all {
					return nil, errKnown
				}
			}
		}
		return content, err
	}
	model := viewModel{j.backbone, views}
	encoder := vit.Encoder{Model: model, Preprocess: model.Preprocess, Batch: j.options.Batch}
	return encoder.Encode(ctx, len(items), load, func(k int, features []float32, fault error) error {
		progress()
		return j.keep(ctx, writers, items[k], ids[k], features, fault)
	})
}

// keep files the features of an item, one view after the other, under the content that they are of, or why there are
// none.
func (j *job) keep(
	ctx context.Context, to []*store.Writer, item int, id store.ID, features []float32, fault error) error {
	if errors.Is(fault, place.ErrUnanswered) {
		return unanswered(fault)
	}
	unread := j.unread[item]
	if delete(j.unread, item); id == (store.ID{}) {
		j.unreadable[item] = fault
		return nil
	}
	path := j.data.Items[item].Path
	if unread {
		j.scan.IDs[item] = id
		if info, err := j.data.Items[item].Info(); err == nil {
			j.index.Learn(j.data.Items[item], info, id)
		}
		if errors.Is(fault, errKnown) { // of what it may lack the next round knows
			return nil
		}
	} else if id != j.scan.IDs[item] {
		j.scan.IDs[item] = id
		j.index.Forget(j.data.Items[item])
		j.events.Warn("an image has changed since it was scanned; it is used as it is now", "path", path)
	}
	if fault != nil {
		j.undecodable[id] = fault
		return nil
	}
	j.encoded++
	for dim := j.Dim(); len(to) > 0; to, features = to[1:], features[dim:] {
		if err := to[0].Append(ctx, id, path, features[:dim]); err != nil {
			return j.blame(ctx, err, item)
		}
	}
	return nil
}

// blame names the backbone, and the node of it, that made a feature of what is no number.
func (j *job) blame(ctx context.Context, err error, item int) error {
	if _, is := errors.AsType[*store.NotFiniteError](err); !is {
		return err
	}
	why := "an operator in it overflows"
	pixels := make([]float32, j.backbone.Preprocess.Size())
	content, failed := j.data.Items[item].Bytes()
	if failed == nil && j.backbone.Preprocess.Bytes(content, pixels) == nil {
		why = cmp.Or(j.backbone.FirstNotFinite(ctx, pixels), why)
	}
	return fmt.Errorf("backbone %s is broken: %s; use another one, or other preprocessing: %w", j.backbone.Name, why,
		err)
}

// set is the result: first of what could not be used is what could not be read.
func (j *job) set() *Set {
	s := &Set{Name: j.name, Scan: new(dataset.Scan), Encoded: j.encoded, Seconds: j.seconds}
	var kept []int
	var undecodable []Unreadable
	for i, id := range j.scan.IDs {
		path, err := j.data.Items[i].Path, j.fault(i)
		switch {
		case err == nil:
			kept, s.Scan.IDs = append(kept, i), append(s.Scan.IDs, id)
		case id == (store.ID{}):
			s.Unreadable = append(s.Unreadable, Unreadable{path, err.Error()})
		default:
			undecodable = append(undecodable, Unreadable{path, err.Error()})
		}
	}
	s.Unreadable = append(s.Unreadable, undecodable...)
	s.Data = j.data.Select(kept)
	return s
}

// saveIndex keeps what the scan has found. Where that cannot be written images are read again, no more.
func (x *Extractor) saveIndex() {
	if err := x.index.Save(); err != nil {
		x.events.Info("the scan index is not kept", "reason", err)
	}
}

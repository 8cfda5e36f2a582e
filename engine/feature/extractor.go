package feature

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/onnx/vision"
)

// Options are the settings of an Extractor.
type Options struct {
	Batch         int      // images encoded at a time; 16
	Cache         string   // folder; vitft in the user's cache folder
	MaxUnreadable *float64 // share of unreadable images that is skipped; 0.01
	Copies        string   // bytes of an object store that are kept on this machine, as in 20GB; all by default

	Index *dataset.Index // of what has been scanned before; that of OpenIndex
}

// Fields declares the settings.
func (o *Options) Fields() []setting.Field {
	return setting.In("features",
		setting.Number("batch", &o.Batch, 16, setting.Between(1, 4096), "images encoded at a time"),
		setting.Path("cache", &o.Cache, defaultCache(),
			"folder of the feature store, or where in an object store it is: s3://BUCKET/PREFIX, gs://…, azblob://…"),
		setting.Optional("max-unreadable", &o.MaxUnreadable, 0.01, setting.Between(0, 1),
			"largest share of unreadable images that is skipped rather than refused"),
		setting.Text("copies", &o.Copies, "", checkCopies, "how much of a --cache in an object store is kept on this "+
			"machine at a time, such as 20GB (default: all that was read)").Here(),
	)
}

func checkCopies(text string) error {
	n, err := setting.ParseBytes(text)
	if err == nil && n == 0 {
		err = fault.Config.Errorf("%q has no room for what is being read; write 20GB or 500MB", text)
	}
	return err
}

// OpenIndex is the scan index in the cache folder.
func (o Options) OpenIndex() *dataset.Index {
	return dataset.OpenIndex(filepath.Join(o.Here(), ScanFolder))
}

// Extractor makes features of images with a backbone, and remembers them. It is for one goroutine.
type Extractor struct {
	backbone *backbone.Backbone
	options  Options
	events   event.Events
	views    []view // the plain one first
	of       []vision.View
	index    *dataset.Index
	blocks   bucket.Closing
	shunned  map[string]error // images that are not to be read, by path
	running  sync.Mutex       // of EncodeBlock, the backbone
}

// Open opens the feature stores of the views, of which the first is the plain one, for a backbone that outlives x.
func Open(ctx context.Context, b *backbone.Backbone, views []vision.View, o Options, ev event.Events) (
	*Extractor, error) {
	return open(ctx, b, views, o, ev, true)
}

// OpenUnread opens what EncodeBlock, PublishBlock, Keys and Published need, and reads nothing of what the stores hold.
func OpenUnread(ctx context.Context, b *backbone.Backbone, views []vision.View, o Options, ev event.Events) (
	*Extractor, error) {
	return open(ctx, b, views, o, ev, false)
}

func open(ctx context.Context, b *backbone.Backbone, views []vision.View, o Options, ev event.Events, read bool) (
	*Extractor, error) {
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	if len(views) == 0 || views[0] != (vision.View{}) {
		return nil, fmt.Errorf("features of the views %v: the first must be the plain one", views)
	}
	x := &Extractor{backbone: b, options: o, events: ev, of: views, index: cmp.Or(o.Index, o.OpenIndex())}
	for _, folder := range []string{ScanFolder, CopiesFolder, ExportedFolder} { // what killed processes have left there
		_, _ = atomicfile.Clean(filepath.Join(o.Here(), folder))
	}
	var err error
	if x.blocks, err = o.features(ctx); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	x.views = make([]view, len(views))
	for k, v := range views {
		if err := x.open(ctx, v, &x.views[k], read); err != nil {
			return nil, errors.Join(err, x.Close())
		}
	}
	return x, nil
}

// Reopen opens the stores anew: they then have what others have published meanwhile.
func (x *Extractor) Reopen(ctx context.Context) (err error) {
	for k, v := range x.views {
		fresh, report, err := store.Open(ctx, x.blocks, v.store.Key())
		if err != nil {
			return err
		}
		x.views[k].store = fresh
		x.warn(report.Bad)
		if err := v.store.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Options are those that x was opened with, filled in.
func (x *Extractor) Options() Options {
	o := x.options
	o.Index = x.index
	return o
}

// Dim is D, the length of a feature.
func (x *Extractor) Dim() int { return x.backbone.Session.Dim() }

// Views are the views that are open.
func (x *Extractor) Views() []vision.View { return x.of }

// Gather writes the features of images in view k to dst.
func (x *Extractor) Gather(ctx context.Context, ids []store.ID, k int, dst []float32) error {
	if k < 0 || k >= len(x.views) {
		return fmt.Errorf("features of view %d, of %d that are open", k, len(x.views))
	}
	return x.views[k].store.Gather(ctx, ids, dst)
}

// Stored lists the places of ids in the order in which their features in view k lie in the store.
func (x *Extractor) Stored(ids []store.ID, k int) []int { return x.views[k].store.Stored(ids) }

// Close closes the stores.
func (x *Extractor) Close() (err error) {
	for _, v := range x.views {
		err = errors.Join(err, v.close())
	}
	return errors.Join(err, x.blocks.Close())
}

// open opens the store of a view and makes what draws it.
func (x *Extractor) open(ctx context.Context, v vision.View, into *view, read bool) (err error) {
	key := x.backbone.Key()
	if v != (vision.View{}) {
		key.View = v.String()
		if into.session, err = x.backbone.View(v); err != nil {
			return err
		}
	}
	if !read {
		into.store, err = store.OpenUnread(ctx, x.blocks, key)
		return err
	}
	var report store.Report
	if into.store, report, err = store.Open(ctx, x.blocks, key); err != nil {
		return err
	}
	x.warn(report.Bad)
	x.events.Info("feature store", "folder", into.store.Where(), "view", v.String(), "features", report.Features)
	return nil
}

func (x *Extractor) warn(bad []store.BadBlock) {
	for _, b := range bad {
		x.events.Warn("a block of the feature store is damaged; its images are encoded again",
			"block", b.Path, "reason", b.Err)
	}
}

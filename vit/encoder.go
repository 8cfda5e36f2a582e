package vit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vitft/vitft/internal/machine"
)

// Model is a backbone that turns normalised pixels into feature vectors. onnx.FeatureModel is one.
type Model interface {
	// Dim is D, the length of a feature vector.
	Dim() int
	// Run reads n images [n,3,H,W] from pixels and writes [n,D] to features. The slices have exactly these lengths and
	// are the caller's again afterwards. Safe for concurrent use.
	Run(ctx context.Context, pixels []float32, n int, features []float32) error
}

// Encoder encodes many images, preparing the next ones while the model runs.
type Encoder struct {
	Model      Model
	Preprocess Preprocess
	Batch      int // images per run of the model; 0 means 16
	Workers    int // goroutines that load and prepare images; 0 means GOMAXPROCS
}

// buffers is how many batches are in flight: one being filled, one in the model, one between.
const buffers = 3

// batch is one run of the model, images first to first+len(errs).
type batch struct {
	first    int
	errs     []error // of each image; nil if it is good
	pixels   []float32
	features []float32 // of the good images, in order

	missing atomic.Int64  // images not yet prepared
	ready   chan struct{} // closed when there are none
}

// Encode loads, prepares and encodes the images 0 to n−1. load is called from several goroutines and gives the encoded
// image, which must not change any more.
//
// done is called from the calling goroutine, once per image in order, with its feature, valid during the call, or with
// its error: an *ImageError if the image could not be loaded or used. An error that done returns, an error of the
// model, or the end of ctx stops Encode, which returns it after its goroutines have ended; but for those that prepare
// an image just then, since a large one takes seconds.
//
// Batches are consecutive images whatever the number of workers, unusable ones left out. Features depend on Batch only
// if the model's rows depend on each other.
func (e *Encoder) Encode(ctx context.Context, n int, load func(i int) ([]byte, error),
	done func(i int, feature []float32, err error) error) error {
	if err := e.Preprocess.Validate(); err != nil {
		return err
	}
	if e.Batch < 0 || e.Workers < 0 {
		return fmt.Errorf("encoder: batch is %d and workers %d; neither may be negative", e.Batch, e.Workers)
	}
	if n <= 0 {
		return ctx.Err()
	}
	r := run{Encoder: *e, n: n, load: load}
	if r.Batch == 0 {
		r.Batch = 16
	}
	r.Batch = min(r.Batch, n)
	err := machine.Check(buffers*float64(r.Batch)*4*float64(r.Preprocess.Size()+r.Model.Dim()),
		"batch: %d images of %d×%d pixels, %d times,", r.Batch, r.Preprocess.Width, r.Preprocess.Height, buffers)
	if err != nil {
		return err
	}
	if r.Workers == 0 {
		r.Workers = runtime.GOMAXPROCS(0)
	}
	return r.encode(ctx, done)
}

// run is one call of Encode: fill hands out the images of free batches, workers prepare them, model encodes full
// batches, and the caller's goroutine passes the features on and frees the batch.
type run struct {
	Encoder
	n    int
	load func(i int) ([]byte, error)

	free    chan *batch
	filling chan *batch // in order
	jobs    chan job
	encoded chan *batch // in order
}

// job is one image of a batch.
type job struct {
	b    *batch
	slot int
}

func (r *run) encode(parent context.Context, done func(i int, feature []float32, err error) error) error {
	ctx, cancel := context.WithCancelCause(parent)
	r.free = make(chan *batch, buffers)
	r.filling = make(chan *batch, buffers)
	r.encoded = make(chan *batch, buffers)
	r.jobs = make(chan job)
	for range min(buffers, (r.n+r.Batch-1)/r.Batch) {
		r.free <- &batch{
			errs:     make([]error, r.Batch),
			pixels:   make([]float32, r.Batch*r.Preprocess.Size()),
			features: make([]float32, r.Batch*r.Model.Dim()),
		}
	}

	var wg sync.WaitGroup
	wg.Go(func() { r.fill(ctx) })
	for range r.Workers {
		go r.work(ctx, cancel)
	}
	wg.Go(func() { r.model(ctx, cancel) })
	err := r.deliver(ctx, done)
	cancel(err)
	wg.Wait()
	return err
}

// fill hands out all images, batch by batch.
func (r *run) fill(ctx context.Context) {
	defer close(r.filling)
	defer close(r.jobs)
	for first := 0; first < r.n; first += r.Batch {
		var b *batch
		select {
		case b = <-r.free:
		case <-ctx.Done():
			return
		}
		b.first = first
		b.errs = b.errs[:min(r.Batch, r.n-first)]
		b.missing.Store(int64(len(b.errs)))
		b.ready = make(chan struct{})
		r.filling <- b // has room for all batches
		for slot := range b.errs {
			select {
			case r.jobs <- job{b, slot}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// work prepares images, each in its place of the batch.
func (r *run) work(ctx context.Context, cancel context.CancelCauseFunc) {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	size := r.Preprocess.Size()
	for j := range r.jobs {
		if ctx.Err() != nil {
			return
		}
		err := r.prepare(ctx, w, j.b.first+j.slot, j.b.pixels[j.slot*size:][:size])
		if err != nil && !errors.As(err, new(*ImageError)) {
			cancel(err)
			return
		}
		j.b.errs[j.slot] = err
		if j.b.missing.Add(-1) == 0 {
			close(j.b.ready)
		}
	}
}

// prepare gives an *ImageError for what is wrong with the image, other errors for the rest.
func (r *run) prepare(ctx context.Context, w *worker, i int, dst []float32) error {
	data, err := r.load(i)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err != nil {
		return &ImageError{Reason: ReasonUnreadable, Err: err}
	}
	return w.bytes(ctx, r.Preprocess, MaxPixels, data, dst)
}

// model runs the batches in order.
func (r *run) model(ctx context.Context, cancel context.CancelCauseFunc) {
	defer close(r.encoded)
	size, dim := r.Preprocess.Size(), r.Model.Dim()
	for b := range r.filling {
		select {
		case <-b.ready:
		case <-ctx.Done():
			return
		}
		good := b.compact(size)
		if good > 0 {
			if err := r.Model.Run(ctx, b.pixels[:good*size], good, b.features[:good*dim]); err != nil {
				cancel(fmt.Errorf("encoding images %d to %d: %w", b.first, b.first+len(b.errs)-1, err))
				return
			}
		}
		r.encoded <- b // has room for all batches
	}
}

// compact closes the gaps that bad images left and returns the number of good ones.
func (b *batch) compact(size int) int {
	good := 0
	for slot, err := range b.errs {
		if err != nil {
			continue
		}
		if good != slot {
			copy(b.pixels[good*size:][:size], b.pixels[slot*size:][:size])
		}
		good++
	}
	return good
}

// deliver passes features on until all images are done or something stopped the run.
func (r *run) deliver(ctx context.Context, done func(i int, feature []float32, err error) error) error {
	dim := r.Model.Dim()
	for delivered := 0; delivered < r.n; {
		var b *batch
		select {
		case b = <-r.encoded:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // also when encoded is closed early: the cause is set before that
			return context.Cause(ctx)
		}
		features := b.features
		for slot, err := range b.errs {
			var feature []float32
			if err == nil {
				feature, features = features[:dim:dim], features[dim:]
			}
			if err := done(b.first+slot, feature, err); err != nil {
				return err
			}
		}
		delivered += len(b.errs)
		r.free <- b // has room for all batches
	}
	return nil
}

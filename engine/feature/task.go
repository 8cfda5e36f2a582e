package feature

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

// Ahead encodes images elsewhere, in the first n views of an Extractor, whose backbone b is: package work does, on a
// queue.
type Ahead func(ctx context.Context, images *dataset.Sets, b *backbone.Backbone, x *Extractor, n int) error

// EncodeAhead has images encoded elsewhere, if ahead is not nil, and looks what is there then: Ensure encodes the rest.
func (x *Extractor) EncodeAhead(ctx context.Context, ahead Ahead, images *dataset.Sets, n int) error {
	if ahead == nil {
		return nil
	}
	if err := ahead(ctx, images, x.backbone, x, n); err != nil {
		return err
	}
	return x.Reopen(ctx)
}

// Block is what EncodeBlock has made of images.
type Block struct {
	IDs    []store.ID
	Faults []error // why an image cannot be used; nil of one that can
	Bytes  int64   // of the images

	Reading  time.Duration // summed over those that read at the same time
	Encoding time.Duration // from the first image to the last feature, reading included

	distinct []store.ID
	rows     [][]float32 // of these, in each view
}

// EncodeBlock encodes images in the first n views: whoever does it, and whatever is in the stores, makes the same
// block. read is called when the last image has been read, and a few are still to be encoded. Meanwhile other blocks
// may be encoded and published.
func (x *Extractor) EncodeBlock(ctx context.Context, d *dataset.Dataset, n int, read func()) (*Block, error) {
	model := inTurn{viewModel{x.backbone, x.views[:n]}, &x.running}
	b := &Block{IDs: make([]store.ID, len(d.Items)), Faults: make([]error, len(d.Items)), rows: make([][]float32, n)}
	dim := x.Dim()
	for k := range b.rows {
		b.rows[k] = make([]float32, 0, len(d.Items)*dim)
	}
	reader := d.Reader()
	var bytes, reading, loaded atomic.Int64
	load := func(i int) ([]byte, error) {
		begun := time.Now()
		content, err := reader(i)
		if err == nil {
			b.IDs[i] = sha256.Sum256(content)
			bytes.Add(int64(len(content)))
		}
		reading.Add(int64(time.Since(begun)))
		if loaded.Add(1) == int64(len(d.Items)) {
			read()
		}
		return content, err
	}
	seen := map[store.ID]bool{}
	encoder := vit.Encoder{Model: model, Preprocess: model.Preprocess, Batch: x.options.Batch}
	begun := time.Now()
	err := encoder.Encode(ctx, len(d.Items), load, func(i int, features []float32, fault error) error {
		switch {
		case errors.Is(fault, place.ErrUnanswered):
			return unanswered(fault)
		case fault != nil:
			b.Faults[i] = fault
		case !seen[b.IDs[i]]:
			seen[b.IDs[i]] = true
			b.distinct = append(b.distinct, b.IDs[i])
			for k := range b.rows {
				b.rows[k] = append(b.rows[k], features[k*dim:(k+1)*dim]...)
			}
		}
		return nil
	})
	b.Bytes, b.Reading, b.Encoding = bytes.Load(), time.Duration(reading.Load()), time.Since(begun)
	if err == nil {
		err = x.backbone.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("encode %d images: %w", len(d.Items), err)
	}
	return b, nil
}

// inTurn is a model that several encode with, one batch at a time: each run takes memory.
type inTurn struct {
	viewModel
	running *sync.Mutex
}

func (m inTurn) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	m.running.Lock()
	defer m.running.Unlock()
	return m.viewModel.Run(ctx, pixels, n, features)
}

// PublishBlock publishes the features of a block in each of its views, under a name that follows from the images. The
// stores show them when they are opened anew.
func (x *Extractor) PublishBlock(ctx context.Context, name string, b *Block) error {
	if len(b.distinct) == 0 {
		return nil
	}
	library, _ := onnx.Loaded()
	for k, rows := range b.rows {
		if err := x.views[k].store.PublishBlock(ctx, name, b.distinct, rows, library.Version); err != nil {
			return err
		}
	}
	return nil
}

// Refuse has an image count as unreadable from now on, for that reason, without its being read.
func (x *Extractor) Refuse(it dataset.Item, reason error) {
	if x.shunned == nil {
		x.shunned = map[string]error{}
	}
	x.shunned[it.Path] = reason
}

// Keys are the keys of the first n views.
func (x *Extractor) Keys(n int) (keys []store.Key) {
	for _, v := range x.views[:n] {
		keys = append(keys, v.store.Key())
	}
	return keys
}

// Published counts, for each name that begins with prefix, the first n views that have a block of that name in the
// bucket, whatever the stores knew when they were opened.
func (x *Extractor) Published(ctx context.Context, prefix string, n int) (map[string]int, error) {
	views := map[string]int{}
	for _, v := range x.views[:n] {
		names, err := v.store.Published(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			views[name]++
		}
	}
	return views, nil
}

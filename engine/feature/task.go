package feature

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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

	Reading    time.Duration // summed over those that read at the same time
	Encoding   time.Duration // from the first image to the last feature, reading included
	Publishing time.Duration
}

// EncodeBlock encodes images in the first n views, and publishes their features as one block of each view under a name
// that follows from the images: whoever does it, and whatever is in the stores, makes the same block. Without a name
// nothing is published. The stores show the blocks when they are opened anew.
func (x *Extractor) EncodeBlock(ctx context.Context, name string, d *dataset.Dataset, n int) (*Block, error) {
	views := x.views[:n]
	model := viewModel{x.backbone, views}
	b := &Block{IDs: make([]store.ID, len(d.Items)), Faults: make([]error, len(d.Items))}
	read := d.Reader()
	var bytes, reading atomic.Int64
	load := func(i int) ([]byte, error) {
		defer func(begun time.Time) { reading.Add(int64(time.Since(begun))) }(time.Now())
		content, err := read(i)
		if err == nil {
			b.IDs[i] = sha256.Sum256(content)
			bytes.Add(int64(len(content)))
		}
		return content, err
	}
	var distinct []store.ID
	rows := make([][]float32, n)
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
			distinct = append(distinct, b.IDs[i])
			for k, dim := 0, x.Dim(); k < n; k++ {
				rows[k] = append(rows[k], features[k*dim:(k+1)*dim]...)
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
	library, _ := onnx.Loaded()
	begun = time.Now()
	for k, v := range views {
		if len(distinct) == 0 || name == "" {
			break
		}
		if err := v.store.PublishBlock(ctx, name, distinct, rows[k], library.Version); err != nil {
			return nil, err
		}
	}
	b.Publishing = time.Since(begun)
	return b, nil
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

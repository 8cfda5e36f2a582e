package feature

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

// EncodeBlock encodes images in the first n views, and publishes their features as one block of each view under a name
// that follows from the images: whoever does it, and whatever is in the stores, makes the same block. It gives the id
// of each image, or why it cannot be used. The stores show the blocks when they are opened anew.
func (x *Extractor) EncodeBlock(ctx context.Context, name string, d *dataset.Dataset, n int) (
	ids []store.ID, faults []error, err error) {
	views := x.views[:n]
	model := viewModel{x.backbone, views}
	ids, faults = make([]store.ID, len(d.Items)), make([]error, len(d.Items))
	read := d.Reader()
	load := func(i int) ([]byte, error) {
		content, err := read(i)
		if err == nil {
			ids[i] = sha256.Sum256(content)
		}
		return content, err
	}
	var distinct []store.ID
	rows := make([][]float32, n)
	seen := map[store.ID]bool{}
	encoder := vit.Encoder{Model: model, Preprocess: model.Preprocess, Batch: x.options.Batch}
	err = encoder.Encode(ctx, len(d.Items), load, func(i int, features []float32, fault error) error {
		switch {
		case errors.Is(fault, place.ErrUnanswered):
			return unanswered(fault)
		case fault != nil:
			faults[i] = fault
		case !seen[ids[i]]:
			seen[ids[i]] = true
			distinct = append(distinct, ids[i])
			for k, dim := 0, x.Dim(); k < n; k++ {
				rows[k] = append(rows[k], features[k*dim:(k+1)*dim]...)
			}
		}
		return nil
	})
	if err == nil {
		err = x.backbone.Unchanged()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("encode %d images: %w", len(d.Items), err)
	}
	library, _ := onnx.Loaded()
	for k, v := range views {
		if len(distinct) == 0 {
			break
		}
		if err := v.store.PublishBlock(ctx, name, distinct, rows[k], library.Version); err != nil {
			return nil, nil, err
		}
	}
	return ids, faults, nil
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

package feature

import (
	"context"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/vit"
)

// Trial is what a few images of a set have shown.
type Trial struct {
	Unreadable []Unreadable // of all images those that cannot be read, of those that were tried those that are none
	Tried      int          // images that were decoded and encoded
	Seconds    float64      // that encoding what is missing takes, by their rate; 0 where nothing is
}

// Try encodes a few of the images that Ensure would encode, and keeps nothing of them. The scan is that of the whole
// set.
func (x *Extractor) Try(ctx context.Context, name string, d *dataset.Dataset, n int) (Trial, *dataset.Scan, error) {
	j, err := x.begin(ctx, name, d, n)
	if err != nil {
		return Trial{}, nil, err
	}
	missing, _, err := j.lacking(ctx)
	if err != nil {
		return Trial{}, nil, err
	}
	t := Trial{}
	for _, u := range j.scan.Unreadable {
		t.Unreadable = append(t.Unreadable, Unreadable{u.Path, u.Err.Error()})
	}
	for views, items := range missing {
		if err := j.try(ctx, j.in(views), items, &t); err != nil {
			return Trial{}, nil, err
		}
	}
	return t, j.scan, nil
}

// try encodes three batches of items at most, from all over them. The first warms the runtime up, and is not timed if
// there are others.
func (j *job) try(ctx context.Context, views []view, items []int, t *Trial) error {
	batch := j.options.Batch
	few := make([]int, min(len(items), 3*batch))
	for i := range few {
		few[i] = items[i*len(items)/len(few)]
	}
	model := viewModel{j.backbone, views}
	encoder := vit.Encoder{Model: model, Preprocess: model.Preprocess, Batch: batch}
	begin, timed := time.Now(), len(few)
	load := func(i int) ([]byte, error) { return j.data.Items[few[i]].Bytes() }
	err := encoder.Encode(ctx, len(few), load, func(i int, _ []float32, fault error) error {
		if fault != nil {
			t.Unreadable = append(t.Unreadable, Unreadable{j.data.Items[few[i]].Path, fault.Error()})
		}
		if i == batch-1 && len(few) > batch {
			begin, timed = time.Now(), len(few)-batch
		}
		return nil
	})
	t.Tried += len(few)
	t.Seconds += time.Since(begin).Seconds() / float64(timed) * float64(len(items))
	return err
}

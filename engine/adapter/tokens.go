package adapter

import (
	"context"
	"fmt"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/vit"
)

// Set is images in the order of the samples of a training.
type Set struct {
	IDs   []store.ID
	Items []dataset.Item // of images that are read each time; nil: tokens are kept
	Views int            // of each; 0 is 1
}

// some are some of its images.
func (s Set) some(images []int) Set {
	part := Set{Views: s.Views}
	for _, i := range images {
		part.IDs = append(part.IDs, s.IDs[i])
		if s.Items != nil {
			part.Items = append(part.Items, s.Items[i])
		}
	}
	return part
}

// Tokens gives the stream before the first block that learns, of some rows of a set: row·Views + view.
type Tokens interface {
	// begin is told of an epoch, from 0, before it, and announce of its rows, in the order in which they will come,
	// most of them at a time.
	begin(epoch int)
	announce(s Set, rows []int, most int)
	// trained writes those tokens of the next rows in training that are kept, by their numbers:
	// [len(rows), len(kept), D].
	trained(ctx context.Context, s Set, rows, kept []int, dst []float32) error
	// judged writes all tokens of rows as a model is judged by them: [len(rows), N, D].
	judged(ctx context.Context, s Set, rows []int, dst []float32) error
	// end frees what is prepared.
	end()
}

// Stored are tokens that are kept as features of the images, in view 0 and others.
func (p *Plan) Stored(x feature.Source) Tokens { return stored{x, p.width()} }

// Live are tokens that the frozen part gives of training images as they are read, by inside.Options.Augment other ones
// in each of so many epochs. Those of other images are kept.
func (p *Plan) Live(frozen *backbone.Backbone, kept feature.Source, epochs int) Tokens {
	show := func(epoch int) vit.Augment { return p.options.Shown(epoch, epochs) }
	return &pixels{stored: stored{kept, p.width()}, frozen: frozen, show: show, seed: p.seed}
}

// stored are tokens that are features of the images, kept like others.
type stored struct {
	feature.Source
	width int // D
}

func (stored) begin(int)                {}
func (stored) announce(Set, []int, int) {}
func (stored) end()                     {}

// judged implements Tokens.
func (t stored) judged(ctx context.Context, s Set, rows []int, dst []float32) error {
	return t.trained(ctx, s, rows, nil, dst)
}

// trained implements Tokens; kept is nil for all.
func (t stored) trained(ctx context.Context, s Set, rows, kept []int, dst []float32) error {
	views := max(s.Views, 1)
	one := make([]float32, t.Dim())
	for _, row := range rows {
		if err := t.Gather(ctx, s.IDs[row/views:row/views+1], row%views, one); err != nil {
			return fmt.Errorf("tokens: %w", err)
		}
		dst = pick(dst, one, kept, t.width)
	}
	return nil
}

// pick appends the kept of one image's tokens, of so many values each, to what is written; dst is the room behind.
func pick(dst, all []float32, kept []int, width int) []float32 {
	if kept == nil {
		return dst[copy(dst, all):]
	}
	for _, k := range kept {
		dst = dst[copy(dst, all[k*width:(k+1)*width]):]
	}
	return dst
}

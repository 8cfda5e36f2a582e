package adapter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/vit"
)

// pixels gives tokens of training images that are read each time: other ones each epoch, or the plain ones where the
// model is judged by them.
type pixels struct {
	stored                    // of other images
	frozen *backbone.Backbone // gives the tokens
	show   func(epoch int) vit.Augment
	seed   uint64

	epoch int
	next  *ahead    // images of the epoch's rows, from the next one on; nil: none
	all   []float32 // tokens of some images
	batch []float32 // pixels of them
}

// augmentStream keeps the draws of windows apart from others.
const augmentStream = 6 << 60

// begin implements Tokens.
func (p *pixels) begin(epoch int) {
	p.end()
	p.epoch = epoch
}

// announce prepares the images of rows from here on, while others are trained on.
func (p *pixels) announce(s Set, rows []int, most int) {
	p.end()
	epoch := p.epoch
	p.next = newAhead(rows, waiting(most), p.frozen.Preprocess.Size(),
		func(ctx context.Context, row int, dst []float32) error { return p.draw(ctx, s, epoch, row, dst) })
}

// draw makes the pixels of a row as an epoch has them.
func (p *pixels) draw(ctx context.Context, s Set, epoch, row int, dst []float32) error {
	rng := rand.New(rand.NewPCG(p.seed, augmentStream|uint64(epoch)<<34|uint64(row)))
	content, err := s.image(row)
	if err == nil {
		err = p.show(epoch).Bytes(ctx, p.frozen.Preprocess, rng, content, dst)
	}
	return s.blame(row, err)
}

// trained implements Tokens. Rows that were not announced are drawn here and now.
func (p *pixels) trained(ctx context.Context, s Set, rows, kept []int, dst []float32) error {
	size, dim := p.frozen.Preprocess.Size(), p.frozen.Session.Dim()
	p.batch, p.all = grow(p.batch, len(rows)*size), grow(p.all, len(rows)*dim)
	for i, row := range rows {
		one := p.batch[i*size : (i+1)*size]
		there, err := p.next.take(ctx, row, one)
		if !there && err == nil {
			err = p.draw(ctx, s, p.epoch, row, one)
		}
		if err != nil {
			return err
		}
	}
	if err := p.frozen.Session.Run(ctx, p.batch, len(rows), p.all); err != nil {
		return err
	}
	for i := range rows {
		dst = pick(dst, p.all[i*dim:(i+1)*dim], kept, p.width)
	}
	return nil
}

// judged implements Tokens.
func (p *pixels) judged(ctx context.Context, s Set, rows []int, dst []float32) error {
	if s.Items == nil {
		return p.stored.judged(ctx, s, rows, dst)
	}
	size := p.frozen.Preprocess.Size()
	p.batch = grow(p.batch, len(rows)*size)
	errs := make([]error, len(rows))
	err := par.For(ctx, len(rows), 0, func(i int) {
		content, err := s.image(rows[i])
		if err == nil {
			err = p.frozen.Preprocess.Bytes(content, p.batch[i*size:(i+1)*size])
		}
		errs[i] = s.blame(rows[i], err)
	})
	if err := cmp.Or(append(errs, err)...); err != nil {
		return err
	}
	return p.frozen.Session.Run(ctx, p.batch, len(rows), dst)
}

// end stops what prepares images.
func (p *pixels) end() {
	p.next.stop()
	p.next = nil
}

// image reads the image of a row, which must be the one that the set is of.
func (s Set) image(row int) ([]byte, error) {
	i := row / max(s.Views, 1)
	content, err := s.Items[i].Bytes()
	if err == nil && sha256.Sum256(content) != s.IDs[i] {
		err = fault.Data.Errorf("it has changed since it was first read; begin anew")
	}
	return content, err
}

// blame names the image of a row.
func (s Set) blame(row int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("train on %s: %w", s.Items[row/max(s.Views, 1)].Path, err)
}

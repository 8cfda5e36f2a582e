package adapter

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/onnx/vision"
)

// tokens are those before a block, and what makes them.
type tokens struct {
	*feature.Extractor // nil until some are to be kept
	backbone           *backbone.Backbone
	sets               map[asked]Set
}

type asked struct {
	set   *feature.Set
	views int
}

// Encode sees to the tokens that a plan takes: of the images that it is trained on, and of those that are judged.
func (t *Trainer) Encode(ctx context.Context, p *Plan, judged ...*feature.Set) error {
	k, err := t.tokens(p)
	if err != nil {
		return err
	}
	if !p.options.Augments() {
		if err := t.ensure(ctx, k, t.Train, t.Views); err != nil {
			return err
		}
	}
	if t.Val != nil {
		judged = append(slices.Clone(judged), t.Val)
	}
	for _, set := range judged {
		if err := t.ensure(ctx, k, set, t.Judged); err != nil {
			return err
		}
	}
	return nil
}

// Wanted are images whose tokens are taken in some views, and what has them.
type Wanted struct {
	*feature.Extractor
	Name  string
	Data  *dataset.Dataset
	Views int
}

// Wanted lists what Run takes for a plan, of images to learn from and of those of Settings.Val, either of which may be
// nil, and OutOfFold if that is to come.
func (t *Trainer) Wanted(ctx context.Context, p *Plan, train, val *dataset.Dataset, outOfFold bool) (list []Wanted,
	err error) {
	learned := t.Views
	if p.options.Augments() {
		learned = 0
	}
	if outOfFold && t.Judged > 1 {
		learned = max(learned, t.Judged)
	}
	k, err := t.tokens(p)
	if err != nil {
		return nil, err
	}
	for _, w := range []Wanted{{nil, "train tokens", train, learned}, {nil, "val tokens", val, t.Judged}} {
		if w.Data == nil || w.Views == 0 {
			continue
		}
		if err := t.keep(ctx, k); err != nil {
			return nil, err
		}
		w.Extractor = k.Extractor
		list = append(list, w)
	}
	return list, nil
}

// tokens makes the part of the backbone before a plan's blocks ready.
func (t *Trainer) tokens(p *Plan) (*tokens, error) {
	if k := t.open[p.sum]; k != nil {
		return k, nil
	}
	frozen, err := p.Tokens(t.Events)
	if err != nil {
		return nil, err
	}
	if t.open == nil {
		t.open = map[string]*tokens{}
	}
	t.open[p.sum] = &tokens{backbone: frozen, sets: map[asked]Set{}}
	return t.open[p.sum], nil
}

// keep opens the stores of tokens.
func (t *Trainer) keep(ctx context.Context, k *tokens) (err error) {
	if k.Extractor == nil {
		all := vision.Views(max(t.Views, t.Judged))
		k.Extractor, err = feature.Open(ctx, k.backbone, all, t.Features, t.Events)
	}
	return err
}

// ensure sees to the tokens of a set, in some views.
func (t *Trainer) ensure(ctx context.Context, k *tokens, of *feature.Set, views int) error {
	what := asked{of, views}
	if _, is := k.sets[what]; is {
		return nil
	}
	if err := t.keep(ctx, k); err != nil {
		return err
	}
	set, err := k.Ensure(ctx, of.Name+" tokens", of.Data, views)
	if err != nil {
		return err
	}
	if !slices.Equal(set.Scan.IDs, of.Scan.IDs) {
		return fault.Data.Errorf("%s: images have changed since their features were made; run again", of.Name)
	}
	k.sets[what] = Set{IDs: set.Scan.IDs, Views: views}
	return nil
}

// Close closes the stores; they are opened again when they are needed.
func (t *Trainer) Close() (err error) {
	for _, k := range t.open {
		if k.Extractor != nil {
			err = errors.Join(err, k.Close())
		}
		err = errors.Join(err, k.backbone.Close())
	}
	t.open = nil
	debug.FreeOSMemory() // that training took
	return err
}

package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/vision"
)

// Trainer trains a head, and what a plan puts into the backbone below it. Of the images it has their tokens, which are
// encoded first where they are not kept already, once for each place before which a plan's blocks begin.
type Trainer struct {
	Train    *feature.Set // to learn from
	Data     head.Data    // as the backbone sees them without any plan
	Val      *feature.Set // those of Settings.Val, in that order; nil: none
	Views    int          // of an image to learn from
	Judged   int          // of any other, whose mean embedding is judged
	Features feature.Options
	Events   event.Events

	open map[int]*tokens // by the first block that is trained in
}

// tokens are those before a block.
type tokens struct {
	*feature.Extractor
	backbone *backbone.Backbone
	sets     map[asked]Set
}

type asked struct {
	set   *feature.Set
	views int
}

// Run trains on the images with head.Settings, from Settings.Resume on if there is such a state, and gives the
// embeddings of some sets by what was trained. As head.Train does, it returns an end of ctx together with a result that
// is as of the last whole epoch, without embeddings then.
func (t *Trainer) Run(ctx context.Context, p *Plan, s head.Settings, judged ...*feature.Set) (_ *head.Result,
	embeddings [][]float32, err error) {
	if err := t.Encode(ctx, p, judged...); err != nil {
		return nil, nil, err
	}
	k := t.open[p.adapted.First]
	from, train := p.Stored(k), k.sets[asked{t.Train, t.Views}]
	if p.options.Augments() {
		from = p.Live(k.backbone, k, s.WithDefaults().Epochs)
		train = Set{IDs: t.Train.Scan.IDs, Items: t.Train.Data.Items}
	}
	loop := head.Loop{Settings: s, Labels: t.Data.Y, Classes: t.Data.Classes, Views: t.Data.Views,
		Micro: p.options.Micro}
	var held Set
	if s.Val != nil {
		held, loop.Held = k.sets[asked{t.Val, t.Judged}], s.Val.Y
	}
	m, err := p.Model(t.Data, s, from, train, held)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	state, err := loop.Run(ctx, m)
	if state == nil {
		return nil, nil, err
	}
	for _, set := range judged {
		if err != nil {
			break
		}
		var x []float32
		x, err = m.Embed(ctx, k.sets[asked{set, t.Judged}])
		embeddings = append(embeddings, x)
	}
	return &head.Result{Head: m.Head(), State: state}, embeddings, err
}

// Encode sees to the tokens that a plan takes: of the images that it is trained on, and of those that are judged.
func (t *Trainer) Encode(ctx context.Context, p *Plan, judged ...*feature.Set) error {
	k, err := t.tokens(ctx, p)
	if err != nil {
		return err
	}
	if !p.options.Augments() {
		if err := k.ensure(ctx, t.Train, t.Views); err != nil {
			return err
		}
	}
	if t.Val != nil {
		judged = append(slices.Clone(judged), t.Val)
	}
	for _, set := range judged {
		if err := k.ensure(ctx, set, t.Judged); err != nil {
			return err
		}
	}
	return nil
}

// Forecast says what Encode would make for a plan, of images to learn from and of others.
func (t *Trainer) Forecast(ctx context.Context, p *Plan, train, val *dataset.Dataset) (list []feature.Forecast,
	err error) {
	k, err := t.tokens(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.options.Augments() {
		train = nil
	}
	for _, x := range []struct {
		name  string
		data  *dataset.Dataset
		views int
	}{{"train tokens", train, t.Views}, {"val tokens", val, t.Judged}} {
		if x.data == nil {
			continue
		}
		f, err := k.Forecast(ctx, x.name, x.data, x.views)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// tokens opens the stores of the tokens before a plan's blocks.
func (t *Trainer) tokens(ctx context.Context, p *Plan) (*tokens, error) {
	at := p.adapted.First
	if k := t.open[at]; k != nil {
		return k, nil
	}
	frozen, err := p.Tokens(t.Events)
	if err != nil {
		return nil, err
	}
	x, err := feature.Open(ctx, frozen, vision.Views(max(t.Views, t.Judged)), t.Features, t.Events)
	if err != nil {
		return nil, errors.Join(err, frozen.Close())
	}
	if t.open == nil {
		t.open = map[int]*tokens{}
	}
	t.open[at] = &tokens{x, frozen, map[asked]Set{}}
	return t.open[at], nil
}

// ensure sees to the tokens of a set, in some views.
func (k *tokens) ensure(ctx context.Context, of *feature.Set, views int) error {
	what := asked{of, views}
	if _, is := k.sets[what]; is {
		return nil
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

// Close closes the stores.
func (t *Trainer) Close() (err error) {
	for _, k := range t.open {
		err = errors.Join(err, k.Close(), k.backbone.Close())
	}
	return err
}

// Adapter is what a state has learnt inside the backbone, and its file.
func (p *Plan) Adapter(s *head.State) (backbone.Adapter, []byte, error) {
	a := backbone.Adapter{Backbone: p.backbone.SHA256, Options: p.inserted, Values: map[string][]float32{}}
	for _, v := range p.adapted.Params() {
		if a.Values[v.Name] = s.Values(v.Name); a.Values[v.Name] == nil {
			return a, nil, fmt.Errorf("the state of the training lacks %s", v.Name)
		}
	}
	text, err := a.Bytes(p.adapted.Params())
	return a, text, err
}

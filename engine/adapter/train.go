package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/vision"
)

// Images are what a training learns from, in the order of its data.
type Images struct {
	Train, Val *feature.Set // Val may be nil
	Views      int          // of a training image
}

// Train trains a head on data, and what is put into the backbone below it, from settings.Resume on if there is such a
// state. The tokens of the images are encoded first, where they are not kept already. As head.Train does, it returns an
// end of ctx together with a result that is as of the last whole epoch.
func (p *Plan) Train(ctx context.Context, data head.Data, s head.Settings, in Images, o feature.Options,
	ev event.Events) (_ *head.Result, err error) {
	frozen, err := p.Tokens(ev)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, frozen.Close()) }()
	from, closeTokens, err := p.tokens(ctx, frozen, s, in.Views, o, ev)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeTokens()) }()
	train, err := p.ensure(ctx, from, in.Train, in.Views)
	if err != nil {
		return nil, err
	}
	loop := head.Loop{Settings: s, Labels: data.Y, Classes: data.Classes, Views: data.Views, Micro: p.options.Micro}
	var held Set
	if in.Val != nil {
		if held, err = p.ensure(ctx, from, in.Val, 1); err != nil {
			return nil, err
		}
		loop.Held = in.Val.Data.Labels()
	}
	m, err := p.Model(data, s, from, train, held)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	state, err := loop.Run(ctx, m)
	if state == nil {
		return nil, err
	}
	return &head.Result{Head: m.Head(), State: state}, err
}

// tokens are those of the frozen part: kept, or of images that are other each epoch.
func (p *Plan) tokens(ctx context.Context, frozen *backbone.Backbone, s head.Settings, views int, o feature.Options,
	ev event.Events) (Tokens, func() error, error) {
	if p.options.Augments() {
		epochs := s.WithDefaults().Epochs
		return p.Live(frozen, epochs), func() error { return nil }, nil
	}
	x, err := feature.Open(ctx, frozen, vision.Views(max(views, 1)), o, ev)
	if err != nil {
		return nil, nil, err
	}
	return p.Stored(x), x.Close, nil
}

// ensure sees to the tokens of a set, where they are kept.
func (p *Plan) ensure(ctx context.Context, from Tokens, of *feature.Set, views int) (Set, error) {
	if kept, ok := from.(stored); ok {
		set, err := kept.Ensure(ctx, of.Name+" tokens", of.Data, max(views, 1))
		if err != nil {
			return Set{}, err
		}
		if !slices.Equal(set.Scan.IDs, of.Scan.IDs) {
			return Set{}, fault.Data.Errorf("%s: images have changed since their features were made; run again",
				of.Name)
		}
	}
	return Set{IDs: of.Scan.IDs, Items: of.Data.Items, Views: views}, nil
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

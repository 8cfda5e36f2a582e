package adapter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/head"
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

	open map[string]*tokens // by the sum of the graph that makes them
}

// Run trains on the images with head.Settings, from Settings.Resume on if there is such a state, and gives the
// embeddings of some sets by what was trained. As head.Train does, it returns an end of ctx together with a result that
// is as of the last whole epoch, without embeddings then.
func (t *Trainer) Run(ctx context.Context, p *Plan, s head.Settings, judged ...*feature.Set) (_ *head.Result,
	embeddings [][]float32, err error) {
	if err := t.Encode(ctx, p, judged...); err != nil {
		return nil, nil, err
	}
	c := t.course(p)
	var held Set
	if s.Val != nil {
		held = c.sets[asked{t.Val, t.Judged}]
	}
	m, loop, err := c.model(s, held)
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
		x, err = m.Embed(ctx, c.sets[asked{set, t.Judged}])
		embeddings = append(embeddings, x)
	}
	return &head.Result{Head: m.Head(), State: state}, embeddings, err
}

// OutOfFold is like [head.OutOfFold]: for each fold the head and what is below it are trained anew without its images,
// one fold after the other, and predict them as images are judged.
func (t *Trainer) OutOfFold(ctx context.Context, p *Plan, s head.Settings, folds int) ([]float32, error) {
	var judged []*feature.Set
	if t.Judged > 1 {
		judged = append(judged, t.Train)
	}
	if err := t.Encode(ctx, p, judged...); err != nil {
		return nil, err
	}
	t.Events.Info("out of fold: what is inside the backbone is trained anew for each", "folds", folds)
	return t.course(p).folds(t.Judged).Logits(ctx, s, folds)
}

// course is the training of a plan on some of the images.
type course struct {
	*tokens
	plan   *Plan
	data   head.Data
	train  Set
	events event.Events
}

// course is that of all images.
func (t *Trainer) course(p *Plan) course {
	k := t.open[p.sum]
	c := course{k, p, t.Data, k.sets[asked{t.Train, t.Views}], t.Events}
	if p.options.Augments() {
		c.train = Set{IDs: t.Train.Scan.IDs, Items: t.Train.Data.Items}
	}
	return c
}

// model starts a model that holds out a set, and makes the loop that trains it.
func (c course) model(s head.Settings, held Set) (*Model, head.Loop, error) {
	loop := head.Loop{Settings: s, Labels: c.data.Y, Classes: c.data.Classes, Views: c.data.Views,
		Micro: c.plan.options.Micro, OutOfFold: c.folds(1).OutOfFold}
	if s.Val != nil {
		loop.Held = s.Val.Y
	}
	from := c.plan.Stored(c)
	err := c.plan.backbone.Rest() // what encoding took is for training now
	if c.plan.options.Augments() {
		from = c.plan.Live(c.backbone, c, s.WithDefaults().Epochs)
	} else {
		err = errors.Join(err, c.backbone.Rest())
	}
	if err != nil {
		return nil, loop, err
	}
	m, err := c.plan.Model(c.data, s, from, c.train, held)
	debug.FreeOSMemory() // that graphs took on their way into sessions
	return m, loop, err
}

// folds cross-fits; samples are predicted by the mean over some of their views. Where images are read each time to be
// trained on, so are those that are judged plain.
func (c course) folds(views int) head.Folds {
	fit := func(_ context.Context, s head.Settings, train, held []int,
		use func(head.Loop, head.Trainable) error) (err error) {
		part, out := c, c.train.some(held)
		part.data, part.train = c.data.Subset(train), c.train.some(train)
		if out.Views = views; views > 1 {
			out.Items = nil
		}
		m, loop, err := part.model(s, out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		loop.Settings.Events.Step = func(done, total int) { c.events.Report(event.Learn, "a fold", done, total) }
		return use(loop, m)
	}
	return head.Folds{Labels: c.data.Y, Classes: c.data.Classes, Fit: fit}
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

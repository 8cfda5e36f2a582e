package adapter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	k := t.open[p.adapted.First]
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
	if c.plan.options.Augments() {
		from = c.plan.Live(c.backbone, c, s.WithDefaults().Epochs)
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

// Forecast says what Run would have to encode for a plan, of images to learn from and of those of Settings.Val, and
// OutOfFold if that is to come.
func (t *Trainer) Forecast(ctx context.Context, p *Plan, train, val *dataset.Dataset, outOfFold bool) (
	list []feature.Forecast, err error) {
	k, err := t.tokens(p)
	if err != nil {
		return nil, err
	}
	learned := t.Views
	if p.options.Augments() {
		learned = 0
	}
	if outOfFold && t.Judged > 1 {
		learned = max(learned, t.Judged)
	}
	for _, x := range []struct {
		name  string
		data  *dataset.Dataset
		views int
	}{{"train tokens", train, learned}, {"val tokens", val, t.Judged}} {
		if x.data == nil || x.views == 0 {
			continue
		}
		if err := t.keep(ctx, k); err != nil {
			return nil, err
		}
		f, err := k.Forecast(ctx, x.name, x.data, x.views)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// tokens makes the part of the backbone before a plan's blocks ready.
func (t *Trainer) tokens(p *Plan) (*tokens, error) {
	at := p.adapted.First
	if k := t.open[at]; k != nil {
		return k, nil
	}
	frozen, err := p.Tokens(t.Events)
	if err != nil {
		return nil, err
	}
	if t.open == nil {
		t.open = map[int]*tokens{}
	}
	t.open[at] = &tokens{backbone: frozen, sets: map[asked]Set{}}
	return t.open[at], nil
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

package engine

import (
	"context"
	"errors"

	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
)

// adaptable says which settings do not go together with learning inside the backbone.
func (o *FinetuneOptions) adaptable() error {
	switch {
	case !o.Adapt.On():
	case o.Backbone.Adapter != "":
		return fault.Config.Errorf("adapter: with adapt=%s training would begin inside a backbone that has an adapter "+
			"already; leave one of the two out", o.Adapt.Kind)
	case o.Adapt.Augments() && o.Views.Train > 1:
		return fault.Config.Errorf("views: with augment=%s training sees another view in each epoch; leave one of the "+
			"two out", o.Adapt.Augment)
	case o.Calibration.outOfFold(o.Data.Val):
		return fault.Config.Errorf("calibration: with adapt=%s it takes validation images, since the backbone has "+
			"seen those of training: give --val, a share of the training images for example", o.Adapt.Kind)
	}
	return nil
}

// plan decides what is trained inside the backbone, before anything is encoded.
func (t *training) plan(train *dataset.Dataset) (err error) {
	if !t.Adapt.On() {
		return nil
	}
	if t.inside, err = adapter.NewPlan(t.backbone, len(train.Classes), t.Training.Seed, t.Adapt); err != nil {
		return err
	}
	t.events.Info("inside the backbone", t.inside.Describe(len(train.Items)*t.views.Train)...)
	return nil
}

// learn trains the head, and what is below it.
func (t *training) learn(ctx context.Context, data head.Data, s head.Settings) (*head.Result, error) {
	if t.inside == nil {
		return head.Train(ctx, data, s)
	}
	in := adapter.Images{Train: t.learned.Train, Val: t.learned.Val, Views: t.views.Train}
	return t.inside.Train(ctx, data, s, in, t.Features, t.events)
}

// adapt puts the backbone with what was learnt in place of the one that training began with, and sees to its features
// of what is still to be judged.
func (t *training) adapt(ctx context.Context, s *head.State) error {
	if t.inside == nil {
		return nil
	}
	learnt, file, err := t.inside.Adapter(s)
	if err != nil {
		return err
	}
	if err := run.AdapterFile.Write(t.dir, file); err != nil {
		return err
	}
	b, err := t.backbone.Adapted(learnt, t.events)
	if err != nil {
		return err
	}
	old := t.session
	t.session, err = with(ctx, b, t.device, t.Features, old.features.Views(), t.views, t.events)
	if err = errors.Join(err, old.close()); err != nil {
		return err
	}
	judged := []*feature.Set{t.sets.Evaluated()}
	if t.sets.Val != nil && t.sets.Val != judged[0] {
		judged = append(judged, t.sets.Val)
	}
	for _, set := range judged {
		now, err := t.features.Ensure(ctx, set.Name, set.Data, t.views.Test)
		if err != nil {
			return err
		}
		set.Encoded, set.Seconds = set.Encoded+now.Encoded, set.Seconds+now.Seconds
	}
	if t.env, err = t.environment(); err != nil {
		return err
	}
	return run.EnvironmentFile.Write(t.dir, t.env)
}

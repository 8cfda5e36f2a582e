package engine

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/vision"
)

// plan decides what is trained inside the backbone, before anything is encoded.
func (t *training) plan(images *dataset.Sets) (err error) {
	if !t.Adapt.On() {
		return nil
	}
	first := images.Parts()[0].Data // of what is only encoded there may be no training images
	if t.inside, err = adapter.NewPlan(t.backbone, len(first.Classes), t.Training.Seed, t.Adapt); err != nil {
		return err
	}
	t.below = t.trainer(t.Features)
	t.events.Info("inside the backbone", t.inside.Describe(len(first.Items)*t.views.Train)...)
	if n := t.inside.Left(); n > 0 {
		t.events.Warn("only a part of the backbone can be adapted: attentions before it are in blocks of another "+
			"form, and stay as they are", "blocks", t.inside.Blocks(), "attentions before", n)
	}
	return nil
}

// tokens lists the images whose tokens the run takes, which are among those of its sets.
func (t *training) tokens(ctx context.Context, train, val *dataset.Dataset) ([]adapter.Wanted, error) {
	if t.inside == nil {
		return nil, nil
	}
	return t.below.Wanted(ctx, t.inside, train, val, t.Calibration.outOfFold(t.Data.Val))
}

// learn trains the head, and what is below it.
func (t *training) learn(ctx context.Context, data head.Data, s head.Settings) (*head.Result, error) {
	if t.inside == nil {
		return head.Train(ctx, data, s)
	}
	t.below.Train, t.below.Val, t.below.Data = t.learned.Train, t.learned.Val, data
	result, _, err := t.below.Run(ctx, t.inside, s)
	return result, err
}

// plans are those of a sweep, by what is trained inside the backbone: heads that agree in that share one, but for its
// seed. What cannot be trained is refused before anything is encoded.
func (s *session) plans(p *sweep.Plan, images *dataset.Sets) (map[inside.Options]*adapter.Plan, error) {
	train, plans := len(images.Train.Items), map[inside.Options]*adapter.Plan{}
	return plans, p.Below(func(configuration string, below inside.Options) error {
		if s.backbone == nil {
			return fault.Config.Errorf("adapt: embeddings are learned from as they are, without a backbone; leave " +
				"the setting out, or train on the images")
		}
		plan, err := adapter.NewPlan(s.backbone, len(images.Train.Classes), 0, below)
		plans[below] = plan
		if err == nil {
			s.events.Info("inside the backbone", append([]any{"configuration", configuration},
				plan.Describe(train*s.views.Train+(images.Images()-train)*s.views.Test)...)...)
		}
		return err
	})
}

// inside lets a sweep train inside the backbone, on tokens that are encoded once for all heads.
func (o *SweepOptions) inside(ctx context.Context, t *sweep.Trainer, s *session, sets *feature.Sets,
	plans map[inside.Options]*adapter.Plan) (*adapter.Trainer, error) {
	below, learned := s.trainer(o.Features), sets.Learned()
	below.Train, below.Val, below.Data = learned.Train, learned.Val, t.Learn
	judged := []*feature.Set{sets.Test}
	if below.Val != nil {
		judged = append(judged, below.Val)
	}
	t.Adapt = func(ctx context.Context, of inside.Options, settings head.Settings) (*sweep.Trained, error) {
		p, err := plans[of].Seeded(settings.Seed)
		if err != nil {
			return nil, err
		}
		result, x, err := below.Run(ctx, p, settings, judged...)
		if err != nil {
			return nil, err
		}
		trained := &sweep.Trained{Result: result, Test: t.Test, Val: t.Val}
		trained.OutOfFold = func(ctx context.Context, folds int) ([]float32, error) {
			return below.OutOfFold(ctx, p, settings, folds)
		}
		trained.Test.X = x[0]
		if below.Val != nil {
			trained.Val.X = x[1]
		}
		return trained, nil
	}
	err := t.Plan.Below(func(_ string, of inside.Options) error { return below.Encode(ctx, plans[of], judged...) })
	if err != nil {
		return nil, errors.Join(err, below.Close())
	}
	return below, nil
}

// outOfFold are logits of the training images, by heads that have not seen them.
func (t *training) outOfFold(ctx context.Context, data head.Data, s head.Settings) ([]float32, error) {
	if t.inside != nil {
		return t.below.OutOfFold(ctx, t.inside, s, t.Calibration.Folds)
	}
	held, err := t.toJudge(ctx, t.learned.Train)
	if err != nil {
		return nil, err
	}
	return head.OutOfFold(ctx, data, held.X, s, t.Calibration.Folds)
}

// trainer trains inside the backbone, on images that are still to be named.
func (s *session) trainer(f feature.Options) *adapter.Trainer {
	return &adapter.Trainer{Views: s.views.Train, Judged: s.views.Test, Features: f, Events: s.events}
}

// judgeFrozen measures what a head does that learns on the backbone as it is, with the same loss, for comparison with
// what comes of learning inside it. That this cannot be is no reason to end a run.
func (t *training) judgeFrozen(ctx context.Context, data head.Data, s head.Settings) error {
	if t.inside == nil {
		return nil
	}
	result, err := head.Train(ctx, data, inside.Alone(s))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		t.events.Warn("there is no head on the backbone as it was to compare with", "reason", err)
		return nil
	}
	set := t.sets.Evaluated()
	logits, err := t.logits(ctx, result.Head.Renumbered(t.learned.Classes), set, t.gemm)
	if err != nil {
		return err
	}
	t.frozen = metric.OfFrozen(metric.Measure(logits, nil, set.Data.Labels(), set.Data.Classes,
		t.sets.Train.Data.Counts()))
	t.events.Info("a head alone, on the backbone as it is", "balanced accuracy", t.frozen.BalancedAccuracy.Text(4))
	return nil
}

// said is what metrics.json says of what is inside the backbone.
func (t *training) said(h *head.Head) *metric.Inside {
	if t.inside == nil {
		return nil
	}
	return &metric.Inside{Adapt: t.Adapt.Kind, AdaptBlocks: t.inside.Blocks(),
		TrainedParameters: t.inside.Parameters() + len(h.W) + len(h.B), Frozen: t.frozen}
}

// adapt puts the backbone with what was learnt in place of the one that training began with, and sees to its features
// of what is still to be judged.
func (t *training) adapt(ctx context.Context, s *head.State) error {
	if t.inside == nil {
		return nil
	}
	if err := t.below.Close(); err != nil { // all is learnt, and the next one wants the memory
		return err
	}
	learnt, file, err := t.inside.Adapter(s)
	if err != nil {
		return err
	}
	if err := run.AdapterFile.Write(t.dir, file); err != nil {
		return err
	}
	s.Drop() // which the checkpoint has
	debug.FreeOSMemory()
	b, err := t.backbone.Adapted(learnt, t.events)
	if err != nil {
		return err
	}
	old := t.session // until there is another, which closes it
	next, err := with(ctx, b, t.device, t.Features, vision.Views(max(t.views.Train, t.views.Test)), t.views, t.events)
	if err != nil {
		return err
	}
	t.session = next
	if err := old.close(); err != nil {
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

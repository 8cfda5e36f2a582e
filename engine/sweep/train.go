package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/vec"
)

// Trainer trains the heads of a plan, and judges them.
type Trainer struct {
	Plan      *Plan
	Name      string // of the experiment
	Selection Selection
	Method    string // of metric.Calibrate
	Folds     int    // of the training images, to calibrate or select without validation images

	Learn           head.Data
	Held, Val, Test head.Data // training, validation and test images as heads are judged by them; empty if not needed
	Classes         []string  // of Test
	Order           []int     // of the classes of the others, the number of each in Classes; see feature.Learned
	Identity        string    // of features, images and how heads are judged: heads of another are not of this sweep

	// Adapt trains a head together with what is below it. Such heads are trained one after the other.
	Adapt func(ctx context.Context, below inside.Options, s head.Settings) (*Trained, error)

	Gemm    head.Gemm // for one thread: heads are trained side by side
	Version string    // of the program
	Kept    func(id string) (Head, error)
	Keep    func(Head) error // is called soon after a head is trained
	// Begun is where the training of a head with something below it was interrupted, nil if it was not, and Save keeps
	// that after each of its epochs.
	Begun  func(id string) (*head.State, error)
	Save   func(id string, s *head.State) error
	Events event.Events
}

// Trained is a head, and the images that it is to be judged by as it sees them.
type Trained struct {
	*head.Result
	Val, Test head.Data // as those of Trainer
	// OutOfFold is like [head.OutOfFold], of heads trained by the same recipe.
	OutOfFold func(ctx context.Context, folds int) ([]float32, error)
}

type place struct {
	configuration int
	seed          uint64
}

type pendingHead struct {
	Head
	place   place
	name    string
	recipe  Recipe
	trained *Trained
}

// Run trains every head that is not kept yet, group by group, and returns the heads by configuration and seed. One that
// cannot be trained takes its error with it.
func (t *Trainer) Run(ctx context.Context) (func(configuration int, seed uint64) Head, error) {
	done := map[place]Head{}
	var pending []*pendingHead
	for k, c := range t.Plan.Configurations {
		for _, seed := range c.Seeds {
			p, err := t.pending(place{k, seed}, c)
			if err != nil {
				return nil, err
			}
			if h, err := t.Kept(p.ID); err == nil && h.ID == p.ID && h.Version == p.Version {
				done[p.place] = h
			} else {
				pending = append(pending, p)
			}
		}
	}
	total := len(done) + len(pending)
	t.Events.Info("sweep", "configurations", len(t.Plan.Configurations), "heads", total, "finished before", len(done))
	for _, group := range groups(pending) {
		if err := t.trainGroup(ctx, group); err != nil {
			return nil, err
		}
		if err := t.judgeGroup(ctx, group); err != nil {
			return nil, err
		}
		for _, p := range group {
			if p.Error == "" {
				t.Events.Info("head", "configuration", p.name, "seed", p.Seed,
					"balanced accuracy", p.Metrics.BalancedAccuracy.Text(4))
				for _, w := range p.Metrics.Warnings {
					t.Events.Warn(w, "configuration", p.name, "seed", p.Seed)
				}
			} else {
				t.Events.Warn("a head failed", "configuration", p.name, "seed", p.Seed, "reason", p.Error)
			}
			if err := t.Keep(p.Head); err != nil {
				return nil, err
			}
			p.trained = nil
			done[p.place] = p.Head
			t.Events.Report(event.Sweep, t.Name, len(done), total)
		}
	}
	return func(configuration int, seed uint64) Head { return done[place{configuration, seed}] }, nil
}

// groups are the heads that are trained at a time: side by side those that are soon trained, as many that cores seldom
// wait for the last one, and not more than are soon trained again; then each with something below it alone.
func groups(pending []*pendingHead) [][]*pendingHead {
	var heads []*pendingHead
	var alone [][]*pendingHead
	for _, p := range pending {
		if p.recipe.Below.On() {
			alone = append(alone, []*pendingHead{p})
		} else {
			heads = append(heads, p)
		}
	}
	return append(slices.Collect(slices.Chunk(heads, 4*runtime.GOMAXPROCS(0))), alone...)
}

func (t *Trainer) pending(at place, c Configuration) (*pendingHead, error) {
	of := map[string]any{"settings": c.Settings, "seed": at.seed, "data": t.Identity}
	text, err := json.Marshal(of) // with sorted keys
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	p := &pendingHead{
		place: at, name: c.Name,
		Head: Head{ID: hex.EncodeToString(sum[:8]), Version: t.Version, Settings: c.Settings, Seed: at.seed},
	}
	p.recipe, err = c.Settings.recipe()
	p.recipe.Head.Seed, p.recipe.Head.Gemm = at.seed, t.Gemm
	if p.recipe.Head.EarlyStop > 0 {
		p.recipe.Head.Val = &t.Val
	}
	return p, err
}

func (t *Trainer) trainGroup(ctx context.Context, group []*pendingHead) error {
	if group[0].recipe.Below.On() {
		return t.adapt(ctx, group[0])
	}
	settings := make([]head.Settings, len(group))
	for i, p := range group {
		settings[i] = p.recipe.Head
	}
	results, err := head.TrainAll(ctx, t.Learn, settings)
	switch {
	case ctx.Err() != nil || isRuntime(err):
		return err
	case results == nil && len(group) > 1: // nothing could be begun: by halves it is found which head is why
		half := len(group) / 2
		return errors.Join(t.trainGroup(ctx, group[:half]), t.trainGroup(ctx, group[half:]))
	case results == nil:
		group[0].Error = err.Error()
		return nil
	}
	for i, p := range group {
		p.trained = &Trained{Result: results[i], Val: t.Val, Test: t.Test,
			OutOfFold: func(ctx context.Context, folds int) ([]float32, error) {
				return head.OutOfFold(ctx, t.Learn, t.Held.X, p.recipe.Head, folds)
			}}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if failed, ok := errors.AsType[*head.SetError](err); ok {
				group[failed.Index].Error = failed.Err.Error()
			}
		}
	}
	return nil
}

// adapt trains a head together with what is below it, following its steps.
func (t *Trainer) adapt(ctx context.Context, p *pendingHead) (err error) {
	s, begin, before := p.recipe.Head, time.Now(), 0.0
	if s.Resume, err = t.Begun(p.ID); err != nil {
		t.Events.Warn("a head is trained anew", "configuration", p.name, "seed", p.Seed, "reason", err)
	} else if s.Resume != nil {
		before = trainingSeconds(s.Resume)
		t.Events.Info("training goes on", "configuration", p.name, "seed", p.Seed, "after epoch", s.Resume.Epoch)
	}
	learning, stop := context.WithCancel(ctx)
	defer stop()
	var unsaved error
	s.Events.Step = func(done, total int) { t.Events.Report(event.Learn, p.name, done, total) }
	s.Events.Epoch = func(_ head.Epoch, state *head.State) {
		if unsaved = t.Save(p.ID, state); unsaved != nil {
			stop()
		}
	}
	p.trained, err = t.Adapt(learning, p.recipe.Below, s)
	switch {
	case unsaved != nil:
		return unsaved
	case err == nil:
		p.Seconds.Evaluate = time.Since(begin).Seconds() + before - trainingSeconds(p.trained.State)
	case ctx.Err() != nil || isRuntime(err):
		return err
	default:
		p.Error = err.Error()
	}
	return nil
}

// trainingSeconds is how long a training took.
func trainingSeconds(s *head.State) (seconds float64) {
	for _, e := range s.History {
		seconds += e.Seconds
	}
	return seconds
}

// isRuntime tells an error that no head can be trained after.
func isRuntime(err error) bool { return err != nil && fault.Of(err) == fault.Runtime }

// outOfFold says whether heads are judged by out-of-fold logits, for their score or to calibrate.
func (t *Trainer) outOfFold() bool {
	return t.Selection == SelectCV || t.Method != metric.NoCalibration && t.Val.Y == nil
}

func (t *Trainer) judgeGroup(ctx context.Context, group []*pendingHead) error {
	atOnce := runtime.GOMAXPROCS(0)
	if t.outOfFold() { // whose heads are trained at the same time
		atOnce = max(1, atOnce/t.Folds)
	}
	errs := make([]error, len(group))
	err := par.For(ctx, len(group), atOnce, func(i int) {
		if group[i].Error == "" {
			errs[i] = t.judge(ctx, group[i])
		}
	})
	return errors.Join(append(errs, err)...)
}

// judge measures a trained head on the test set. Scores for selection and temperatures come of other images.
func (t *Trainer) judge(ctx context.Context, p *pendingHead) error {
	h := p.trained.Head
	p.Seconds.Train = trainingSeconds(p.trained.State)
	begin := time.Now()
	labels, fittedOn := t.Learn.Y, "out-of-fold"
	var unseen []float32 // logits for calibration
	var err error
	if t.outOfFold() {
		unseen, err = p.trained.OutOfFold(ctx, t.Folds)
		switch {
		case err == nil:
		case ctx.Err() != nil || isRuntime(err):
			return err
		default:
			p.Error = err.Error()
			return nil
		}
		if t.Selection == SelectCV {
			p.Selection = new(calib.BalancedAccuracy(unseen, labels, t.Learn.Classes))
		}
	}
	if t.Val.Y != nil {
		labels, fittedOn = t.Val.Y, "val"
		if unseen, err = h.LogitsOf(t.Gemm, p.trained.Val); err != nil {
			return err
		}
		if t.Selection == SelectVal {
			p.Selection = new(calib.BalancedAccuracy(unseen, labels, t.Val.Classes))
		}
	}
	counts := t.Learn.Counts()
	var fit metric.Fit
	if t.Method != metric.NoCalibration {
		// Of a class of one image every fold's head has seen that image.
		leftOut := func(class int) bool { return t.Val.Y == nil && counts[class] == 1 }
		fit, err = metric.Calibrate(t.Method, fittedOn, unseen, labels, len(counts), leftOut, event.Events{})
		if err != nil {
			return err
		}
	}
	p.Seconds.Select = time.Since(begin).Seconds()

	begin = time.Now()
	z, err := h.Renumbered(t.Order).LogitsOf(t.Gemm, p.trained.Test)
	if err != nil {
		return err
	}
	fit.Scaling = fit.Scaling.Renumbered(t.Order)
	m := fit.Measure(z, t.Test.Y, t.Classes, vec.Scatter(t.Order, 1, counts))
	m.Split, m.Loss, m.Seed = "test", p.recipe.Head.Loss, p.Seed
	m.Epochs, m.SwitchEpoch = p.recipe.Head.Epochs, p.recipe.Head.SwitchEpoch()
	m.EarlyStop = p.trained.State.EarlyStop()
	m.Warnings = append(p.trained.State.Warnings(), m.Warnings...)
	for z := range slices.Chunk(z, h.Classes) {
		p.Predicted = append(p.Predicted, vec.Argmax(z))
	}
	p.Seconds.Evaluate += time.Since(begin).Seconds()
	m.Seconds = metric.Seconds{Encode: metric.Number(math.NaN()), Train: metric.Number(p.Seconds.Train),
		Evaluate: metric.Number(p.Seconds.Evaluate)}
	p.Metrics = &m
	return nil
}

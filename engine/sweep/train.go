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
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/vec"
)

// Resolver completes the settings of a point of the grid by those that all heads share, and the defaults.
func Resolver(shared head.Settings) Resolve {
	return func(point map[string]any) (Settings, error) {
		s := shared
		if err := setting.Set(s.Fields(), point); err != nil {
			return nil, err
		}
		s = s.WithDefaults()
		if err := s.Validate(); err != nil {
			return nil, err
		}
		values := Settings{}
		for _, f := range s.Fields() {
			values[f.Key] = f.Value()
		}
		return values, nil
	}
}

// WithoutEffect lists the keys that are set for all heads, but in every block of the grid too.
func (x Experiment) WithoutEffect(shared head.Settings) []string {
	return slices.DeleteFunc(setting.Given(shared.Fields()), func(key string) bool {
		without := slices.ContainsFunc(x.Grid, func(b Block) bool {
			return !slices.ContainsFunc(b, func(a Axis) bool { return a.Key == key })
		})
		return without || key == "seed" // that of the settings holds out --val
	})
}

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

	Gemm    head.Gemm // for one thread: heads are trained side by side
	Version string    // of the program
	Kept    func(id string) (Head, error)
	Keep    func(Head) error // is called soon after a head is trained
	Events  event.Events
}

type place struct {
	configuration int
	seed          uint64
}

type pendingHead struct {
	Head
	place    place
	name     string
	settings head.Settings
	result   *head.Result
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
	// A group is large enough that cores seldom wait for its last head, and not larger than is soon trained again.
	for group := range slices.Chunk(pending, 4*runtime.GOMAXPROCS(0)) {
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
			} else {
				t.Events.Warn("a head failed", "configuration", p.name, "seed", p.Seed, "reason", p.Error)
			}
			if err := t.Keep(p.Head); err != nil {
				return nil, err
			}
			p.result = nil
			done[p.place] = p.Head
			t.Events.Report(event.Sweep, t.Name, len(done), total)
		}
	}
	return func(configuration int, seed uint64) Head { return done[place{configuration, seed}] }, nil
}

func (t *Trainer) pending(at place, c Configuration) (*pendingHead, error) {
	of := map[string]any{"settings": c.Settings, "seed": at.seed, "data": t.Identity}
	text, err := json.Marshal(of) // with sorted keys
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	p := &pendingHead{
		place: at, name: c.Name, settings: head.Settings{Seed: at.seed},
		Head: Head{ID: hex.EncodeToString(sum[:8]), Version: t.Version, Settings: c.Settings, Seed: at.seed},
	}
	err = setting.Set(p.settings.Fields(), c.Settings)
	p.settings.Gemm = t.Gemm
	return p, err
}

func (t *Trainer) trainGroup(ctx context.Context, group []*pendingHead) error {
	settings := make([]head.Settings, len(group))
	for i, p := range group {
		settings[i] = p.settings
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
		p.result = results[i]
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
	h := p.result.Head
	for _, e := range p.result.State.History {
		p.Seconds.Train += e.Seconds
	}
	begin := time.Now()
	labels, fittedOn := t.Learn.Y, "out-of-fold"
	var unseen []float32 // logits for calibration
	var err error
	if t.outOfFold() {
		unseen, err = head.OutOfFold(ctx, t.Learn, t.Held.X, p.settings, t.Folds)
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
		if unseen, err = h.LogitsOf(t.Gemm, t.Val); err != nil {
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
	z, err := h.Renumbered(t.Order).LogitsOf(t.Gemm, t.Test)
	if err != nil {
		return err
	}
	fit.Scaling = fit.Scaling.Renumbered(t.Order)
	m := fit.Measure(z, t.Test.Y, t.Classes, vec.Scatter(t.Order, 1, counts))
	m.Split, m.Loss, m.Seed = "test", p.settings.Loss, p.Seed
	m.Epochs, m.SwitchEpoch = p.settings.Epochs, p.settings.SwitchEpoch()
	for z := range slices.Chunk(z, h.Classes) {
		p.Predicted = append(p.Predicted, vec.Argmax(z))
	}
	p.Seconds.Evaluate = time.Since(begin).Seconds()
	m.Seconds = metric.Seconds{Encode: metric.Number(math.NaN()), Train: metric.Number(p.Seconds.Train),
		Evaluate: metric.Number(p.Seconds.Evaluate)}
	p.Metrics = &m
	return nil
}

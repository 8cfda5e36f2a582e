package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/vec"
)

// sweeping is a sweep under way.
type sweeping struct {
	SweepOptions
	*session
	dir  run.Folder
	plan *sweep.Plan
	sets *sets
	gemm head.Gemm

	identity        string // of features, images, and how heads are judged
	learn           head.Data
	held, val, test head.Data // training, validation and test images as heads are judged by them; empty if not needed

	done map[place]sweep.Head
}

// place is a head's place in the plan.
type place struct {
	configuration int
	seed          uint64
}

// load reads the features into memory.
func (w *sweeping) load(ctx context.Context) (err error) {
	if w.learn, err = w.toLearn(ctx, w.sets.train); err != nil {
		return err
	}
	if w.test, err = w.toJudge(ctx, w.sets.test); err != nil {
		return err
	}
	if w.sets.val != nil {
		if w.val, err = w.toJudge(ctx, w.sets.val); err != nil {
			return err
		}
	}
	if w.needsFolds() {
		if w.held, err = w.toJudge(ctx, w.sets.train); err != nil {
			return err
		}
	}
	hash := sha256.New()
	fmt.Fprintln(hash, w.key(), w.Experiment.Selection, w.Calibration.Method)
	if w.needsFolds() {
		fmt.Fprintln(hash, w.Calibration.Folds)
	}
	for _, set := range w.sets.all() {
		fmt.Fprintf(hash, "%s %q\n", set.Name, set.Data.Classes)
		for i, y := range set.Labels() {
			fmt.Fprintf(hash, "%x %d\n", set.IDs[i], y)
		}
	}
	w.identity = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// pendingHead is a head to train.
type pendingHead struct {
	sweep.Head
	place    place
	name     string
	settings head.Settings
	result   *head.Result
}

// run trains every head that is not in the folder yet, group by group.
func (w *sweeping) run(ctx context.Context) error {
	var pending []*pendingHead
	total := 0
	for k, c := range w.plan.Configurations {
		for _, seed := range c.Seeds {
			total++
			p, err := w.pending(place{k, seed}, c)
			if err != nil {
				return err
			}
			if h, err := run.SweepHeadFile(p.ID).Read(w.dir); err == nil && h.ID == p.ID && h.Version == p.Version {
				w.done[p.place] = h
			} else {
				pending = append(pending, p)
			}
		}
	}
	w.events.Info("sweep", "configurations", len(w.plan.Configurations), "heads", total, "finished before", len(w.done))
	for len(pending) > 0 {
		group := pending[:min(len(pending), groupSize())]
		pending = pending[len(group):]
		if err := w.trainGroup(ctx, group); err != nil {
			return err
		}
		if err := w.judgeGroup(ctx, group); err != nil {
			return err
		}
		for _, p := range group {
			if err := w.keep(p); err != nil {
				return err
			}
			w.events.Report(event.Sweep, w.Experiment.Name, len(w.done), total)
		}
	}
	return nil
}

// groupSize is how many heads are trained between two writes: enough that cores seldom wait for the last of them, and
// not more than is soon trained again.
func groupSize() int { return 4 * runtime.GOMAXPROCS(0) }

func (w *sweeping) pending(at place, c sweep.Configuration) (*pendingHead, error) {
	text, err := json.Marshal(map[string]any{"settings": c.Settings, "seed": at.seed, "data": w.identity}) // with sorted keys
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	p := &pendingHead{
		place: at, name: c.Name, settings: head.Settings{Seed: at.seed},
		Head: sweep.Head{ID: hex.EncodeToString(sum[:8]), Version: run.Version(), Settings: c.Settings, Seed: at.seed},
	}
	err = setting.Set(p.settings.Fields(), c.Settings)
	p.settings.Gemm = w.gemm
	return p, err
}

// trainGroup trains heads together. Those that fail take their error with them.
func (w *sweeping) trainGroup(ctx context.Context, group []*pendingHead) error {
	settings := make([]head.Settings, len(group))
	for i, p := range group {
		settings[i] = p.settings
	}
	results, err := head.TrainAll(ctx, w.learn, settings)
	switch {
	case ctx.Err() != nil || err != nil && fault.Of(err) == fault.Runtime:
		return err
	case results == nil && len(group) > 1: // nothing could be begun: by halves it is found which head is why
		half := len(group) / 2
		return errors.Join(w.trainGroup(ctx, group[:half]), w.trainGroup(ctx, group[half:]))
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

// judgeGroup judges trained heads on all cores.
func (w *sweeping) judgeGroup(ctx context.Context, group []*pendingHead) error {
	atOnce := runtime.GOMAXPROCS(0)
	if w.needsFolds() { // whose heads are trained at the same time
		atOnce = max(1, atOnce/w.Calibration.Folds)
	}
	errs := make([]error, len(group))
	err := par.For(ctx, len(group), atOnce, func(i int) {
		if group[i].Error == "" {
			errs[i] = w.judge(ctx, group[i])
		}
	})
	return errors.Join(append(errs, err)...)
}

// judge measures a trained head on the test set. Scores for selection and temperatures come of other images.
func (w *sweeping) judge(ctx context.Context, p *pendingHead) error {
	h := p.result.Head
	for _, e := range p.result.State.History {
		p.Seconds.Train += e.Seconds
	}
	begin := time.Now()
	var unseen []float32 // logits for calibration
	var err error
	if w.needsFolds() {
		unseen, err = head.OutOfFold(ctx, w.learn, w.held.X, p.settings, w.Calibration.Folds)
		if err != nil && ctx.Err() == nil && fault.Of(err) != fault.Runtime {
			p.Error = err.Error()
			return nil
		} else if err != nil {
			return err
		}
		if w.Experiment.Selection == sweep.SelectCV {
			p.Selection = new(calib.BalancedAccuracy(unseen, w.learn.Y, w.learn.Classes))
		}
	}
	labels := w.learn.Y
	if w.sets.val != nil {
		labels = w.val.Y
		if unseen, err = logits(h, w.val, w.gemm); err != nil {
			return err
		}
		if w.Experiment.Selection == sweep.SelectVal {
			p.Selection = new(calib.BalancedAccuracy(unseen, labels, w.val.Classes))
		}
	}
	fit := calibration{}
	if w.Calibration.Method != noCalibration {
		if fit, err = w.sets.calibrate(w.Calibration.Method, unseen, labels, event.Events{}); err != nil {
			return err
		}
	}
	p.Seconds.Select = time.Since(begin).Seconds()

	begin = time.Now()
	z, err := logits(h, w.test, w.gemm)
	if err != nil {
		return err
	}
	m := fit.measure(z, w.test.Y, w.sets.train.Data.Classes, w.sets.train.Data.Counts())
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = w.sets.test.Name, p.settings.Loss, p.settings.Epochs, p.settings.SwitchEpoch(), p.Seed
	m.Seconds = metric.Seconds{
		Encode: metric.Number(math.NaN()), Train: metric.Number(p.Seconds.Train), Evaluate: metric.Number(time.Since(begin).Seconds()),
	}
	p.Metrics = &m
	for i := range w.test.Y {
		p.Predicted = append(p.Predicted, vec.Argmax(z[i*h.Classes:(i+1)*h.Classes]))
	}
	p.Seconds.Evaluate = time.Since(begin).Seconds()
	return nil
}

// keep writes a head down.
func (w *sweeping) keep(p *pendingHead) error {
	if p.Error == "" {
		w.events.Info("head", "configuration", p.name, "seed", p.Seed, "balanced accuracy", fmt.Sprintf("%.4f", p.Metrics.BalancedAccuracy))
	} else {
		w.events.Warn("a head failed", "configuration", p.name, "seed", p.Seed, "reason", p.Error)
	}
	w.done[p.place] = p.Head
	p.result = nil
	return run.SweepHeadFile(p.ID).Write(w.dir, p.Head)
}

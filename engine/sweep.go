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
	"sync"
	"time"

	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
)

// SweepResult is a finished sweep.
type SweepResult struct {
	Folder  string
	Summary *sweep.Summary
}

// Sweep trains the heads of an experiment on features that are encoded once,
// and leaves their tables in the folder c.Out. The training settings of c are
// what the heads share where the grid does not say otherwise.
//
// Each head is kept in a file of its own soon after it is trained: the same
// sweep again goes on where it was interrupted, and one with another grid uses
// the heads that still fit. A head that cannot be trained is recorded as failed
// and does not stop the others.
func Sweep(ctx context.Context, c Config, x sweep.Experiment, ev Events) (_ *SweepResult, err error) {
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	shared := c.Training
	plan, err := x.Plan(shared.resolve)
	if err != nil {
		return nil, err
	}
	c.Training = Training{Seed: shared.Seed} // which decides what val holds out; the rest is in the plan
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	switch {
	case c.Train == "" || c.Test == "":
		return nil, configError("train, test: a sweep needs both, images to learn from and images to measure on")
	case x.Selection == sweep.SelectVal && c.Val == "":
		return nil, configError("selection: val needs validation images: name them, or a fraction to hold out, with the key val; or select by cv")
	}
	if err := c.checkSources(); err != nil {
		return nil, err
	}
	for _, key := range shared.withoutEffect(x) {
		ev.warn("every block of the grid sets this key, so that its value outside the grid has no effect", "key", key)
	}
	images, err := openData(c, ev)
	if err != nil {
		return nil, err
	}
	enc, err := openEncoding(c, ev)
	if err != nil {
		return nil, err
	}
	defer enc.close()
	dir := runFolder(c.Out)
	lock, err := dir.createSweep(c, shared, x)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	sets, err := enc.encodeAll(ctx, images)
	if err != nil {
		return nil, err
	}
	if x.Selection == sweep.SelectCV && c.TTA > c.viewsOf("train") { // training images are judged, too
		if sets.train, err = enc.encode(ctx, "train", images.train, c.TTA); err != nil {
			return nil, err
		}
	}
	gemm, err := onnx.NewGemm(1, onnx.CPU) // heads are trained side by side
	if err != nil {
		return nil, err
	}
	defer gemm.Close()
	s := sweeping{dir: dir, config: c, experiment: x, plan: plan, sets: sets, gemm: gemm, events: ev, done: map[place]sweep.Head{}}
	if err := s.load(enc); err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	summary := sweep.Summarize(x, plan, func(k int, seed uint64) sweep.Head { return s.done[place{k, seed}] }, s.test.Y, s.test.Classes)
	if err := dir.finishSweep(summary); err != nil {
		return nil, err
	}
	if summary.Failed() == len(summary.Heads) {
		return nil, fmt.Errorf("every head failed (%s); the first: %s", dir.path(headsFile), summary.Heads[0].Error)
	}
	return &SweepResult{c.Out, summary}, nil
}

// sweeping is a sweep under way.
type sweeping struct {
	dir        runFolder
	config     Config
	experiment sweep.Experiment
	plan       *sweep.Plan
	sets       *encodedSets
	gemm       head.Gemm
	events     Events

	identity        string // of features, images, and how heads are judged
	train           head.Data
	held, val, test head.Data // training, validation and test images as heads are judged by them; empty if not needed

	done map[place]sweep.Head
}

// place is a head's place in the plan.
type place struct {
	configuration int
	seed          uint64
}

// load reads the features into memory.
func (s *sweeping) load(enc *encoding) (err error) {
	if s.train, err = enc.trainData(s.sets.train); err != nil {
		return err
	}
	if s.test, err = enc.evalData(s.sets.test); err != nil {
		return err
	}
	if s.sets.val != nil {
		if s.val, err = enc.evalData(s.sets.val); err != nil {
			return err
		}
	}
	if s.needsFolds() {
		if s.held, err = enc.evalData(s.sets.train); err != nil {
			return err
		}
	}
	hash := sha256.New()
	fmt.Fprintln(hash, enc.storeKey(), s.experiment.Selection, s.config.Calibration)
	if s.needsFolds() {
		fmt.Fprintln(hash, s.config.Folds)
	}
	for _, set := range s.sets.all() {
		fmt.Fprintf(hash, "%s %q\n", set.what, set.data.Classes)
		for i, y := range set.labels() {
			fmt.Fprintf(hash, "%x %d\n", set.scan.IDs[i], y)
		}
	}
	s.identity = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// needsFolds says whether heads are judged by out-of-fold logits, for their
// score or to calibrate.
func (s *sweeping) needsFolds() bool {
	return s.experiment.Selection == sweep.SelectCV || s.config.Calibration != noCalibration && s.sets.val == nil
}

// pendingHead is a head to train.
type pendingHead struct {
	sweep.Head
	place    place
	name     string
	settings head.Settings
	result   *head.Result
	balanced Number // accuracy, to be told
}

// run trains every head that is not in the folder yet, group by group.
func (s *sweeping) run(ctx context.Context) error {
	var pending []*pendingHead
	total := 0
	for k, c := range s.plan.Configurations {
		for _, seed := range c.Seeds {
			total++
			p, err := s.pending(place{k, seed}, c)
			if err != nil {
				return err
			}
			if h, ok := s.dir.readHeadFile(p.ID); ok {
				s.done[p.place] = h
			} else {
				pending = append(pending, p)
			}
		}
	}
	s.events.info("sweep", "configurations", len(s.plan.Configurations), "heads", total, "finished before", len(s.done))
	for len(pending) > 0 {
		group := pending[:min(len(pending), groupSize())]
		pending = pending[len(group):]
		if err := s.trainGroup(ctx, group); err != nil {
			return err
		}
		if err := s.judgeGroup(ctx, group); err != nil {
			return err
		}
		for _, p := range group {
			if err := s.finish(p); err != nil {
				return err
			}
			s.events.progress("sweep", s.experiment.Name, len(s.done), total)
		}
	}
	return nil
}

// groupSize is how many heads are trained between two writes: enough that cores
// seldom wait for the last of them, and not more than is soon trained again.
func groupSize() int { return 4 * runtime.GOMAXPROCS(0) }

func (s *sweeping) pending(at place, c sweep.Configuration) (*pendingHead, error) {
	text, err := json.Marshal(map[string]any{"settings": c.Settings, "seed": at.seed, "data": s.identity}) // with sorted keys
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	p := &pendingHead{place: at, name: c.Name, Head: sweep.Head{ID: hex.EncodeToString(sum[:8]), Version: Version(), Settings: c.Settings, Seed: at.seed}}
	t, err := trainingOf(c.Settings, at.seed)
	if err != nil {
		return nil, err
	}
	p.settings, err = t.settings()
	p.settings.Gemm = s.gemm
	return p, err
}

// trainGroup trains heads together. Those that fail take their error with them.
func (s *sweeping) trainGroup(ctx context.Context, group []*pendingHead) error {
	settings := make([]head.Settings, len(group))
	for i, p := range group {
		settings[i] = p.settings
	}
	results, err := head.TrainAll(ctx, s.train, settings)
	switch {
	case ctx.Err() != nil || errors.Is(err, onnx.ErrRuntime):
		return err
	case results == nil && len(group) > 1: // nothing could be begun: by halves it is found which head is why
		half := len(group) / 2
		return errors.Join(s.trainGroup(ctx, group[:half]), s.trainGroup(ctx, group[half:]))
	case results == nil:
		group[0].Error = err.Error()
		return nil
	}
	for i, p := range group {
		p.result = results[i]
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if failed := (*head.SetError)(nil); errors.As(err, &failed) {
				group[failed.Index].Error = failed.Err.Error()
			}
		}
	}
	return nil
}

// finish writes a head down.
func (s *sweeping) finish(p *pendingHead) error {
	if p.Error == "" {
		s.events.info("head", "configuration", p.name, "seed", p.Seed, "balanced accuracy", fmt.Sprintf("%.4f", p.balanced))
	} else {
		s.events.warn("a head failed", "configuration", p.name, "seed", p.Seed, "reason", p.Error)
	}
	s.done[p.place] = p.Head
	p.result = nil
	return s.dir.writeJSON(headPath(p.ID), p.Head)
}

// judgeGroup judges trained heads on all cores.
func (s *sweeping) judgeGroup(ctx context.Context, group []*pendingHead) error {
	errs := make([]error, len(group))
	atOnce := runtime.GOMAXPROCS(0)
	if s.needsFolds() { // whose heads are trained at the same time
		atOnce = max(1, atOnce/s.config.Folds)
	}
	free := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, p := range group {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			if p.Error == "" {
				errs[i] = s.judge(ctx, p)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// judge measures a trained head on the test set. Scores for selection and
// temperatures come of other images.
func (s *sweeping) judge(ctx context.Context, p *pendingHead) error {
	h := p.result.Head
	for _, e := range p.result.State.History {
		p.Seconds.Train += e.Seconds
	}
	begin := time.Now()
	var unseen []float32 // logits for calibration
	var err error
	if s.needsFolds() {
		unseen, err = head.OutOfFold(ctx, s.train, s.held.X, p.settings, s.config.Folds)
		if err != nil && ctx.Err() == nil && !errors.Is(err, onnx.ErrRuntime) {
			p.Error = err.Error()
			return nil
		} else if err != nil {
			return err
		}
		if s.experiment.Selection == sweep.SelectCV {
			p.Selection = new(balancedAccuracy(unseen, s.train.Y, s.train.Classes))
		}
	}
	labels := s.train.Y
	if s.sets.val != nil {
		labels = s.val.Y
		if unseen, err = s.logits(h, s.val); err != nil {
			return err
		}
		if s.experiment.Selection == sweep.SelectVal {
			p.Selection = new(balancedAccuracy(unseen, labels, s.val.Classes))
		}
	}
	fit := calibration{}
	if s.config.Calibration != noCalibration {
		if fit, err = s.sets.calibrate(s.config.Calibration, unseen, labels, Events{}); err != nil {
			return err
		}
	}
	p.Seconds.Select = time.Since(begin).Seconds()

	begin = time.Now()
	logits, err := s.logits(h, s.test)
	if err != nil {
		return err
	}
	m := fit.measure(logits, s.test.Y, s.sets.train.data.Classes, s.sets.train.data.Counts())
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = s.sets.test.what, p.settings.Loss, p.settings.Epochs, p.settings.SwitchEpoch(), p.Seed
	m.Seconds = Seconds{Encode: Number(math.NaN()), Train: Number(p.Seconds.Train), Evaluate: Number(time.Since(begin).Seconds())}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	p.Metrics = new(metric.Metrics)
	if err := json.Unmarshal(text, p.Metrics); err != nil {
		return err
	}
	p.balanced = m.BalancedAccuracy
	for i := range s.test.Y {
		p.Predicted = append(p.Predicted, argmax(logits[i*h.Classes:(i+1)*h.Classes]))
	}
	p.Seconds.Evaluate = time.Since(begin).Seconds()
	return nil
}

func (s *sweeping) logits(h *head.Head, d head.Data) ([]float32, error) {
	z := make([]float32, len(d.Y)*d.Classes)
	return z, h.Logits(s.gemm, d.X, z)
}

// balancedAccuracy is the mean accuracy of the classes that have samples.
func balancedAccuracy(logits []float32, labels []int, classes int) float64 {
	right, total := make([]int, classes), make([]int, classes)
	for i, y := range labels {
		total[y]++
		if argmax(logits[i*classes:(i+1)*classes]) == y {
			right[y]++
		}
	}
	var accuracies []float64
	for y, n := range total {
		if n > 0 {
			accuracies = append(accuracies, float64(right[y])/float64(n))
		}
	}
	return float64(mean(accuracies))
}

package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// checkpointEvery is the least time between two checkpoints; short trainings write one at their end or interruption.
const checkpointEvery = 5 * time.Second

// training is the training of one head into a run folder.
type training struct {
	FinetuneOptions
	*session
	dir      run.Folder
	shared   *run.UnderWay // with other machines; nil: not
	config   run.Config
	env      run.Environment
	warnings []string
	sets     *feature.Sets
	learned  *feature.Learned // of sets
	inside   *adapter.Plan    // of what is trained below the head; nil: nothing
	below    *adapter.Trainer // by which; nil too
	frozen   *metric.Frozen   // what a head alone does; nil: not known
	ahead    bool             // others encode
	far      int64            // bytes on the disk of features to learn from; 0: they are in memory
	gemm     *onnx.Gemm
}

// encode says what the run runs with, and sees to the features of its images.
func (t *training) encode(ctx context.Context, images *dataset.Sets) (err error) {
	if t.env, err = t.environment(); err != nil {
		return err
	}
	if err := run.EnvironmentFile.Write(t.dir, t.env); err != nil {
		return err
	}
	t.sets, err = t.session.encode(ctx, images, t.Calibration.judgesTraining(t.Data.Val, t.Data.Test))
	var skipped []run.Skipped
	for _, set := range t.sets.All() {
		for _, u := range set.Unreadable {
			skipped = append(skipped, run.Skipped{Set: set.Name, Path: u.Path, Reason: u.Reason})
		}
	}
	return cmp.Or(err, run.SkippedFile.Write(t.dir, skipped))
}

// environment is what environment.json holds.
func (s *session) environment() (run.Environment, error) {
	if s.backbone == nil {
		return s.environmentGiven()
	}
	b, key := s.backbone, s.backbone.Key()
	fields, err := json.Marshal(key)
	if err != nil {
		return run.Environment{}, err
	}
	library, _ := onnx.Loaded()
	env := run.Here()
	env.Runtime = library
	env.Provider.Asked, env.Provider.Ran, env.Provider.Note = s.device.Provider, b.Session.Provider(), b.Session.Note()
	env.Backbone.Name, env.Backbone.SHA256 = b.Name, b.SHA256
	env.Backbone.Feature, env.Backbone.Preprocess = b.Inspection.Feature, b.Preprocess
	env.Store.Key, env.Store.Fields = key.Hash(), fields
	if s.views.Test > 1 {
		env.TTA = vision.Views(s.views.Test)
	}
	return env, nil
}

// trained is a head, with what makes probabilities of its logits.
type trained struct {
	head    *head.Head
	state   *head.State
	fit     metric.Fit
	seconds float64 // spent training and calibrating, before an interruption too
}

// train trains on the stored features, from the checkpoint if there is one, keeping history, κ and checkpoints in the
// run folder as it goes, and calibrates the head.
func (t *training) train(ctx context.Context) (*trained, error) {
	settings := t.Training
	settings.Gemm = t.gemm
	t.learned = t.sets.Learned()
	data, free, err := t.examples(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	if t.learned.Val != nil {
		val, err := t.toJudge(ctx, t.learned.Val)
		if err != nil {
			return nil, err
		}
		settings.Val = &val
	}
	if err := t.judgeFrozen(ctx, data, settings); err != nil {
		return nil, err
	}
	result, seconds, err := t.fit(ctx, data, settings)
	if err != nil {
		return nil, fmt.Errorf("train the head: %w", err)
	}
	begin := time.Now()
	var outOfFold []float32
	if t.Calibration.outOfFold(t.Data.Val) {
		if outOfFold, err = t.outOfFold(ctx, data, settings); err != nil {
			return nil, fmt.Errorf("calibrate: %w", err)
		}
	}
	seconds += time.Since(begin).Seconds()
	if err := t.adapt(ctx, result.State); err != nil {
		return nil, err
	}
	begin = time.Now()
	fit, err := t.calibrate(ctx, result.Head, data, outOfFold)
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	fit.Scaling = fit.Scaling.Renumbered(t.learned.Classes)
	h := result.Head.Renumbered(t.learned.Classes)
	return &trained{h, result.State, fit, seconds + time.Since(begin).Seconds()}, nil
}

// fit runs head.Train, and returns how long training took in all.
func (t *training) fit(ctx context.Context, data head.Data, s head.Settings) (*head.Result, float64, error) {
	begin := time.Now()
	saved, err := t.checkpoint()
	if err != nil {
		return nil, 0, err
	}
	var done []head.Epoch
	if saved != nil {
		s.Resume, done = &saved.State, slices.Clone(saved.State.History)
		begin = begin.Add(-time.Duration(saved.Seconds * float64(time.Second)))
	}
	classes := t.sets.Train.Data.Classes
	for i, e := range done {
		done[i] = e.Renumbered(t.learned.Classes)
	}
	if err := t.dir.BeginHistory(classes, done...); err != nil {
		return nil, 0, err
	}
	save := func(state *head.State) error {
		c := t.identity()
		c.Seconds, c.State = time.Since(begin).Seconds(), *state
		err := run.CheckpointFile.Write(t.dir, &c)
		if err == nil {
			t.shared.Saved(run.CheckpointFile.File)
		}
		return err
	}
	last := time.Now()
	if t.shared != nil { // the first epoch is worth a checkpoint where a machine may be gone for good
		last = time.Time{}
	}
	var failed error // a full disk ends training too, also in its last epoch
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.Events = head.Events{
		Warn: func(message string) { t.events.Warn(message) },
		Epoch: func(e head.Epoch, state *head.State) {
			e = e.Renumbered(t.learned.Classes)
			err := t.dir.AddEpoch(classes, e)
			if err == nil && time.Since(last) >= checkpointEvery {
				err, last = save(state), time.Now()
			}
			if err != nil {
				failed = err
				stop()
			}
			if t.OnEpoch != nil {
				t.OnEpoch(e)
			}
			if !t.slow() {
				t.events.Report(event.Train, s.Loss, e.Number, s.Epochs)
			}
		},
	}
	if t.slow() {
		s.Events.Step = func(done, total int) { t.events.Report(event.Learn, s.Loss, done, total) }
	}
	result, err := t.learn(ctx, data, s)
	if failed != nil {
		err = failed
	}
	if result != nil {
		err = errors.Join(err, save(result.State))
	}
	if err != nil {
		return nil, 0, err
	}
	if e := result.State.EarlyStop(); e != nil {
		if e.Epoch < s.Epochs { // what counts them goes no further
			t.events.Report(event.Train, s.Loss, e.Epoch, e.Epoch)
		}
		t.events.Info("early stop", "after epoch", e.Epoch, "of", s.Epochs, "kept is that of epoch", e.Best)
	}
	return result, time.Since(begin).Seconds(), nil
}

// identity is what a checkpoint must agree in with the run that goes on from it.
func (t *training) identity() run.Checkpoint {
	c := run.Checkpoint{Config: map[string]string{}}
	for _, e := range t.config {
		c.Config[e.Key] = e.Text
	}
	hash := sha256.New()
	fmt.Fprintln(hash, t.key())
	t.learned.Identify(hash)
	c.Images = hex.EncodeToString(hash.Sum(nil))
	return c
}

// defaults are the settings that nobody has set, by key, where these are the loss and what else defaults depend on.
func (t *training) defaults() map[string]string {
	s := t.Training
	o := FinetuneOptions{Adapt: inside.Options{Kind: t.Adapt.Kind},
		Training: head.Settings{Loss: s.Loss, Head: s.Head, Optimizer: s.Optimizer}}
	o.Training = o.Adapt.Recipe(o.Training).WithDefaults()
	setting.Fill(o.Fields())
	o.Training.Shuffle = head.ShuffleAll
	texts := map[string]string{}
	for _, f := range o.Fields() {
		texts[f.Key] = f.Text()
	}
	return texts
}

// checkpoint is what to continue from, nil for a fresh start. It continues only what it began.
func (t *training) checkpoint() (*run.Checkpoint, error) {
	saved, err := run.CheckpointFile.Read(t.dir)
	if err != nil || saved == nil {
		return nil, err
	}
	now := t.identity()
	defaults := t.defaults() // of a setting that there was not yet
	var other []string
	for _, key := range slices.Sorted(maps.Keys(now.Config)) {
		was, had := saved.Config[key]
		if !had {
			was = defaults[key]
		}
		if was != now.Config[key] && run.Decides(key) {
			other = append(other, fmt.Sprintf("%s is %s, was %s", key, now.Config[key], was))
		}
	}
	switch {
	case other != nil:
		return nil, fault.Data.Errorf("the settings in %s have changed since the training of %s was interrupted "+
			"(%s); put them back, or start the run anew without --resume", run.ConfigFile.Path(t.dir),
			run.CheckpointFile.Path(t.dir), strings.Join(other, "; "))
	case saved.Images != now.Images:
		return nil, fault.Data.Errorf("the images, their labels, the backbone or the provider have changed "+
			"since %s was interrupted; start the run anew without --resume", t.dir)
	}
	t.events.Info("training goes on", "after epoch", saved.State.Epoch)
	return saved, nil
}

// calibrate fits the temperatures that are asked for to logits of images that took no part in training what gave them:
// of validation images or, where there are none, of training images out of fold.
func (t *training) calibrate(ctx context.Context, h *head.Head, data head.Data, outOfFold []float32) (metric.Fit,
	error) {
	if t.Calibration.Method == metric.NoCalibration {
		return metric.Fit{}, nil
	}
	unseen, labels, fittedOn := outOfFold, data.Y, "out-of-fold"
	if outOfFold == nil {
		var err error
		val := t.learned.Val
		if unseen, err = t.logits(ctx, h, val, t.gemm); err != nil { // by the backbone as it is now
			return metric.Fit{}, err
		}
		labels, fittedOn = val.Data.Labels(), val.Name
	}
	counts := data.Counts()
	// Of a class of one image every fold's head has seen that image.
	leftOut := func(class int) bool { return outOfFold != nil && counts[class] == 1 }
	return metric.Calibrate(t.Calibration.Method, fittedOn, unseen, labels, data.Classes, leftOut, t.events)
}

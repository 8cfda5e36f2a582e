package sweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/head"
)

func TestResolverFillsDefaults(t *testing.T) {
	resolve := Resolver(Recipe{Head: head.Settings{Epochs: 7}})
	s, err := resolve(map[string]any{"loss": "la", "tau": 2, "head": "linear"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"loss": "la", "tau": 2.0, "head": "linear", "lr": 0.01, "epochs": 7,
		"seed": uint64(0), "optimizer": "sgd", "switch": 0.2} {
		if s[key] != want {
			t.Errorf("%s is %v (%[2]T), want %v (%[3]T)", key, s[key], want)
		}
	}
	// Another point knows nothing of the first, and its default of lr is that of the other head.
	if s, err = resolve(map[string]any{"loss": "la"}); err != nil || s["tau"] != 1.0 || s["lr"] != 0.02 {
		t.Errorf("the point without tau has tau %v, lr %v (%v)", s["tau"], s["lr"], err)
	}
}

func TestResolverRefusesByKey(t *testing.T) {
	for key, value := range map[string]any{"los": "ce", "loss": "x", "lr": -1, "epochs": "many", "tau": true} {
		_, err := Resolver(Recipe{})(map[string]any{key: value})
		if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v: %v, want it refused by its name", key, value, err)
		}
	}
	_, err := Resolver(Recipe{Head: head.Settings{Warmup: -1}})(nil)
	if err == nil || !strings.Contains(err.Error(), "warmup") {
		t.Errorf("a shared setting out of range: %v", err)
	}
	_, err = Resolver(Recipe{})(map[string]any{"adapt": "norm", "loss": "lda"})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "lda is a closed form") {
		t.Errorf("a closed form with something below: %v", err)
	}
}

func TestWithoutEffect(t *testing.T) {
	x := Experiment{Grid: []Block{{{"loss", []any{"ce"}}, {"lr", []any{0.1}}}, {{"lr", []any{0.2}}, {"tau", []any{1}}}}}
	got := x.WithoutEffect(Recipe{Head: head.Settings{Loss: "la", LR: 0.3, Tau: new(2.0), Epochs: 3, Seed: 5}})
	if !slices.Equal(got, []string{"lr"}) {
		t.Errorf("%v, want lr: every block has it; loss and tau hold where a block has none", got)
	}
	x = Experiment{Grid: []Block{{{"seed", []any{1, 2}}}}}
	if got := x.WithoutEffect(Recipe{Head: head.Settings{Seed: 5}}); len(got) > 0 {
		t.Errorf("%v, but the seed of the settings also holds out validation images", got)
	}
}

// blobs are counts[k] samples of each class k around a point of its own.
func blobs(seed uint64, counts ...int) head.Data {
	d := head.Data{Dim: 4, Classes: len(counts)}
	rng := rand.New(rand.NewPCG(seed, 1))
	for k, n := range counts {
		for range n {
			for j := range d.Dim {
				v := 0.9 * rng.NormFloat64()
				if j == k {
					v += 2
				}
				d.X = append(d.X, float32(v))
			}
			d.Y = append(d.Y, k)
		}
	}
	return d
}

// sweeper trains the grid's heads, and keeps what it is given.
type sweeper struct {
	Trainer
	kept     map[string]Head
	order    []string // of the kept
	progress []string
	warnings []string
}

func newSweeper(t *testing.T, grid string) *sweeper {
	t.Helper()
	x, _, err := Parse([]byte(grid), nil, []string{"loss", "lr", "tau", "head", "epochs", "head-batch",
		"weight-decay"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.Plan(Resolver(Recipe{Head: head.Settings{Epochs: 4, Batch: 16}}))
	if err != nil {
		t.Fatal(err)
	}
	s := &sweeper{kept: map[string]Head{}}
	s.Trainer = Trainer{
		Plan: p, Name: "trial", Selection: x.Selection, Method: metric.NoCalibration, Folds: 3,
		Learn: blobs(1, 120, 30, 8), Test: blobs(2, 20, 20, 20), Classes: []string{"a", "b", "c"},
		Order: []int{0, 1, 2}, Identity: "these features", Gemm: head.Blas{}, Version: "v1",
		Kept: func(id string) (Head, error) {
			if h, ok := s.kept[id]; ok {
				return h, nil
			}
			return Head{}, errors.New("there is none")
		},
		Keep: func(h Head) error {
			s.kept[h.ID], s.order = h, append(s.order, h.ID)
			return nil
		},
	}
	s.Events = event.Events{Progress: func(stage event.Stage, what string, done, total int) {
		s.progress = append(s.progress, fmt.Sprint(stage, " ", what, " ", done, "/", total))
	}}.Recording(&s.warnings)
	s.Held = s.Learn
	return s
}

func (s *sweeper) run(t *testing.T) func(int, uint64) Head {
	t.Helper()
	heads, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return heads
}

// alone trains one head by itself, and says what it makes of some data.
func (s *sweeper) alone(t *testing.T, configuration int, seed uint64, d head.Data) []float32 {
	t.Helper()
	settings := head.Settings{Seed: seed, Gemm: head.Blas{}}
	if err := setSettings(&settings, s.Plan.Configurations[configuration].Settings); err != nil {
		t.Fatal(err)
	}
	r, err := head.Train(t.Context(), s.Learn, settings)
	if err != nil {
		t.Fatal(err)
	}
	z := make([]float32, len(d.Y)*d.Classes)
	if err := r.Head.Logits(head.Blas{}, d.X, z); err != nil {
		t.Fatal(err)
	}
	return z
}

func setSettings(s *head.Settings, values Settings) error {
	back, err := Resolver(Recipe{Head: *s})(values)
	if err != nil || !maps.EqualFunc(values, back, func(a, b any) bool { return a == b }) && back["seed"] != s.Seed {
		return fmt.Errorf("%v is not %v: %w", back, values, err)
	}
	for _, f := range s.Fields() {
		if v, ok := values[f.Key]; ok {
			if err := f.Set(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Every head is trained once and is the head that it would be alone.
func TestTrainerTrainsEachHeadOnce(t *testing.T) {
	s := newSweeper(t, `{grid: [{loss: [ce, cvs]}], seeds: [3, 4]}`)
	heads := s.run(t)
	if len(s.order) != 4 || len(s.kept) != 4 {
		t.Fatalf("%v were kept, want four heads once each", s.order)
	}
	if want := []string{"sweep trial 1/4", "sweep trial 2/4", "sweep trial 3/4", "sweep trial 4/4"}; !slices.Equal(
		s.progress, want) {
		t.Errorf("progress %q, want %q", s.progress, want)
	}
	for i, c := range s.Plan.Configurations {
		for _, seed := range c.Seeds {
			h := heads(i, seed)
			m := metric.Measure(s.alone(t, i, seed, s.Test), nil, s.Test.Y, s.Classes, []int{120, 30, 8})
			if h.Metrics == nil || h.Metrics.Scores != m.Scores || h.Metrics.Groups != m.Groups {
				t.Errorf("%s, seed %d: %+v, alone %+v", c.Name, seed, h.Metrics, m)
				continue
			}
			if h.Seed != seed || h.Version != "v1" || h.Error != "" || h.Selection != nil ||
				h.Metrics.Split != "test" || h.Metrics.Loss != c.Settings["loss"] || h.Metrics.Epochs != 4 ||
				h.Metrics.Seed != seed ||
				!reflect.DeepEqual(h, s.kept[h.ID]) {
				t.Errorf("%s, seed %d is kept as %+v", c.Name, seed, h)
			}
			right := 0
			for j, y := range s.Test.Y {
				if h.Predicted[j] == y {
					right++
				}
			}
			if top := float64(h.Metrics.Top1); !near(top, float64(right)/float64(len(s.Test.Y))) || top < 0.6 {
				t.Errorf("%s, seed %d predicts %d rightly, but top-1 is %v", c.Name, seed, right, top)
			}
		}
	}
	if h := heads(0, 99); h.ID != "" {
		t.Errorf("of a seed that is not in the plan there is %+v", h)
	}
}

// What is kept is taken, unless it is of another program, of other features, or damaged.
func TestTrainerReusesKeptHeads(t *testing.T) {
	s := newSweeper(t, `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`)
	first := s.run(t)
	s.order, s.progress = nil, nil
	again := s.run(t)
	if s.order != nil || s.progress != nil || !reflect.DeepEqual(again(1, 1), first(1, 1)) {
		t.Errorf("%v were trained again", s.order)
	}
	gone := first(0, 1).ID
	delete(s.kept, gone)
	if s.run(t); !slices.Equal(s.order, []string{gone}) || !slices.Equal(s.progress, []string{"sweep trial 4/4"}) {
		t.Errorf("%v were trained, want only %s, which was gone: %q", s.order, gone, s.progress)
	}
	s.order, s.Version = nil, "v2"
	if heads := s.run(t); len(s.order) != 4 || heads(0, 0).Version != "v2" || heads(0, 0).ID != first(0, 0).ID {
		t.Errorf("another program trains %v", s.order)
	}
	s.order, s.Identity = nil, "other features"
	if heads := s.run(t); len(s.order) != 4 || heads(0, 0).ID == first(0, 0).ID {
		t.Errorf("of other features %v are trained", s.order)
	}
	h := s.kept[s.order[0]]
	h.ID = "another"
	s.kept[s.order[0]], s.order = h, nil
	if s.run(t); len(s.order) != 1 {
		t.Errorf("a file that has another head in it: %v are trained", s.order)
	}
}

// A head that fails takes its error with it; the others are as they would be without it.
func TestTrainerGoesOnAfterAFailure(t *testing.T) {
	s := newSweeper(t, `{grid: [{loss: ce}, {loss: ce, head: linear, lr: 1000, weight-decay: 1000}, {loss: la}], selection: cv}`)
	s.Method = metric.Temperature
	heads := s.run(t)
	failed := heads(1, 0)
	if !strings.Contains(failed.Error, "diverged") || failed.Metrics != nil || failed.Predicted != nil ||
		failed.Selection != nil || s.kept[failed.ID].Error != failed.Error {
		t.Errorf("the head with a huge learning rate is %+v", failed)
	}
	for _, i := range []int{0, 2} {
		if h := heads(i, 0); h.Error != "" || h.Metrics.BalancedAccuracy < 0.6 || h.Selection == nil {
			t.Errorf("a head beside it is %+v", h)
		}
	}
	if len(s.warnings) != 1 || !strings.Contains(s.warnings[0], "a head failed; configuration: ce head=linear "+
		"lr=1000 weight-decay=1000") {
		t.Errorf("warned %q", s.warnings)
	}
	s.order = nil
	if s.run(t); s.order != nil {
		t.Errorf("%v were trained again, but it would fail again", s.order)
	}
	s = newSweeper(t, `{grid: [{loss: ce, head: linear, lr: 1000, weight-decay: [0, 1000]}]}`) // without folds to fail in
	heads = s.run(t)
	if h := heads(1, 0); !strings.Contains(h.Error, "diverged") || h.Metrics != nil || heads(0, 0).Metrics == nil {
		t.Errorf("alone with its training it is %+v", h)
	}
}

// A configuration that cannot even begin is found among the others, and so is one that fails in its folds alone.
func TestTrainerFindsTheFault(t *testing.T) {
	s := newSweeper(t, `{grid: [{loss: [ce, la, cvs]}], selection: cv}`)
	s.Plan.Configurations[1].Settings["warmup"] = 99 // which fits the range of warmup, but not the epochs
	heads := s.run(t)
	if e := heads(1, 0).Error; !strings.Contains(e, "warmup") || heads(0, 0).Error != "" || heads(2, 0).Error != "" {
		t.Errorf("errors %q, %q, %q, want one that names warmup", heads(0, 0).Error, e, heads(2, 0).Error)
	}
	s = newSweeper(t, `{grid: [{loss: ce}], selection: cv}`)
	s.Folds = len(s.Learn.Y) + 1
	if h := s.run(t)(0, 0); !strings.Contains(h.Error, "folds") || h.Metrics != nil {
		t.Errorf("more folds than samples: %+v", h)
	}
}

// Selection by cv is balanced accuracy out of fold, and the same whatever the test labels are.
func TestTrainerSelectsByCV(t *testing.T) {
	const grid = `{grid: [{loss: ce, lr: [0.001, 0.02]}, {loss: la}], seeds: [0, 1], selection: cv}`
	s, blind := newSweeper(t, grid), newSweeper(t, grid)
	for i, y := range blind.Test.Y {
		blind.Test.Y[i] = (y + 1) % 3
	}
	seen, unseen := s.run(t), blind.run(t)
	for i, c := range s.Plan.Configurations {
		for _, seed := range c.Seeds {
			settings := head.Settings{Seed: seed, Gemm: head.Blas{}}
			if err := setSettings(&settings, c.Settings); err != nil {
				t.Fatal(err)
			}
			z, err := head.OutOfFold(t.Context(), s.Learn, nil, settings, 3)
			if err != nil {
				t.Fatal(err)
			}
			a, b := seen(i, seed), unseen(i, seed)
			if want := calib.BalancedAccuracy(z, s.Learn.Y, 3); *a.Selection != want || *b.Selection != want {
				t.Errorf("%s, seed %d: scores %v and %v, out of fold "+
					"%v", c.Name, seed, *a.Selection, *b.Selection, want)
			}
			if !slices.Equal(a.Predicted, b.Predicted) || a.Metrics.Top1 == b.Metrics.Top1 {
				t.Errorf("%s, seed %d: with other test labels top-1 is %v and %v", c.Name, seed, a.Metrics.Top1,
					b.Metrics.Top1)
			}
		}
	}
}

// With validation images scores and temperatures are theirs.
func TestTrainerJudgesByValidation(t *testing.T) {
	s := newSweeper(t, `{grid: [{loss: ce}], selection: val}`)
	s.Val, s.Method = blobs(3, 10, 10, 10), metric.Classwise
	h := s.run(t)(0, 0)
	z := s.alone(t, 0, 0, s.Val)
	if want := calib.BalancedAccuracy(z, s.Val.Y, 3); h.Selection == nil || *h.Selection != want {
		t.Errorf("the score is %v, want %v", h.Selection, want)
	}
	want, err := calib.FitClasswise(z, 3, s.Val.Y, calib.BalancedWeights(s.Val.Y, 3))
	if err != nil {
		t.Fatal(err)
	}
	c := h.Metrics.Calibration
	if c == nil || c.FittedOn != "val" || c.Method != "classwise" || !slices.Equal(c.Temperature, want.Temperature) {
		t.Errorf("calibrated by %+v, want %v of the validation images", c, want)
	}
}

// Without them temperatures are fitted out of fold; the one sample of a class is in every fold's training part.
func TestTrainerCalibratesOutOfFold(t *testing.T) {
	s := newSweeper(t, `{grid: [{loss: ce}]}`)
	s.Learn, s.Method = blobs(1, 40, 12, 1), metric.Temperature
	s.Held = s.Learn
	h := s.run(t)(0, 0)
	settings := head.Settings{Gemm: head.Blas{}}
	if err := setSettings(&settings, s.Plan.Configurations[0].Settings); err != nil {
		t.Fatal(err)
	}
	z, err := head.OutOfFold(t.Context(), s.Learn, nil, settings, 3)
	if err != nil {
		t.Fatal(err)
	}
	weights := calib.BalancedWeights(s.Learn.Y, 3)
	weights[len(weights)-1] = 0
	want, err := calib.FitTemperature(z, 3, s.Learn.Y, weights)
	if err != nil {
		t.Fatal(err)
	}
	c := h.Metrics.Calibration
	if c == nil || c.FittedOn != "out-of-fold" || !slices.Equal(c.Temperature, want.Temperature) || h.Selection != nil {
		t.Errorf("calibrated by %+v (score %v), want %v", c, h.Selection, want)
	}
	if c.Before.ECE == h.Metrics.ECE {
		t.Errorf("the calibration error is %v before and after", c.Before.ECE)
	}
}

// failing is a Gemm of a runtime that has gone.
type failing struct{}

func (failing) Mul(bool, bool, int, int, int, []float32, []float32, []float32) error {
	return fault.Runtime.Errorf("the GPU has fallen off the bus")
}

// What ends the work ends all of it.
func TestTrainerEnds(t *testing.T) {
	const grid = `{grid: [{loss: [ce, la]}]}`
	s := newSweeper(t, grid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) || len(s.kept) > 0 {
		t.Errorf("cancelled: %v, %d heads kept", err, len(s.kept))
	}
	s = newSweeper(t, grid)
	full := errors.New("the disk is full")
	s.Keep = func(Head) error { return full }
	if _, err := s.Run(t.Context()); !errors.Is(err, full) {
		t.Errorf("heads cannot be kept: %v", err)
	}
	s = newSweeper(t, grid)
	s.Gemm = failing{}
	if _, err := s.Run(t.Context()); err == nil || fault.Of(err) != fault.Runtime || len(s.kept) > 0 {
		t.Errorf("without a runtime: %v, %d heads kept", err, len(s.kept))
	}
	s = newSweeper(t, grid)
	s.Plan.Configurations[0].Settings = Settings{"loss": 3}
	if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "loss") {
		t.Errorf("settings of a wrong type: %v", err)
	}
}

package head

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/vitft/vitft/calib"
)

// Result is what training gives.
type Result struct {
	Head  *Head
	State *State // after the last whole epoch; its History has the epochs
}

// DivergedError is the end of a training whose loss or parameters are no longer finite.
type DivergedError struct {
	Epoch int // from 1
	Phase Phase
	LR    float64
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("training diverged in epoch %d (phase %s, learning rate %.3g): use a lower learning rate, or smaller gamma, tau or rho",
		e.Epoch, e.Phase, e.LR)
}

// Train trains a head on data. When ctx ends or training diverges, it returns the error together with a Result that
// is as of the last whole epoch, to save and to resume from; other errors come with no Result.
func Train(ctx context.Context, data Data, s Settings) (*Result, error) {
	if err := check(data, s); err != nil {
		return nil, err
	}
	s = s.WithDefaults()
	workers := runtime.GOMAXPROCS(0)
	p, err := prepare(data, s, workers)
	if err != nil {
		return nil, err
	}
	return train(ctx, data, s, p, workers)
}

// check says what is wrong with settings or data, or with the two together.
func check(data Data, s Settings) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("head settings: %w", err)
	}
	if err := data.Validate(); err != nil {
		return fmt.Errorf("training data: %w", err)
	}
	if s.Val == nil {
		return nil
	}
	if err := s.Val.Validate(); err != nil {
		return fmt.Errorf("validation data: %w", err)
	}
	if s.Val.views() > 1 {
		return fmt.Errorf("validation data of %d views: give one feature a sample", s.Val.Views)
	}
	if s.Val.Dim != data.Dim || s.Val.Classes != data.Classes {
		return fmt.Errorf("validation data of %d features and %d classes, training data of %d and %d",
			s.Val.Dim, s.Val.Classes, data.Dim, data.Classes)
	}
	return nil
}

// train is Train on data that has been checked and prepared, with so many goroutines.
func train(ctx context.Context, data Data, s Settings, p *prepared, workers int) (*Result, error) {
	t := newTrainer(data, s, p, workers)
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	err := t.advance(ctx, s.Epochs)
	return t.result(), err
}

// trainer is one training under way. Everything that changes from epoch to epoch, and matters to the next, is in
// state.
type trainer struct {
	set     Settings
	method  method
	data    Data
	counts  []int
	byClass [][]int // samples, for stages that draw classes alike
	*prepared
	workers int
	masks   [][]float32 // [D] of each expert; nil: all ones
	state   *State

	batch                // scratch
	seen  []calib.Sample // of the epoch, in training order
}

func newTrainer(data Data, s Settings, p *prepared, workers int) *trainer {
	t := &trainer{set: s, data: data, counts: data.Counts(), prepared: p, workers: workers}
	t.method, _ = findMethod(s.Loss)
	t.masks = subspaces(s, data.Dim)
	t.batch = newBatch(min(s.Batch, len(data.Y)), data, s)
	t.seen = make([]calib.Sample, len(data.Y))
	return t
}

// expert is the parameters of one expert, or something in their shape: z_k = S_k (w_k·x' + b_k), where the rows of W
// are first scaled to length 1 if the head is a cosine head.
type expert struct {
	all  []float32
	w    []float32 // [C, D]
	b, s []float32 // [C]; S is the same for all classes but in the late stage of lws
}

func (t *trainer) size() int { return t.data.Classes * (t.data.Dim + 2) }

// expert returns the e-th of values that are in the shape of State.Params.
func (t *trainer) expert(values []float32, e int) expert {
	size, classes := t.size(), t.data.Classes
	p := values[e*size : (e+1)*size]
	return expert{all: p, w: p[:classes*t.data.Dim], b: p[classes*t.data.Dim : size-classes], s: p[size-classes:]}
}

// begin sets the state to the start, or to the one to resume from.
func (t *trainer) begin(ctx context.Context) error {
	size := t.size() * t.set.Experts
	second := 0
	if t.set.Optimizer == "adamw" {
		second = size
	}
	if r := t.set.Resume; r != nil {
		if err := r.check(size, second, t.data.Classes, t.set.Epochs); err != nil {
			return fmt.Errorf("resuming: %w", err)
		}
		t.state = r.Clone()
		return nil
	}
	t.state = &State{Params: make([]float32, size), First: make([]float32, size), Second: make([]float32, second)}
	for e := range t.set.Experts {
		t.start(e)
	}
	return t.crossfit(ctx)
}

// advance trains up to an epoch. On an error the state is as of the last whole epoch.
func (t *trainer) advance(ctx context.Context, epoch int) error {
	for t.state.Epoch < epoch {
		last := t.state.Clone()
		do := t.epoch
		if t.method.solve != nil {
			do = t.solve
		}
		if err := do(ctx); err != nil {
			t.state = last
			return err
		}
		t.report()
	}
	return nil
}

// epoch trains for one epoch and estimates κ for the next.
func (t *trainer) epoch(ctx context.Context) error {
	began := time.Now()
	n, e, s := len(t.data.Y), t.state.Epoch, t.set
	phase := s.PhaseOf(e)
	stage := t.method.stage(phase == PhaseCLA)
	if phase == PhaseCLA && e == s.SwitchEpoch() && (*s.Restart > 0 || stage.scales) {
		// The late phase is a new problem: the momentum of the old one only misleads.
		clear(t.state.First)
		clear(t.state.Second)
		t.state.Steps = 0
	}
	kappa, err := t.kappa(phase == PhaseCLA)
	if err != nil {
		return err
	}
	adjustment, err := NewAdjustment(s, phase == PhaseCLA, t.counts, kappa)
	if err != nil {
		return err
	}
	loss := newBatchLoss(adjustment)
	softmax := t.estimates() && s.Kappa.Softmax(t.lateNext())

	rows := t.order(e, stage.balanced)
	t.batch.noise = rand.New(rand.NewPCG(s.Seed, noiseStream|uint64(e)))
	record := Epoch{Number: e + 1, Phase: phase, Kappa: kappa}
	for from := 0; from < n; from += s.Batch {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("training the head, epoch %d: %w", e+1, err)
		}
		to := min(from+s.Batch, n)
		lr := s.rate(float64(e) + float64(from)/float64(n))
		if from == 0 {
			record.LR = lr
		}
		mean, err := t.gradient(rows[from:to], loss, stage.scales, softmax, t.seen[from:to])
		if err != nil {
			return err
		}
		if math.IsNaN(mean) || math.IsInf(mean, 0) {
			return &DivergedError{Epoch: e + 1, Phase: phase, LR: lr}
		}
		record.Loss += mean * float64(to-from) / float64(n)
		t.state.Steps++
		t.update(lr, stage.scales)
	}
	if !finite(t.state.Params) { // the last update's loss has not been seen yet
		return &DivergedError{Epoch: e + 1, Phase: phase, LR: record.LR}
	}
	t.state.Epoch++
	if err := t.estimate(adjustment); err != nil {
		return err
	}
	return t.record(record, began)
}

// update takes a step along the gradient that is in t.grad.
func (t *trainer) update(lr float64, frozen bool) {
	s := t.set
	opt := optimizer{momentum: *s.Momentum, decay: *s.WeightDecay, nesterov: s.Nesterov, adam: s.Optimizer == "adamw"}
	for e := range s.Experts {
		params, first, grad := t.expert(t.state.Params, e), t.expert(t.state.First, e), t.expert(t.grad, e)
		var second expert
		if opt.adam {
			second = t.expert(t.state.Second, e)
		}
		weights := len(params.w)
		step := func(from, to int, decays bool) {
			var moment []float32
			if opt.adam {
				moment = second.all[from:to]
			}
			opt.update(params.all[from:to], first.all[from:to], moment, grad.all[from:to], lr, t.state.Steps, decays)
		}
		if !frozen {
			parallel(t.workers, weights, 1<<15, func(from, to int) { step(from, to, true) })
		}
		step(weights, len(params.all), false)
	}
}

// record completes the record of the epoch just done and adds it to the history.
func (t *trainer) record(r Epoch, began time.Time) error {
	labels := make([]int, len(t.seen))
	for i, o := range t.seen {
		labels[i] = int(o.Label)
	}
	r.Train = accuracy(labels, func(i int) int { return int(t.seen[i].Predicted) }, t.counts)
	if t.set.Val != nil {
		a, err := t.validate()
		if err != nil {
			return err
		}
		r.Val = &a
	}
	r.Seconds = time.Since(began).Seconds()
	t.state.History = append(t.state.History, r)
	return nil
}

// current is the head as it is now: the mean of the experts, with what the method does to it in the end.
func (t *trainer) current() *Head {
	h := t.prepared.head
	h.W, h.B = make([]float32, len(t.unit)), make([]float32, h.Classes)
	row := make([]float32, h.Dim)
	for e := range t.set.Experts {
		p := t.expert(t.state.Params, e)
		for k, s := range p.s {
			copy(row, p.w[k*h.Dim:(k+1)*h.Dim])
			if h.Normalize {
				normalize(row, h.Dim)
			}
			s /= float32(t.set.Experts)
			for d, v := range row {
				h.W[k*h.Dim+d] += s * v
			}
			h.B[k] += s * p.b[k]
		}
	}
	if t.method.after != nil {
		t.method.after(&h, priors(t.counts), *t.set.Tau)
	}
	return &h
}

func (t *trainer) result() *Result { return &Result{Head: t.current(), State: t.state.Clone()} }

// validate measures the head on Settings.Val.
func (t *trainer) validate() (Accuracy, error) {
	v := t.set.Val
	z := make([]float32, len(v.Y)*v.Classes)
	if err := t.current().multiply(t.set.Gemm, t.val, z); err != nil {
		return Accuracy{}, fmt.Errorf("measuring on validation data: %w", err)
	}
	return accuracy(v.Y, func(i int) int { return argmax(z[i*v.Classes : (i+1)*v.Classes]) }, t.counts), nil
}

func finite(v []float32) bool {
	for _, x := range v {
		if !(math.Abs(float64(x)) <= math.MaxFloat32) { // NaN compares false
			return false
		}
	}
	return true
}

func argmax(row []float32) int {
	best := 0
	for k, v := range row {
		if v > row[best] {
			best = k
		}
	}
	return best
}

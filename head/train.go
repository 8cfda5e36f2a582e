package head

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
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
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("head settings: %w", err)
	}
	if err := data.Validate(); err != nil {
		return nil, fmt.Errorf("training data: %w", err)
	}
	if s.Val != nil {
		if err := s.Val.Validate(); err != nil {
			return nil, fmt.Errorf("validation data: %w", err)
		}
		if s.Val.Dim != data.Dim || s.Val.Classes != data.Classes {
			return nil, fmt.Errorf("validation data of %d features and %d classes, training data of %d and %d",
				s.Val.Dim, s.Val.Classes, data.Dim, data.Classes)
		}
	}
	t, err := newTrainer(data, s.WithDefaults())
	if err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		return nil, err
	}
	for t.state.Epoch < t.set.Epochs {
		last := t.state.Clone()
		if err := t.epoch(ctx); err != nil {
			t.state = last
			return t.result(), err
		}
		t.report()
	}
	return t.result(), nil
}

// trainer is one training under way. Everything that changes from epoch to epoch, and matters to the next, is in
// state.
type trainer struct {
	set    Settings
	data   Data
	counts []int
	head   *Head // shape and standardisation; its W, B and Scale are state.Params
	state  *State
	rows   []float32 // [n, D], prepared features

	// Scratch of one batch.
	x, z, grad []float32
	weights    []float32 // W of a cosine head, with rows of length 1
	labels     []int
	seen       []calib.Sample // of the epoch, in training order
}

func newTrainer(data Data, s Settings) (*trainer, error) {
	t := &trainer{set: s, data: data, counts: data.Counts()}
	n, size := len(data.Y), data.Classes*data.Dim
	t.head = &Head{Classes: data.Classes, Dim: data.Dim, Normalize: s.Head == "cosine"}
	if err := t.head.fitFeatures(data, s); err != nil {
		return nil, err
	}
	t.rows = make([]float32, len(data.X))
	if err := t.head.prepare(s.Gemm, data.X, t.rows); err != nil {
		return nil, err
	}
	batch := min(s.Batch, n)
	t.x, t.z = make([]float32, batch*data.Dim), make([]float32, batch*data.Classes)
	t.labels, t.seen = make([]int, batch), make([]calib.Sample, n)
	t.grad, t.weights = make([]float32, size+data.Classes+1), make([]float32, size)
	return t, nil
}

// begin sets the state to the start, or to the one to resume from.
func (t *trainer) begin() error {
	size := len(t.grad)
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
	w, b, scale := t.split(t.state.Params)
	*scale = 1
	if t.head.Normalize {
		*scale = float32(t.set.Scale)
	}
	switch {
	case t.set.Start == "mean":
		t.startAtMeans(w, b)
	case t.head.Normalize:
		// A cosine is undefined at 0, so "zero" is a random direction a row.
		rng := rand.New(rand.NewPCG(t.set.Seed, startStream))
		for i := range w {
			w[i] = float32(rng.NormFloat64() / math.Sqrt(float64(t.data.Dim)))
		}
	}
	return nil
}

// startAtMeans starts each class at the mean of its prepared features; a class without samples at the mean of all.
// For a linear head that is the nearest-class-mean rule under a spherical Gaussian of the pooled within-class variance
// v a dimension, softened by the dimension: w = μ/(v D), b = −|μ|²/(2 v D).
func (t *trainer) startAtMeans(w, b []float32) {
	dim := t.data.Dim
	prepared := Data{X: t.rows, Y: t.data.Y, Dim: dim, Classes: t.data.Classes}
	means, all := classMeans(prepared), sampleMean(prepared)
	for y, n := range t.counts {
		mean := means[y*dim : (y+1)*dim]
		if n == 0 {
			copy(mean, all)
		}
		for d, v := range mean {
			w[y*dim+d] = float32(v)
		}
	}
	if t.head.Normalize {
		normalize(w, dim)
		return
	}
	within := 0.0 // = v D
	for i, y := range t.data.Y {
		for d, v := range t.rows[i*dim : (i+1)*dim] {
			within += (float64(v) - means[y*dim+d]) * (float64(v) - means[y*dim+d])
		}
	}
	within = max(within/float64(len(t.data.Y)), 1e-12)
	for y := range b {
		square := 0.0
		for d, v := range means[y*dim : (y+1)*dim] {
			square += v * v
			w[y*dim+d] = float32(v / within)
		}
		b[y] = float32(-square / (2 * within))
	}
}

// startStream is the PCG stream of the start; epochs use their own number.
const startStream = math.MaxUint64

func (t *trainer) split(params []float32) (w, b []float32, scale *float32) {
	size := t.data.Classes * t.data.Dim
	return params[:size], params[size : size+t.data.Classes], &params[size+t.data.Classes]
}

// epoch trains for one epoch and estimates κ for the next.
func (t *trainer) epoch(ctx context.Context) error {
	began := time.Now()
	n, e, s := len(t.data.Y), t.state.Epoch, t.set
	phase := s.PhaseOf(e)
	if phase == PhaseCLA && e == s.SwitchEpoch() && *s.Restart > 0 {
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
	softmax := t.usesKappa() && s.Kappa.Softmax(t.lateNext())
	opt := optimizer{params: t.state.Params, first: t.state.First, second: t.state.Second, momentum: *s.Momentum,
		decayed: t.data.Classes * t.data.Dim, decay: *s.WeightDecay, nesterov: s.Nesterov, adam: s.Optimizer == "adamw"}

	order := rand.New(rand.NewPCG(s.Seed, uint64(e))).Perm(n)
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
		mean, err := t.gradient(order[from:to], loss, t.seen[from:to], softmax)
		if err != nil {
			return err
		}
		if math.IsNaN(mean) || math.IsInf(mean, 0) {
			return &DivergedError{Epoch: e + 1, Phase: phase, LR: lr}
		}
		record.Loss += mean * float64(to-from) / float64(n)
		t.state.Steps++
		opt.update(t.grad, lr, t.state.Steps)
	}
	if !finite(t.state.Params) { // the last update's loss has not been seen yet
		return &DivergedError{Epoch: e + 1, Phase: phase, LR: record.LR}
	}
	t.state.Epoch++
	if err := t.estimate(adjustment); err != nil {
		return err
	}
	seenLabels := make([]int, n)
	for i, o := range t.seen {
		seenLabels[i] = int(o.Label)
	}
	record.Train = accuracy(seenLabels, func(i int) int { return int(t.seen[i].Predicted) }, t.counts)
	if s.Val != nil {
		a, err := t.validate()
		if err != nil {
			return err
		}
		record.Val = &a
	}
	record.Seconds = time.Since(began).Seconds()
	t.state.History = append(t.state.History, record)
	return nil
}

// gradient leaves the gradient of the loss over a batch in t.grad and returns the loss.
func (t *trainer) gradient(batch []int, loss *batchLoss, seen []calib.Sample, softmax bool) (float64, error) {
	m, dim, classes := len(batch), t.data.Dim, t.data.Classes
	x, z, labels := t.x[:m*dim], t.z[:m*classes], t.labels[:m]
	for i, j := range batch {
		copy(x[i*dim:(i+1)*dim], t.rows[j*dim:(j+1)*dim])
		labels[i] = t.data.Y[j]
	}
	w, b, scale := t.split(t.state.Params)
	gw, gb, gscale := t.split(t.grad)
	effective := w
	if t.head.Normalize {
		effective = t.weights
		copy(effective, w)
		normalize(effective, dim)
	}
	if err := t.set.Gemm.Mul(false, true, m, classes, dim, x, effective, z); err != nil {
		return 0, fmt.Errorf("multiplying a batch of features with the head: %w", err)
	}
	for i := range m {
		row := z[i*classes : (i+1)*classes]
		for k := range row {
			row[k] = row[k]**scale + b[k]
		}
	}
	mean := loss.gradient(z, labels, seen, softmax)
	if err := t.set.Gemm.Mul(true, false, classes, dim, m, z, x, gw); err != nil {
		return 0, fmt.Errorf("multiplying gradients with a batch of features: %w", err)
	}
	clear(gb)
	*gscale = 0
	if !t.head.Normalize {
		for i := range m {
			for k, g := range z[i*classes : (i+1)*classes] {
				gb[k] += g
			}
		}
		return mean, nil
	}
	// With ŵ = w/|w| and G = ∂L/∂(s ŵ): ∂L/∂s = Σ ŵ·G, and ∂L/∂w = s (G − ŵ (ŵ·G))/|w|.
	total := 0.0
	for k := range classes {
		row, unit, g := w[k*dim:(k+1)*dim], effective[k*dim:(k+1)*dim], gw[k*dim:(k+1)*dim]
		along := float32(0)
		for d := range g {
			along += g[d] * unit[d]
		}
		total += float64(along)
		f := *scale / float32(max(norm(row), 1e-12))
		for d := range g {
			g[d] = f * (g[d] - along*unit[d])
		}
	}
	if t.set.LearnScale {
		*gscale = float32(total)
	}
	return mean, nil
}

// current is the head as it is now; it shares the state's parameters.
func (t *trainer) current() *Head {
	h := *t.head
	w, b, scale := t.split(t.state.Params)
	h.W, h.B, h.Scale = w, b, *scale
	return &h
}

func (t *trainer) result() *Result {
	h := t.current()
	s := t.state.Clone()
	h.W, h.B, _ = t.split(s.Clone().Params)
	return &Result{Head: h, State: s}
}

// validate measures the head on Settings.Val.
func (t *trainer) validate() (Accuracy, error) {
	v := t.set.Val
	z := make([]float32, len(v.Y)*v.Classes)
	if err := t.current().Logits(t.set.Gemm, v.X, z); err != nil {
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

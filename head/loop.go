package head

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"gonum.org/v1/gonum/blas/blas32"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/vec"
)

// Param is a group of numbers that is trained.
type Param struct {
	Name      string    // the only one of its Trainable
	Shape     []int     // of Values, row-major
	Values    []float32 // changed in place, and so always the same slice
	Decays    bool      // Settings.WeightDecay applies
	Frozen    bool      // left alone in this phase
	Rate      float64   // of learning, relative to that of the settings; 0 is 1
	Optimizer string    // "sgd" or "adamw"; "" is that of the settings
}

// Trainable is what [Loop] trains: a model of samples, known by their number, whose logits for C classes have a
// gradient with respect to its parameters. Every implementation passes headtest.TestTrainable.
type Trainable interface {
	// Begin is told of an epoch, counted from 0, before it. What is random in it is a function of seed and epoch, so
	// that a training can be resumed.
	Begin(epoch int, phase Phase)
	// Params lists all parameters, those of this phase not Frozen, in an order that never changes.
	Params() []Param
	// Forward writes the logits of rows in training, [Settings.Experts, len(rows), C], to z. A row is sample·Views +
	// view. own is a term of the loss that is the model's own, such as a penalty; 0: none.
	Forward(ctx context.Context, rows []int, z []float32) (own float64, err error)
	// Backward is of the last Forward: it takes dz, the gradient of the loss with respect to z, to that of the loss and
	// own with respect to each of Params, and may overwrite dz. Gradients of what is Frozen are not read.
	Backward(ctx context.Context, dz []float32, grad [][]float32) error
	// Predict writes the logits that the finished model, were it finished now, gives samples [from, to), [to−from, C],
	// to z: of view 0 of the training set, or of the set held out.
	Predict(ctx context.Context, held bool, from, to int, z []float32) error
}

// Ordered is a [Trainable] that is told the rows of an epoch, in the order in which they will come, after Begin: it can
// prepare them while others are trained on.
type Ordered interface{ Order(rows []int) }

// Loop trains a [Trainable] under the losses of [Settings], in one phase or two, with κ, schedule, sampling, events and
// resumption. Settings that belong to the head, Gemm and Val too, have no part in it.
type Loop struct {
	Settings Settings
	Labels   []int // of the training samples
	Classes  int
	Views    int   // of each sample; 0 is 1
	Held     []int // labels of the set held out, measured after every epoch; nil: none
	// Micro is how many rows of a batch go through the model at a time, whose gradients are summed: it bounds the
	// memory of a model whose Backward needs what Forward computed. 0 is the whole batch, which the diversity of
	// experts needs.
	Micro int
	// OutOfFold returns logits as [OutOfFold] does, after each of some epochs in rising order, for a κ that is to be
	// cross-fitted; nil: it cannot be.
	OutOfFold func(ctx context.Context, s Settings, folds int, epochs []int) ([][]float32, error)

	workers int // 0: as many as there are processors
}

// Run trains m, from Settings.Resume on if there is such a state, which it takes over. When ctx ends or training
// diverges, it returns the error together with the state of the last whole epoch, which m is then in too; other errors
// before the first epoch come with no state. The state has the values of the parameters of m, not copies.
func (l Loop) Run(ctx context.Context, m Trainable) (*State, error) {
	r, err := l.begin(ctx, m)
	if err != nil {
		return nil, err
	}
	if err = r.advance(ctx, r.set.Epochs); err == nil {
		r.takeBest()
	}
	return r.state, err
}

// DivergedError is the end of a training whose loss or parameters are no longer finite.
type DivergedError struct {
	Epoch int // from 1
	Phase Phase
	LR    float64
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("training diverged in epoch %d (phase %s, learning rate %.3g): use a lower learning rate, "+
		"or smaller gamma, tau or rho", e.Epoch, e.Phase, e.LR)
}

// Kind is that of a wrong setting: trying again would end the same.
func (*DivergedError) Kind() string { return string(fault.Config) }

// solver finds its parameters at once, by the closed form that its settings name.
type solver interface {
	solve(ctx context.Context, loss *batchLoss) error
}

// run is one training under way. Everything that changes from epoch to epoch, and matters to the next, is in state,
// which shares the parameters' values with the model.
type run struct {
	Loop
	set    schedule
	counts []int
	model  Trainable
	state  *State
	last   *State // a copy as of the last whole epoch, while one is under way

	z    []float32
	grad [][]float32    // of each Param
	more [][]float32    // what another part of a batch adds to it
	seen []calib.Sample // of the epoch, in training order
}

// InParts says what cannot be trained together with a model below the head, through which batches go in parts.
func (s Settings) InParts() error {
	switch set := s.schedule(); {
	case set.Diversity > 0:
		return fault.Config.Errorf("diversity: it is a term of whole batches, and these go through what is trained " +
			"inside the backbone in parts; leave it out, or train a head alone")
	case set.solve != nil:
		return fault.Config.Errorf("loss: %s is a closed form of a head alone, and nothing inside the "+
			"backbone can learn with it; take a loss that is trained, such as la or cvs", set.Loss)
	}
	return nil
}

// begin sets the state to the start, or to the one to resume from.
func (l Loop) begin(ctx context.Context, m Trainable) (*run, error) {
	if err := l.Settings.Validate(); err != nil {
		return nil, fmt.Errorf("head settings: %w", err)
	}
	err := checkLabels(l.Labels, l.Classes)
	if err == nil && l.Held != nil {
		err = checkLabels(l.Held, l.Classes)
	}
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	l.Views = max(l.Views, 1)
	l.workers = cmp.Or(l.workers, runtime.GOMAXPROCS(0))
	r := &run{Loop: l, set: l.Settings.schedule(), model: m, state: new(State),
		counts: Data{Y: l.Labels, Classes: l.Classes}.Counts(), seen: make([]calib.Sample, len(l.Labels))}
	if r.set.EarlyStop > 0 && l.Held == nil {
		return nil, fault.Config.Errorf("early-stop: it takes validation images to see what is gained on")
	}
	if _, ok := m.(solver); l.Micro > 0 || !ok && r.set.solve != nil {
		if err := l.Settings.InParts(); err != nil {
			return nil, err
		}
	}
	for _, p := range m.Params() {
		t := Tensor{Name: p.Name, Shape: p.Shape, Values: p.Values, First: make([]float32, len(p.Values))}
		switch cmp.Or(p.Optimizer, r.set.Optimizer) {
		case "sgd":
		case "adamw":
			t.Second = make([]float32, len(p.Values))
		default:
			return nil, fault.Config.Errorf("param %s: optimizer %q is neither sgd nor adamw", p.Name, p.Optimizer)
		}
		r.state.Params = append(r.state.Params, t)
		r.grad = append(r.grad, make([]float32, len(p.Values)))
		if l.Micro > 0 {
			r.more = append(r.more, make([]float32, len(p.Values)))
		}
	}
	if r.set.Resume == nil {
		return r, r.crossfit(ctx)
	}
	if err := r.set.Resume.check(r.state, l.Classes, r.set.Epochs, r.set.EarlyStop > 0); err != nil {
		return nil, fmt.Errorf("resuming: %w", err)
	}
	r.restore(r.set.Resume)
	return r, nil
}

// restore takes model and state to where another state is, which it empties: the numbers of a whole ViT are gigabytes.
func (r *run) restore(to *State) {
	live, state := r.state.Params, *to
	*to = State{}
	for i, t := range state.Params {
		copy(live[i].Values, t.Values)
		state.Params[i].Values = live[i].Values
	}
	r.state = &state
}

// advance trains up to an epoch, or until training ends early. On an error the state is as of the last whole epoch.
func (r *run) advance(ctx context.Context, epoch int) error {
	for r.state.Epoch < epoch && !r.stopped() {
		r.last = r.state.copied(r.last)
		if err := r.epoch(ctx); err != nil {
			r.restore(r.last)
			return err
		}
	}
	return nil
}

// epoch trains for one epoch, in which a closed form is solved, and estimates κ for the next.
func (r *run) epoch(ctx context.Context) error {
	began, phase := time.Now(), r.set.phase(r.state.Epoch)
	late := phase == PhaseCLA
	record := Epoch{Number: r.state.Epoch + 1, Phase: phase, Kappa: r.kappa(late)}
	loss := r.set.adjustment(late, r.counts, record.Kappa)
	do := r.descend
	if r.set.solve != nil {
		do = r.solve
	}
	if err := do(ctx, loss, &record); err != nil {
		return err
	}
	for _, t := range r.state.Params { // the last update's loss has not been seen yet
		if vec.NotFinite(t.Values) >= 0 {
			return &DivergedError{Epoch: record.Number, Phase: record.Phase, LR: record.LR}
		}
	}
	r.state.Epoch++
	if err := r.estimate(ctx, loss); err != nil {
		return err
	}
	return r.record(ctx, record, began)
}

// descend takes an epoch's steps along the gradient.
func (r *run) descend(ctx context.Context, adjustment Adjustment, record *Epoch) error {
	n, e, late := len(r.Labels), r.state.Epoch, record.Phase == PhaseCLA
	stage := r.set.stage(late)
	if late && e == r.set.t0 && (*r.set.Restart > 0 || stage.scales) {
		// The late phase is a new problem: the momentum of the old one only misleads.
		r.state.Steps = 0
		for _, t := range r.state.Params {
			clear(t.First)
			clear(t.Second)
		}
	}
	loss := newBatchLoss(adjustment, r.estimates() && r.set.Kappa.Softmax(r.set.phase(e+1) == PhaseCLA))
	rows := r.order(e, stage.balanced)
	r.model.Begin(e, record.Phase)
	if m, ok := r.model.(Ordered); ok {
		m.Order(rows)
	}
	params := r.model.Params()
	record.LR = r.set.rate(float64(e))
	for from := 0; from < n; from += r.set.Batch {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("training the head, epoch %d: %w", e+1, err)
		}
		to := min(from+r.set.Batch, n)
		lr := r.set.rate(float64(e) + float64(from)/float64(n))
		mean, err := r.gradient(ctx, rows[from:to], loss, r.seen[from:to])
		if err != nil {
			return err
		}
		if mean-mean != 0 { // NaN or infinite
			return &DivergedError{Epoch: e + 1, Phase: record.Phase, LR: lr}
		}
		record.Loss += mean * float64(to-from) / float64(n)
		r.state.Steps++
		r.update(params, lr)
		if e >= r.set.Epochs-r.set.Average {
			r.average(params)
		}
		if r.set.Events.Step != nil {
			r.set.Events.Step(e*n+to, r.set.Epochs*n)
		}
	}
	if e == r.set.Epochs-1 && r.state.Meant > 0 {
		for i, p := range params {
			copy(p.Values, r.state.Params[i].Mean)
		}
	}
	return nil
}

// average takes the parameters as they are into their mean.
func (r *run) average(params []Param) {
	r.state.Meant++
	share := 1 / float32(r.state.Meant)
	for i, p := range params {
		t := &r.state.Params[i]
		if t.Mean == nil {
			t.Mean = make([]float32, len(p.Values))
		}
		parallel(r.workers, len(p.Values), 1<<15, func(from, to int) {
			mean := t.Mean[from:to]
			for k, v := range p.Values[from:to] {
				mean[k] += float32((v - mean[k]) * share)
			}
		})
	}
}

// gradient leaves the gradient of the loss over a batch of rows in r.grad and returns the loss, the mean over the
// experts. seen gets a sample of each row; of several experts each sees its share. Rows go through the model Micro at a
// time.
func (r *run) gradient(ctx context.Context, rows []int, loss *batchLoss, seen []calib.Sample) (float64, error) {
	labels := make([]int, len(rows))
	for i, row := range rows {
		labels[i] = r.Labels[row/r.Views]
	}
	weight, total, into := loss.weight(labels), 0.0, r.grad
	for from, micro := 0, cmp.Or(r.Micro, len(rows)); from < len(rows); from += micro {
		to := min(from+micro, len(rows))
		own, err := r.part(ctx, rows[from:to], labels[from:to], loss, weight, seen[from:to], into)
		if err != nil {
			return 0, err
		}
		total += own
		if from > 0 {
			for i, part := range into {
				blas32.Axpy(1, blas32.Vector{N: len(part), Data: part, Inc: 1},
					blas32.Vector{N: len(part), Data: r.grad[i], Inc: 1})
			}
		} else if micro < len(rows) {
			into = r.more
		}
	}
	return total / float64(r.set.Experts), nil
}

// part leaves what some rows of a batch have in its gradient in grad, and returns what they have in its loss.
func (r *run) part(ctx context.Context, rows, labels []int, loss *batchLoss, weight float64, seen []calib.Sample,
	grad [][]float32) (float64, error) {
	size, experts := len(rows)*r.Classes, r.set.Experts
	z := grow(r.z, experts*size)
	r.z = z
	total, err := r.model.Forward(ctx, rows, z)
	if err != nil {
		return 0, err
	}
	for e := range experts {
		total += loss.part(r.workers, z[e*size:(e+1)*size], labels, weight, func(i int, s calib.Sample) {
			if i%experts == e {
				seen[i] = s
			}
		})
	}
	return total, r.model.Backward(ctx, z, grad)
}

// update takes a step along the gradient that is in r.grad.
func (r *run) update(params []Param, lr float64) {
	for i, p := range params {
		if p.Frozen {
			continue
		}
		t, rate, decay := &r.state.Params[i], lr*cmp.Or(p.Rate, 1), 0.0
		if p.Decays {
			decay = *r.set.WeightDecay
		}
		parallel(r.workers, len(p.Values), 1<<15, func(from, to int) {
			values, first, grad := p.Values[from:to], t.First[from:to], r.grad[i][from:to]
			if len(t.Second) > 0 {
				adamw(values, first, t.Second[from:to], grad, rate, decay, r.state.Steps)
			} else {
				sgd(values, first, grad, rate, decay, *r.set.Momentum, r.set.Nesterov)
			}
		})
	}
}

// solve lets the model find its parameters at once; what is recorded is the cross-entropy and accuracy on the training
// set.
func (r *run) solve(ctx context.Context, own Adjustment, record *Epoch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("solving for the head: %w", err)
	}
	if err := r.model.(solver).solve(ctx, newBatchLoss(own, false)); err != nil {
		return err
	}
	loss, at := newBatchLoss(Settings{Loss: "ce"}.schedule().adjustment(false, r.counts, nil), false), 0
	return r.pass(ctx, func(z []float32, labels []int) {
		seen := r.seen[at : at+len(labels)]
		mean := loss.gradient(r.workers, z, labels, func(i int, s calib.Sample) { seen[i] = s })
		record.Loss += mean * float64(len(labels)) / float64(len(r.Labels))
		at += len(labels)
	})
}

package head

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/vec"
)

// State is everything that training needs to continue after an epoch to the bit-identical model: plain values, for the
// caller to write down in any form that keeps float32 and float64 exact, such as gob. Random numbers need no place in
// it: each epoch draws its order from the seed and its own number.
type State struct {
	Epoch  int      // epochs done
	Steps  int      // updates since the optimizer began (at 0, or at a restart)
	Meant  int      // updates that Tensor.Mean is of
	Params []Tensor // of each Param, in their order
	Early  []calib.Kappa
	Late   []calib.Kappa
	// History has one entry for every epoch done.
	History []Epoch
	// Best is the values of each of Params after the epoch that was best on the set held out, where training may end
	// early; nil: it may not.
	Best [][]float32
}

// Tensor is the values of a [Param], and what the optimizer remembers of it.
type Tensor struct {
	Name   string
	Shape  []int
	Values []float32
	First  []float32 // momentum, or Adam's first moment
	Second []float32 // Adam's second moment; empty for sgd
	Mean   []float32 // over the updates so far of the epochs that are averaged; empty before them
}

// Values returns those of the Param with a name; nil if there is none.
func (s *State) Values(name string) []float32 {
	for _, t := range s.Params {
		if t.Name == name {
			return t.Values
		}
	}
	return nil
}

// kappa is where κ of a phase is kept.
func (s *State) kappa(late bool) *[]calib.Kappa {
	if late {
		return &s.Late
	}
	return &s.Early
}

// Clone returns a copy that shares nothing with s.
func (s *State) Clone() *State { return s.copied(nil) }

// Drop lets go of the numbers, of which a whole ViT has many, and keeps what is known of the training.
func (s *State) Drop() {
	s.Params = nil
	clear(s.Best)
}

// copied is a copy of s in the room of an earlier one, or in new room.
func (s *State) copied(earlier *State) *State {
	if earlier == nil {
		earlier = new(State)
	}
	c, params, best := *s, earlier.Params, earlier.Best
	c.Params, c.Best = nil, nil
	for i, t := range s.Params {
		var room Tensor
		if i < len(params) {
			room = params[i]
		}
		c.Params = append(c.Params, Tensor{t.Name, slices.Clone(t.Shape), refilled(room.Values, t.Values),
			refilled(room.First, t.First), refilled(room.Second, t.Second), refilled(room.Mean, t.Mean)})
	}
	for i, values := range s.Best {
		var room []float32
		if i < len(best) {
			room = best[i]
		}
		c.Best = append(c.Best, refilled(room, values))
	}
	c.Early, c.Late = slices.Clone(s.Early), slices.Clone(s.Late)
	c.History = slices.Clone(s.History)
	return &c
}

// refilled is a copy of values in some room, if they fit there; nil if they are.
func refilled(room, values []float32) []float32 {
	if values == nil {
		return nil
	}
	return append(room[:0], values...)
}

// check says what keeps a training of so many epochs, which would start as fresh and may end early or not, from going
// on from s.
func (s *State) check(fresh *State, classes, epochs int, early bool) error {
	for _, k := range [][]calib.Kappa{s.Early, s.Late} {
		if k != nil && len(k) != classes {
			return fault.Data.Errorf("the state has κ for %d classes, the data %d", len(k), classes)
		}
	}
	if s.Epoch < 0 || s.Epoch > epochs || len(s.History) != s.Epoch || s.Steps < 0 {
		return fault.Data.Errorf("the state is after epoch %d of %d with %d epochs of history",
			s.Epoch, epochs, len(s.History))
	}
	for i := range max(len(s.Params), len(fresh.Params)) {
		if is, want := describe(s.Params, i), describe(fresh.Params, i); is != want {
			return fault.Data.Errorf("the state has %s where %s is trained here", is, want)
		}
	}
	for _, t := range s.Params {
		if want := min(s.Meant, 1) * len(t.Values); len(t.Mean) != want {
			return fault.Data.Errorf("the state has %d values of the mean of %s over %d updates, not %d", len(t.Mean),
				t.Name, s.Meant, want)
		}
	}
	same := func(best []float32, t Tensor) bool { return len(best) == len(t.Values) }
	if early && s.Epoch > 0 != slices.EqualFunc(s.Best, fresh.Params, same) || !early && s.Best != nil {
		return fault.Data.Errorf("the state has %d of %d parameters of a best epoch", len(s.Best), len(fresh.Params))
	}
	return nil
}

// describe says all of the i-th tensor but its numbers.
func describe(params []Tensor, i int) string {
	if i >= len(params) {
		return "nothing"
	}
	t := params[i]
	return fmt.Sprintf("%s, %d, of %d values with %d first and %d second moments of its optimizer",
		t.Name, t.Shape, len(t.Values), len(t.First), len(t.Second))
}

// Epoch is the record of one epoch.
type Epoch struct {
	Number  int     `json:"epoch"` // from 1
	Phase   Phase   `json:"phase"`
	Loss    float64 `json:"loss"` // mean of the batches' losses, weighted by size
	LR      float64 `json:"lr"`   // of the first update
	Seconds float64 `json:"seconds"`
	// Train is what the model made of the samples as it was trained on them; Val is of the set held out, afterwards.
	Train Accuracy  `json:"train"`
	Val   *Accuracy `json:"val,omitempty"`
	// Kappa is what the loss used in this epoch; nil for a loss without κ.
	Kappa []calib.Kappa `json:"-"`
}

// Renumbered is the same epoch with class to[k] where e has class k.
func (e Epoch) Renumbered(to []int) Epoch {
	e.Kappa = vec.Scatter(to, 1, e.Kappa)
	return e
}

// Accuracy is top-1 accuracy in the field's four readings; a value with nothing to compute it from is nil.
type Accuracy struct {
	Top1     *float64 `json:"top1"`
	Balanced *float64 `json:"balanced_accuracy"` // mean over the classes that have samples
	Many     *float64 `json:"many"`              // the same over the classes of a group
	Medium   *float64 `json:"medium"`
	Few      *float64 `json:"few"`
}

// plainAccuracy has no methods. Written by itself, gob would leave out a value of 0 and read it as none.
type plainAccuracy Accuracy

// MarshalBinary lets gob tell 0 from nothing.
func (a Accuracy) MarshalBinary() ([]byte, error) { return json.Marshal(plainAccuracy(a)) }

// UnmarshalBinary reads what MarshalBinary wrote.
func (a *Accuracy) UnmarshalBinary(text []byte) error {
	return json.Unmarshal(text, (*plainAccuracy)(a))
}

// accuracy reads top-1 accuracy off a set's predictions; trained holds the training counts, for the groups.
func accuracy(labels []int, predicted func(i int) int, trained []int) Accuracy {
	known := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	classes := calib.ClassAccuracy(labels, len(trained), predicted)
	group := func(g calib.Shot) *float64 {
		return known(calib.Mean(classes, func(y int) bool { return calib.ShotOf(trained[y]) == g }))
	}
	hits := 0.0
	for i, y := range labels {
		if predicted(i) == y {
			hits++
		}
	}
	return Accuracy{Top1: known(hits / float64(len(labels))), Balanced: known(calib.Mean(classes, nil)),
		Many: group(calib.Many), Medium: group(calib.Medium), Few: group(calib.Few)}
}

// record completes the record of the epoch just done, adds it to the history and reports it.
func (r *run) record(ctx context.Context, e Epoch, began time.Time) error {
	labels := make([]int, len(r.seen))
	for i, o := range r.seen {
		labels[i] = int(o.Label)
	}
	e.Train = accuracy(labels, func(i int) int { return int(r.seen[i].Predicted) }, r.counts)
	if r.Held != nil {
		z := make([]float32, len(r.Held)*r.Classes)
		if err := r.model.Predict(ctx, true, 0, len(r.Held), z); err != nil {
			return fmt.Errorf("measuring on validation data: %w", err)
		}
		e.Val = new(accuracy(r.Held, func(i int) int { return vec.Argmax(z[i*r.Classes : (i+1)*r.Classes]) }, r.counts))
	}
	e.Seconds = time.Since(began).Seconds()
	r.state.History = append(r.state.History, e)
	r.keepBest()
	if r.set.Events.Warn != nil {
		for _, message := range warnings(r.set, r.state.History) {
			r.set.Events.Warn(message)
		}
	}
	if r.set.Events.Epoch != nil {
		r.set.Events.Epoch(e, r.state)
	}
	return nil
}

// Warnings says what shows in the end that training went wrong: in no phase did the loss fall, or in one it rose. There
// is nothing to compare in a phase of one epoch, nor where next to nothing was left to learn; and the early phase of a
// loss with κ, which multiplies the logits, may rise as κ does.
func (s *State) Warnings() []string {
	const nothing = 1e-3
	var rose []string
	compared, fell := false, false
	for at := 0; at < len(s.History); {
		first, last, lowest := s.History[at], s.History[at], math.Inf(1)
		for at++; at < len(s.History) && s.History[at].Phase == first.Phase; at++ {
			last = s.History[at]
			lowest = min(lowest, last.Loss)
		}
		if last.Number == first.Number {
			continue
		}
		size := math.Abs(first.Loss)
		compared = true
		fell = fell || size < nothing || lowest < first.Loss-1e-6*size // more than the order of a sum does
		scaled := first.Phase == PhaseMLA && last.Kappa != nil
		if !scaled && last.Loss > first.Loss+max(size, nothing)/2 {
			rose = append(rose, fmt.Sprintf("the loss rose from %.3g in epoch %d to %.3g in epoch %d",
				first.Loss, first.Number, last.Loss, last.Number))
		}
	}
	if compared && !fell && rose == nil {
		return []string{fmt.Sprintf("the loss never fell: it was %.3g in the first epoch and %.3g in the last",
			s.History[0].Loss, s.History[len(s.History)-1].Loss)}
	}
	return rose
}

// warnings reads the signs of failure that the paper lists off the history; each shows at one epoch only.
func warnings(s schedule, history []Epoch) []string {
	var found []string
	t0, done := s.t0, len(history)
	late := done - t0
	if s.late == nil || late < 1 {
		return nil
	}
	// The two phases' losses differ in kind, so what counts is the late phase against its own first epoch.
	now, first := history[done-1].Loss, history[t0].Loss
	if late > 1 && now > 1.5*first && !(history[done-2].Loss > 1.5*first) {
		found = append(found, fmt.Sprintf("epoch %d: the loss rose from %.3g to %.3g after the switch at epoch %d: "+
			"gamma, rho or the learning rate may be too high", done, first, now, t0))
	}
	// Half of the late phase is long enough for few-shot classes to move, if they ever will.
	if half := (s.Epochs - t0 + 1) / 2; late == half && t0 > 0 && half > 1 {
		few := func(e Epoch) *float64 { return cmp.Or(e.Val, &e.Train).Few } // held out, where there is such a set
		before, now := few(history[t0-1]), few(history[done-1])
		if before != nil && now != nil && *now < 0.5 && *now <= *before+0.005 {
			found = append(found, fmt.Sprintf("epoch %d: few-shot accuracy stays at %.1f %% since the switch at epoch "+
				"%d: κ may not be estimable for classes this small; try another estimator or more shrinkage",
				done, 100**now, t0))
		}
	}
	return found
}

package head

import (
	"context"
	"fmt"
	"time"

	"github.com/vitft/vitft/internal/vec"
)

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
		before, now := few(history[t0-1]), few(history[done-1])
		if before != nil && now != nil && *now < 0.5 && *now <= *before+0.005 {
			found = append(found, fmt.Sprintf("epoch %d: few-shot accuracy stays at %.1f %% since the switch "+
				"at epoch %d: κ may not be estimable for classes this small; "+
				"try another estimator or more shrinkage",
				done, 100**now, t0))
		}
	}
	return found
}

// few is the few-shot accuracy on validation data where there is some, else in training.
func few(e Epoch) *float64 {
	if e.Val != nil {
		return e.Val.Few
	}
	return e.Train.Few
}

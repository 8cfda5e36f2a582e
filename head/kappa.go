package head

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/calib"
)

// estimates says whether κ is estimated at the end of each epoch: cross-fitted κ is there from the start.
func (t *trainer) estimates() bool { return t.method.kappa && t.set.Kappa.Folds() < 2 }

// lateNext says whether κ⁺ is what the next epoch wants.
func (t *trainer) lateNext() bool { return t.set.PhaseOf(t.state.Epoch+1) == PhaseCLA }

// kappa is what the loss uses now: 1 before the first fit, nil if it uses none.
func (t *trainer) kappa(late bool) ([]calib.Kappa, error) {
	if !t.method.kappa {
		return nil, nil
	}
	kappa := t.state.Early
	if late {
		kappa = t.state.Late
	}
	if kappa == nil {
		return calib.One{}.Estimate(calib.Epoch{Counts: t.counts})
	}
	return kappa, nil
}

// estimate fits κ for the epoch to come, after one with the given loss. The last early epoch therefore already fits κ⁺.
func (t *trainer) estimate(loss Adjustment) error {
	if !t.estimates() || t.state.Epoch == t.set.Epochs {
		return nil
	}
	late := t.set.PhaseOf(t.state.Epoch) == PhaseCLA
	previous := &t.state.Early
	if late {
		previous = &t.state.Late
	}
	var err error
	*previous, err = t.fitKappa(calib.Epoch{Number: t.state.Epoch, Late: late, Samples: t.seen, Previous: *previous, Pass: t.pass}, loss)
	return err
}

// crossfit sets κ for the whole training, where the estimator wants it cross-fitted: K heads are trained by the same
// recipe with κ ≡ 1, each on the samples outside of one fold, and predict their fold ([OutOfFold]). κ* is read off
// these logits as they are at T0, κ⁺ as they are in the end. κ is a function of data and settings alone, and part of
// the state that a training resumes from.
func (t *trainer) crossfit(ctx context.Context) error {
	folds := t.set.Kappa.Folds()
	if !t.method.kappa || folds < 2 {
		return nil
	}
	s := t.set
	s.Kappa = calib.One{}
	t0 := s.SwitchEpoch()
	at := []int{t0, s.Epochs}
	logits, err := outOfFold(ctx, t.data, nil, s, folds, at, t.workers)
	if err != nil {
		return fmt.Errorf("cross-fitting κ: %w", err)
	}
	for i, late := range []bool{false, true} {
		if !late && t0 == 0 || late && t0 == s.Epochs {
			continue // there is no such phase
		}
		loss, err := NewAdjustment(s, late, t.counts, nil)
		if err != nil {
			return err
		}
		samples := make([]calib.Sample, len(t.data.Y))
		for j, y := range t.data.Y {
			samples[j] = calib.NewSample(logits[i][j*t.data.Classes:(j+1)*t.data.Classes], y, loss.Beta, loss.Delta)
		}
		pass := func(visit func(logits []float32, labels []int)) error {
			visit(logits[i], t.data.Y)
			return nil
		}
		kappa, err := t.fitKappa(calib.Epoch{Number: at[i], Late: late, Samples: samples, Pass: pass}, loss)
		if err != nil {
			return err
		}
		if late {
			t.state.Late = kappa
		} else {
			t.state.Early = kappa
		}
	}
	return nil
}

// fitKappa asks the estimator and checks its answer.
func (t *trainer) fitKappa(e calib.Epoch, loss Adjustment) ([]calib.Kappa, error) {
	e.Counts, e.Beta, e.Delta = t.counts, loss.Beta, loss.Delta
	for _, n := range t.counts {
		e.Group = append(e.Group, slices.Index(groups, GroupOf(n)))
	}
	kappa, err := t.set.Kappa.Estimate(e)
	if err != nil {
		return nil, fmt.Errorf("estimating κ after epoch %d: %w", e.Number, err)
	}
	for y, k := range kappa {
		if !(k.Value > 0) || math.IsInf(k.Value, 0) {
			return nil, fmt.Errorf("estimating κ after epoch %d: class %d got %g; κ must be above 0", e.Number, y, k.Value)
		}
	}
	return kappa, nil
}

// pass hands the raw logits of the training set, view 0, to visit, in order.
func (t *trainer) pass(visit func(logits []float32, labels []int)) error {
	h := t.current()
	n, views := len(t.data.Y), t.data.views()
	z := make([]float32, min(n, rowsAtOnce)*h.Classes)
	var plain []float32
	for from := 0; from < n; from += rowsAtOnce {
		to := min(from+rowsAtOnce, n)
		rows := t.rows[from*h.Dim : to*h.Dim]
		if views > 1 {
			plain = plain[:0]
			for i := from; i < to; i++ {
				plain = append(plain, t.rows[i*views*h.Dim:(i*views+1)*h.Dim]...)
			}
			rows = plain
		}
		part := z[:(to-from)*h.Classes]
		if err := h.multiply(t.set.Gemm, rows, part); err != nil {
			return err
		}
		visit(part, t.data.Y[from:to])
	}
	return nil
}

// report calls the events of the epoch that just ended.
func (t *trainer) report() {
	events := t.set.Events
	if warn := events.Warn; warn != nil {
		for _, message := range warnings(t.set, t.state.History) {
			warn(message)
		}
	}
	if events.Epoch != nil {
		events.Epoch(t.state.History[len(t.state.History)-1], t.state)
	}
}

// warnings reads the signs of failure that the paper lists off the history; each shows at one epoch only.
func warnings(s Settings, history []Epoch) []string {
	if !s.TwoPhase() {
		return nil
	}
	var found []string
	t0, done := s.SwitchEpoch(), len(history)
	late := done - t0
	if late < 1 {
		return nil
	}
	// The two phases' losses differ in kind, so what counts is the late phase against its own first epoch.
	if now, first := history[done-1].Loss, history[t0].Loss; late > 1 && now > 1.5*first && !(history[done-2].Loss > 1.5*first) {
		found = append(found, fmt.Sprintf("epoch %d: the loss rose from %.3g to %.3g after the switch at epoch %d: gamma, rho or the learning rate may be too high", done, first, now, t0))
	}
	// Half of the late phase is long enough for few-shot classes to move, if they ever will.
	if half := (s.Epochs - t0 + 1) / 2; late == half && t0 > 0 && half > 1 {
		before, now := few(history[t0-1]), few(history[done-1])
		if before != nil && now != nil && *now < 0.5 && *now <= *before+0.005 {
			found = append(found, fmt.Sprintf("epoch %d: few-shot accuracy stays at %.1f %% since the switch at epoch %d: κ may not be estimable for classes this small; try another estimator or more shrinkage", done, 100**now, t0))
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

package head

import (
	"fmt"
	"math"

	"github.com/vitft/vitft/calib"
)

func (t *trainer) usesKappa() bool {
	l, _ := findLoss(t.set.Loss)
	return l.kappa
}

// lateNext says whether κ⁺ is what the next epoch wants.
func (t *trainer) lateNext() bool { return t.set.PhaseOf(t.state.Epoch+1) == PhaseCLA }

// kappa is what the loss uses now: 1 before the first fit, nil if it uses none.
func (t *trainer) kappa(late bool) ([]calib.Kappa, error) {
	if !t.usesKappa() {
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
	if !t.usesKappa() || t.state.Epoch == t.set.Epochs {
		return nil
	}
	late := t.set.PhaseOf(t.state.Epoch) == PhaseCLA
	previous := &t.state.Early
	if late {
		previous = &t.state.Late
	}
	kappa, err := t.set.Kappa.Estimate(calib.Epoch{
		Number: t.state.Epoch, Late: late, Counts: t.counts, Samples: t.seen, Previous: *previous, Pass: t.pass,
		Beta: loss.Beta, Delta: loss.Delta,
	})
	if err != nil {
		return fmt.Errorf("estimating κ after epoch %d: %w", t.state.Epoch, err)
	}
	for y, k := range kappa {
		if !(k.Value > 0) || math.IsInf(k.Value, 0) {
			return fmt.Errorf("estimating κ after epoch %d: class %d got %g; κ must be above 0", t.state.Epoch, y, k.Value)
		}
	}
	*previous = kappa
	return nil
}

// pass hands the raw logits of the training set to visit, in order.
func (t *trainer) pass(visit func(logits []float32, labels []int)) error {
	h := t.current()
	dim, n := h.Dim, len(t.data.Y)
	w := h.EffectiveWeight()
	z := make([]float32, min(n, rowsAtOnce)*h.Classes)
	for from := 0; from < n; from += rowsAtOnce {
		to := min(from+rowsAtOnce, n)
		part := z[:(to-from)*h.Classes]
		if err := t.set.Gemm.Mul(false, true, to-from, h.Classes, dim, t.rows[from*dim:to*dim], w, part); err != nil {
			return fmt.Errorf("multiplying features with head weights: %w", err)
		}
		for i := range part {
			part[i] += h.B[i%h.Classes]
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

package head

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
)

// estimates says whether κ is estimated at the end of each epoch: cross-fitted κ is there from the start.
func (r *run) estimates() bool { return r.set.method.kappa && r.set.Kappa.Folds() < 2 }

// kappa is what the loss uses now: 1 before the first fit, nil if it uses none.
func (r *run) kappa(late bool) []calib.Kappa {
	kappa := *r.state.kappa(late)
	switch {
	case !r.set.method.kappa:
		return nil
	case kappa == nil:
		return slices.Repeat([]calib.Kappa{{Value: 1, Skipped: true}}, r.Classes)
	}
	return kappa
}

// estimate fits κ for the epoch to come, after one with the given loss. The last early epoch therefore already fits κ⁺.
func (r *run) estimate(ctx context.Context, loss Adjustment) error {
	if !r.estimates() || r.state.Epoch == r.set.Epochs {
		return nil
	}
	late := r.set.phase(r.state.Epoch) == PhaseCLA
	pass := func(visit func(logits []float32, labels []int)) error { return r.pass(ctx, visit) }
	return r.fitKappa(calib.Epoch{Number: r.state.Epoch, Late: late, Samples: r.seen, Previous: *r.state.kappa(late),
		Pass: pass}, loss)
}

// crossfit sets κ for the whole training, where the estimator wants it cross-fitted: K models are trained by the same
// recipe with κ ≡ 1, each on the samples outside of one fold, and predict their fold ([OutOfFold]). κ* is read off
// these logits as they are at T0, κ⁺ as they are in the end. κ is a function of data and settings alone, and part of
// the state that a training resumes from.
func (r *run) crossfit(ctx context.Context) error {
	folds := r.set.Kappa.Folds()
	if !r.set.method.kappa || folds < 2 {
		return nil
	}
	if r.OutOfFold == nil {
		return fault.Config.Errorf("kappa: %v: this model cannot be cross-fitted", r.set.Kappa)
	}
	s, at := r.set.Settings, []int{r.set.t0, r.set.Epochs}
	s.Kappa = calib.One{}
	logits, err := r.OutOfFold(ctx, s, folds, at)
	if err != nil {
		return fmt.Errorf("cross-fitting κ: %w", err)
	}
	for i, late := range []bool{false, true} {
		if !late && r.set.t0 == 0 || late && r.set.t0 == s.Epochs {
			continue // there is no such phase
		}
		loss := r.set.adjustment(late, r.counts, nil)
		samples := make([]calib.Sample, len(r.Labels))
		for j, y := range r.Labels {
			samples[j] = calib.NewSample(logits[i][j*r.Classes:(j+1)*r.Classes], y, loss.Beta, loss.Delta)
		}
		pass := func(visit func(logits []float32, labels []int)) error {
			visit(logits[i], r.Labels)
			return nil
		}
		err = r.fitKappa(calib.Epoch{Number: at[i], Late: late, Samples: samples, Pass: pass}, loss)
		if err != nil {
			return err
		}
	}
	return nil
}

// fitKappa asks the estimator, checks its answer and keeps it for the phase.
func (r *run) fitKappa(e calib.Epoch, loss Adjustment) error {
	e.Counts, e.Beta, e.Delta = r.counts, loss.Beta, loss.Delta
	for _, n := range r.counts {
		e.Group = append(e.Group, int(calib.ShotOf(n)))
	}
	kappa, err := r.set.Kappa.Estimate(e)
	for y, k := range kappa {
		if err == nil && (!(k.Value > 0) || math.IsInf(k.Value, 0)) {
			err = fmt.Errorf("class %d got %g; κ must be above 0", y, k.Value)
		}
	}
	if err != nil {
		return fault.Config.Errorf("kappa: estimating κ after epoch %d: %w", e.Number, err)
	}
	*r.state.kappa(e.Late) = kappa
	return nil
}

// pass hands the raw logits of the training set, view 0, to visit, in order.
func (r *run) pass(ctx context.Context, visit func(logits []float32, labels []int)) error {
	n := len(r.Labels)
	z := make([]float32, min(n, RowsAtOnce)*r.Classes)
	for from := 0; from < n; from += RowsAtOnce {
		to := min(from+RowsAtOnce, n)
		part := z[:(to-from)*r.Classes]
		if err := r.model.Predict(ctx, false, from, to, part); err != nil {
			return err
		}
		visit(part, r.Labels[from:to])
	}
	return nil
}

package calib

import (
	"cmp"
	"math"
)

// ViT is the estimator of the reference code's ViT trainer. A class's samples are those that bear its label (its
// bank, at most 1000); κ* reads the raw logit of the label in 20 bins between the class's least and greatest, κ⁺ the
// largest softmax probability in 20 bins on [0, 1]; a hit is a right prediction. The line is [FitBox] with ridge
// 0.001, a ∈ [0.01, 10] and b ∈ [−1, 1]; the slopes of all classes are then rescaled linearly so that the greatest
// becomes 1 and the least Min.
//
// It differs from the reference in two ways: the optimum is in closed form where they run Adam for a fixed number of
// steps, and slopes that are all equal give 1 where theirs divide by 0.
type ViT struct {
	Min float64 // κ_min (default 0.1)
}

func (v ViT) Estimate(e Epoch) ([]Kappa, error) {
	least := cmp.Or(v.Min, defaultMin)
	kappa, _ := One{}.Estimate(e)
	low, high := math.Inf(1), math.Inf(-1)
	for y, bank := range banks(e) {
		if len(bank) == 0 {
			continue
		}
		var s series
		for _, o := range bank {
			confidence := float64(o.True)
			if e.Late {
				confidence = math.Exp(float64(o.Top - o.LogSum))
			}
			s.add(confidence, o.Predicted == o.Label)
		}
		line := FitBox(s.bins(20, !e.Late, false), 0.001, 0.01, 10, -1, 1)
		kappa[y] = Kappa{Value: line.Slope, StdErr: line.StdErr, Samples: len(bank), Bins: line.Bins}
		low, high = min(low, line.Slope), max(high, line.Slope)
	}
	for y := range kappa {
		k := &kappa[y]
		switch {
		case k.Skipped:
		case high > low:
			scale := (1 - least) / (high - low)
			k.Value, k.StdErr = least+(k.Value-low)*scale, k.StdErr*scale
		default:
			k.Value = 1
		}
	}
	return kappa, nil
}

func (ViT) Softmax(late bool) bool { return late }
func (ViT) Folds() int             { return 0 }

// DDC is the estimator of the reference code's current CIFAR trainer. A class's samples are those of the banks (1000 a
// label) that are predicted as it; the confidence is the softmax probability of the prediction in both phases, in 20
// bins on [0, 1]; the line is [FitOrigin]; κ is the reciprocal 1/a, clamped to [Min, Max] and smoothed with what was
// before, from 1 on. Fewer than 10 samples or 2 filled bins count as κ = 1, and κ* is 1 for the first Warmup epochs.
//
// It differs from the reference in one way: a confidence on an inner bin edge belongs to the upper bin, not the lower
// one.
type DDC struct {
	Min, Max float64 // clamps (default 0.1 and 1)
	Warmup   int     // epochs before the first κ* (default 5; negative: none)
	Decay    float64 // share of the old κ in the new (default 0.9; negative: none)
}

func (d DDC) Estimate(e Epoch) ([]Kappa, error) {
	d.Min, d.Max = cmp.Or(d.Min, defaultMin), cmp.Or(d.Max, 1)
	d.Warmup, d.Decay = cmp.Or(d.Warmup, 5), cmp.Or(d.Decay, 0.9)
	if !e.Late && e.Number < d.Warmup {
		return One{}.Estimate(e)
	}
	classes := make([]series, len(e.Counts))
	for _, bank := range banks(e) {
		for _, o := range bank {
			classes[o.Predicted].add(math.Exp(float64(o.Top-o.LogSum)), o.Predicted == o.Label)
		}
	}
	kappa := make([]Kappa, len(e.Counts))
	for y, s := range classes {
		k := Kappa{Value: 1, Samples: len(s.hit)}
		line, ok := FitOrigin(s.bins(20, false, false))
		k.Bins = line.Bins
		if !ok || k.Samples < 10 || k.Bins < 2 {
			k.Skipped = true
		} else {
			k.Value = clamp(1/line.Slope, d.Min, d.Max) // 1/0 is +Inf, and so Max
			if line.Slope > 0 {
				k.StdErr = line.StdErr / (line.Slope * line.Slope)
			}
		}
		kappa[y] = smooth(k, e.Previous, y, d.Decay)
	}
	return kappa, nil
}

func (DDC) Softmax(bool) bool { return true }
func (DDC) Folds() int        { return 0 }

// smooth is the exponential moving average from 1: decay·old + (1 − decay)·new. Its standard error takes epochs as
// saying the same, for they are of the same samples.
func smooth(k Kappa, previous []Kappa, y int, decay float64) Kappa {
	if decay <= 0 {
		return k
	}
	old := Kappa{Value: 1}
	if previous != nil {
		old = previous[y]
	}
	k.Value = decay*old.Value + (1-decay)*k.Value
	k.StdErr = decay*old.StdErr + (1-decay)*k.StdErr
	return k
}

package calib

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/internal/vec"
)

// A Scaling turns raw logits into calibrated probabilities: p = softmax(z/T_k) with k = argmax z. One T > 0 per row
// keeps the order of its logits, so no prediction changes. In an exported model it is Div and Softmax, or with one
// temperature a class ArgMax (the first of equals), Gather, Div and Softmax.
type Scaling struct {
	// Temperature holds one T for all rows, or one for each predicted class; empty: T = 1.
	Temperature []float64
}

// Probabilities writes the calibrated class probabilities of logits to probs; both are [n, classes] and may be the
// same slice.
func (s Scaling) Probabilities(logits []float32, classes int, probs []float32) {
	for ; len(logits) >= classes && classes > 0; logits, probs = logits[classes:], probs[classes:] {
		row, t := logits[:classes], 1.0
		if n := len(s.Temperature); n > 0 {
			t = s.Temperature[vec.Argmax(row)%n]
		}
		Softmax(row, classes, t, probs[:classes])
	}
}

// Renumbered is the same scaling with class to[k] where s has class k.
func (s Scaling) Renumbered(to []int) Scaling {
	if len(s.Temperature) == len(to) {
		s.Temperature = vec.Scatter(to, 1, s.Temperature)
	}
	return s
}

// FitTemperature finds the one T in [0.01, 100] that minimises the weighted NLL of softmax(z/T) (Guo et al., ICML
// 2017). logits is [len(labels), classes]; weights is one a sample, or nil for 1 each. Fit on samples that were not
// trained on, held out or out-of-fold: on those that were, confidence is earned. A model for test data in which
// classes count alike wants [BalancedWeights]. Errors are: no samples, labels or weights that make no sense, logits
// that are not finite.
func FitTemperature(logits []float32, classes int, labels []int, weights []float64) (Scaling, error) {
	t, err := newTempering(logits, classes, labels, weights)
	if err != nil {
		return Scaling{}, fmt.Errorf("fitting a temperature: %w", err)
	}
	return Scaling{[]float64{temperature(t.solve(indices(len(labels)), 0, 0, 1))}}, nil
}

// FitClasswise finds one temperature for each predicted class, as [FitTemperature] does from the samples predicted as
// it, with log T_k drawn toward the log T of all samples by empirical Bayes: log T_k ~ N(log T, τ²), and T_k is the
// mode of the posterior. τ² is estimated by the method of moments ([DerSimonianLaird]) from one scoring step a class,
// with standard errors under the model. A class that is never predicted has the global T, and so have all if they do
// not differ beyond chance.
func FitClasswise(logits []float32, classes int, labels []int, weights []float64) (Scaling, error) {
	t, err := newTempering(logits, classes, labels, weights)
	if err != nil {
		return Scaling{}, fmt.Errorf("fitting class-wise temperatures: %w", err)
	}
	global := t.solve(indices(len(labels)), 0, 0, 1)
	predicted := make([][]int, classes)
	for i := range labels {
		k := vec.Argmax(t.row(i))
		predicted[k] = append(predicted[k], i)
	}
	var steps, errs []float64
	worth := make([]float64, classes) // information a unit of weight, so that one of weight 1 counts as one sample
	s := math.Exp(-global)
	for k, samples := range predicted {
		gradient, information, square := t.moments(samples, s)
		if information > 0 {
			steps = append(steps, gradient/(s*information))
			errs = append(errs, math.Sqrt(square)/(s*information))
			worth[k] = information / square
		}
	}
	_, variance := DerSimonianLaird(steps, errs)
	scaling := Scaling{make([]float64, classes)}
	for k, samples := range predicted {
		u := global
		if variance > 0 && worth[k] > 0 {
			u = t.solve(samples, global, 1/variance, worth[k])
		}
		scaling.Temperature[k] = temperature(u)
	}
	return scaling, nil
}

// BalancedWeights returns 1/N_y for each label, so that every class that has samples counts alike.
func BalancedWeights(labels []int, classes int) []float64 {
	counts := make([]int, classes)
	for _, y := range labels {
		counts[y]++
	}
	weights := make([]float64, len(labels))
	for i, y := range labels {
		weights[i] = 1 / float64(counts[y])
	}
	return weights
}

// tempering is the weighted NLL of softmax(s z) as a function of s = 1/T, in which it is convex.
type tempering struct {
	logits  []float32
	classes int
	labels  []int
	weights []float64
	p       []float64 // scratch: a row's probabilities
}

func newTempering(logits []float32, classes int, labels []int, weights []float64) (*tempering, error) {
	if len(labels) == 0 {
		return nil, errors.New("no samples")
	}
	if classes < 1 || len(logits) != len(labels)*classes {
		return nil, fmt.Errorf("%d logits for %d samples of %d classes", len(logits), len(labels), classes)
	}
	for i, z := range logits {
		if d := float64(z) - float64(z); d != 0 {
			return nil, fmt.Errorf("sample %d: logit %d is %g", i/classes, i%classes, z)
		}
	}
	for i, y := range labels {
		if y < 0 || y >= classes {
			return nil, fmt.Errorf("sample %d: label %d of %d classes", i, y, classes)
		}
	}
	if weights == nil {
		weights = slices.Repeat([]float64{1}, len(labels))
	}
	if len(weights) != len(labels) {
		return nil, fmt.Errorf("%d weights for %d samples", len(weights), len(labels))
	}
	for i, w := range weights {
		if !fromZero(w) {
			return nil, fmt.Errorf("sample %d: weight %g", i, w)
		}
	}
	if slices.Max(weights) == 0 {
		return nil, errors.New("all weights are 0")
	}
	return &tempering{logits, classes, labels, weights, make([]float64, classes)}, nil
}

func (t *tempering) row(i int) []float32 { return t.logits[i*t.classes : (i+1)*t.classes] }

// moments returns, over samples at s, the NLL's derivative Σ w (E z − z_y), its second derivative Σ w Var z, both
// by s, and Σ w² Var z.
func (t *tempering) moments(samples []int, s float64) (gradient, information, square float64) {
	for _, i := range samples {
		z, w := t.row(i), t.weights[i]
		for k, v := range z {
			t.p[k] = s * float64(v)
		}
		softmax(t.p)
		y := float64(z[t.labels[i]])
		mean, variance := 0.0, 0.0 // of z − z_y, so that no digits are lost to a common offset
		for k, p := range t.p {
			mean += p * (float64(z[k]) - y)
		}
		for k, p := range t.p {
			d := float64(z[k]) - y - mean
			variance += p * d * d
		}
		gradient += w * mean
		information += w * variance
		square += w * w * variance
	}
	return gradient, information, square
}

const minTemperature, maxTemperature = 0.01, 100

func temperature(log float64) float64 { return clamp(math.Exp(log), minTemperature, maxTemperature) }

// solve returns the u = log T that minimises worth·NLL + pull·(u − center)²/2, by Fisher scoring kept inside a
// shrinking bracket.
func (t *tempering) solve(samples []int, center, pull, worth float64) float64 {
	low, high := math.Log(minTemperature), math.Log(maxTemperature)
	u, last := center, high-low
	for range 100 { // 6 are usual; bisection alone takes 40
		s := math.Exp(-u)
		gradient, information, _ := t.moments(samples, s)
		slope := pull*(u-center) - worth*s*gradient
		if slope < 0 {
			low = u
		} else { // 0: so sharp that float64 sees no error left
			high = u
		}
		step := slope / (worth*s*s*information + pull)
		next := u - step
		if math.Abs(step) < 1e-10 {
			break
		}
		if !(next > low && next < high && math.Abs(step) < last/2) {
			next = (low + high) / 2
		}
		u, last = next, math.Abs(next-u)
	}
	return u
}

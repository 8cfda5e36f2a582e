package calib

import (
	"errors"
	"math"
)

// Temperature returns the T in [0.01, 100] that minimises the NLL of softmax(logits/T) (Guo et al., ICML 2017). The
// NLL is convex in 1/T, so bisection on its derivative finds the minimum. Fit it on samples that were not trained on:
// on those that were, confidence is earned. logits is [len(labels), classes].
func Temperature(logits []float32, classes int, labels []int) (float64, error) {
	if len(labels) == 0 {
		return 0, errors.New("fitting a temperature: no samples")
	}
	row := make([]float64, classes)
	slope := func(inverse float64) float64 { // d NLL/d(1/T) = Σ_i (Σ_k p_k z_k − z_y)
		sum := 0.0
		for i, y := range labels {
			z := logits[i*classes : (i+1)*classes]
			for k, v := range z {
				row[k] = inverse * float64(v)
			}
			softmax(row)
			for k, p := range row {
				sum += p * float64(z[k])
			}
			sum -= float64(z[y])
		}
		return sum
	}
	low, high := math.Log(0.01), math.Log(100.0) // of 1/T
	for range 50 {
		middle := (low + high) / 2
		if slope(math.Exp(middle)) <= 0 { // 0: so sharp that float64 sees no error left
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp(-(low + high) / 2), nil
}

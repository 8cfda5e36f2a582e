package calib

import "math"

// DerSimonianLaird estimates the mean of effects that scatter with variance τ² between them, and τ² itself, from
// values with standard errors, by the method of moments (DerSimonian and Laird, 1986, eqs. 8 and 9):
//
//	τ² = max(0, (Q − (n − 1)) / (Σ w − Σ w²/Σ w)),  w = 1/se²,  Q = Σ w (x − x̄_w)²,
//
// and the mean is weighted by 1/(se² + τ²). Values whose error is 0 or not finite are left out; the mean of none is
// NaN, and τ² of fewer than two is 0.
func DerSimonianLaird(values, errs []float64) (mean, variance float64) {
	weighted := func(between float64) (mean, sum, squares float64) {
		for i, x := range values {
			if usable(errs[i]) {
				w := 1 / (errs[i]*errs[i] + between)
				mean += w * x
				sum += w
				squares += w * w
			}
		}
		return mean / sum, sum, squares
	}
	mean, sum, squares := weighted(0)
	q, n := 0.0, 0.0
	for i, x := range values {
		if usable(errs[i]) {
			q += (x - mean) * (x - mean) / (errs[i] * errs[i])
			n++
		}
	}
	if n < 2 {
		return mean, 0
	}
	variance = max(0, (q-(n-1))/(sum-squares/sum))
	mean, _, _ = weighted(variance)
	return mean, variance
}

func usable(stdErr float64) bool { return stdErr > 0 && !math.IsInf(stdErr, 0) }

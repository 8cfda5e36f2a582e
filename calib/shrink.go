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
	mean, sum, squares, n := weighted(values, errs, 0)
	if n < 2 {
		return mean, 0
	}
	q := 0.0
	for i, x := range values {
		if usable(errs[i]) {
			q += (x - mean) * (x - mean) / (errs[i] * errs[i])
		}
	}
	variance = max(0, (q-float64(n-1))/(sum-squares/sum))
	mean, _, _, _ = weighted(values, errs, variance)
	return mean, variance
}

// weighted is the mean with weights w = 1/(se² + between), Σ w, Σ w², and how many values there are.
func weighted(values, errs []float64, between float64) (mean, sum, squares float64, n int) {
	for i, x := range values {
		if usable(errs[i]) {
			w := 1 / (errs[i]*errs[i] + between)
			mean += w * x
			sum += w
			squares += w * w
			n++
		}
	}
	return mean / sum, sum, squares, n
}

func usable(stdErr float64) bool { return stdErr > 0 && !math.IsInf(stdErr, 0) }

// population is what empirical Bayes knows of a set of classes' slopes.
type population struct {
	mean, variance float64 // of the slopes: μ and τ²
	meanVariance   float64 // of the estimate of μ
	errors         float64 // V̄, the mean of se² with weights 1/(se² + τ²)
	n              int
}

// minPopulation is the least number of slopes whose τ² is worth estimating: with three Morris's factor is 0.
const minPopulation = 4

func newPopulation(values, errs []float64) population {
	var p population
	p.mean, p.variance = DerSimonianLaird(values, errs)
	_, sum, _, n := weighted(values, errs, p.variance)
	p.n, p.meanVariance = n, 1/sum
	for _, e := range errs {
		if usable(e) {
			p.errors += e * e / (e*e + p.variance) / sum
		}
	}
	return p
}

// posterior is the mean and standard deviation of an effect of which one value with standard error is known, by
// parametric empirical Bayes (Morris, 1983, section 5):
//
//	B = (n−3)/(n−1) · se²/(se² + τ²),  mean = μ + (1 − B)(x − μ),
//	variance = se² (1 − (n−1)/n · B) + 2/(n−3) · B² (V̄ + τ²)/(se² + τ²) · (x − μ)²
//
// in which the factors in n account for μ and τ² being estimates; without them a τ² of 0 would claim certainty.
func (p population) posterior(x, stdErr float64) (mean, deviation float64) {
	n, v := float64(p.n), stdErr*stdErr
	shrink := (n - 3) / (n - 1) * v / (v + p.variance)
	mean = p.mean + (1-shrink)*(x-p.mean)
	unknown := 2 / (n - 3) * shrink * shrink * (p.errors + p.variance) / (v + p.variance)
	return mean, math.Sqrt(v*(1-(n-1)/n*shrink) + unknown*(x-p.mean)*(x-p.mean))
}

// prior is the same for an effect of which nothing is known.
func (p population) prior() (mean, deviation float64) {
	return p.mean, math.Sqrt(p.variance + p.meanVariance)
}

package report

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// project puts n rows of x on the two directions along which they differ most, their first principal components, and
// says which share of the variance each has. The directions are found by subspace iteration, since a decomposition of
// all would take minutes for the features of large backbones. It is not ok if the rows differ in fewer than two.
func project(x []float32, n int) (places [][2]float32, share [2]float64, ok bool) {
	const block, rounds = 6, 40
	dim := len(x) / max(1, n)
	if n < 3 || dim < 2 {
		return nil, share, false
	}
	centred, total := mat.NewDense(n, dim, nil), 0.0
	for k := range dim {
		mean := 0.0
		for i := range n {
			mean += float64(x[i*dim+k]) / float64(n)
		}
		for i := range n {
			v := float64(x[i*dim+k]) - mean
			centred.Set(i, k, v)
			total += v * v
		}
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return nil, share, false
	}
	width := min(block, dim, n)
	r := rand.New(rand.NewPCG(1, 2)) // the same each time
	basis := mat.NewDense(dim, width, nil)
	for i := range dim {
		for k := range width {
			basis.Set(i, k, r.NormFloat64())
		}
	}
	var seen, back mat.Dense
	for range rounds {
		seen.Mul(centred, basis)
		back.Mul(centred.T(), &seen)
		var svd mat.SVD
		if !svd.Factorize(&back, mat.SVDThin) {
			return nil, share, false
		}
		svd.UTo(basis)
	}
	seen.Mul(centred, basis)
	var svd mat.SVD
	if !svd.Factorize(&seen, mat.SVDThin) {
		return nil, share, false
	}
	values := svd.Values(nil)
	var u mat.Dense
	svd.UTo(&u)
	for c := range share {
		share[c] = values[c] * values[c] / total
	}
	if !(share[1] > 1e-12) {
		return nil, share, false
	}
	places = make([][2]float32, n)
	for c := range share {
		far := 0 // the row that is furthest from the middle lies to the right, and above
		for i := range n {
			if math.Abs(u.At(i, c)) > math.Abs(u.At(far, c)) {
				far = i
			}
		}
		sign := math.Copysign(1, u.At(far, c))
		for i := range n {
			places[i][c] = float32(sign * u.At(i, c) * values[c])
		}
	}
	return places, share, true
}

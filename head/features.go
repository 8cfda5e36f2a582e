package head

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/vitft/vitft/engine/fault"
)

// preparation is what decides how features are prepared.
func (s Settings) preparation() [4]any {
	if s.Features != "whiten" {
		s.Shrinkage = 0
	}
	return [4]any{s.Head, s.Features, s.Shrinkage, s.Val}
}

// prepared is a training set made ready: read only, and so the same for all trainings that want it alike.
type prepared struct {
	head   Head      // how, without W and B
	rows   []float32 // [n·Views, D]
	val    []float32 // [n, D] of Settings.Val
	length float64   // root mean square of the rows' lengths
	// within is the variance a dimension that whitening takes the shrunk within-class covariance to.
	within float64
}

// prepare makes data ready as s, with its defaults, wants it.
func prepare(data Data, s Settings, workers int) (*prepared, error) {
	p := &prepared{rows: make([]float32, len(data.X)),
		head: Head{Classes: data.Classes, Dim: data.Dim, Normalize: s.Head == "cosine"}}
	if err := p.fit(data.flat(), s); err != nil {
		return nil, err
	}
	err := p.head.prepare(s.Gemm, workers, data.X, p.rows)
	if err == nil && s.Val != nil {
		p.val = make([]float32, len(s.Val.X))
		err = p.head.prepare(s.Gemm, workers, s.Val.X, p.val)
	}
	if err != nil {
		return nil, err
	}
	square := 0.0
	for _, v := range p.rows {
		square += float64(v) * float64(v)
	}
	p.length = math.Sqrt(square / float64(len(p.rows)/data.Dim))
	return p, nil
}

// fit sets how features are prepared, from the training set and Settings.Features.
func (p *prepared) fit(data Data, s Settings) error {
	h := &p.head
	h.Mean, h.InvStd = make([]float32, data.Dim), slices.Repeat([]float32{1}, data.Dim)
	switch s.Features {
	case "raw":
		return nil
	case "whiten":
		return p.fitWhitening(data, s)
	}
	mean, square := sampleMean(data), make([]float64, data.Dim)
	for d, m := range mean {
		h.Mean[d] = float32(m)
	}
	for x := data.X; len(x) > 0; x = x[data.Dim:] {
		for d, m := range mean {
			square[d] += (float64(x[d]) - m) * (float64(x[d]) - m)
		}
	}
	for d, v := range square { // a feature that never varies keeps 1
		if sd := math.Sqrt(v / float64(len(data.Y))); sd > 1e-6 && s.Features == "standardize" {
			h.InvStd[d] = float32(1 / sd)
		}
	}
	return nil
}

// fitWhitening sets Mean to the mean of the class means, so that frequent classes do not own the origin, and Transform
// to L⁻¹, where L Lᵀ = (1 − λ) S + λ tr(S)/D I is the pooled within-class covariance S shrunk by λ = Settings.Shrinkage
// (Ledoit and Wolf, 2004, with a fixed λ). In this metric classes are round, which is what lets few-shot classes be
// told by their mean: it is the metric of linear discriminant analysis. Any square root of the inverse would do, since
// heads do not see rotations; the triangular one is the cheapest.
func (p *prepared) fitWhitening(data Data, s Settings) error {
	h := &p.head
	dim := data.Dim
	means, filled, centre := classMeans(data), 0.0, make([]float64, dim)
	for y, n := range data.Counts() {
		if n > 0 {
			filled++
			floats.Add(centre, means[y*dim:(y+1)*dim])
		}
	}
	for d := range centre {
		h.Mean[d] = float32(centre[d] / filled)
	}

	cov := make([]float64, dim*dim)
	rows, part := make([]float32, min(len(data.Y), rowsAtOnce)*dim), make([]float32, dim*dim)
	for from := 0; from < len(data.Y); from += rowsAtOnce {
		to := min(from+rowsAtOnce, len(data.Y))
		for i, y := range data.Y[from:to] {
			for d, v := range data.X[(from+i)*dim : (from+i+1)*dim] {
				rows[i*dim+d] = float32(float64(v) - means[y*dim+d])
			}
		}
		block := rows[:(to-from)*dim]
		if err := s.Gemm.Mul(true, false, dim, dim, to-from, block, block, part); err != nil {
			return fmt.Errorf("computing the covariance of features: %w", err)
		}
		for i, v := range part {
			cov[i] += float64(v)
		}
	}
	sym := mat.NewSymDense(dim, cov)
	if sym.Trace() <= 0 {
		return nil // every class is a point: there is no metric to learn, and the identity will do
	}
	scale := float64(dim) / sym.Trace() // the mean variance becomes 1
	p.within = 1 / scale / max(float64(len(data.Y))-filled, 1)
	floats.Scale((1-s.Shrinkage)*scale, cov)
	for d := range dim {
		cov[d*dim+d] += s.Shrinkage
	}
	var chol mat.Cholesky
	if !chol.Factorize(sym) {
		return fault.Config.Errorf("shrinkage: whitening features, their covariance is singular; use more than %g",
			s.Shrinkage)
	}
	var lower, inverse mat.TriDense
	chol.LTo(&lower)
	if err := inverse.InverseTri(&lower); err != nil {
		return fault.Config.Errorf("shrinkage: whitening features: %w; use more than %g", err, s.Shrinkage)
	}
	h.Transform = make([]float32, dim*dim)
	for i := range dim {
		for j := range i + 1 {
			h.Transform[i*dim+j] = float32(inverse.At(i, j))
		}
	}
	return nil
}

// classMeans returns the mean of each class, [C, D]; zeros for an empty one.
func classMeans(data Data) []float64 {
	means := make([]float64, data.Classes*data.Dim)
	for i, y := range data.Y {
		for d, v := range data.X[i*data.Dim : (i+1)*data.Dim] {
			means[y*data.Dim+d] += float64(v)
		}
	}
	for y, n := range data.Counts() {
		for d := range data.Dim {
			means[y*data.Dim+d] /= float64(max(n, 1))
		}
	}
	return means
}

// sampleMean is the mean of all samples.
func sampleMean(data Data) []float64 {
	data.Y, data.Classes = make([]int, len(data.Y)), 1
	return classMeans(data)
}

package head

import (
	"fmt"
	"math"

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
	if err := p.head.prepare(s.Gemm, workers, data.X, p.rows); err != nil {
		return nil, err
	}
	if s.Val != nil {
		p.val = make([]float32, len(s.Val.X))
		if err := p.head.prepare(s.Gemm, workers, s.Val.X, p.val); err != nil {
			return nil, err
		}
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
	h.Mean, h.InvStd = make([]float32, data.Dim), make([]float32, data.Dim)
	for d := range h.InvStd {
		h.InvStd[d] = 1
	}
	switch s.Features {
	case "whiten":
		return p.fitWhitening(data, s)
	case "standardize", "center":
		mean := sampleMean(data)
		for d, m := range mean {
			h.Mean[d] = float32(m)
		}
		if s.Features == "standardize" {
			h.fitDeviation(data, mean)
		}
	}
	return nil
}

// fitDeviation sets InvStd; a feature that never varies keeps 1.
func (h *Head) fitDeviation(data Data, mean []float64) {
	square := make([]float64, data.Dim)
	for i := range data.Y {
		for d, v := range data.X[i*data.Dim : (i+1)*data.Dim] {
			square[d] += (float64(v) - mean[d]) * (float64(v) - mean[d])
		}
	}
	for d, v := range square {
		if sd := math.Sqrt(v / float64(len(data.Y))); sd > 1e-6 {
			h.InvStd[d] = float32(1 / sd)
		}
	}
}

// fitWhitening sets Mean to the mean of the class means, so that frequent classes do not own the origin, and Transform
// to L⁻¹, where L Lᵀ = (1 − λ) S + λ tr(S)/D I is the pooled within-class covariance S shrunk by λ = Settings.Shrinkage
// (Ledoit and Wolf, 2004, with a fixed λ). In this metric classes are round, which is what lets few-shot classes be
// told by their mean: it is the metric of linear discriminant analysis. Any square root of the inverse would do, since
// heads do not see rotations; the triangular one is the cheapest.
func (p *prepared) fitWhitening(data Data, s Settings) error {
	h := &p.head
	dim := data.Dim
	means := classMeans(data)
	counts := data.Counts()
	filled := 0.0
	centre := make([]float64, dim)
	for y, n := range counts {
		if n == 0 {
			continue
		}
		filled++
		for d := range centre {
			centre[d] += means[y*dim+d]
		}
	}
	for d := range centre {
		centre[d] /= filled
		h.Mean[d] = float32(centre[d])
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
	trace := 0.0
	for d := range dim {
		trace += cov[d*dim+d]
	}
	if trace <= 0 {
		return nil // every class is a point: there is no metric to learn, and the identity will do
	}
	scale := float64(dim) / trace // the mean variance becomes 1
	p.within = 1 / scale / max(float64(len(data.Y))-filled, 1)
	for i := range cov {
		cov[i] *= (1 - s.Shrinkage) * scale
	}
	for d := range dim {
		cov[d*dim+d] += s.Shrinkage
	}
	var chol mat.Cholesky
	if !chol.Factorize(mat.NewSymDense(dim, cov)) {
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

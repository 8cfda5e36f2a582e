package head

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/vec"
)

// Source has the features of rows, of which each sample has as many as it has views: row = sample·Views + view.
type Source interface {
	// Features writes the features of rows, [len(rows), D], to dst.
	Features(ctx context.Context, rows []int, dst []float32) error
}

// Data is a labelled set of features, and as such a [Source].
type Data struct {
	X       []float32 // [n, Views, Dim]: the views of a sample one after the other, the plain image first
	Y       []int     // [n], in [0, Classes)
	Dim     int
	Classes int
	// Views is how many views of each image there are, such as flips and crops (0 is 1). In training each epoch takes
	// one of them, drawn from seed and epoch; means, covariances and closed forms take them all.
	Views int
	// Far has the features where they are not in X, for want of memory.
	Far *Far
}

// Counts returns N_y: samples, not views.
func (d Data) Counts() []int {
	n := make([]int, d.Classes)
	for _, y := range d.Y {
		n[y]++
	}
	return n
}

// Features implements Source.
func (d Data) Features(_ context.Context, rows []int, dst []float32) error {
	for i, r := range rows {
		copy(dst[i*d.Dim:(i+1)*d.Dim], d.X[r*d.Dim:(r+1)*d.Dim])
	}
	return nil
}

// Validate says what is wrong with the data. An empty class is no fault here: its prior counts as one sample.
func (d Data) Validate() error {
	switch {
	case d.Dim < 1:
		return fault.Data.Errorf("features of dimension %d", d.Dim)
	case d.Views < 0:
		return fault.Data.Errorf("%d views of a sample", d.Views)
	case d.Far != nil && d.X != nil:
		return fault.Data.Errorf("features both in memory and elsewhere")
	case d.Far == nil && len(d.X) != len(d.Y)*d.row():
		return fault.Data.Errorf("%d labels but %d feature values, not %[1]d×%[3]d×%[4]d",
			len(d.Y), len(d.X), d.views(), d.Dim)
	}
	if err := checkLabels(d.Y, d.Classes); err != nil {
		return err
	}
	if i := vec.NotFinite(d.X); i >= 0 {
		return fault.Data.Errorf("sample %d: feature %d is %v", i/d.row(), i%d.row(), d.X[i])
	}
	return nil
}

func checkLabels(labels []int, classes int) error {
	if classes < 2 {
		return fault.Data.Errorf("training takes two classes or more, not %d", classes)
	}
	if len(labels) == 0 {
		return fault.Data.Errorf("no samples")
	}
	for i, y := range labels {
		if y < 0 || y >= classes {
			return fault.Data.Errorf("sample %d: label %d is not one of %d classes", i, y, classes)
		}
	}
	return nil
}

func (d Data) views() int { return max(d.Views, 1) }

// row is how many values a sample has.
func (d Data) row() int { return d.views() * d.Dim }

// flat is the same data with every view as a sample of its own.
func (d Data) flat() Data {
	y := d.Y
	if d.views() > 1 {
		y = make([]int, len(d.Y)*d.views())
		for i := range y {
			y[i] = d.Y[i/d.views()]
		}
	}
	return Data{X: d.X, Y: y, Dim: d.Dim, Classes: d.Classes, Far: d.Far}
}

// Subset copies some samples.
func (d Data) Subset(samples []int) Data {
	part := d
	part.X, part.Y = make([]float32, 0, len(samples)*d.row()), make([]int, 0, len(samples))
	for _, i := range samples {
		part.X = append(part.X, d.X[i*d.row():(i+1)*d.row()]...)
		part.Y = append(part.Y, d.Y[i])
	}
	return part
}

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
	flat   Data      // prepared, each view a sample
	val    []float32 // [n, D] of Settings.Val
	length float64   // root mean square of the rows' lengths
	// within is the variance a dimension that whitening takes the shrunk within-class covariance to.
	within float64
	own    Matrix // of flat, to be closed; nil: there is none
}

// prepare makes data ready as s, with its defaults, wants it.
func prepare(ctx context.Context, data Data, s Settings, workers int) (*prepared, error) {
	p := &prepared{head: Head{Classes: data.Classes, Dim: data.Dim, Normalize: s.Head == "cosine"}, flat: data.flat()}
	err := p.fit(ctx, p.flat, s)
	if err == nil {
		err = p.all(ctx, data, s, workers)
	}
	if err == nil && s.Val != nil {
		p.val = make([]float32, len(s.Val.X))
		err = p.head.prepare(s.Gemm, workers, s.Val.X, p.val)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// all prepares the features of data, to where those are as prepared ones: into memory, or to a Matrix.
func (p *prepared) all(ctx context.Context, data Data, s Settings, workers int) (err error) {
	from, square, far := p.flat, 0.0, data.Far != nil
	var buffer []float32
	switch {
	case !far:
		p.flat.X = make([]float32, len(data.X))
	case data.Far.New != nil:
		if p.own, err = data.Far.New(len(p.flat.Y)); err != nil {
			p.own = nil
			return fmt.Errorf("room for features as they are prepared: %w", err)
		}
		p.flat.Far = &Far{Rows: p.own}
	}
	err = from.each(ctx, func(at int, x []float32) error {
		buffer = grow(buffer, len(x))
		to := buffer
		if !far {
			to = p.flat.X[at*data.Dim:][:len(x)]
		}
		if err := p.head.prepare(s.Gemm, workers, x, to); err != nil {
			return err
		}
		for _, v := range to {
			square += float64(v) * float64(v)
		}
		if !far {
			return nil
		}
		return p.flat.Far.Rows.Write(at, to)
	})
	p.length = math.Sqrt(square / float64(len(p.flat.Y)))
	return err
}

// close lets go of what is not in memory.
func (p *prepared) close() error {
	if p.own == nil {
		return nil
	}
	return p.own.Close()
}

// fit sets how features are prepared, from the training set and Settings.Features.
func (p *prepared) fit(ctx context.Context, data Data, s Settings) error {
	h := &p.head
	h.Mean, h.InvStd = make([]float32, data.Dim), slices.Repeat([]float32{1}, data.Dim)
	switch s.Features {
	case "raw":
		return nil
	case "whiten":
		return p.fitWhitening(ctx, data, s)
	}
	mean, err := sampleMean(ctx, data)
	if err != nil {
		return err
	}
	for d, m := range mean {
		h.Mean[d] = float32(m)
	}
	square := make([]float64, data.Dim)
	err = data.each(ctx, func(_ int, x []float32) error {
		for ; len(x) > 0; x = x[data.Dim:] {
			for d, m := range mean {
				square[d] += (float64(x[d]) - m) * (float64(x[d]) - m)
			}
		}
		return nil
	})
	if err != nil {
		return err
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
func (p *prepared) fitWhitening(ctx context.Context, data Data, s Settings) error {
	h := &p.head
	dim := data.Dim
	means, err := classMeans(ctx, data)
	if err != nil {
		return err
	}
	filled, centre := 0.0, make([]float64, dim)
	for y, n := range data.Counts() {
		filled += float64(min(n, 1))
		floats.Add(centre, means[y*dim:(y+1)*dim])
	}
	for d := range centre {
		h.Mean[d] = float32(centre[d] / filled)
	}

	cov := make([]float64, dim*dim)
	rows, part := make([]float32, min(len(data.Y), RowsAtOnce)*dim), make([]float32, dim*dim)
	err = data.each(ctx, func(from int, x []float32) error {
		n := len(x) / dim
		for i, y := range data.Y[from : from+n] {
			for d, v := range x[i*dim : (i+1)*dim] {
				rows[i*dim+d] = float32(float64(v) - means[y*dim+d])
			}
		}
		block := rows[:len(x)]
		if err := s.Gemm.Mul(true, false, dim, dim, n, block, block, part); err != nil {
			return fmt.Errorf("computing the covariance of features: %w", err)
		}
		for i, v := range part {
			cov[i] += float64(v)
		}
		return nil
	})
	if err != nil {
		return err
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
func classMeans(ctx context.Context, data Data) ([]float64, error) {
	return data.means(ctx, data.Counts(), func(i int) int { return data.Y[i] })
}

// sampleMean is the mean of all samples.
func sampleMean(ctx context.Context, data Data) ([]float64, error) {
	return data.means(ctx, []int{len(data.Y)}, func(int) int { return 0 })
}

// means are those of groups of so many samples.
func (d Data) means(ctx context.Context, counts []int, group func(i int) int) ([]float64, error) {
	means := make([]float64, len(counts)*d.Dim)
	err := d.each(ctx, func(from int, x []float32) error {
		for i := range len(x) / d.Dim {
			mean := means[group(from+i)*d.Dim:][:d.Dim]
			for k, v := range x[i*d.Dim : (i+1)*d.Dim] {
				mean[k] += float64(v)
			}
		}
		return nil
	})
	for y, n := range counts {
		for k := range d.Dim {
			means[y*d.Dim+k] /= float64(max(n, 1))
		}
	}
	return means, err
}

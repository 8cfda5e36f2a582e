package head

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas/gonum"
)

// batch is the scratch of one batch, and what the stage and the epoch are like.
type batch struct {
	n       int
	x       []float32 // [n, D], prepared and with noise
	clean   []float32 // [n, D], as it was without, of a source
	plain   []float32 // of Predict
	lengths []float32 // [n], of its rows before they were scaled to 1
	unit    []float32 // [C, D], W of a cosine head with rows of length 1
	norms   []float32 // [C], what they were divided by
	push    []float32 // [Experts, n, C], the gradient of the diversity
	noise   *rand.Rand
	scales  bool // only S is trained
}

// gather takes the prepared rows of a batch to l.x, and adds noise if there is to be some.
func (l *Linear) gather(ctx context.Context, rows []int) error {
	dim := l.data.Dim
	l.n, l.x = len(rows), grow(l.x, len(rows)*dim)
	read := l.train.Features
	if l.ahead != nil {
		read = l.ahead.next
	}
	if err := read(ctx, rows, l.x); err != nil {
		return err
	}
	if l.raw {
		l.clean, l.lengths = grow(l.clean, len(l.x)), grow(l.lengths, l.n)
		h := l.head
		h.Normalize = false
		if err := h.prepare(l.set.Gemm, l.workers, l.x, l.clean); err != nil {
			return err
		}
		if l.head.Normalize {
			normalize(l.clean, dim, l.lengths)
		}
		copy(l.x, l.clean)
	}
	if l.set.Noise > 0 {
		std := l.set.Noise * l.length / math.Sqrt(float64(dim))
		for i := range l.x {
			l.x[i] += float32(std * l.noise.NormFloat64())
		}
	}
	return nil
}

// logits computes those of an expert. It leaves unit and norms for backward, which for several experts computes them
// anew.
func (l *Linear) logits(e int, z []float32) error {
	dim, classes := l.data.Dim, l.data.Classes
	p := l.one(l.expert, e)
	if err := l.set.Gemm.Mul(false, true, l.n, classes, dim, l.x, l.effective(p), z); err != nil {
		return fmt.Errorf("multiplying a batch of features with the head: %w", err)
	}
	for ; len(z) > 0; z = z[classes:] {
		b, s := p.b[:classes], p.s[:classes]
		for k, v := range z[:classes] {
			z[k] = (v + b[k]) * s[k]
		}
	}
	return nil
}

// effective is W, for a cosine head with rows of length 1.
func (l *Linear) effective(p expert) []float32 {
	if !l.head.Normalize {
		return p.w
	}
	dim := l.data.Dim
	parallel(l.workers, l.data.Classes, 64, func(from, to int) {
		copy(l.unit[from*dim:to*dim], p.w[from*dim:to*dim])
		normalize(l.unit[from*dim:to*dim], dim, l.norms[from:to])
	})
	return l.unit
}

// backward takes the gradient with respect to an expert's logits to that with respect to its parameters. With
// z = S (ŵ·x + b) and G = Σ ∂L/∂z x, h = Σ ∂L/∂z over the batch: ∂L/∂S = ŵ·G + b h, ∂L/∂b = S h, ∂L/∂ŵ = S G; and
// where ŵ = w/|w|, ∂L/∂w = S (G − ŵ (ŵ·G))/|w|. To dx, unless it is nil, it adds ∂L/∂x = Σ_k ∂L/∂z_k S_k ŵ_k.
func (l *Linear) backward(e int, dz []float32, g expert, dx []float32) error {
	dim, classes := l.data.Dim, l.data.Classes
	p := l.one(l.expert, e)
	if err := l.set.Gemm.Mul(true, false, classes, dim, l.n, dz, l.x, g.w); err != nil {
		return fmt.Errorf("multiplying gradients with a batch of features: %w", err)
	}
	effective, along := l.unit, make([]float32, classes)
	if !l.head.Normalize || l.set.Experts > 1 {
		effective = l.effective(p)
	}
	clear(g.b)
	clear(g.s)
	if !l.head.Normalize {
		for i := range l.n {
			for k, v := range dz[i*classes : (i+1)*classes] {
				g.b[k] += v
			}
		}
	}
	if dx != nil {
		part := make([]float32, len(dx))
		for i := range dz {
			dz[i] *= p.s[i%classes]
		}
		if err := l.set.Gemm.Mul(false, false, l.n, dim, classes, dz, effective, part); err != nil {
			return fmt.Errorf("multiplying gradients with the head: %w", err)
		}
		for i, v := range part {
			dx[i] += v
		}
	}
	parallel(l.workers, classes, 64, func(from, to int) {
		var blas gonum.Implementation
		for k := from; k < to; k++ {
			row, unit := g.w[k*dim:(k+1)*dim], effective[k*dim:(k+1)*dim]
			along[k] = dot(row, unit)
			f := p.s[k]
			if l.head.Normalize {
				blas.Saxpy(dim, -along[k], unit, 1, row, 1)
				f /= l.norms[k]
			}
			blas.Sscal(dim, f, row, 1)
		}
	})
	switch {
	case l.scales:
		unit := 1.0 // trained is the scale relative to the start: S = Scale·f
		if l.head.Normalize {
			unit = l.set.Scale * l.set.Scale
		}
		for k := range g.s {
			g.s[k] = float32(unit) * (along[k] + p.b[k]*g.b[k])
		}
		return nil
	case l.set.LearnScale && l.head.Normalize:
		total := 0.0
		for _, v := range along {
			total += float64(v)
		}
		for k := range g.s {
			g.s[k] = float32(total)
		}
	}
	for k, s := range p.s {
		g.b[k] *= s
	}
	mask(l.masks[e], g.w)
	return nil
}

// unprepare takes the gradient with respect to prepared rows back to that with respect to features: with x' = u/|u| and
// u = T m, m = (x − Mean)·InvStd, ∂L/∂u = (∂L/∂x' − x' (x'·∂L/∂x'))/|u|, ∂L/∂m = Tᵀ ∂L/∂u.
func (l *Linear) unprepare(dx []float32) error {
	dim := l.data.Dim
	for i := 0; l.head.Normalize && i < len(dx)/dim; i++ {
		if l.lengths[i] > 1e-12 {
			row, unit := dx[i*dim:(i+1)*dim], l.clean[i*dim:(i+1)*dim]
			along := dot(row, unit)
			for d, v := range unit {
				row[d] = (row[d] - along*v) / l.lengths[i]
			}
		}
	}
	if l.head.Transform != nil && dx != nil {
		moved := slices.Clone(dx)
		if err := l.set.Gemm.Mul(false, false, l.n, dim, dim, moved, l.head.Transform, dx); err != nil {
			return fmt.Errorf("transforming the gradient of features: %w", err)
		}
	}
	for i := range dx {
		dx[i] *= l.head.InvStd[i%dim]
	}
	return nil
}

package head

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/vitft/vitft/calib"
	"gonum.org/v1/gonum/blas/gonum"
)

// batch is the scratch of one batch.
type batch struct {
	x      []float32   // [n, D]
	z      [][]float32 // [n, C] of each expert: logits, then their gradient
	labels []int
	grad   []float32 // in the shape of State.Params
	unit   []float32 // [C, D], W of a cosine head with rows of length 1
	norms  []float32 // [C], what they were divided by
	along  []float32 // [C]
	push   [][]float32
	noise  *rand.Rand
}

func newBatch(n int, data Data, s Settings) batch {
	b := batch{x: make([]float32, n*data.Dim), labels: make([]int, n), unit: make([]float32, data.Classes*data.Dim),
		norms: make([]float32, data.Classes), along: make([]float32, data.Classes),
		grad: make([]float32, s.Experts*data.Classes*(data.Dim+2))}
	for range s.Experts {
		b.z = append(b.z, make([]float32, n*data.Classes))
		if s.Diversity > 0 {
			b.push = append(b.push, make([]float32, n*data.Classes))
		}
	}
	return b
}

// gradient leaves the gradient of the loss over a batch of rows in t.grad and returns the loss, the mean over the
// experts. If scales, only S is trained. seen gets a sample of each row; of several experts each sees its share.
func (t *trainer) gradient(rows []int, loss *batchLoss, scales, softmax bool, seen []calib.Sample) (float64, error) {
	n, classes, experts := len(rows), t.data.Classes, t.set.Experts
	labels := t.labels[:n]
	t.gather(rows)
	for e := range experts {
		if err := t.logits(e, n); err != nil {
			return 0, err
		}
	}
	total := 0.0
	if t.set.Diversity > 0 {
		total = t.diverge(n)
	}
	for e := range experts {
		z := t.z[e][:n*classes]
		total += loss.gradient(t.workers, z, labels, softmax, func(i int, s calib.Sample) {
			if i%experts == e {
				seen[i] = s
			}
		})
		if t.set.Diversity > 0 {
			for i, g := range t.push[e][:len(z)] {
				z[i] += g
			}
		}
		if err := t.backward(e, n, scales); err != nil {
			return 0, err
		}
	}
	return total / float64(experts), nil
}

// gather copies the rows of a batch, and adds noise if there is to be some.
func (t *trainer) gather(rows []int) {
	dim, views := t.data.Dim, t.data.views()
	for i, r := range rows {
		copy(t.x[i*dim:(i+1)*dim], t.rows[r*dim:(r+1)*dim])
		t.labels[i] = t.data.Y[r/views]
	}
	if t.set.Noise > 0 {
		std := t.set.Noise * t.length / math.Sqrt(float64(dim))
		x := t.x[:len(rows)*dim]
		for i := range x {
			x[i] += float32(std * t.noise.NormFloat64())
		}
	}
}

// logits computes those of an expert. It leaves unit and norms for backward, which for several experts computes them
// anew.
func (t *trainer) logits(e, n int) error {
	dim, classes := t.data.Dim, t.data.Classes
	p := t.expert(t.state.Params, e)
	z := t.z[e][:n*classes]
	if err := t.set.Gemm.Mul(false, true, n, classes, dim, t.x[:n*dim], t.effective(p), z); err != nil {
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
func (t *trainer) effective(p expert) []float32 {
	if !t.head.Normalize {
		return p.w
	}
	dim := t.data.Dim
	parallel(t.workers, t.data.Classes, 64, func(from, to int) {
		for k := from; k < to; k++ {
			row := p.w[k*dim : (k+1)*dim]
			t.norms[k] = max(norm(row), 1e-12)
			f := 1 / t.norms[k]
			for d, v := range row {
				t.unit[k*dim+d] = v * f
			}
		}
	})
	return t.unit
}

// backward takes the gradient with respect to an expert's logits to that with respect to its parameters. With
// z = S (ŵ·x + b) and G = Σ ∂L/∂z x, h = Σ ∂L/∂z over the batch: ∂L/∂S = ŵ·G + b h, ∂L/∂b = S h, ∂L/∂ŵ = S G; and
// where ŵ = w/|w|, ∂L/∂w = S (G − ŵ (ŵ·G))/|w|.
func (t *trainer) backward(e, n int, scales bool) error {
	dim, classes := t.data.Dim, t.data.Classes
	z := t.z[e][:n*classes]
	p, g := t.expert(t.state.Params, e), t.expert(t.grad, e)
	if err := t.set.Gemm.Mul(true, false, classes, dim, n, z, t.x[:n*dim], g.w); err != nil {
		return fmt.Errorf("multiplying gradients with a batch of features: %w", err)
	}
	effective := t.unit
	if !t.head.Normalize || t.set.Experts > 1 {
		effective = t.effective(p)
	}
	clear(g.b)
	clear(g.s)
	if !t.head.Normalize {
		for i := range n {
			for k, v := range z[i*classes : (i+1)*classes] {
				g.b[k] += v
			}
		}
	}
	parallel(t.workers, classes, 64, func(from, to int) {
		var blas gonum.Implementation
		for k := from; k < to; k++ {
			row, unit := g.w[k*dim:(k+1)*dim], effective[k*dim:(k+1)*dim]
			t.along[k] = dot(row, unit)
			f := p.s[k]
			if t.head.Normalize {
				blas.Saxpy(dim, -t.along[k], unit, 1, row, 1)
				f /= t.norms[k]
			}
			blas.Sscal(dim, f, row, 1)
		}
	})
	switch {
	case scales:
		// Trained is the scale relative to the start: S = Scale·f.
		unit := float32(1)
		if t.head.Normalize {
			unit = float32(t.set.Scale * t.set.Scale)
		}
		for k := range g.s {
			g.s[k] = unit * (t.along[k] + p.b[k]*g.b[k])
		}
		clear(g.w)
		clear(g.b)
		return nil
	case t.set.LearnScale && t.head.Normalize:
		total := 0.0
		for _, v := range t.along {
			total += float64(v)
		}
		for k := range g.s {
			g.s[k] = float32(total)
		}
	}
	for k, s := range p.s {
		g.b[k] *= s
	}
	t.mask(g.w, e)
	return nil
}

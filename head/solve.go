package head

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"

	"github.com/vitft/vitft/engine/fault"
)

// solve implements solver.
func (l *Linear) solve(ctx context.Context, loss *batchLoss) error { return l.set.solve(ctx, l, loss) }

// solveNCM leaves the head at the class means.
func solveNCM(ctx context.Context, l *Linear, _ *batchLoss) error { return l.startAtMeans(ctx, 0) }

// solveLDA is linear discriminant analysis with equal priors. Whitened features have the shrunk covariance v·I, so it
// is the nearest mean: z = μ·x'/v − |μ|²/(2v).
func solveLDA(ctx context.Context, l *Linear, _ *batchLoss) error {
	if l.within <= 0 {
		return fault.Data.Errorf("lda: every class is a point, there is no covariance")
	}
	means, err := l.means(ctx)
	if err != nil {
		return err
	}
	nearestMean(l.one(l.expert, 0), means, l.within)
	return nil
}

// solveLogReg minimises Σ_i α_{y_i} ℓ_i / Σ_i α_{y_i} + WeightDecay/2 |W|² over all views by L-BFGS (Liu and Nocedal,
// 1989), from 0. It works on features of unit variance, so that what counts as converged is the same for all.
func solveLogReg(ctx context.Context, l *Linear, loss *batchLoss) error {
	near := 1 / float64(l.data.Classes) // what the gradient is of the order of at 0
	f := &regression{Linear: l, ctx: ctx, loss: loss, unit: math.Sqrt(float64(l.data.Dim)) / max(l.length, 1e-12),
		grad: make([]float64, l.data.Classes*(l.data.Dim+1))}
	best, err := optimize.Minimize(optimize.Problem{
		Func: func(x []float64) float64 { return f.at(x).value },
		Grad: func(grad, x []float64) { copy(grad, f.at(x).grad) },
		Status: func() (optimize.Status, error) {
			return optimize.NotTerminated, errors.Join(f.err, ctx.Err())
		},
	}, make([]float64, len(f.grad)), &optimize.Settings{
		GradientThreshold: 1e-5 * near,
		Converger:         &optimize.FunctionConverge{Relative: 1e-9, Iterations: 20},
		MajorIterations:   1000,
	}, &optimize.LBFGS{})
	switch {
	case f.err != nil:
		return f.err
	case ctx.Err() != nil:
		return fmt.Errorf("logistic regression: %w", ctx.Err())
	case err != nil && !(floats.Norm(f.at(best.X).grad, math.Inf(1)) < 1e-2*near):
		// Near the optimum float32 has no more digits for the line search to go by, and that is near enough.
		return fault.Config.Errorf("logistic regression: %w; use more weight decay than %g", err, *l.set.WeightDecay)
	}
	p, h := l.one(l.expert, 0), f.headAt(best.X)
	copy(p.w, h.W)
	copy(p.b, h.B)
	for k := range p.s {
		p.s[k] = 1
		if row := p.w[k*h.Dim : (k+1)*h.Dim]; l.head.Normalize { // z = S (w/|w|·x + b)
			p.s[k] = max(norm(row), 1e-12)
			p.b[k] /= p.s[k]
		}
	}
	return nil
}

// regression is the objective of logistic regression in the parameters W/unit, [C, D], and b, [C], with what it was at
// the last point.
type regression struct {
	*Linear
	ctx  context.Context // of the one call that it is for
	loss *batchLoss
	unit float64 // 1/standard deviation of the features

	x     []float64
	value float64
	grad  []float64
	err   error
}

// headAt is the head of parameters x.
func (f *regression) headAt(x []float64) *Head {
	classes, dim := f.flat.Classes, f.flat.Dim
	h := &Head{Classes: classes, Dim: dim, W: make([]float32, classes*dim), B: make([]float32, classes)}
	for i, v := range x[:len(h.W)] {
		h.W[i] = float32(f.unit * v)
	}
	for k, v := range x[len(h.W):] {
		h.B[k] = float32(v)
	}
	return h
}

// at computes value and gradient at x, unless it has just done so.
func (f *regression) at(x []float64) *regression {
	if f.x != nil && floats.Equal(f.x, x) || f.err != nil {
		return f
	}
	f.x = append(f.x[:0], x...)
	h := f.headAt(x)
	dim, classes, total := h.Dim, h.Classes, f.loss.weight(f.flat.Y)
	decay := *f.set.WeightDecay * f.unit * f.unit
	clear(f.grad)
	f.value = decay / 2 * floats.Dot(x[:len(h.W)], x[:len(h.W)])
	floats.AddScaled(f.grad[:len(h.W)], decay, x[:len(h.W)])
	all, part := make([]float32, min(len(f.flat.Y), RowsAtOnce)*classes), make([]float32, len(h.W))
	f.err = f.flat.each(f.ctx, func(from int, rows []float32) error {
		n := len(rows) / dim
		labels, z := f.flat.Y[from:from+n], all[:n*classes]
		if err := h.multiply(f.set.Gemm, rows, z); err != nil {
			return err
		}
		share := f.loss.weight(labels) / total
		f.value += share * f.loss.gradient(f.workers, z, labels, nil)
		if err := f.set.Gemm.Mul(true, false, classes, dim, n, z, rows, part); err != nil {
			return err
		}
		for i, v := range part {
			f.grad[i] += share * f.unit * float64(v)
		}
		for i, v := range z {
			f.grad[len(h.W)+i%classes] += share * float64(v)
		}
		return nil
	})
	return f
}

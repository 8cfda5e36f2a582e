package head

import (
	"context"
	"fmt"
	"math"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/vitft/vitft/internal/par"
)

// Gemm is the one matrix product that training needs. It must give the same bits for the same shapes and operands, and
// allow for calls from several goroutines at once.
type Gemm interface {
	// Mul computes C = op(A)·op(B), where op transposes if asked: A is m×k (k×m if transA), B is k×n (n×k if
	// transB), C is m×n, all row-major float32. C is overwritten.
	Mul(transA, transB bool, m, n, k int, a, b, c []float32) error
}

// Blas is Gemm in pure Go, on gonum.
type Blas struct{}

// Mul implements Gemm. Transposed operands are laid out anew first: gonum is two to three times as fast that way, and
// adds up in an order that does not depend on where in memory they are.
func (Blas) Mul(transA, transB bool, m, n, k int, a, b, c []float32) error {
	if m < 0 || n < 0 || k < 0 || len(a) < m*k || len(b) < k*n || len(c) < m*n {
		return fmt.Errorf("matrix product %d×%d×%d: operands of %d, %d and %d values are too short",
			m, k, n, len(a), len(b), len(c))
	}
	if m*n*k == 0 {
		clear(c[:m*n])
		return nil
	}
	if transA {
		flipped := transposed(a, k, m)
		defer scratch.Put(flipped)
		a = *flipped
	}
	if transB {
		flipped := transposed(b, n, k)
		defer scratch.Put(flipped)
		b = *flipped
	}
	gonum.Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, m, n, k, 1, a, k, b, n, 0, c, n)
	return nil
}

var scratch = sync.Pool{New: func() any { return new([]float32) }}

func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// transposed returns the rows×cols matrix a as cols×rows, in a slice to be put back into scratch.
func transposed(a []float32, rows, cols int) *[]float32 {
	const tile = 32 // stays in cache
	out := scratch.Get().(*[]float32)
	*out = grow(*out, rows*cols)
	for i0 := 0; i0 < rows; i0 += tile {
		for j0 := 0; j0 < cols; j0 += tile {
			for i := i0; i < min(i0+tile, rows); i++ {
				for j := j0; j < min(j0+tile, cols); j++ {
					(*out)[j*rows+i] = a[i*cols+j]
				}
			}
		}
	}
	return out
}

// parallel splits [0, n) among so many goroutines in pieces of at least grain. Every index is handled alone, so the
// split never shows in the result.
func parallel(workers, n, grain int, do func(from, to int)) {
	if workers = min(workers, (n+grain-1)/grain); workers <= 1 {
		do(0, n)
		return
	}
	_ = par.For(context.Background(), workers, workers, func(w int) { do(w*n/workers, (w+1)*n/workers) })
}

// normalize scales rows of dim numbers to Euclidean length 1, and writes what they were divided by to lengths, unless
// that is nil; rows of zeros stay.
func normalize(rows []float32, dim int, lengths []float32) {
	for i := 0; len(rows) >= dim; i, rows = i+1, rows[dim:] {
		n := max(norm(rows[:dim]), 1e-12)
		gonum.Implementation{}.Sscal(dim, 1/n, rows, 1)
		if lengths != nil {
			lengths[i] = n
		}
	}
}

func norm(v []float32) float32 { return float32(math.Sqrt(float64(dot(v, v)))) }

// dot is v·w in four sums. gonum's, in assembly, adds up in an order that depends on where in memory the operands are.
func dot(v, w []float32) float32 {
	w = w[:len(v)]
	var a, b, c, d float32
	for ; len(v) >= 4; v, w = v[4:], w[4:] {
		a += v[0] * w[0]
		b += v[1] * w[1]
		c += v[2] * w[2]
		d += v[3] * w[3]
	}
	for i, x := range v {
		a += x * w[i]
	}
	return (a + b) + (c + d)
}

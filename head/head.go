// Package head trains classifiers under the losses of long-tailed recognition, with the two-phase CVS schedule: the
// linear or cosine layer on features, by the methods that it is compared with too, and whatever is trained below it.
//
// # Basics
//
// A [Data] holds features and labels, a [Settings] says how to train (its zero value is the default recipe;
// [Settings.Fields] lists all with their defaults), and [Train] returns a [Head]:
//
//	result, err := head.Train(ctx, data, head.Settings{Loss: "cvs"})
//	err = result.Head.Logits(head.Blas{}, x, logits)
//
// The prediction is always the argmax of the raw logits: what a loss adjusts, it adjusts in training only. The losses
// are one formula (see [Adjustment]); they and the baselines, also those in closed form, are rows of one table of
// names ([Losses]).
//
// [Settings.Events] reports each epoch, and with it the [State] from which [Settings.Resume] continues to the
// bit-identical head. [TrainAll] trains the heads of a sweep side by side, and [OutOfFold] gives the logits of heads
// that have not seen the sample, for whatever must not be read off memorised ones.
//
// All of them are one [Loop], which trains any [Trainable]. The head in training is a [Linear]; an adapter in the
// backbone is its [Source] of features, and has their gradient from [Linear.BackwardFeatures]. Package headtest has the
// tests that every Trainable passes.
//
// # Caveats
//
// The same data, settings, matrix product and machine give the same bits, whatever GOMAXPROCS: sums run in a fixed
// order and only independent rows are shared out. A different [Gemm] rounds differently. Train keeps one prepared
// copy of the features where they are: in memory or, of a [Far], elsewhere, which changes no bit.
package head

import (
	"fmt"
	"runtime"

	"github.com/vitft/vitft/internal/vec"
)

// Head is a trained classifier over D features and C classes. With x' = Transform · ((x − Mean)·InvStd), scaled to
// length 1 if Normalize, its logits are
//
//	z = W x' + B
//
// All that is trained comes down to this: W of a cosine head is its scale times rows of length 1, W of several experts
// is their mean.
type Head struct {
	Classes, Dim int
	W            []float32 // [C, D]
	B            []float32 // [C]
	Mean, InvStd []float32 // [D]
	Transform    []float32 // [D, D]; nil: the identity
	Normalize    bool      // x' has length 1
}

// Renumbered is the same head with class to[k] where h has class k.
func (h *Head) Renumbered(to []int) *Head {
	r := *h
	r.W, r.B = vec.Scatter(to, h.Dim, h.W), vec.Scatter(to, 1, h.B)
	return &r
}

// RowsAtOnce is how many rows are multiplied at once outside of training: logits have the same bits if they are made in
// any multiple of it.
const RowsAtOnce = 2048

// Logits writes the raw logits of the features x, [n, D] as the backbone gives them, to out, [n, C].
func (h *Head) Logits(g Gemm, x, out []float32) error {
	return h.logits(g, runtime.GOMAXPROCS(0), x, out)
}

// LogitsOf are the raw logits [n, C] of data of one view.
func (h *Head) LogitsOf(g Gemm, d Data) ([]float32, error) {
	z := make([]float32, len(d.Y)*h.Classes)
	return z, h.Logits(g, d.X, z)
}

func (h *Head) logits(g Gemm, workers int, x, out []float32) error {
	if h.Dim == 0 || len(x)%h.Dim != 0 || len(out) != len(x)/h.Dim*h.Classes {
		return fmt.Errorf("head of %d×%d: %d features and room for %d logits do not fit",
			h.Classes, h.Dim, len(x), len(out))
	}
	rows := make([]float32, min(len(x), RowsAtOnce*h.Dim))
	for len(x) > 0 {
		n := min(len(x)/h.Dim, RowsAtOnce)
		if err := h.prepare(g, workers, x[:n*h.Dim], rows); err != nil {
			return err
		}
		if err := h.multiply(g, rows[:n*h.Dim], out[:n*h.Classes]); err != nil {
			return err
		}
		x, out = x[n*h.Dim:], out[n*h.Classes:]
	}
	return nil
}

// multiply writes the logits of prepared rows x', [n, D], to z, [n, C].
func (h *Head) multiply(g Gemm, rows, z []float32) error {
	if err := g.Mul(false, true, len(rows)/h.Dim, h.Classes, h.Dim, rows, h.W, z); err != nil {
		return fmt.Errorf("multiplying features with head weights: %w", err)
	}
	for ; len(z) > 0; z = z[h.Classes:] {
		for k, b := range h.B {
			z[k] += b
		}
	}
	return nil
}

// prepare takes features x, [n, D], to the x' that W is multiplied with.
func (h *Head) prepare(g Gemm, workers int, x, out []float32) error {
	var scratch []float32
	for len(x) > 0 {
		size := min(len(x), RowsAtOnce*h.Dim)
		n := size / h.Dim
		moved := out[:size]
		if h.Transform != nil {
			scratch = grow(scratch, size)
			moved = scratch
		}
		parallel(workers, n, 64, func(from, to int) {
			for i := from; i < to; i++ {
				dst := moved[i*h.Dim : (i+1)*h.Dim]
				for d, v := range x[i*h.Dim : (i+1)*h.Dim] {
					dst[d] = (v - h.Mean[d]) * h.InvStd[d]
				}
			}
		})
		if h.Transform != nil {
			if err := g.Mul(false, true, n, h.Dim, h.Dim, moved, h.Transform, out[:size]); err != nil {
				return fmt.Errorf("transforming features: %w", err)
			}
		}
		if h.Normalize {
			parallel(workers, n, 64, func(from, to int) { normalize(out[from*h.Dim:to*h.Dim], h.Dim, nil) })
		}
		x, out = x[size:], out[size:]
	}
	return nil
}

// Package head trains the classifier on top of a frozen backbone: a linear or cosine layer on cached features, under
// the losses of long-tailed recognition, with the two-phase CVS schedule.
//
// # Basics
//
// A [Data] holds features and labels, a [Settings] says how to train (its zero value is the default recipe), and
// [Train] returns a [Head]:
//
//	result, err := head.Train(ctx, data, head.Settings{Loss: "cvs"})
//	err = result.Head.Logits(head.Blas{}, x, logits)
//
// The prediction is always the argmax of the raw logits: what a loss adjusts, it adjusts in training only. The losses
// are one formula, the Vector-Scaling family (see [Adjustment]), filled in from a table of names ([Losses]).
//
// [Settings.Events] reports each epoch, and with it the [State] from which [Settings.Resume] continues to the
// bit-identical head.
//
// # Caveats
//
// The same data, settings, matrix product and machine give the same bits, whatever GOMAXPROCS: sums run in a fixed
// order and only independent rows are shared out. A different [Gemm] rounds differently. Train keeps one prepared
// copy of the features in memory.
package head

import (
	"fmt"
	"math"
)

// Head is a trained classifier over D features and C classes. With x' = Transform · ((x − Mean)·InvStd) and, if
// Normalize, both x' and the rows of W scaled to length 1, its logits are
//
//	z = Scale · W x' + B
type Head struct {
	Classes, Dim int
	W            []float32 // [C, D]
	B            []float32 // [C]
	Mean, InvStd []float32 // [D]
	Transform    []float32 // [D, D]; nil: the identity
	Normalize    bool      // cosine head; rows of W need not have length 1
	Scale        float32   // 1 for a linear head
}

// rowsAtOnce is how many rows are multiplied at once outside of training.
const rowsAtOnce = 2048

// Logits writes the raw logits of the features x, [n, D] as the backbone gives them, to out, [n, C].
func (h *Head) Logits(g Gemm, x, out []float32) error {
	if h.Dim == 0 || len(x)%h.Dim != 0 || len(out) != len(x)/h.Dim*h.Classes {
		return fmt.Errorf("head of %d×%d: %d features and room for %d logits do not fit", h.Classes, h.Dim, len(x), len(out))
	}
	n := len(x) / h.Dim
	w := h.EffectiveWeight()
	rows := make([]float32, min(n, rowsAtOnce)*h.Dim)
	for from := 0; from < n; from += rowsAtOnce {
		to := min(from+rowsAtOnce, n)
		if err := h.prepare(g, x[from*h.Dim:to*h.Dim], rows); err != nil {
			return err
		}
		z := out[from*h.Classes : to*h.Classes]
		if err := g.Mul(false, true, to-from, h.Classes, h.Dim, rows[:(to-from)*h.Dim], w, z); err != nil {
			return fmt.Errorf("multiplying features with head weights: %w", err)
		}
		for i := range z {
			z[i] += h.B[i%h.Classes]
		}
	}
	return nil
}

// EffectiveWeight returns the matrix [C, D] that prepared features x' are multiplied with: Scale · W, with rows of
// length 1 first if Normalize.
func (h *Head) EffectiveWeight() []float32 {
	w := make([]float32, len(h.W))
	copy(w, h.W)
	if h.Normalize {
		normalize(w, h.Dim)
	}
	for i := range w {
		w[i] *= h.Scale
	}
	return w
}

// prepare takes features x, [n, D], to the x' that W is multiplied with.
func (h *Head) prepare(g Gemm, x, out []float32) error {
	var scratch []float32
	for ; len(x) > 0; x, out = x[min(len(x), rowsAtOnce*h.Dim):], out[min(len(x), rowsAtOnce*h.Dim):] {
		size := min(len(x), rowsAtOnce*h.Dim)
		n := size / h.Dim
		moved := out[:size]
		if h.Transform != nil {
			scratch = grow(scratch, size)
			moved = scratch
		}
		parallel(n, 64, func(from, to int) {
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
			parallel(n, 64, func(from, to int) { normalize(out[from*h.Dim:to*h.Dim], h.Dim) })
		}
	}
	return nil
}

// normalize scales rows of length dim to Euclidean length 1; rows of zeros stay.
func normalize(rows []float32, dim int) {
	for ; len(rows) >= dim; rows = rows[dim:] {
		if n := norm(rows[:dim]); n > 0 {
			for d := range rows[:dim] {
				rows[d] = float32(float64(rows[d]) / n)
			}
		}
	}
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// Data is a labelled set of features.
type Data struct {
	X       []float32 // [n, Dim], one row per sample
	Y       []int     // [n], in [0, Classes)
	Dim     int
	Classes int
}

// Counts returns N_y.
func (d Data) Counts() []int {
	n := make([]int, d.Classes)
	for _, y := range d.Y {
		n[y]++
	}
	return n
}

// Validate says what is wrong with the data. An empty class is no fault here: its prior counts as one sample.
func (d Data) Validate() error {
	switch {
	case d.Classes < 2:
		return fmt.Errorf("training a head takes two classes or more, not %d", d.Classes)
	case d.Dim < 1:
		return fmt.Errorf("features of dimension %d", d.Dim)
	case len(d.Y) == 0:
		return fmt.Errorf("no samples")
	case len(d.X) != len(d.Y)*d.Dim:
		return fmt.Errorf("%d labels but %d feature values, not %d×%d", len(d.Y), len(d.X), len(d.Y), d.Dim)
	}
	for i, y := range d.Y {
		if y < 0 || y >= d.Classes {
			return fmt.Errorf("sample %d: label %d is not one of %d classes", i, y, d.Classes)
		}
	}
	for i, v := range d.X {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("sample %d: feature %d is %v", i/d.Dim, i%d.Dim, v)
		}
	}
	return nil
}

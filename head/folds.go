package head

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/par"
)

// OutOfFold returns logits, [n, C], of heads that have not seen the sample: the classes of data are dealt to so many
// folds evenly (by Settings.Seed), a head is trained by s on all but one fold, features prepared anew, and predicts
// that fold. held, [n, D], are the features to predict from; nil means view 0 of data.
//
// A class with fewer samples than folds is missing from some of the folds, never from a training part: the one sample
// of a class of one is in all of them, so that its logits are of a head that has seen it. Val, Resume and Events of s
// have no effect. Folds are trained side by side with one goroutine each.
func OutOfFold(ctx context.Context, data Data, held []float32, s Settings, folds int) ([]float32, error) {
	if err := check(data, s); err != nil {
		return nil, err
	}
	s = s.WithDefaults()
	logits, err := outOfFold(ctx, data, held, s, folds, []int{s.Epochs}, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, fmt.Errorf("out-of-fold logits: %w", err)
	}
	return logits[0], nil
}

// outOfFold is OutOfFold after each of some epochs, in rising order.
func outOfFold(ctx context.Context, data Data, held []float32, s Settings, folds int, epochs []int,
	workers int) ([][]float32, error) {
	n := len(data.Y)
	if folds < 2 || folds > n {
		return nil, fault.Config.Errorf("%d folds of %d samples: take at least 2, at most one a sample", folds, n)
	}
	if held != nil && len(held) != n*data.Dim {
		return nil, fault.Data.Errorf("%d held values for %d samples of %d features", len(held), n, data.Dim)
	}
	plain := data
	if held != nil {
		plain = Data{X: held, Dim: data.Dim}
	}
	s.Val, s.Resume, s.Events = nil, nil, Events{}
	fold, counts := deal(data, folds, s.Seed), data.Counts()
	out := make([][]float32, len(epochs))
	for i := range out {
		out[i] = make([]float32, n*data.Classes)
	}
	errs := make([]error, folds)
	err := par.For(ctx, folds, workers, func(f int) {
		part := data.subset(func(i int) bool { return fold[i] != f || counts[data.Y[i]] == 1 })
		var x []float32
		var rows []int
		for i := range n {
			if fold[i] == f {
				x = append(x, plain.X[i*plain.row():i*plain.row()+data.Dim]...)
				rows = append(rows, i)
			}
		}
		errs[f] = func() error {
			p, err := prepare(part, s, 1)
			if err != nil {
				return err
			}
			l := newLinear(part, s, p, 1)
			r, err := l.loop().begin(ctx, l)
			if err != nil {
				return err
			}
			z := make([]float32, len(rows)*data.Classes)
			for i, epoch := range epochs {
				if err := r.advance(ctx, epoch); err != nil {
					return err
				}
				if err := l.Head().logits(s.Gemm, 1, x, z); err != nil {
					return err
				}
				for j, row := range rows {
					copy(out[i][row*data.Classes:(row+1)*data.Classes], z[j*data.Classes:(j+1)*data.Classes])
				}
			}
			return nil
		}()
		if errs[f] != nil {
			errs[f] = fmt.Errorf("fold %d of %d: %w", f+1, folds, errs[f])
		}
	})
	if err != nil {
		return nil, err
	}
	return out, errors.Join(errs...)
}

// deal returns each sample's fold. Classes are shuffled and dealt one after the other, each where the last one ended,
// so that folds are of equal size too.
func deal(data Data, folds int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, foldStream))
	fold, next := make([]int, len(data.Y)), 0
	for _, samples := range byClass(data.Y, data.Classes) {
		shuffle(rng, samples)
		for _, i := range samples {
			fold[i] = next % folds
			next++
		}
	}
	return fold
}

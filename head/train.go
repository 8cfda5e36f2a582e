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

// Result is what training gives.
type Result struct {
	Head  *Head
	State *State // after the last whole epoch; its History has the epochs
}

// Train trains a head on data. When ctx ends or training diverges, it returns the error together with a Result that
// is as of the last whole epoch, to save and to resume from; other errors, and an end while several experts are being
// started, come with no Result.
func Train(ctx context.Context, data Data, s Settings) (*Result, error) {
	l, err := start(ctx, data, s)
	if err != nil {
		return nil, err
	}
	return l.run(ctx)
}

// check says what is wrong with settings or data, or with the two together.
func check(data Data, s Settings) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("head settings: %w", err)
	}
	if err := data.Validate(); err != nil {
		return fmt.Errorf("training data: %w", err)
	}
	of := Size{Classes: data.Classes, Dim: data.Dim, Samples: len(data.Y), Views: data.Views}
	if err := s.CheckMemory(of); err != nil {
		return err
	}
	if s.Val == nil {
		return nil
	}
	switch err := s.Val.Validate(); {
	case err != nil:
		return fmt.Errorf("validation data: %w", err)
	case s.Val.views() > 1:
		return fault.Data.Errorf("validation data of %d views: give one feature a sample", s.Val.Views)
	case s.Val.Dim != data.Dim || s.Val.Classes != data.Classes:
		return fault.Data.Errorf("validation data of %d features and %d classes, training data of %d and %d",
			s.Val.Dim, s.Val.Classes, data.Dim, data.Classes)
	}
	return nil
}

// run trains l.
func (l *Linear) run(ctx context.Context) (*Result, error) {
	state, err := l.loop().Run(ctx, l)
	if state == nil {
		return nil, err
	}
	return &Result{Head: l.Head(), State: state}, err
}

// loop is the one that trains l as its settings say.
func (l *Linear) loop() Loop {
	d := l.data
	loop := Loop{Settings: l.set.Settings, Labels: d.Y, Classes: d.Classes, Views: d.Views, workers: l.workers}
	if l.set.Val != nil {
		loop.Held = l.set.Val.Y
	}
	loop.OutOfFold = func(ctx context.Context, s Settings, folds int, epochs []int) ([][]float32, error) {
		return outOfFold(ctx, d, nil, s, folds, epochs, l.workers)
	}
	return loop
}

// SetError is what became of one of the heads of [TrainAll].
type SetError struct {
	Index int // of the settings
	Err   error
}

func (e *SetError) Error() string { return fmt.Sprintf("head %d: %v", e.Index, e.Err) }
func (e *SetError) Unwrap() error { return e.Err }

// TrainAll trains a head on the same data for each of the settings: the i-th result has the bits of
// Train(ctx, data, sets[i]), and costs far less. Features are prepared once for all settings that prepare them alike,
// with the Gemm of the first of these, and as many heads are trained at a time as there are processors, one goroutine
// each. A Gemm that uses one thread is best for that (onnx.NewGemm(1, …): other numbers give the same bits).
//
// Events are called from several goroutines, those of one head from one at a time.
//
// A head that fails leaves the others alone; the error joins a *SetError for each that did, and a result beside it is
// as of the last whole epoch, as with Train. Settings or data that are not valid are found before anything is trained.
// When ctx ends the error wraps ctx.Err(), and results are there as far as they got.
func TrainAll(ctx context.Context, data Data, sets []Settings) ([]*Result, error) {
	results, errs := make([]*Result, len(sets)), make([]error, len(sets))
	fail := func(i int, err error) {
		if err != nil {
			errs[i] = &SetError{i, err}
		}
	}
	for i, s := range sets {
		fail(i, check(data, s))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	workers := runtime.GOMAXPROCS(0)
	shared := map[[4]any]*prepared{}
	for _, s := range sets {
		s = s.WithDefaults()
		if shared[s.preparation()] != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return results, fmt.Errorf("preparing features: %w", err)
		}
		p, err := prepare(data, s, workers)
		if err != nil {
			return nil, err
		}
		shared[s.preparation()] = p
	}
	err := par.For(ctx, len(sets), workers, func(i int) {
		s := sets[i].WithDefaults()
		l, err := newLinear(ctx, data, s, shared[s.preparation()], 1)
		if err == nil {
			results[i], err = l.run(ctx)
		}
		fail(i, err)
	})
	if err != nil {
		return results, fmt.Errorf("training heads: %w", err)
	}
	return results, errors.Join(errs...)
}

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
			l, err := newLinear(ctx, part, s, p, 1)
			if err != nil {
				return err
			}
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

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
// of a class of one is in all of them, so that its logits are of a head that has seen it. Val, Resume, Events and
// EarlyStop of s have no effect. Folds are trained side by side with one goroutine each.
func OutOfFold(ctx context.Context, data Data, held []float32, s Settings, folds int) ([]float32, error) {
	if err := check(data, s); err != nil {
		return nil, err
	}
	if data.Far != nil {
		return nil, fault.Data.Errorf("logits out of fold of features that are not in memory")
	}
	if n := len(data.Y); held != nil && len(held) != n*data.Dim {
		return nil, fault.Data.Errorf("%d held values for %d samples of %d features", len(held), n, data.Dim)
	}
	return foldsOf(data, held, runtime.GOMAXPROCS(0)).Logits(ctx, s, folds)
}

// Folds cross-fits any model: samples are dealt to folds, and each fold is predicted by a model that was trained on the
// others. See [OutOfFold], which is that of the head alone.
type Folds struct {
	Labels  []int
	Classes int
	// Fit makes the model that learns from the samples train and holds out the samples held, and hands it to use with
	// the loop that trains it, which measures nothing.
	Fit func(ctx context.Context, s Settings, train, held []int, use func(Loop, Trainable) error) error
	// Beside is how many models are trained side by side; 0 is 1.
	Beside int
}

// Logits are those of OutOfFold in the end.
func (f Folds) Logits(ctx context.Context, s Settings, folds int) ([]float32, error) {
	s = s.WithDefaults()
	logits, err := f.OutOfFold(ctx, s, folds, []int{s.Epochs})
	if err != nil {
		return nil, fmt.Errorf("out-of-fold logits: %w", err)
	}
	return logits[0], nil
}

// OutOfFold returns the logits, [n, C], of models that have not seen the sample, after each of some epochs in rising
// order; it is what [Loop.OutOfFold] takes.
func (f Folds) OutOfFold(ctx context.Context, s Settings, folds int, epochs []int) ([][]float32, error) {
	n := len(f.Labels)
	if err := enough(folds, n); err != nil {
		return nil, err
	}
	s = s.WithDefaults()
	s.Val, s.Resume, s.Events, s.EarlyStop = nil, nil, Events{}, 0
	fold, counts := f.deal(folds, s.Seed), Data{Y: f.Labels, Classes: f.Classes}.Counts()
	out := make([][]float32, len(epochs))
	for i := range out {
		out[i] = make([]float32, n*f.Classes)
	}
	errs := make([]error, folds)
	err := par.For(ctx, folds, max(f.Beside, 1), func(k int) {
		var train, held []int
		for i, y := range f.Labels {
			if fold[i] == k {
				held = append(held, i)
			}
			if fold[i] != k || counts[y] == 1 {
				train = append(train, i)
			}
		}
		errs[k] = f.Fit(ctx, s, train, held, func(l Loop, m Trainable) error {
			return l.predict(ctx, m, epochs, held, out)
		})
		if errs[k] != nil {
			errs[k] = fmt.Errorf("fold %d of %d: %w", k+1, folds, errs[k])
		}
	})
	if err != nil {
		return nil, err
	}
	return out, errors.Join(errs...)
}

// predict trains m and writes what it makes of the set held out, after each of some epochs, to the rows of that in out.
func (l Loop) predict(ctx context.Context, m Trainable, epochs, rows []int, out [][]float32) error {
	r, err := l.begin(ctx, m)
	if err != nil {
		return err
	}
	z := make([]float32, min(len(rows), RowsAtOnce)*l.Classes)
	for i, epoch := range epochs {
		if err := r.advance(ctx, epoch); err != nil {
			return err
		}
		for from := 0; from < len(rows); from += RowsAtOnce {
			to := min(from+RowsAtOnce, len(rows))
			if err := m.Predict(ctx, true, from, to, z[:(to-from)*l.Classes]); err != nil {
				return err
			}
			for j, row := range rows[from:to] {
				copy(out[i][row*l.Classes:(row+1)*l.Classes], z[j*l.Classes:(j+1)*l.Classes])
			}
		}
	}
	return nil
}

// enough refuses folds that there are too few samples for.
func enough(folds, samples int) error {
	if folds < 2 || folds > samples {
		return fault.Config.Errorf("%d folds of %d samples: take at least 2, at most one a sample", folds, samples)
	}
	return nil
}

// deal returns each sample's fold. Classes are shuffled and dealt one after the other, each where the last one ended,
// so that folds are of equal size too.
func (f Folds) deal(folds int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, foldStream))
	fold, next := make([]int, len(f.Labels)), 0
	for _, samples := range byClass(f.Labels, f.Classes) {
		shuffle(rng, samples)
		for _, i := range samples {
			fold[i] = next % folds
			next++
		}
	}
	return fold
}

// foldsOf are those of the head alone, with one goroutine each.
func foldsOf(data Data, held []float32, workers int) Folds {
	plain := data
	if held != nil {
		plain = Data{X: held, Y: data.Y, Dim: data.Dim, Classes: data.Classes}
	}
	fit := func(ctx context.Context, s Settings, train, rows []int, use func(Loop, Trainable) error) error {
		part := data.Subset(train)
		s.Val = &Data{Dim: data.Dim, Classes: data.Classes}
		for _, i := range rows {
			s.Val.X = append(s.Val.X, plain.X[i*plain.row():i*plain.row()+data.Dim]...)
		}
		p, err := prepare(ctx, part, s, 1)
		if err != nil {
			return err
		}
		l, err := newLinear(ctx, part, s, p, 1)
		if err != nil {
			return err
		}
		loop := l.loop()
		loop.Held = nil
		return use(loop, l)
	}
	return Folds{Labels: data.Y, Classes: data.Classes, Fit: fit, Beside: workers}
}

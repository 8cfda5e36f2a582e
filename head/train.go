package head

import (
	"context"
	"errors"
	"fmt"
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
	result, err := l.run(ctx)
	return result, errors.Join(err, l.Close())
}

// check says what is wrong with settings or data, or with the two together.
func check(data Data, s Settings) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("head settings: %w", err)
	}
	if err := data.Validate(); err != nil {
		return fmt.Errorf("training data: %w", err)
	}
	of := Size{Classes: data.Classes, Dim: data.Dim, Samples: len(data.Y), Views: data.Views, Far: data.Far != nil}
	if err := errors.Join(s.CheckFolds(of), s.CheckMemory(of)); err != nil {
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
	case s.Val.Far != nil:
		return fault.Data.Errorf("validation data that are not in memory")
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
	if d.Far == nil {
		loop.OutOfFold = foldsOf(d, nil, l.workers).OutOfFold
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
	if data.Far != nil {
		return nil, fault.Data.Errorf("several heads at a time of features that are not in memory")
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
		p, err := prepare(ctx, data, s, workers)
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

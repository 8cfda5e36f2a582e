package head

import (
	"context"
	"fmt"

	"github.com/vitft/vitft/engine/fault"
)

// Result is what training gives.
type Result struct {
	Head  *Head
	State *State // after the last whole epoch; its History has the epochs
}

// Train trains a head on data. When ctx ends or training diverges, it returns the error together with a Result that
// is as of the last whole epoch, to save and to resume from; other errors come with no Result.
func Train(ctx context.Context, data Data, s Settings) (*Result, error) {
	l, err := NewLinear(data, s, nil, nil)
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
	if s.Val == nil {
		return nil
	}
	if err := s.Val.Validate(); err != nil {
		return fmt.Errorf("validation data: %w", err)
	}
	if s.Val.views() > 1 {
		return fault.Data.Errorf("validation data of %d views: give one feature a sample", s.Val.Views)
	}
	if s.Val.Dim != data.Dim || s.Val.Classes != data.Classes {
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
	loop := Loop{Settings: l.set.Settings, Labels: l.data.Y, Classes: l.data.Classes, Views: l.data.Views, workers: l.workers}
	if l.set.Val != nil {
		loop.Held = l.set.Val.Y
	}
	loop.OutOfFold = func(ctx context.Context, s Settings, folds int, epochs []int) ([][]float32, error) {
		return outOfFold(ctx, l.data, nil, s, folds, epochs, l.workers)
	}
	return loop
}

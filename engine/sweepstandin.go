package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/vitft/vitft/head"
)

func trainAll(ctx context.Context, data head.Data, sets []head.Settings) ([]*head.Result, error) {
	results := make([]*head.Result, len(sets))
	errs := make([]error, len(sets))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i := range sets {
		wg.Go(func() {
			slots <- struct{}{}
			results[i], errs[i] = head.Train(ctx, data, sets[i])
			<-slots
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

func outOfFold(ctx context.Context, data head.Data, held []float32, s head.Settings, folds int) ([]float32, error) {
	logits := make([]float32, len(data.Y)*data.Classes)
	for f := range folds {
		part := head.Data{Dim: data.Dim, Classes: data.Classes}
		for i, y := range data.Y {
			if i%folds != f {
				part.Y = append(part.Y, y)
				part.X = append(part.X, data.X[i*data.Dim:(i+1)*data.Dim]...)
			}
		}
		r, err := head.Train(ctx, part, s)
		if err != nil {
			return nil, err
		}
		z := make([]float32, len(logits))
		if err := r.Head.Logits(s.Gemm, data.X, z); err != nil {
			return nil, err
		}
		for i := range data.Y {
			if i%folds == f {
				copy(logits[i*data.Classes:(i+1)*data.Classes], z[i*data.Classes:(i+1)*data.Classes])
			}
		}
	}
	return logits, nil
}

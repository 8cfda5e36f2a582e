package par_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/internal/par"
)

func TestForCallsEachIndexOnce(t *testing.T) {
	for _, workers := range []int{-1, 0, 1, 3, 100} {
		calls := make([]atomic.Int32, 50)
		if err := par.For(t.Context(), len(calls), workers, func(i int) { calls[i].Add(1) }); err != nil {
			t.Fatal(err)
		}
		for i := range calls {
			if n := calls[i].Load(); n != 1 {
				t.Errorf("%d workers: index %d was called %d times", workers, i, n)
			}
		}
	}
}

func TestForEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	err := par.For(ctx, 1000, 2, func(i int) {
		if calls.Add(1) == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := calls.Load(); n < 10 || n > 11 { // the other goroutine may be in the midst of one
		t.Errorf("%d calls after the end at the 10th", n)
	}
}

func TestAwait(t *testing.T) {
	boom := errors.New("boom")
	if v, err := par.Await(t.Context(), func() (int, error) { return 1, boom }, nil); v != 1 || err != boom {
		t.Errorf("%d, %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	late, dropped := make(chan int), make(chan int)
	f := func() (int, error) {
		cancel()
		return <-late, nil
	}
	if v, err := par.Await(ctx, f, func(v int) { dropped <- v }); v != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", v, err)
	}
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _ = par.Await(t.Context(), func() (int, error) { panic("oh") }, nil)
	}()
	late <- 2
	if v := <-dropped; v != 2 {
		t.Errorf("%d came late", v)
	}
}

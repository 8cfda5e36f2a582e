// Package par does independent jobs on several goroutines, and waits for one no longer than its context.
package par

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// For calls f(0), …, f(n-1), each once, on so many goroutines, of which each takes the next index when it is done with
// one; workers below 1 means as many as there are processors. When ctx ends no further call is begun, and its error is
// returned once those under way have come back.
func For(ctx context.Context, n, workers int, f func(i int)) error {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// Await is what f returns, or the error of ctx as soon as that ends: for what cannot be told to stop, as reading from a
// pipe or a dead network drive, or loading a model. What comes too late is passed to drop, if that is not nil. A panic
// in f is one of Await, if anybody still waits.
func Await[T any](ctx context.Context, f func() (T, error), drop func(T)) (T, error) {
	type result struct {
		value T
		err   error
		panic any
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if r.panic = recover(); r.panic != nil {
				r.err = fmt.Errorf("%v", r.panic)
			}
			done <- r
		}()
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		if r.panic != nil {
			panic(r.panic)
		}
		return r.value, r.err
	case <-ctx.Done():
		if drop != nil {
			go func() {
				if r := <-done; r.err == nil {
					drop(r.value)
				}
			}()
		}
		return *new(T), ctx.Err()
	}
}

// Ahead is a function that gives what read gives for 0, …, n-1, each once and roughly in their order: so many are read
// before they are asked for.
func Ahead[T any](n, most int, read func(i int) (T, error)) func(i int) (T, error) {
	type result struct {
		value T
		err   error
	}
	var mu sync.Mutex
	begun, coming := 0, map[int]chan result{}
	return func(i int) (T, error) {
		mu.Lock()
		for ; begun < n && begun <= i+most; begun++ {
			k, ready := begun, make(chan result, 1)
			coming[k] = ready
			go func() {
				value, err := read(k)
				ready <- result{value, err}
			}()
		}
		ready := coming[i]
		delete(coming, i)
		mu.Unlock()
		r := <-ready
		return r.value, r.err
	}
}

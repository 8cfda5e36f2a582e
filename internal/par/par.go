// Package par does independent jobs on several goroutines.
package par

import (
	"context"
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

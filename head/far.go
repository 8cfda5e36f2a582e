package head

import (
	"context"
	"slices"
)

// Far is where the features of a [Data] are that does not fit into memory: the rows of its samples and views, which
// must be finite, and where there is room for others.
type Far struct {
	Rows Matrix
	// New makes room for so many rows, of as many values as these have, for features as they are prepared. If it is nil
	// those are written in the place of Rows, which are spent by one training.
	New func(rows int) (Matrix, error)
}

// Matrix is rows that are kept elsewhere than in memory.
type Matrix interface {
	Source
	// Write sets rows, from the one with that index on.
	Write(from int, x []float32) error
	Close() error
}

// each calls do with the rows of all samples, in all views, in their order, so many at a time as are multiplied at
// once.
func (d Data) each(ctx context.Context, do func(from int, x []float32) error) error {
	n := len(d.Y) * d.views()
	var buffer []float32
	for from := 0; from < n; from += RowsAtOnce {
		rows := min(n-from, RowsAtOnce)
		var x []float32
		if d.Far == nil {
			x = d.X[from*d.Dim : (from+rows)*d.Dim]
		} else {
			buffer = grow(buffer, rows*d.Dim)
			x = buffer
			if err := d.Far.Rows.Features(ctx, following(from, rows), x); err != nil {
				return err
			}
		}
		if err := do(from, x); err != nil {
			return err
		}
	}
	return nil
}

// following are n numbers from one on.
func following(from, n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = from + i
	}
	return rows
}

// ahead is a [Source] that reads the rows of an epoch in the order in which they will be asked for, so many at a time,
// while others are learned from. It is for one goroutine. What comes in another order it reads when it is asked.
type ahead struct {
	Source
	dim, most int
	buffers   [2][]float32 // one is read while the other is learned from

	stop func()    // ends the reading
	read chan some // in order
	free chan some // what is learned from, to be filled again
	now  some      // what is being learned from, from at on
	at   int
}

// some are rows that were read.
type some struct {
	rows []int
	x    []float32
	err  error
}

// order begins to read the rows of an epoch.
func (a *ahead) order(rows []int) {
	a.end()
	ctx, stop := context.WithCancel(context.Background())
	read, free, done := make(chan some), make(chan some, len(a.buffers)), make(chan struct{})
	a.read, a.free = read, free
	a.stop = func() { stop(); <-done }
	for i := range a.buffers {
		a.buffers[i] = grow(a.buffers[i], min(a.most, len(rows))*a.dim)
		free <- some{x: a.buffers[i]}
	}
	go func() {
		defer close(done)
		defer close(read)
		for part := range slices.Chunk(rows, a.most) {
			var into some
			select {
			case into = <-free:
			case <-ctx.Done():
				return
			}
			into.rows, into.x = part, into.x[:len(part)*a.dim]
			into.err = a.Features(ctx, part, into.x)
			select {
			case read <- into:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// end ends the reading.
func (a *ahead) end() {
	if a.stop != nil {
		a.stop()
	}
	a.stop, a.read, a.now, a.at = nil, nil, some{}, 0
}

// next is Features of rows in training.
func (a *ahead) next(ctx context.Context, rows []int, dst []float32) error {
	for len(rows) > 0 {
		if a.at == len(a.now.rows) && a.read != nil {
			if a.now.x != nil {
				a.free <- a.now
			}
			a.at = 0
			select {
			case a.now = <-a.read: // none when all are read
			case <-ctx.Done():
				a.now = some{}
				return ctx.Err()
			}
		}
		n := min(len(rows), len(a.now.rows)-a.at)
		switch {
		case a.now.err != nil:
			return a.now.err
		case n == 0 || !slices.Equal(rows[:n], a.now.rows[a.at:a.at+n]):
			return a.Features(ctx, rows, dst)
		}
		copy(dst, a.now.x[a.at*a.dim:(a.at+n)*a.dim])
		a.at, rows, dst = a.at+n, rows[n:], dst[n*a.dim:]
	}
	return nil
}

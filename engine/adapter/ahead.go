package adapter

import (
	"context"
	"runtime"
)

// ahead prepares the pixels of rows in their order, a bounded number of them before they are asked for. The nil ahead
// has none.
type ahead struct {
	order  chan *prepared
	free   chan *prepared
	cancel context.CancelFunc
}

// waiting is how many images are prepared ahead of a training that takes so many at a time.
func waiting(micro int) int { return 2*micro + runtime.GOMAXPROCS(0) }

// prepared is the pixels of a row.
type prepared struct {
	row    int
	pixels []float32
	err    error
	done   chan struct{} // of capacity 1
}

// newAhead prepares rows by what makes one, most of them at a time.
func newAhead(rows []int, most, size int, one func(ctx context.Context, row int, dst []float32) error) *ahead {
	ctx, stop := context.WithCancel(context.Background())
	most = min(most, len(rows))
	a := &ahead{order: make(chan *prepared, most), free: make(chan *prepared, most), cancel: stop}
	for range most {
		a.free <- &prepared{pixels: make([]float32, size), done: make(chan struct{}, 1)}
	}
	jobs := make(chan *prepared, most) // with room for all
	go func() {
		defer close(jobs)
		defer close(a.order)
		for _, row := range rows {
			select {
			case p := <-a.free:
				p.row = row
				a.order <- p
				jobs <- p
			case <-ctx.Done():
				return
			}
		}
	}()
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for p := range jobs {
				if p.err = ctx.Err(); p.err == nil {
					p.err = one(ctx, p.row, p.pixels)
				}
				p.done <- struct{}{}
			}
		}()
	}
	return a
}

// take copies the pixels of the next row, if it is this one.
func (a *ahead) take(ctx context.Context, row int, dst []float32) (there bool, err error) {
	if a == nil {
		return false, nil
	}
	var p *prepared
	select {
	case p = <-a.order:
		if p == nil { // that was the last
			return false, nil
		}
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	there, err = p.row == row, p.err
	copy(dst, p.pixels)
	a.free <- p // has room for all
	return there, err
}

// stop lets nothing more be begun.
func (a *ahead) stop() {
	if a != nil {
		a.cancel()
	}
}

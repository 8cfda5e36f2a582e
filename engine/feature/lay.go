package feature

import (
	"context"
	"errors"

	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/scratch"
)

// Lay lays the rows that [Interleaved] returns out on the disk, for a training that has not the memory for them. They
// are read in the order in which they are kept, so that each block is read once, and written to their places. Progress
// is told of the images that are done in all views; the caller closes the rows.
func Lay(ctx context.Context, s Source, ids []store.ID, n int, dir string, progress func(done, total int)) (
	_ *scratch.Matrix, err error) {
	m, err := scratch.New(dir, len(ids)*n, s.Dim())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	dim, all := s.Dim(), len(ids)
	const together = 32 * 512 // those of some blocks, which are fetched side by side where they must be
	some, buffer := make([]store.ID, 0, together), make([]float32, min(together, all)*dim)
	for k := range n {
		order := stored(s, ids, k)
		for at := 0; at < all; at += together {
			places := order[at:min(at+together, all)]
			some = some[:0]
			for _, i := range places {
				some = append(some, ids[i])
			}
			rows := buffer[:len(some)*dim]
			if err := s.Gather(ctx, some, k, rows); err != nil {
				return nil, err
			}
			for j, i := range places {
				if err := m.Write(i*n+k, rows[j*dim:(j+1)*dim]); err != nil {
					return nil, err
				}
			}
			progress(k*all+at+len(some), n*all)
		}
	}
	return m, nil
}

// stored lists the places of ids in the order in which their features in view k are kept, where a source knows it.
func stored(s Source, ids []store.ID, k int) []int {
	if x, knows := s.(interface {
		Stored(ids []store.ID, k int) []int
	}); knows {
		return x.Stored(ids, k)
	}
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	return order
}

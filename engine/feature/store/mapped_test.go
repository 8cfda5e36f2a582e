package store

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
)

// However few blocks may be mapped at a time, features are served as ever, to several at once, and each block is
// mapped once for those of its features that are asked for together.
func TestFewBlocksMapped(t *testing.T) {
	const n, dim, size = 600, 5, 10
	for name, b := range map[string]bucket.Bucket{"folder": bucket.Dir(t.TempDir()), "memory": new(bucket.Memory)} {
		s, _, err := Open(t.Context(), b, testKey(dim))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rng := rand.New(rand.NewPCG(3, 4))
		s.mapped.most = 1 // a block at a time
		fill(t, s, size, rng.Perm(n))
		if s.mapped.most = 3 * s.mapped.bytes; len(s.mapped.blocks) != 1 {
			t.Errorf("%s: %d blocks are mapped, one may be", name, len(s.mapped.blocks))
		}
		var wg sync.WaitGroup
		for k := range 4 {
			order := rand.New(rand.NewPCG(uint64(k), 5)).Perm(n)
			wg.Go(func() {
				for some := range slices.Chunk(order, 70) {
					ids, got := make([]ID, len(some)), make([]float32, len(some)*dim)
					for i, image := range some {
						ids[i] = testID(image)
					}
					if err := s.Gather(t.Context(), ids, got); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					for i, image := range some {
						if !slices.Equal(got[i*dim:(i+1)*dim], testFeature(image, dim)) {
							t.Errorf("%s: wrong feature of image %d", name, image)
						}
					}
				}
			})
		}
		wg.Wait()
		if len(s.mapped.blocks) > 3 || s.mapped.bytes > s.mapped.most {
			t.Errorf("%s: %d blocks of %d bytes are mapped", name, len(s.mapped.blocks), s.mapped.bytes)
		}
		var mapped int
		for _, b := range s.blocks {
			if b.content != nil {
				mapped++
			}
		}
		if mapped != len(s.mapped.blocks) {
			t.Errorf("%s: %d blocks have their content, %d are known to", name, mapped, len(s.mapped.blocks))
		}
	}
}

// Ids are listed as their features lie, block by block.
func TestStored(t *testing.T) {
	const n, dim = 20, 2
	s, _ := mustOpen(t, t.TempDir(), testKey(dim))
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	fill(t, s, 6, order)
	got := s.Stored(append(testIDs(n), testID(n+1), testID(order[0])))
	want := append([]int{order[0], n + 1}, append(slices.Clone(order[1:]), n)...)
	if want[1] = n + 1; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

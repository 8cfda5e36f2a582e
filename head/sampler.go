package head

import (
	"math"
	"math/rand/v2"
)

// Random numbers need no state: what is drawn once, or for an epoch, has a PCG stream of its own beside the seed. The
// order of an epoch's samples has the epoch's number.
const (
	startStream    = math.MaxUint64
	foldStream     = 1 << 60
	noiseStream    = 2 << 60
	viewStream     = 3 << 60
	subspaceStream = 4 << 60
)

// sampler draws the rows that an epoch trains on.
type sampler struct {
	seed           uint64
	labels         []int
	classes, views int
	byClass        [][]int // samples, once they are needed
}

// order returns an epoch's rows in their order: every sample once, or as many samples with each class as often as any
// other; one view each.
func (s *sampler) order(epoch int, balanced bool) []int {
	rng := rand.New(rand.NewPCG(s.seed, uint64(epoch)))
	var order []int
	if balanced {
		order = s.balanced(rng)
	} else {
		order = rng.Perm(len(s.labels))
	}
	if s.views > 1 {
		rng := rand.New(rand.NewPCG(s.seed, viewStream|uint64(epoch)))
		for i, sample := range order {
			order[i] = sample*s.views + rng.IntN(s.views)
		}
	}
	return order
}

// balanced draws the classes that have samples in turn, and from each its samples in turn, shuffled anew each time they
// are through (the class-aware sampling of Kang et al., ICLR 2020).
func (s *sampler) balanced(rng *rand.Rand) []int {
	if s.byClass == nil {
		s.byClass = byClass(s.labels, s.classes)
	}
	var filled []int
	queue := make([][]int, s.classes)
	for y, samples := range s.byClass {
		if len(samples) > 0 {
			filled = append(filled, y)
		}
	}
	var order, turn []int
	for len(order) < len(s.labels) {
		if len(turn) == 0 {
			turn = append(turn, filled...)
			rng.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		}
		y := turn[0]
		turn = turn[1:]
		if len(queue[y]) == 0 {
			queue[y] = append(queue[y], s.byClass[y]...)
			rng.Shuffle(len(queue[y]), func(i, j int) { queue[y][i], queue[y][j] = queue[y][j], queue[y][i] })
		}
		order = append(order, queue[y][0])
		queue[y] = queue[y][1:]
	}
	return order
}

// byClass lists the samples of each class.
func byClass(labels []int, classes int) [][]int {
	samples := make([][]int, classes)
	for i, y := range labels {
		samples[y] = append(samples[y], i)
	}
	return samples
}

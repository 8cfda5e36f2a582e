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

// order returns an epoch's rows in their order: every sample once, or as many samples with each class as often as any
// other; one view each.
func (l Loop) order(epoch int, balanced bool) []int {
	rng := rand.New(rand.NewPCG(l.Settings.Seed, uint64(epoch)))
	var order []int
	if balanced {
		order = l.balanced(rng)
	} else {
		order = rng.Perm(len(l.Labels))
	}
	if l.Views > 1 {
		rng := rand.New(rand.NewPCG(l.Settings.Seed, viewStream|uint64(epoch)))
		for i, sample := range order {
			order[i] = sample*l.Views + rng.IntN(l.Views)
		}
	}
	return order
}

// balanced draws the classes that have samples in turn, and from each its samples in turn, shuffled anew each time they
// are through (the class-aware sampling of Kang et al., ICLR 2020).
func (l Loop) balanced(rng *rand.Rand) []int {
	var classes deck
	samples := make([]deck, l.Classes)
	for y, all := range byClass(l.Labels, l.Classes) {
		samples[y].all = all
		if len(all) > 0 {
			classes.all = append(classes.all, y)
		}
	}
	order := make([]int, len(l.Labels))
	for i := range order {
		order[i] = samples[classes.next(rng)].next(rng)
	}
	return order
}

// deck is numbers that are drawn in turn.
type deck struct{ all, left []int }

func (d *deck) next(rng *rand.Rand) int {
	if len(d.left) == 0 {
		d.left = append(d.left, d.all...)
		shuffle(rng, d.left)
	}
	n := d.left[0]
	d.left = d.left[1:]
	return n
}

func shuffle(rng *rand.Rand, s []int) {
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// byClass lists the samples of each class.
func byClass(labels []int, classes int) [][]int {
	samples := make([][]int, classes)
	for i, y := range labels {
		samples[y] = append(samples[y], i)
	}
	return samples
}

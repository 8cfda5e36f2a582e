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

// start sets an expert's parameters.
func (t *trainer) start(e int) {
	p := t.expert(t.state.Params, e)
	for k := range p.s {
		p.s[k] = 1
		if t.head.Normalize {
			p.s[k] = float32(t.set.Scale)
		}
	}
	switch {
	case t.set.Start == "mean":
		t.startAtMeans(p, t.masks[e])
	case t.head.Normalize || t.set.Experts > 1:
		// A cosine is undefined at 0, so "zero" is a random direction a row; and experts must not start alike.
		rng := rand.New(rand.NewPCG(t.set.Seed, startStream-uint64(e)))
		for i := range p.w {
			p.w[i] = float32(rng.NormFloat64() / math.Sqrt(float64(t.data.Dim)))
		}
	}
	t.mask(p.w, e)
}

// seen is 1 where a feature passes a mask, else 0.
func seen(mask []float32, d int) float64 {
	if mask == nil {
		return 1
	}
	return float64(mask[d])
}

// startAtMeans starts each class at the mean of its prepared features, all views; a class without samples at the mean
// of all. For a linear head that is the nearest-class-mean rule under a spherical Gaussian of the pooled within-class
// variance v a dimension, softened by the dimension: w = μ/(v D), b = −|μ|²/(2 v D). A mask, if there is one, sets the
// features to 0 that the expert does not see.
func (t *trainer) startAtMeans(p expert, mask []float32) {
	dim := t.data.Dim
	data := t.flat()
	means := t.means(data)
	for i := range means {
		means[i] *= seen(mask, i%dim)
	}
	for i, v := range means {
		p.w[i] = float32(v)
	}
	if t.head.Normalize {
		normalize(p.w, dim)
		return
	}
	within := 0.0 // = v D
	for i, y := range data.Y {
		for d, v := range data.X[i*dim : (i+1)*dim] {
			diff := seen(mask, d)*float64(v) - means[y*dim+d]
			within += diff * diff
		}
	}
	nearestMean(p, means, max(within/float64(len(data.Y)), 1e-12))
}

// flat is the prepared training set, each view a sample.
func (t *trainer) flat() Data {
	data := t.data.flat()
	data.X = t.rows
	return data
}

// means are the class means of data, [C, D], that of all samples for an empty class.
func (t *trainer) means(data Data) []float64 {
	means, all := classMeans(data), sampleMean(data)
	for y, n := range t.counts {
		if n == 0 {
			copy(means[y*data.Dim:(y+1)*data.Dim], all)
		}
	}
	return means
}

// nearestMean sets a linear head to the rule of the nearest mean: w = μ/v, b = −|μ|²/(2v).
func nearestMean(p expert, means []float64, v float64) {
	dim := len(p.w) / len(p.b)
	for y := range p.b {
		square := 0.0
		for d, m := range means[y*dim : (y+1)*dim] {
			square += m * m
			p.w[y*dim+d] = float32(m / v)
		}
		p.b[y] = float32(-square / (2 * v))
	}
}

// order returns the rows of the prepared features that an epoch trains on, in their order: every sample once, or as
// many samples with each class as often as any other; one view each.
func (t *trainer) order(epoch int, balanced bool) []int {
	n, views := len(t.data.Y), t.data.views()
	rng := rand.New(rand.NewPCG(t.set.Seed, uint64(epoch)))
	var order []int
	if balanced {
		order = t.balancedOrder(rng)
	} else {
		order = rng.Perm(n)
	}
	if views > 1 {
		rng := rand.New(rand.NewPCG(t.set.Seed, viewStream|uint64(epoch)))
		for i, sample := range order {
			order[i] = sample*views + rng.IntN(views)
		}
	}
	return order
}

// balancedOrder draws the classes that have samples in turn, and from each its samples in turn, shuffled anew each
// time they are through (the class-aware sampling of Kang et al., ICLR 2020).
func (t *trainer) balancedOrder(rng *rand.Rand) []int {
	if t.byClass == nil {
		t.byClass = make([][]int, t.data.Classes)
		for i, y := range t.data.Y {
			t.byClass[y] = append(t.byClass[y], i)
		}
	}
	var filled []int
	queue := make([][]int, t.data.Classes)
	for y, samples := range t.byClass {
		if len(samples) > 0 {
			filled = append(filled, y)
		}
	}
	var order, turn []int
	for len(order) < len(t.data.Y) {
		if len(turn) == 0 {
			turn = append(turn, filled...)
			rng.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		}
		y := turn[0]
		turn = turn[1:]
		if len(queue[y]) == 0 {
			queue[y] = append(queue[y], t.byClass[y]...)
			rng.Shuffle(len(queue[y]), func(i, j int) { queue[y][i], queue[y][j] = queue[y][j], queue[y][i] })
		}
		order = append(order, queue[y][0])
		queue[y] = queue[y][1:]
	}
	return order
}

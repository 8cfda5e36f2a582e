package head

import (
	"math"
	"math/rand/v2"
)

// start sets an expert's parameters.
func (l *Linear) start(e int) {
	p := l.one(l.expert, e)
	for k := range p.s {
		p.s[k] = 1
		if l.head.Normalize {
			p.s[k] = float32(l.set.Scale)
		}
	}
	switch {
	case l.set.Start == "mean":
		l.startAtMeans(e)
	case l.head.Normalize || l.set.Experts > 1:
		// A cosine is undefined at 0, so "zero" is a random direction a row; and experts must not start alike.
		rng := rand.New(rand.NewPCG(l.set.Seed, startStream-uint64(e)))
		for i := range p.w {
			p.w[i] = float32(rng.NormFloat64() / math.Sqrt(float64(l.data.Dim)))
		}
	}
	mask(l.masks[e], p.w)
}

// startAtMeans starts each class at the mean of its prepared features, all views; a class without samples at the mean
// of all. For a linear head that is the nearest-class-mean rule under a spherical Gaussian of the pooled within-class
// variance v a dimension, softened by the dimension: w = μ/(v D), b = −|μ|²/(2 v D). All of it is in the features that
// the e-th expert sees.
func (l *Linear) startAtMeans(e int) {
	dim := l.data.Dim
	data := l.flat()
	p, means, apart := l.one(l.expert, e), l.means(data), make([]float64, dim)
	mask(l.masks[e], means)
	if l.head.Normalize {
		for i, v := range means {
			p.w[i] = float32(v)
		}
		normalize(p.w, dim, nil)
		return
	}
	within := 0.0 // = v D
	for i, y := range data.Y {
		for d, v := range data.X[i*dim : (i+1)*dim] {
			apart[d] = float64(v) - means[y*dim+d]
		}
		mask(l.masks[e], apart)
		for _, v := range apart {
			within += v * v
		}
	}
	nearestMean(p, means, max(within/float64(len(data.Y)), 1e-12))
}

// flat is the prepared training set, each view a sample.
func (l *Linear) flat() Data {
	data := l.data.flat()
	data.X = l.rows
	return data
}

// means are the class means of data, [C, D], that of all samples for an empty class.
func (l *Linear) means(data Data) []float64 {
	means, all := classMeans(data), sampleMean(data)
	for y, n := range l.counts {
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

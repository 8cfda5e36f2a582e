package head

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// start sets an expert's parameters.
func (l *Linear) start(ctx context.Context, e int) (err error) {
	p := l.one(l.expert, e)
	for k := range p.s {
		p.s[k] = 1
		if l.head.Normalize {
			p.s[k] = float32(l.set.Scale)
		}
	}
	switch {
	case l.set.Start == "mean":
		err = l.startAtMeans(ctx, e)
	case l.head.Normalize || l.set.Experts > 1:
		// A cosine is undefined at 0, so "zero" is a random direction a row; and experts must not start alike.
		rng := rand.New(rand.NewPCG(l.set.Seed, startStream-uint64(e)))
		for i := range p.w {
			p.w[i] = float32(rng.NormFloat64() / math.Sqrt(float64(l.data.Dim)))
		}
	}
	mask(l.masks[e], p.w)
	return err
}

// startAtMeans starts each class at the mean of its prepared features, all views; a class without samples at the mean
// of all. For a linear head that is the nearest-class-mean rule under a spherical Gaussian of the pooled within-class
// variance v a dimension, softened by the dimension: w = μ/(v D), b = −|μ|²/(2 v D). All of it is in the features that
// the e-th expert sees.
func (l *Linear) startAtMeans(ctx context.Context, e int) error {
	data, dim := l.flat, l.data.Dim
	means, err := l.means(ctx)
	if err != nil {
		return err
	}
	p, apart := l.one(l.expert, e), make([]float64, dim)
	mask(l.masks[e], means)
	if l.head.Normalize {
		for i, v := range means {
			p.w[i] = float32(v)
		}
		normalize(p.w, dim, nil)
		return nil
	}
	within := 0.0 // = v D
	err = data.each(ctx, func(from int, x []float32) error {
		for i, y := range data.Y[from : from+len(x)/dim] {
			for d, v := range x[i*dim : (i+1)*dim] {
				apart[d] = float64(v) - means[y*dim+d]
			}
			mask(l.masks[e], apart)
			for _, v := range apart {
				within += v * v
			}
		}
		return nil
	})
	nearestMean(p, means, max(within/float64(len(data.Y)), 1e-12))
	return err
}

// means are the class means of prepared features, [C, D], that of all samples for an empty class.
func (l *Linear) means(ctx context.Context) ([]float64, error) {
	means, err := classMeans(ctx, l.flat)
	if err != nil || !slices.Contains(l.counts, 0) {
		return means, err
	}
	all, err := sampleMean(ctx, l.flat)
	for y, n := range l.counts {
		if n == 0 {
			copy(means[y*l.data.Dim:(y+1)*l.data.Dim], all)
		}
	}
	return means, err
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

// subspace draws which features an expert gets to see (the random subspaces of Ho, TPAMI 1998): Settings.Subspace of
// them, the others of weight 0; nil: all. Linear experts that saw the same would become the same.
func subspace(s Settings, e, dim int) []float32 {
	if s.Experts == 1 || s.Subspace == 1 {
		return nil
	}
	seen := make([]float32, dim)
	rng := rand.New(rand.NewPCG(s.Seed, subspaceStream|uint64(e)))
	for _, d := range rng.Perm(dim)[:max(int(math.Round(s.Subspace*float64(dim))), 1)] {
		seen[d] = 1
	}
	return seen
}

// mask sets to 0 what of rows, [n, D], is outside of a subspace; nil: nothing is.
func mask[T float32 | float64](subspace []float32, rows []T) {
	for ; subspace != nil && len(rows) > 0; rows = rows[len(subspace):] {
		for d, m := range subspace {
			rows[d] *= T(m)
		}
	}
}

// diverge computes the distribution-aware diversity of the experts by their logits, after RIDE (Wang et al., ICLR 2021,
// eq. 3), to be added to the sum of their losses,
//
//	−λ/(K−1) Σ_i Σ_{j≠i} KL(p_i ‖ p_j),  p = softmax(z_k/T_k),
//
// as a mean over the batch, and leaves its gradient with respect to the logits in push. T_k is in proportion to
// 0.05·N_k/mean(N) + 0.95 with a greatest of 1, as in the authors' code: rare classes are told apart more sharply.
func (l *Linear) diverge(n int, z []float32) float64 {
	const share = 0.05
	classes, experts := l.data.Classes, l.set.Experts
	l.push = grow(l.push, len(z))
	sharp, inverse := priors(l.counts), make([]float32, classes)
	for k, p := range sharp {
		sharp[k] = share*float64(classes)*p + 1 - share
	}
	most := slices.Max(sharp)
	for k, t := range sharp {
		inverse[k] = float32(most / t)
	}
	lambda := l.set.Diversity / float64(experts-1) / float64(n)
	values := make([]float64, n)
	parallel(l.workers, n, 32, func(from, to int) {
		// p and log p of each expert.
		p, lp := make([]float32, experts*classes), make([]float32, experts*classes)
		for i := from; i < to; i++ {
			for e := range experts {
				p, lp := p[e*classes:(e+1)*classes], lp[e*classes:(e+1)*classes]
				for k, v := range z[(e*n+i)*classes : (e*n+i+1)*classes] {
					lp[k] = v * inverse[k]
				}
				copy(p, lp)
				top := slices.Max(lp)
				sum := expAll(p, top)
				lse := top + float32(math.Log(float64(sum)))
				for k := range p {
					p[k] /= sum
					lp[k] -= lse
				}
			}
			for a := range experts {
				push := l.push[(a*n+i)*classes : (a*n+i+1)*classes]
				clear(push)
				pa, la := p[a*classes:(a+1)*classes], lp[a*classes:(a+1)*classes]
				for b := range experts {
					if a == b {
						continue
					}
					pb, lb := p[b*classes:(b+1)*classes], lp[b*classes:(b+1)*classes]
					kl := float32(0)
					for k, v := range pa {
						kl += v * (la[k] - lb[k])
					}
					values[i] -= lambda * float64(kl)
					for k, v := range pa {
						push[k] -= float32(lambda) * inverse[k] * (v*(la[k]-lb[k]-kl) + v - pb[k])
					}
				}
			}
		}
	})
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum
}

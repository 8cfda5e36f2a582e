package head

import (
	"math"
	"slices"

	"github.com/vitft/vitft/calib"
)

// Adjustment is a loss of the Vector-Scaling family (Kini et al., NeurIPS 2021), with one α, β and Δ for each class,
// widened by the margin of LDAM (Cao et al., NeurIPS 2019), which lowers the logit of the label alone, and by the
// focusing exponent of the focal loss (Lin et al., ICCV 2017):
//
//	p = exp(β_y z_y + Δ_y − m_y) / ( exp(β_y z_y + Δ_y − m_y) + Σ_{k≠y} exp(β_k z_k + Δ_k) )
//	ℓ(z, y) = −α_y (1 − p)^Focus log p
//
// Over a batch it is the weighted mean Σ_i ℓ_i / Σ_i α_{y_i}, as in the reference code.
type Adjustment struct {
	Alpha, Beta, Delta []float64 // [C]
	Margin             []float64 // [C], in logits: LDAM's margin on the cosine times the scale
	Focus              float64   // 0: none
}

// Phase says which half of a two-phase loss an epoch belongs to.
type Phase string

const (
	PhaseTrain Phase = "train" // the loss has one phase
	PhaseMLA   Phase = "mla"   // early: before the switch epoch T0
	PhaseCLA   Phase = "cla"   // late: from T0 on
)

// batchLoss computes an Adjustment on batches in float32.
type batchLoss struct {
	alpha, beta, delta, margin []float32
	unshift                    []float32 // exp(−Δ)
	flat                       bool      // β ≡ 1
	focus                      float64
	classes                    int
	softmax                    bool      // samples have their LogSum
	loss                       []float64 // scratch: ℓ/α of each sample
}

func newBatchLoss(a Adjustment, softmax bool) *batchLoss {
	l := &batchLoss{classes: len(a.Alpha), flat: true, focus: a.Focus, softmax: softmax}
	for y := range a.Alpha {
		l.alpha = append(l.alpha, float32(a.Alpha[y]))
		l.beta = append(l.beta, float32(a.Beta[y]))
		l.delta = append(l.delta, float32(a.Delta[y]))
		l.margin = append(l.margin, float32(a.Margin[y]))
		l.unshift = append(l.unshift, float32(math.Exp(-a.Delta[y])))
		l.flat = l.flat && a.Beta[y] == 1
	}
	return l
}

// weight is Σ_i α_{y_i}.
func (l *batchLoss) weight(labels []int) float64 {
	sum := 0.0
	for _, y := range labels {
		sum += float64(l.alpha[y])
	}
	return sum
}

// gradient turns raw logits z, [n, C], into the gradient of the batch's weighted mean loss with respect to them, in
// place, and returns that mean. see gets one calib.Sample a row.
func (l *batchLoss) gradient(workers int, z []float32, labels []int, see func(i int, s calib.Sample)) float64 {
	return l.part(workers, z, labels, l.weight(labels), see)
}

// part is what some rows of a batch have in its gradient and mean; weight is that of the whole batch.
func (l *batchLoss) part(workers int, z []float32, labels []int, weight float64,
	see func(i int, s calib.Sample)) float64 {
	if len(l.loss) < len(labels) {
		l.loss = make([]float64, len(labels))
	}
	parallel(workers, len(labels), 32, func(from, to int) {
		var seen calib.Sample
		for i := from; i < to; i++ {
			y := labels[i]
			row := z[i*l.classes : (i+1)*l.classes]
			l.loss[i] = l.row(row, y, float32(float64(l.alpha[y])/weight), &seen)
			if see != nil {
				see(i, seen)
			}
		}
	})
	sum := 0.0
	for i, y := range labels {
		sum += float64(l.alpha[y]) * l.loss[i]
	}
	return sum / weight
}

// row replaces one sample's logits by weight·∂ℓ/∂z and returns ℓ, both without α.
func (l *batchLoss) row(z []float32, y int, weight float32, seen *calib.Sample) float64 {
	*seen = calib.Sample{Label: int32(y), True: z[y]}
	if l.softmax && !l.flat {
		seen.LogSum = logSumExp(z)
	}
	// From here on z is adjusted.
	beta, delta := l.beta[:len(z)], l.delta[:len(z)]
	best, fitted, high, top := 0, 0, z[0], float32(math.Inf(-1))
	for k, v := range z {
		if v > high {
			best, high = k, v
		}
		u := beta[k]*v + delta[k]
		z[k] = u
		if !(u <= top) { // NaN gets through, to be seen in the loss
			fitted, top = k, u
		}
	}
	seen.Predicted, seen.Top, seen.Fitted = int32(best), high, int32(fitted)
	if m := l.margin[y]; m != 0 {
		z[y] -= m
		top = slices.Max(z)
	}
	target := z[y]
	sum := expAll(z, top)
	if l.softmax && l.flat {
		// Σ exp(z_k) from the terms that are there: exp(z_k) = exp(z_k + Δ_k) exp(−Δ_k).
		seen.LogSum = top + float32(math.Log(float64(dot(z, l.unshift))))
	}
	seen.Confidence = 1 / sum // the top's own term is exp(0)
	loss := math.Log(float64(sum)) - float64(target-top)
	if l.focus > 0 {
		var slope float64
		loss, slope = focal(loss, l.focus)
		weight *= float32(slope)
	}
	scale := weight / sum
	for k, e := range z {
		z[k] = e * scale * beta[k]
	}
	z[y] -= weight * beta[y]
	return loss
}

// focal takes −log p to the focal loss −(1−p)^γ log p, and to its derivative with respect to −log p:
// (1−p)^γ − γ p (1−p)^(γ−1) log p.
func focal(nll, gamma float64) (loss, slope float64) {
	if nll <= 0 { // p = 1, but for rounding
		return 0, 0
	}
	p, q := math.Exp(-nll), -math.Expm1(-nll)
	weight := math.Pow(q, gamma)
	return weight * nll, weight + gamma*p*weight/q*nll
}

// exp32 is e^x for x ≤ 0 with a relative error below 3e-7 (tested); below −87, where float32 runs out of normal
// numbers, it is 0. It takes 0.4 of math.Exp's time (BenchmarkExp), on which softmax over many classes would otherwise
// spend most of its own.
//
// x = n ln 2 + r with |r| ≤ ln 2/2, ln 2 split in two (Cody and Waite, 1980); e^r by its Taylor series to r^6/720.
func exp32(x float32) float32 {
	const (
		log2e = 1.44269504088896341
		ln2Hi = 0.693359375 // exact in 10 bits, so that n·ln2Hi is exact
		ln2Lo = -2.12194440e-4
		magic = 3 << 22 // adding it rounds to an integer
	)
	if !(x > -87) {
		if x != x {
			return x
		}
		return 0
	}
	t := x*log2e + magic
	n := t - magic
	r := x - n*ln2Hi - n*ln2Lo
	p := 1 + r*(1+r*(1./2+r*(1./6+r*(1./24+r*(1./120+r*(1./720))))))
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// expAll replaces each u by exp32(u − top) and returns the sum of them.
func expAll(u []float32, top float32) float32 {
	sum := float32(0)
	for k, v := range u {
		e := exp32(v - top)
		u[k] = e
		sum += e
	}
	return sum
}

// logSumExp is log Σ exp(z_k).
func logSumExp(z []float32) float32 {
	top := slices.Max(z)
	sum := float32(0)
	for _, v := range z {
		sum += exp32(v - top)
	}
	return top + float32(math.Log(float64(sum)))
}

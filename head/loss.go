package head

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/calib"
)

// Adjustment is a loss of the Vector-Scaling family (Kini et al., NeurIPS 2021), with one α, β and Δ for each class:
//
//	ℓ(z, y) = −α_y log( exp(β_y z_y + Δ_y) / Σ_k exp(β_k z_k + Δ_k) )
//
// Over a batch it is the weighted mean Σ_i ℓ_i / Σ_i α_{y_i}, as in the reference code.
type Adjustment struct{ Alpha, Beta, Delta []float64 }

// Phase says which half of a two-phase loss an epoch belongs to.
type Phase string

const (
	PhaseTrain Phase = "train" // the loss has one phase
	PhaseMLA   Phase = "mla"   // early: before the switch epoch T0
	PhaseCLA   Phase = "cla"   // late: from T0 on
)

// effectiveNumber is b of (1−b)/(1−b^N_y), the inverse effective number of samples (Cui et al., CVPR 2019).
const effectiveNumber = 0.9999

// terms is what a loss may draw on for one class.
type terms struct {
	prior float64 // π_y
	ratio float64 // N_y/N_max
	count float64 // N_y
	kappa float64 // κ*_y in the early phase, κ⁺_y in the late one

	tau, gamma, rho float64
}

func one(terms) float64  { return 1 }
func zero(terms) float64 { return 0 }
func classBalanced(t terms) float64 {
	return (1 - effectiveNumber) / (1 - math.Pow(effectiveNumber, t.count))
}
func reweighted(t terms) float64       { return math.Pow(t.prior, -t.rho) }
func logAdjusted(t terms) float64      { return t.tau * math.Log(t.prior) }
func logPrior(t terms) float64         { return math.Log(t.prior) }
func classDependent(t terms) float64   { return math.Pow(t.ratio, t.gamma) }
func calibratedScale(t terms) float64  { return math.Pow(t.prior, t.gamma) / t.kappa }
func calibratedLogits(t terms) float64 { return t.tau * math.Log(t.prior/t.kappa) }

// formula is α, β and Δ as functions of the class.
type formula [3]func(terms) float64

var (
	plain    = formula{one, one, zero}
	adjusted = formula{one, one, logAdjusted}
)

// losses is the table of METHOD: each loss early, and late where it has two phases. Sources: la, Menon et al., ICLR
// 2021; balanced-softmax, Ren et al., NeurIPS 2020; cb, Cui et al., CVPR 2019; drw, Cao et al., NeurIPS 2019; cdt, Ye
// et al., 2020; vs, Kini et al., NeurIPS 2021; adrw and vs-adrw-tla, Wang et al., NeurIPS 2023; cvs, Wang et al.,
// TPAMI 2026.
var losses = []lossRow{
	{name: "ce", early: plain},
	{name: "cb", early: formula{classBalanced, one, zero}},
	{name: "drw", early: plain, late: formula{classBalanced, one, zero}},
	{name: "adrw", early: plain, late: formula{reweighted, one, zero}},
	{name: "la", early: adjusted},
	{name: "balanced-softmax", early: formula{one, one, logPrior}},
	{name: "cdt", early: formula{one, classDependent, zero}},
	{name: "vs", early: formula{one, classDependent, logAdjusted}},
	{name: "vs-adrw-tla", early: formula{one, classDependent, zero}, late: formula{reweighted, one, logAdjusted}},
	{name: "cvs", early: formula{one, calibratedScale, zero}, late: formula{reweighted, one, calibratedLogits}, kappa: true},
}

type lossRow struct {
	name        string
	early, late formula // no late one: one phase
	kappa       bool    // drawn on
}

func (l lossRow) twoPhase() bool { return l.late[0] != nil }

func findLoss(name string) (lossRow, bool) {
	i := slices.IndexFunc(losses, func(l lossRow) bool { return l.name == name })
	if i < 0 {
		return lossRow{}, false
	}
	return losses[i], true
}

// Losses lists the names that Settings.Loss takes.
func Losses() []string {
	var names []string
	for _, l := range losses {
		names = append(names, l.name)
	}
	return names
}

// NewAdjustment returns the loss's α, β and Δ in a phase. Tau, Gamma and Rho come from s; kappa is κ for each class,
// nil for κ ≡ 1. An empty class counts as one sample, so that its log prior is finite.
func NewAdjustment(s Settings, late bool, counts []int, kappa []calib.Kappa) (Adjustment, error) {
	s = s.WithDefaults()
	l, ok := findLoss(s.Loss)
	if !ok {
		return Adjustment{}, fmt.Errorf("unknown loss %q: choose one of %s", s.Loss, strings.Join(Losses(), ", "))
	}
	f := l.early
	if late && l.twoPhase() {
		f = l.late
	}
	total, most := 0.0, 0.0
	for _, n := range counts {
		total += float64(max(n, 1))
		most = max(most, float64(n))
	}
	a := Adjustment{make([]float64, len(counts)), make([]float64, len(counts)), make([]float64, len(counts))}
	for y, n := range counts {
		count := float64(max(n, 1))
		t := terms{prior: count / total, ratio: count / max(most, 1), count: count, kappa: 1,
			tau: *s.Tau, gamma: *s.Gamma, rho: *s.Rho}
		if kappa != nil {
			t.kappa = kappa[y].Value
		}
		a.Alpha[y], a.Beta[y], a.Delta[y] = f[0](t), f[1](t), f[2](t)
	}
	return a, nil
}

// batchLoss computes an Adjustment on batches in float32.
type batchLoss struct {
	alpha, beta, delta []float32
	unshift            []float32 // exp(−Δ)
	flat               bool      // β ≡ 1
	classes            int
	loss               []float64 // scratch: −log p_y of each sample
}

func newBatchLoss(a Adjustment) *batchLoss {
	l := &batchLoss{classes: len(a.Alpha), flat: true}
	for y := range a.Alpha {
		l.alpha = append(l.alpha, float32(a.Alpha[y]))
		l.beta = append(l.beta, float32(a.Beta[y]))
		l.delta = append(l.delta, float32(a.Delta[y]))
		l.unshift = append(l.unshift, float32(math.Exp(-a.Delta[y])))
		l.flat = l.flat && a.Beta[y] == 1
	}
	return l
}

// gradient turns raw logits z, [n, C], into the gradient of the batch's weighted mean loss with respect to them, in
// place, and returns that mean. seen gets one calib.Sample a row; softmax asks for its LogSum.
func (l *batchLoss) gradient(z []float32, labels []int, seen []calib.Sample, softmax bool) float64 {
	if len(l.loss) < len(labels) {
		l.loss = make([]float64, len(labels))
	}
	weight := 0.0
	for _, y := range labels {
		weight += float64(l.alpha[y])
	}
	parallel(len(labels), 32, func(from, to int) {
		for i := from; i < to; i++ {
			y := labels[i]
			row := z[i*l.classes : (i+1)*l.classes]
			l.loss[i] = l.row(row, y, float32(float64(l.alpha[y])/weight), &seen[i], softmax)
		}
	})
	sum := 0.0
	for i, y := range labels {
		sum += float64(l.alpha[y]) * l.loss[i]
	}
	return sum / weight
}

// row replaces one sample's logits by weight·∂(−log p_y)/∂z and returns −log p_y.
func (l *batchLoss) row(z []float32, y int, weight float32, seen *calib.Sample, softmax bool) float64 {
	beta, delta, unshift := l.beta[:len(z)], l.delta[:len(z)], l.unshift[:len(z)]
	best, fitted, high, top := 0, 0, z[0], float32(math.Inf(-1))
	for k, v := range z {
		if v > high {
			best, high = k, v
		}
		if u := beta[k]*v + delta[k]; !(u <= top) { // NaN gets through, to be seen in the loss
			fitted, top = k, u
		}
	}
	*seen = calib.Sample{Label: int32(y), Predicted: int32(best), True: z[y], Top: high, Fitted: int32(fitted)}
	if softmax && !l.flat {
		sum := float32(0)
		for _, v := range z {
			sum += exp32(v - seen.Top)
		}
		seen.LogSum = seen.Top + float32(math.Log(float64(sum)))
	}
	target := beta[y]*z[y] + delta[y]
	sum := float32(0)
	for k, v := range z {
		e := exp32(beta[k]*v + delta[k] - top)
		z[k] = e
		sum += e
	}
	if softmax && l.flat {
		// Σ exp(z_k) from the terms that are there: exp(z_k) = exp(z_k + Δ_k) exp(−Δ_k).
		raw := float32(0)
		for k, e := range z {
			raw += e * unshift[k]
		}
		seen.LogSum = top + float32(math.Log(float64(raw)))
	}
	seen.Confidence = 1 / sum // the top's own term is exp(0)
	scale := weight / sum
	for k, e := range z {
		z[k] = e * scale * beta[k]
	}
	z[y] -= weight * beta[y]
	return math.Log(float64(sum)) - float64(target-top)
}

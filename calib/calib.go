// Package calib measures how far a classifier's confidence can be believed, and turns that into the per-class κ
// of the CVS loss.
//
// # Basics
//
// Everything rests on binned reliability: [EqualWidth] and [EqualCount] sort samples into bins by confidence, and
// each [Bin] knows its mean confidence and its accuracy. From bins come
//
//   - errors of calibration: [ECE], [MCE], [ClasswiseECE], beside the proper scores [NLL] and [Brier];
//   - lines of accuracy against confidence: [FitOrigin], [FitLine], [FitHuber], [FitBox];
//   - κ per class: the estimators [ViT], [DDC] and [Slope], found by name with [New];
//   - temperatures that mend what is left: [FitTemperature], [FitClasswise].
//
// Localized calibration says that inside class y the posterior is proportional to the confidence,
// P(y|x) = κ_y p_y(x): κ is the slope of accuracy against confidence (Wang et al., TPAMI 48(1), 2026,
// arXiv 2310.04752). A class with κ < 1 is over-confident.
//
// # Caveats
//
// Matrices are row-major float32, one row per sample; labels are in [0, classes). Bins are closed below and open
// above, except for the last, which is closed. Slices of unequal length are a programming error and panic as an
// index out of range would.
package calib

import (
	"cmp"
	"math"
	"slices"

	"github.com/vitft/vitft/internal/vec"
)

// A Bin is a group of samples of similar confidence. An empty one has Count 0, and its means are 0.
type Bin struct {
	Low, High  float64 // edges
	Count      int
	Confidence float64 // mean
	Accuracy   float64 // share of hits
}

// EqualWidth sorts samples into n bins of equal width on [low, high]; a confidence outside belongs to the nearest
// bin. It returns all n bins, also the empty ones.
func EqualWidth(confidence []float64, hit []bool, n int, low, high float64) []Bin {
	bins := make([]Bin, n)
	width := (high - low) / float64(n)
	for b := range bins {
		bins[b].Low, bins[b].High = low+float64(b)*width, low+float64(b+1)*width
	}
	bins[n-1].High = high
	for i, c := range confidence {
		b := 0
		if width > 0 {
			b = min(max(int(math.Floor((c-low)/width)), 0), n-1)
		}
		bins[b].add(c, hit[i])
	}
	return means(bins)
}

// EqualCount sorts samples into n bins of as equal count as can be; samples of the same confidence may be parted,
// and then the earlier ones are in the lower bin. Fewer samples than bins leave bins empty.
func EqualCount(confidence []float64, hit []bool, n int) []Bin {
	order := indices(len(confidence))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(confidence[a], confidence[b]) })
	bins := make([]Bin, n)
	for b := range bins {
		part := order[b*len(order)/n : (b+1)*len(order)/n]
		if len(part) == 0 {
			continue
		}
		bins[b].Low, bins[b].High = confidence[part[0]], confidence[part[len(part)-1]]
		for _, i := range part {
			bins[b].add(confidence[i], hit[i])
		}
	}
	return means(bins)
}

// ECE is the expected calibration error: the mean over samples of their bin's |accuracy − confidence| (Naeini et
// al., AAAI 2015; by custom 15 equal-width bins on [0, 1]). It is NaN without samples.
func ECE(bins []Bin) float64 {
	sum, count := 0.0, 0
	for _, b := range bins {
		sum += float64(b.Count) * math.Abs(b.Accuracy-b.Confidence)
		count += b.Count
	}
	return sum / float64(count)
}

// MCE is the maximum calibration error: the largest |accuracy − confidence| of a bin that is not empty. It is NaN
// without samples.
func MCE(bins []Bin) float64 {
	worst := math.NaN()
	for _, b := range bins {
		if gap := math.Abs(b.Accuracy - b.Confidence); b.Count > 0 && !(gap <= worst) {
			worst = gap
		}
	}
	return worst
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// add sums; means divides. A hit counts 1.
func (b *Bin) add(confidence float64, hit bool) {
	b.Count++
	b.Confidence += confidence
	if hit {
		b.Accuracy++
	}
}

func means(bins []Bin) []Bin {
	for i := range bins {
		if b := &bins[i]; b.Count > 0 {
			b.Confidence /= float64(b.Count)
			b.Accuracy /= float64(b.Count)
		}
	}
	return bins
}

// Softmax writes the class probabilities of logits/temperature to probs; both are [n, classes] and may be the same
// slice.
func Softmax(logits []float32, classes int, temperature float64, probs []float32) {
	for ; len(logits) >= classes && classes > 0; logits, probs = logits[classes:], probs[classes:] {
		row, out := logits[:classes], probs[:classes]
		top := row[0]
		for _, z := range row {
			top = max(top, z)
		}
		sum := 0.0
		for k, z := range row {
			e := math.Exp(float64(z-top) / temperature)
			sum += e
			out[k] = float32(e)
		}
		for k := range out {
			out[k] = float32(float64(out[k]) / sum)
		}
	}
}

// TopLabel returns each sample's confidence, the largest of its probabilities, and whether that class is its label.
// Ties go to the lower class. probs is [len(labels), classes].
func TopLabel(probs []float32, classes int, labels []int) (confidence []float64, hit []bool) {
	confidence, hit = make([]float64, len(labels)), make([]bool, len(labels))
	for i, y := range labels {
		row := probs[i*classes : (i+1)*classes]
		best := vec.Argmax(row)
		confidence[i], hit[i] = float64(row[best]), best == y
	}
	return confidence, hit
}

// ClasswiseECE is the mean over classes of the ECE of p_k against 1[label = k] over all samples, in n equal-width
// bins on [0, 1] (Kull et al., NeurIPS 2019). probs is [len(labels), classes].
func ClasswiseECE(probs []float32, classes int, labels []int, n int) float64 {
	confidence, hit := make([]float64, len(labels)), make([]bool, len(labels))
	sum := 0.0
	for k := range classes {
		for i, y := range labels {
			confidence[i], hit[i] = float64(probs[i*classes+k]), y == k
		}
		sum += ECE(EqualWidth(confidence, hit, n, 0, 1))
	}
	return sum / float64(classes)
}

// NLL is the mean negative log-likelihood of the labels, in nats. A probability that underflowed to 0 counts as the
// smallest positive float32.
func NLL(probs []float32, classes int, labels []int) float64 {
	sum := 0.0
	for i, y := range labels {
		sum -= math.Log(max(float64(probs[i*classes+y]), math.SmallestNonzeroFloat32))
	}
	return sum / float64(len(labels))
}

// Brier is the mean squared distance between the probabilities and the one-hot label, in [0, 2] (Brier, 1950).
func Brier(probs []float32, classes int, labels []int) float64 {
	sum := 0.0
	for i, y := range labels {
		for k, p := range probs[i*classes : (i+1)*classes] {
			d := float64(p)
			if k == y {
				d--
			}
			sum += d * d
		}
	}
	return sum / float64(len(labels))
}

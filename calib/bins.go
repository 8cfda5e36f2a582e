package calib

import (
	"cmp"
	"math"
	"slices"
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

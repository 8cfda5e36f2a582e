package metric

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/calib"
)

// IntervalMethod says how intervals are made.
const IntervalMethod = "95 % intervals: Wilson's, for a mean over classes with the number of images that its " +
	"stratified standard error is worth"

// Interval is where an accuracy would lie on other images of the same kind, with a confidence of 95 %: its low and its
// high end. It says nothing of other training images, nor of other seeds.
type Interval [2]Number

// z is how many deviations from the mean 95 % of a normal distribution reach.
const z = 1.959963984540054

// Wilson is the interval of a share of n images (E. B. Wilson, Probable Inference, JASA 1927). Unlike that of the
// normal approximation it lies in [0, 1] and has a length where all or none are right.
func Wilson(share Number, n int) Interval { return wilson(float64(share), float64(n)) }

func wilson(p, n float64) Interval {
	if !(p >= 0 && p <= 1) || !(n > 0) {
		return Interval{nan, nan}
	}
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return Interval{Number(max(0, min(p, middle-half))), Number(min(1, max(p, middle+half)))}
}

// MeanInterval is the interval of the mean accuracy of classes, each with its own images: Wilson's, with as many images
// as would give a share the standard error of that mean, SE² = Σ_c s_c²/n_c / C² (as Franco, Little, Louis and Slud
// recommend for surveys, J. Surv. Stat. Methodol. 2019). A class of one image takes the pooled variance, as in the
// intervals of a sweep; where nothing varies the number is that of classes alike.
func MeanInterval(classes []ClassMetrics) Interval {
	classes = slices.DeleteFunc(slices.Clone(classes), func(c ClassMetrics) bool {
		return !Wilson(c.Accuracy, c.Samples)[0].known()
	})
	if len(classes) == 1 {
		return Wilson(classes[0].Accuracy, classes[0].Samples)
	}
	mean, n := 0.0, float64(len(classes))
	for _, c := range classes {
		mean += float64(c.Accuracy) / n
	}
	pooled := mean * (1 - mean)
	square, alike := 0.0, 0.0 // n² SE², and n² over the number of images for classes alike
	for _, c := range classes {
		variance, images := pooled, float64(c.Samples)
		if images > 1 {
			variance = float64(c.Accuracy) * (1 - float64(c.Accuracy)) * images / (images - 1)
		}
		square, alike = square+variance/images, alike+1/images
	}
	worth := n * n / alike
	if square > 0 && pooled > 0 {
		worth = pooled * n * n / square
	}
	return wilson(min(1, mean), worth)
}

// Text writes an interval with so many decimals; it is empty where there is none.
func (i Interval) Text(decimals int) string {
	if !i[0].known() || !i[1].known() || i == (Interval{}) {
		return ""
	}
	return fmt.Sprintf("%s–%s", i[0].Text(decimals), i[1].Text(decimals))
}

// addIntervals says how well the accuracies are known.
func (m *Metrics) addIntervals() {
	m.Intervals = map[string]Interval{}
	for _, r := range Rows {
		if r.Within != nil {
			m.Intervals[r.Key] = r.Within(m)
		}
	}
	var groups [len(m.Groups)][]ClassMetrics
	for k := range m.PerClass {
		c := &m.PerClass[k]
		c.Interval = Wilson(c.Accuracy, c.Samples)
		groups[c.Shot()] = append(groups[c.Shot()], *c)
	}
	for _, g := range calib.Shots() {
		m.Groups[g].Interval = MeanInterval(groups[g])
	}
}

// worstWithin is the interval of the least accurate class, as if it had not been chosen for that.
func worstWithin(m *Metrics) Interval {
	for _, c := range m.PerClass {
		if c.Accuracy == m.WorstClass {
			return Wilson(c.Accuracy, c.Samples)
		}
	}
	return Interval{nan, nan}
}

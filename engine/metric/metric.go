// Package metric measures a classifier on a split, and says what each of its metrics is.
//
// # Basics
//
//	m := metric.Measure(logits, nil, labels, classes, trainCounts)
//	fmt.Print(m.Text())
//	json.Marshal(m) // metrics.json
//
// [Rows] are the metrics, a row each: key, title, help, direction, and how the value is computed and kept. JSON, the
// table of the command line, report, model card and the tables of a sweep are made from it, so that a new metric is a
// field of [Scores] and a row.
//
// # Caveats
//
// A value that there is nothing to compute from is NaN, in JSON null. Means over classes run over the classes that have
// samples. Rows is a variable for the sake of tests; nothing else may change it.
package metric

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/vec"
)

// Bins is the field's usual number of equal-width bins of confidence.
const Bins = 15

// Metrics is how one classifier does on one split: what metrics.json holds. Fractions are in [0, 1], times in seconds.
type Metrics struct {
	Split   string `json:"split"`
	Samples int    `json:"samples"`

	Scores `json:"-"` // by Rows, before the groups

	Intervals map[string]Interval `json:"intervals,omitempty"` // of the rows that have one; see IntervalMethod

	Groups      Groups         `json:"groups"`
	Calibration *Calibration   `json:"calibration,omitempty"` // nil where the probabilities are softmax(logits)
	PerClass    []ClassMetrics `json:"per_class"`
	Warnings    []string       `json:"warnings,omitempty"` // why these are no result to go by

	*Inside // nil where a head alone was trained

	Loss        string          `json:"loss"`
	Epochs      int             `json:"epochs"`
	SwitchEpoch int             `json:"switch_epoch"`
	EarlyStop   *head.EarlyStop `json:"early_stop,omitempty"` // nil where training could not end early
	Seed        uint64          `json:"seed"`
	Seconds     Seconds         `json:"seconds"`
}

// Scores are the values of Rows.
type Scores struct {
	Top1, Top5, BalancedAccuracy, MacroF1, WorstClass, HarmonicMean, GeometricMean Number
	ECE, MCE, ClasswiseECE, NLL, Brier                                             Number
}

// Groups are the shares of the classes with many, medium and few training images, by calib.Shot.
type Groups [calib.Few + 1]GroupMetrics

// GroupMetrics is one group's share: Accuracy is the mean of its classes' accuracies, ECE is over the samples whose
// true class is in the group.
type GroupMetrics struct {
	Classes  int    `json:"classes"`
	Accuracy Number `json:"accuracy"`
	ECE      Number `json:"ece"`

	Interval Interval `json:"accuracy_interval,omitzero"` // of the accuracy; none before calibration, which changes none
}

// ClassMetrics is one class's line. ECE is over the samples of that true class.
type ClassMetrics struct {
	Label      string `json:"label"`
	TrainCount int    `json:"train_count"`
	Samples    int    `json:"samples"`
	Accuracy   Number `json:"accuracy"`
	Precision  Number `json:"precision"`
	ECE        Number `json:"ece"`

	Interval Interval `json:"accuracy_interval"`
}

// Shot is the class's group.
func (c ClassMetrics) Shot() calib.Shot { return calib.ShotOf(c.TrainCount) }

// Seconds says where the time of a run went.
type Seconds struct {
	Encode   Number `json:"encode"`
	Train    Number `json:"train"`
	Evaluate Number `json:"evaluate"`
}

// Calibration is how the probabilities of a run were calibrated, and what its metrics would be without.
type Calibration struct {
	Method      string       `json:"method"`
	FittedOn    string       `json:"fitted_on"`   // "val" or "out-of-fold"
	Temperature []float64    `json:"temperature"` // one, or one a class; see calib.Scaling
	Before      Uncalibrated `json:"before"`
}

// Uncalibrated has the values that calibration changes; those of other rows are NaN.
type Uncalibrated struct {
	Scores `json:"-"` // by Rows, before the groups
	Groups Groups     `json:"groups"`
}

// Uncalibrated are the values of m that a calibration would change.
func (m *Metrics) Uncalibrated() Uncalibrated {
	u := Uncalibrated{m.Scores, m.Groups}
	for g := range u.Groups {
		u.Groups[g].Interval = Interval{}
	}
	for _, r := range Rows {
		if !r.Calibrated {
			*r.Field(&u.Scores) = nan
		}
	}
	return u
}

// Measure scores logits and probabilities [N, C] against labels [N]; nil probabilities are softmax(logits). classes [C]
// are the classes' names, trainCounts [C] decide their groups.
func Measure(logits, probabilities []float32, labels []int, classes []string, trainCounts []int) Metrics {
	s := newSample(logits, probabilities, labels, len(classes))
	m := Metrics{Samples: len(labels), PerClass: make([]ClassMetrics, len(classes))}
	for _, r := range Rows {
		*r.Field(&m.Scores) = Number(r.Of(s))
	}
	byClass, byGroup := make([][]int, len(classes)), make([][]int, len(m.Groups))
	for i, y := range labels {
		g := calib.ShotOf(trainCounts[y])
		byClass[y], byGroup[g] = append(byClass[y], i), append(byGroup[g], i)
	}
	for k, name := range classes {
		m.PerClass[k] = ClassMetrics{
			Label: name, TrainCount: trainCounts[k], Samples: len(byClass[k]),
			Accuracy: Number(s.Accuracy[k]), ECE: s.ece(byClass[k]),
			Precision: Number(float64(s.Hits[k]) / float64(s.Taken[k])),
		}
		m.Groups[m.PerClass[k].Shot()].Classes++
	}
	for g := range m.Groups {
		in := func(k int) bool { return m.PerClass[k].Shot() == calib.Shot(g) }
		m.Groups[g].Accuracy, m.Groups[g].ECE = Number(calib.Mean(s.Accuracy, in)), s.ece(byGroup[g])
	}
	m.addIntervals()
	m.warn(s)
	return m
}

// warn notes what shows that nothing was learned: one answer to all images, or no better ones than that would be.
func (m *Metrics) warn(s *Sample) {
	_, present := s.sum(func(float64) float64 { return 0 })
	if present < 2 {
		return
	}
	const rounding = 1e-9
	n, most := len(s.Labels), slices.Max(s.Taken)
	chance, largest := 1/present, float64(slices.Max(s.Count))/float64(n)
	switch {
	case most == n:
		m.Warnings = append(m.Warnings, fmt.Sprintf("the head has collapsed: it takes all %d images for %s",
			n, m.PerClass[slices.Index(s.Taken, n)].Label))
	case float64(m.BalancedAccuracy) <= chance+rounding && float64(m.Top1) <= largest+rounding:
		m.Warnings = append(m.Warnings, fmt.Sprintf("the head has learned nothing: its balanced accuracy is %.4f, and "+
			"that of one answer to all images would be %.4f", float64(m.BalancedAccuracy), chance))
	}
}

// Sample is what a classifier says of a split: what metrics are computed from.
type Sample struct {
	Logits, Probabilities []float32 // [N, C]
	Labels, Predicted     []int     // [N]
	Confidence            []float64 // [N], the probability of the predicted class
	Hit                   []bool    // [N], the prediction is right
	Count, Hits, Taken    []int     // [C], samples of a class, those predicted rightly, all taken for it
	Accuracy              []float64 // [C], NaN for a class without samples
}

func newSample(logits, probabilities []float32, labels []int, classes int) *Sample {
	if probabilities == nil {
		probabilities = make([]float32, len(logits))
		calib.Scaling{}.Probabilities(logits, classes, probabilities)
	}
	n := len(labels)
	s := &Sample{
		Logits: logits, Probabilities: probabilities, Labels: labels, Predicted: make([]int, n),
		Confidence: make([]float64, n), Hit: make([]bool, n),
		Count: make([]int, classes), Hits: make([]int, classes), Taken: make([]int, classes),
	}
	for i, y := range labels {
		best := vec.Argmax(s.logits(i)) // of the logits: probabilities that differ in the last bit may tie
		s.Predicted[i], s.Confidence[i], s.Hit[i] = best, float64(probabilities[i*classes+best]), best == y
		s.Count[y]++
		s.Taken[best]++
		if best == y {
			s.Hits[y]++
		}
	}
	s.Accuracy = calib.ClassAccuracy(labels, classes, func(i int) int { return s.Predicted[i] })
	return s
}

func (s *Sample) logits(i int) []float32 {
	c := len(s.Count)
	return s.Logits[i*c : (i+1)*c]
}

// sum is that of f over the accuracies of the n classes that have samples.
func (s *Sample) sum(f func(float64) float64) (sum, n float64) {
	for _, a := range s.Accuracy {
		if !math.IsNaN(a) {
			sum, n = sum+f(a), n+1
		}
	}
	return sum, n
}

func (s *Sample) share(is func(i int) bool) float64 {
	n := 0
	for i := range s.Labels {
		if is(i) {
			n++
		}
	}
	return float64(n) / float64(len(s.Labels))
}

// before counts the classes that come before the true one; equal values rank by index.
func (s *Sample) before(i int) int {
	z, y, n := s.logits(i), s.Labels[i], 0
	for k, v := range z {
		if v > z[y] || v == z[y] && k < y {
			n++
		}
	}
	return n
}

func (s *Sample) bins() []calib.Bin { return calib.EqualWidth(s.Confidence, s.Hit, Bins, 0, 1) }

func (s *Sample) ece(members []int) Number {
	confidence, hit := make([]float64, len(members)), make([]bool, len(members))
	for j, i := range members {
		confidence[j], hit[j] = s.Confidence[i], s.Hit[i]
	}
	return Number(calib.ECE(calib.EqualWidth(confidence, hit, Bins, 0, 1)))
}

var nan = Number(math.NaN())

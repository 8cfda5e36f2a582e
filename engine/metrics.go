package engine

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
)

// Number is a metric value; NaN stands for "nothing to compute it from" and
// is written as JSON null.
type Number float64

// MarshalJSON writes NaN and infinities as null.
func (n Number) MarshalJSON() ([]byte, error) {
	v := float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Metrics is what metrics.json holds: how one classifier does on one split.
// Fractions are in [0, 1], times in seconds.
type Metrics struct {
	Split   string `json:"split"`
	Samples int    `json:"samples"`

	Top1             Number `json:"top1"`
	Top5             Number `json:"top5"` // top-min(5,C)
	BalancedAccuracy Number `json:"balanced_accuracy"`
	MacroF1          Number `json:"macro_f1"`
	WorstClass       Number `json:"worst_class"`
	HarmonicMean     Number `json:"harmonic_mean"`
	GeometricMean    Number `json:"geometric_mean"`
	ECE              Number `json:"ece"`
	MCE              Number `json:"mce"`
	ClasswiseECE     Number `json:"classwise_ece"`
	NLL              Number `json:"nll"`
	Brier            Number `json:"brier"`

	Groups      Groups         `json:"groups"`
	Calibration *Calibration   `json:"calibration,omitempty"` // nil where the probabilities are softmax(logits)
	PerClass    []ClassMetrics `json:"per_class"`

	Loss        string  `json:"loss"`
	Epochs      int     `json:"epochs"`
	SwitchEpoch int     `json:"switch_epoch"`
	Seed        uint64  `json:"seed"`
	Seconds     Seconds `json:"seconds"`
}

// Groups splits the classes by their number of training images.
type Groups struct {
	Many   GroupMetrics `json:"many"`   // more than 100
	Medium GroupMetrics `json:"medium"` // 20 to 100
	Few    GroupMetrics `json:"few"`    // fewer than 20
}

// GroupMetrics is one group's share: Accuracy is the mean of its classes'
// accuracies, ECE is over the samples whose true class is in the group.
type GroupMetrics struct {
	Classes  int    `json:"classes"`
	Accuracy Number `json:"accuracy"`
	ECE      Number `json:"ece"`
}

// ClassMetrics is one class's line. ECE is over the samples of that true class.
type ClassMetrics struct {
	Label      string `json:"label"`
	TrainCount int    `json:"train_count"`
	Samples    int    `json:"samples"`
	Accuracy   Number `json:"accuracy"`
	Precision  Number `json:"precision"`
	ECE        Number `json:"ece"`
}

// Seconds says where the time of a run went.
type Seconds struct {
	Encode   Number `json:"encode"`
	Train    Number `json:"train"`
	Evaluate Number `json:"evaluate"`
}

// eceBins is the field's usual number of equal-width bins.
const eceBins = 15

// Calibration is how the probabilities of a run were calibrated, and what its
// metrics would be without.
type Calibration struct {
	Method      string       `json:"method"`      // one of Calibrations
	FittedOn    string       `json:"fitted_on"`   // "val" or "out-of-fold"
	Temperature []float64    `json:"temperature"` // one, or one a class; see calib.Scaling
	Before      Uncalibrated `json:"before"`
}

// Uncalibrated holds those metrics that calibration changes.
type Uncalibrated struct {
	ECE          Number `json:"ece"`
	MCE          Number `json:"mce"`
	ClasswiseECE Number `json:"classwise_ece"`
	NLL          Number `json:"nll"`
	Brier        Number `json:"brier"`
	Groups       Groups `json:"groups"`
}

// Measure scores logits [N,C] against labels [N]; probabilities are
// softmax(logits). trainCounts [C] decides the groups; classes names them.
//
// Means over classes run over the classes that have samples. The harmonic and
// geometric means are 0 as soon as one class has accuracy 0. Macro-F1 follows
// scikit-learn: the mean over the classes that occur as label or prediction.
func Measure(logits []float32, labels []int, classes []string, trainCounts []int) Metrics {
	return measure(logits, probabilities(logits, len(classes), calib.Scaling{}), labels, classes, trainCounts)
}

// probabilities are calibrated, or softmax(logits) for the zero Scaling.
func probabilities(logits []float32, classes int, s calib.Scaling) []float32 {
	p := make([]float32, len(logits))
	s.Probabilities(logits, classes, p)
	return p
}

func measure(logits, probabilities []float32, labels []int, classes []string, trainCounts []int) Metrics {
	c := len(classes)
	var right, top5 int
	samples, hits, predictions := make([]int, c), make([]int, c), make([]int, c)
	confidence, hit := make([]float64, len(labels)), make([]bool, len(labels))
	for i, y := range labels {
		z := logits[i*c : (i+1)*c]
		best := argmax(z) // of the logits: probabilities that differ in the last bit may tie
		confidence[i], hit[i] = float64(probabilities[i*c+best]), best == y
		samples[y]++
		predictions[best]++
		if hit[i] {
			hits[y]++
			right++
		}
		if rankOf(z, y) < 5 {
			top5++
		}
	}
	among := func(in func(y int) bool) []calib.Bin {
		var conf []float64
		var ok []bool
		for i, y := range labels {
			if in(y) {
				conf, ok = append(conf, confidence[i]), append(ok, hit[i])
			}
		}
		return calib.EqualWidth(conf, ok, eceBins, 0, 1)
	}
	ece := func(in func(y int) bool) Number { return Number(calib.ECE(among(in))) }

	all := calib.EqualWidth(confidence, hit, eceBins, 0, 1)
	m := Metrics{
		Samples:      len(labels),
		Top1:         ratio(right, len(labels)),
		Top5:         ratio(top5, len(labels)),
		ECE:          Number(calib.ECE(all)),
		MCE:          Number(calib.MCE(all)),
		ClasswiseECE: Number(calib.ClasswiseECE(probabilities, c, labels, eceBins)),
		NLL:          Number(calib.NLL(probabilities, c, labels)),
		Brier:        Number(calib.Brier(probabilities, c, labels)),
		PerClass:     make([]ClassMetrics, c),
	}
	var accuracies, f1 []float64
	for k, name := range classes {
		m.PerClass[k] = ClassMetrics{
			Label: name, TrainCount: trainCounts[k], Samples: samples[k],
			Accuracy:  ratio(hits[k], samples[k]),
			Precision: ratio(hits[k], predictions[k]),
			ECE:       ece(func(y int) bool { return y == k }),
		}
		if samples[k] > 0 {
			accuracies = append(accuracies, float64(m.PerClass[k].Accuracy))
		}
		if occurrences := samples[k] + predictions[k]; occurrences > 0 {
			f1 = append(f1, 2*float64(hits[k])/float64(occurrences))
		}
	}
	m.BalancedAccuracy = mean(accuracies)
	m.MacroF1 = mean(f1)
	m.WorstClass, m.HarmonicMean, m.GeometricMean = spread(accuracies)

	for group, g := range map[head.Group]*GroupMetrics{head.Many: &m.Groups.Many, head.Medium: &m.Groups.Medium, head.Few: &m.Groups.Few} {
		in := func(y int) bool { return head.GroupOf(trainCounts[y]) == group }
		var accuracies []float64
		for k, class := range m.PerClass {
			if !in(k) {
				continue
			}
			g.Classes++
			if class.Samples > 0 {
				accuracies = append(accuracies, float64(class.Accuracy))
			}
		}
		g.Accuracy = mean(accuracies)
		g.ECE = ece(in)
	}
	return m
}

// spread gives the smallest value and the harmonic and geometric means of v.
func spread(v []float64) (worst, harmonic, geometric Number) {
	if len(v) == 0 {
		nan := Number(math.NaN())
		return nan, nan, nan
	}
	inverse, logs := 0.0, 0.0
	for _, a := range v {
		inverse += 1 / a // infinite for a class never right, which makes the mean 0
		logs += math.Log(a)
	}
	n := float64(len(v))
	return Number(slices.Min(v)), Number(n / inverse), Number(math.Exp(logs / n))
}

func ratio(a, b int) Number {
	if b == 0 {
		return Number(math.NaN())
	}
	return Number(float64(a) / float64(b))
}

// mean is NaN for no values.
func mean(v []float64) Number {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return Number(sum / float64(len(v)))
}

func argmax(p []float32) int {
	best := 0
	for k, v := range p {
		if v > p[best] {
			best = k
		}
	}
	return best
}

// rankOf counts the classes that come before y; equal values rank by index.
func rankOf(p []float32, y int) int {
	r := 0
	for k, v := range p {
		if v > p[y] || (v == p[y] && k < y) {
			r++
		}
	}
	return r
}

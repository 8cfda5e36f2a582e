package metric_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
)

// The values are those of SciPy 1.17: binomtest(k, n).proportion_ci(0.95, "wilson").
func TestWilson(t *testing.T) {
	for _, x := range []struct {
		hits, n   int
		low, high float64
	}{
		{8, 10, 0.4901624715366418, 0.9433178485456248}, {0, 5, 0, 0.43448246478317465}, {5, 5, 0.5655175352168253, 1},
		{1, 1, 0.20654931437723762, 1}, {714, 1000, 0.6852148435109844, 0.7411473038571978},
	} {
		got := metric.Wilson(metric.Number(float64(x.hits)/float64(x.n)), x.n)
		if math.Abs(float64(got[0])-x.low) > 1e-9 || math.Abs(float64(got[1])-x.high) > 1e-9 {
			t.Errorf("%d of %d: %v, want [%v, %v]", x.hits, x.n, got, x.low, x.high)
		}
	}
	for _, got := range []metric.Interval{metric.Wilson(0.5, 0), metric.Wilson(0.5, -3), metric.Wilson(1e300, 9),
		metric.Wilson(metric.Number(math.NaN()), 9), metric.MeanInterval(nil)} {
		if !math.IsNaN(float64(got[0])) || !math.IsNaN(float64(got[1])) || got.Text(3) != "" {
			t.Errorf("an interval of nothing is %v", got)
		}
	}
}

// Of 100 intervals 95 hold the truth, for few images a class and classes that are nearly always right, too.
func TestMeanIntervalCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const trials = 2000
	for _, x := range []struct {
		classes, images int
		least           float64
	}{{5, 4, 0.4}, {10, 5, 0.95}, {30, 5, 0.4}, {100, 100, 0.4}} {
		truth, held := 0.0, 0
		shares := make([]float64, x.classes)
		for k := range shares {
			shares[k] = 1 - (1-x.least)*float64(k)/float64(x.classes)
			truth += shares[k] / float64(x.classes)
		}
		for range trials {
			classes := make([]metric.ClassMetrics, x.classes)
			for k, p := range shares {
				hits := 0
				for range x.images {
					if r.Float64() < p {
						hits++
					}
				}
				classes[k] = metric.ClassMetrics{Samples: x.images,
					Accuracy: metric.Number(float64(hits) / float64(x.images))}
			}
			if i := metric.MeanInterval(classes); float64(i[0]) <= truth && truth <= float64(i[1]) {
				held++
			}
		}
		if share := float64(held) / trials; share < 0.93 || share > 0.995 {
			t.Errorf("%d classes of %d images, right from %v on: %.3f of the intervals hold the truth", x.classes,
				x.images, x.least, share)
		}
	}
	one := metric.ClassMetrics{Accuracy: 0.75, Samples: 12}
	want := metric.Wilson(0.75, 12)
	if got := metric.MeanInterval([]metric.ClassMetrics{one, {Accuracy: metric.Number(math.NaN())}}); got != want {
		t.Errorf("the interval of one class is %v, want %v", got, want)
	}
}

// Metrics have an interval for every accuracy, those read from an older file too.
func TestMetricsHaveIntervals(t *testing.T) {
	logits := []float32{2, 0, 0, 1, 1, 0, 3, 1}
	m := metric.Measure(logits, nil, []int{0, 1, 1, 0}, []string{"a", "b"}, []int{500, 3})
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	var again, older metric.Metrics
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	delete(object, "intervals")
	without, _ := json.Marshal(object)
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(without, &older); err != nil {
		t.Fatal(err)
	}
	for _, m := range []metric.Metrics{m, again, older} {
		if m.Intervals["top1"] != metric.Wilson(m.Top1, 4) || m.PerClass[1].Interval != metric.Wilson(0.5, 2) ||
			m.Intervals["balanced_accuracy"] != metric.MeanInterval(m.PerClass) ||
			m.Groups[calib.Few].Interval != metric.MeanInterval(m.PerClass[1:]) || len(m.Intervals) != 4 {
			t.Errorf("intervals %v, %+v", m.Intervals, m.PerClass)
		}
	}
}

package metric_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/metric"
)

func none(int) bool { return false }

// doubtful has a class of four images, one of them wrong, and two classes that are always right.
func doubtful() (logits []float32, labels []int) {
	return []float32{
		4, 0, 0, 4, 0, 0, 4, 0, 0, 0, 4, 0,
		0, 4, 0, 0, 4, 0,
		0, 0, 4, 0, 0, 4,
	}, []int{0, 0, 0, 0, 1, 1, 2, 2}
}

func TestCalibrate(t *testing.T) {
	logits, labels := doubtful()
	var said []string
	ev := event.Events{Note: func(_ event.Level, message string, kv ...any) { said = append(said, message) }}
	f, err := metric.Calibrate(metric.Temperature, "val", logits, labels, 3, none, ev)
	if err != nil {
		t.Fatal(err)
	}
	want, err := calib.FitTemperature(logits, 3, labels, calib.BalancedWeights(labels, 3))
	if err != nil {
		t.Fatal(err)
	}
	if f.Method != "temperature" || f.FittedOn != "val" || len(f.Scaling.Temperature) != 1 ||
		!slices.Equal(f.Scaling.Temperature, want.Temperature) {
		t.Errorf("%+v, want %v", f, want)
	}
	// Classes count alike: with a quarter of class 0 wrong 11/12 are right, which is the probability to come to.
	p := make([]float32, len(logits))
	f.Scaling.Probabilities(logits, 3, p)
	if math.Abs(float64(p[0])-11./12) > 1e-3 {
		t.Errorf("confidence is %v at a balanced accuracy of 11/12", p[0])
	}
	if !slices.Equal(said, []string{"calibrated"}) {
		t.Errorf("it said %q", said)
	}
}

func TestCalibrateByClass(t *testing.T) {
	logits, labels := doubtful()
	logits, labels = slices.Repeat(logits, 100), slices.Repeat(labels, 100)
	f, err := metric.Calibrate(metric.Classwise, "out-of-fold", logits, labels, 3, none, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := calib.FitClasswise(logits, 3, labels, calib.BalancedWeights(labels, 3))
	if err != nil {
		t.Fatal(err)
	}
	one := f.Scaling.Temperature
	if len(one) != 3 || !slices.Equal(one, want.Temperature) || f.Method != "classwise" || f.FittedOn != "out-of-fold" {
		t.Errorf("%+v, want %v", f, want)
	}
	if one[1] <= one[2] {
		t.Errorf("temperatures %v, want that of 1, which others are taken for, higher than that of 2", one)
	}
}

// Images of a class that is left out have no say, not even by being wrong.
func TestCalibrateLeavesOut(t *testing.T) {
	logits, labels := doubtful()
	logits[2*6+9], logits[2*6+11] = 4, 0 // an image of class 2 that is taken for 0 as well
	fit := func(leftOut func(int) bool, n int) metric.Fit {
		t.Helper()
		var warnings []string
		f, err := metric.Calibrate(metric.Temperature, "val", logits[:3*n], labels[:n], 3, leftOut,
			event.Events{}.Recording(&warnings))
		if err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
		return f
	}
	all, without, never := fit(none, 8), fit(func(k int) bool { return k == 2 }, 8), fit(none, 6)
	if !slices.Equal(without.Scaling.Temperature, never.Scaling.Temperature) ||
		slices.Equal(all.Scaling.Temperature, without.Scaling.Temperature) {
		t.Errorf("temperature %v with class 2, %v with it left out, %v where it has no images",
			all.Scaling.Temperature, without.Scaling.Temperature, never.Scaling.Temperature)
	}
}

func TestNothingToCalibrateOn(t *testing.T) {
	logits, labels := doubtful()
	for method, n := range map[string]int{metric.Temperature: 1, metric.Classwise: 3} {
		for name, leftOut := range map[string]func(int) bool{
			"all are right": none, "the wrong one is left out": func(k int) bool { return k == 0 },
		} {
			z := slices.Clone(logits)
			if name == "all are right" {
				z[9], z[10] = 4, 0
			}
			var warnings []string
			f, err := metric.Calibrate(method, "val", z, labels, 3, leftOut, event.Events{}.Recording(&warnings))
			if want := slices.Repeat([]float64{1}, n); err != nil || !slices.Equal(f.Scaling.Temperature, want) {
				t.Errorf("%s, %s: temperatures %v (%v), want %v", method, name, f.Scaling.Temperature, err, want)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0], "nothing to calibrate on") ||
				!strings.HasSuffix(warnings[0], "images: 8") {
				t.Errorf("%s, %s: warned %q", method, name, warnings)
			}
		}
	}
}

func TestCalibrateRefuses(t *testing.T) {
	logits, labels := doubtful()
	logits[11] = float32(math.NaN())
	_, err := metric.Calibrate(metric.Temperature, "val", logits, labels, 3, none, event.Events{})
	if err == nil || !strings.Contains(err.Error(), "calibration: ") {
		t.Errorf("logits that are no numbers: %v", err)
	}
}

func TestFitMeasures(t *testing.T) {
	logits, labels := doubtful()
	classes, counts := []string{"a", "b", "c"}, []int{200, 50, 5}
	plain := metric.Measure(logits, nil, labels, classes, counts)
	if m := (metric.Fit{}).Measure(logits, labels, classes, counts); m.Calibration != nil || m.Scores != plain.Scores {
		t.Errorf("without temperatures %+v, want %+v", m, plain)
	}
	f := metric.Fit{Scaling: calib.Scaling{Temperature: []float64{2}}, Method: "temperature", FittedOn: "val"}
	m := f.Measure(logits, labels, classes, counts)
	c := m.Calibration
	if c == nil || c.Method != "temperature" || c.FittedOn != "val" || !slices.Equal(c.Temperature, []float64{2}) {
		t.Fatalf("calibration %+v", c)
	}
	if c.Before.ECE != plain.ECE || c.Before.NLL != plain.NLL || c.Before.Groups != plain.Uncalibrated().Groups ||
		!math.IsNaN(float64(c.Before.Top1)) {
		t.Errorf("before it %+v, want %+v", c.Before, plain.Scores)
	}
	// By hand: e²/(e²+2) is the confidence at temperature 2, seven of eight images are right.
	right := math.Exp(2) / (math.Exp(2) + 2)
	if want := math.Abs(7./8 - right); math.Abs(float64(m.ECE)-want) > 1e-6 || m.Top1 != 7./8 ||
		m.BalancedAccuracy != plain.BalancedAccuracy {
		t.Errorf("ECE %v, top-1 %v, want %v and 7/8", m.ECE, m.Top1, want)
	}
}

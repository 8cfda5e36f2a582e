package calib_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitft/vitft/calib"
)

// tempered draws logits whose softmax is the truth and multiplies each row by the temperature of its argmax.
func tempered(rng *rand.Rand, n int, temperature []float64) (logits []float32, labels []int) {
	classes := len(temperature)
	logits, labels = make([]float32, n*classes), make([]int, n)
	probs := make([]float32, classes)
	for i := range labels {
		row := logits[i*classes : (i+1)*classes]
		for k := range row {
			row[k] = float32(2 * rng.NormFloat64())
		}
		calib.Softmax(row, classes, 1, probs)
		labels[i] = draw(rng, probs)
		t := float32(temperature[slices.Index(row, slices.Max(row))])
		for k := range row {
			row[k] *= t
		}
	}
	return logits, labels
}

func draw(rng *rand.Rand, probs []float32) int {
	u := rng.Float32()
	y := 0
	for y < len(probs)-1 && u > probs[y] {
		u -= probs[y]
		y++
	}
	return y
}

func ExampleFitTemperature() {
	logits := []float32{ // twice as sure as it is right
		4.4, 0,
		4.4, 0,
		4.4, 0,
		4.4, 0,
	}
	s, err := calib.FitTemperature(logits, 2, []int{0, 0, 0, 1}, nil)
	if err != nil {
		panic(err)
	}
	probs := make([]float32, len(logits))
	s.Probabilities(logits, 2, probs)
	fmt.Printf("T = %.1f, p = %.2f\n", s.Temperature[0], probs[0])
	// Output: T = 4.0, p = 0.75
}

// Multiplying calibrated logits by k is undone by the temperature k.
func TestFitTemperature(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, k := range []float64{0.5, 1, 3} {
		logits, labels := tempered(rng, 20000, []float64{k, k, k, k})
		got, err := calib.FitTemperature(logits, 4, labels, nil)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "T", got.Temperature[0], k, 0.03*k)
		// A weight counts as that many samples.
		weights, twice, again := make([]float64, len(labels)), slices.Clone(logits), slices.Clone(labels)
		for i, y := range labels {
			weights[i] = 1
			if y == 2 {
				weights[i] = 2
				twice = append(twice, logits[4*i:4*i+4]...)
				again = append(again, y)
			}
		}
		a, _ := calib.FitTemperature(logits, 4, labels, weights)
		b, _ := calib.FitTemperature(twice, 4, again, nil)
		near(t, "weighted T", a.Temperature[0], b.Temperature[0], 1e-9)
	}
}

// Where temperatures differ by class, class-wise ones are found; where they do not, none is made up; and a class of
// few samples borrows from the others.
func TestFitClasswise(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	planted := []float64{0.5, 1, 1.5, 3}
	logits, labels := tempered(rng, 40000, planted)
	got, err := calib.FitClasswise(logits, 4, labels, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range planted {
		near(t, fmt.Sprint("T of class ", k), got.Temperature[k], want, 0.08*want)
	}
	log := func(s calib.Scaling, y int) float64 { return math.Log(s.Temperature[y%len(s.Temperature)]) }
	var classwise, global, alike, none float64
	for range 5 {
		planted := make([]float64, 30)
		for k := range planted {
			planted[k] = math.Exp(0.3 * rng.NormFloat64())
		}
		logits, labels := tempered(rng, 900, planted) // about 30 samples a class
		c, _ := calib.FitClasswise(logits, 30, labels, nil)
		g, _ := calib.FitTemperature(logits, 30, labels, nil)
		logits, labels = tempered(rng, 900, slices.Repeat([]float64{2}, 30))
		a, _ := calib.FitClasswise(logits, 30, labels, nil)
		n, _ := calib.FitTemperature(logits, 30, labels, nil)
		for k, want := range planted {
			classwise += math.Pow(log(c, k)-math.Log(want), 2) / 150
			global += math.Pow(log(g, k)-math.Log(want), 2) / 150
			alike += math.Pow(log(a, k)-math.Log(2), 2) / 150
			none += math.Pow(log(n, k)-math.Log(2), 2) / 150
		}
	}
	t.Logf("root mean square error of log T at 30 samples a class: spread 0.3: class-wise %.3f, global %.3f; "+
		"spread 0: %.3f, %.3f",
		math.Sqrt(classwise), math.Sqrt(global), math.Sqrt(alike), math.Sqrt(none))
	if !(classwise < 0.6*global) {
		t.Errorf("class-wise temperatures err by %.3f, a global one by %.3f", math.Sqrt(classwise), math.Sqrt(global))
	}
	if !(math.Sqrt(alike) < 0.1) {
		t.Errorf("temperatures that are alike are found to err by %.3f", math.Sqrt(alike))
	}
}

// No scaling changes a prediction, and each row's probabilities are those of its predicted class's temperature.
func TestProbabilities(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	logits, labels := tempered(rng, 300, []float64{1, 1, 1})
	one := make([]float32, 3)
	for _, s := range []calib.Scaling{{}, {Temperature: []float64{2}}, {Temperature: []float64{0.5, 1, 4}}} {
		probs := slices.Clone(logits)
		s.Probabilities(probs, 3, probs) // in place
		for i := range labels {
			z, p := logits[3*i:3*i+3], probs[3*i:3*i+3]
			k := slices.Index(z, slices.Max(z))
			temperature := 1.0
			switch len(s.Temperature) {
			case 1:
				temperature = s.Temperature[0]
			case 3:
				temperature = s.Temperature[k]
			}
			calib.Softmax(z, 3, temperature, one)
			if !slices.Equal(one, p) || slices.Index(p, slices.Max(p)) != k {
				t.Fatalf("%v: logits %v become %v, want %v", s, z, p, one)
			}
		}
	}
}

func TestScalingEdges(t *testing.T) {
	nan, inf := float32(math.NaN()), math.Inf(1)
	for name, fit := range map[string]func([]float32, int, []int, []float64) (calib.Scaling, error){
		"temperature": calib.FitTemperature, "class-wise": calib.FitClasswise,
	} {
		for _, bad := range []struct {
			what    string
			logits  []float32
			labels  []int
			weights []float64
		}{
			{"no samples", nil, nil, nil},
			{"too few logits", []float32{1, 0}, []int{0, 1}, nil},
			{"NaN", []float32{1, nan}, []int{0}, nil},
			{"infinite logit", []float32{1, float32(inf)}, []int{0}, nil},
			{"label", []float32{1, 0}, []int{2}, nil},
			{"weights 0", []float32{1, 0}, []int{0}, []float64{0}},
			{"negative weight", []float32{1, 0}, []int{0}, []float64{-1}},
			{"infinite weight", []float32{1, 0}, []int{0}, []float64{inf}},
			{"too few weights", []float32{1, 0, 0, 1}, []int{0, 1}, []float64{1}},
		} {
			if s, err := fit(bad.logits, 2, bad.labels, bad.weights); err == nil {
				t.Errorf("%s: no error for %s, but %v", name, bad.what, s)
			}
		}
		// Always right wants the sharpest, always wrong the flattest; the class that is never predicted the global one.
		for y, want := range []float64{0.01, 100} {
			s, err := fit([]float32{1, 0, 2, 0}, 2, []int{y, y}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range s.Temperature {
				near(t, name+": T at the limit", got, want, 1e-6*want)
			}
		}
		if s, err := fit([]float32{1, 1}, 2, []int{0}, nil); err != nil ||
			!(s.Temperature[0] >= 0.01 && s.Temperature[0] <= 100) {
			t.Errorf("%s: logits without a difference give %v, %v", name, s, err)
		}
	}
	weights := calib.BalancedWeights([]int{0, 2, 2, 2, 0}, 3)
	if want := []float64{0.5, 1. / 3, 1. / 3, 1. / 3, 0.5}; !slices.Equal(weights, want) {
		t.Errorf("weights %v, want %v", weights, want)
	}
	values := []float64{1, 2, 3, 4}
	if mean, variance := calib.DerSimonianLaird(values, []float64{0, math.Inf(1), 1, 0}); mean != 3 || variance != 0 {
		t.Errorf("one usable value gives %g, %g", mean, variance)
	}
	mean, variance := calib.DerSimonianLaird(values, []float64{0.1, 0.1, 0.1, 0.1})
	near(t, "mean", mean, 2.5, 1e-12)
	near(t, "variance", variance, 5./3-0.01, 1e-12) // alike weights: the sample variance less the errors'
}

func TestScalingRenumbered(t *testing.T) {
	for _, c := range [][2][]float64{{{1, 2, 3}, {2, 3, 1}}, {{4}, {4}}} {
		got := calib.Scaling{Temperature: c[0]}.Renumbered([]int{2, 0, 1})
		if !slices.Equal(got.Temperature, c[1]) {
			t.Errorf("%v becomes %v, want %v", c[0], got.Temperature, c[1])
		}
	}
}

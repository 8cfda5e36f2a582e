package calib_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/calib"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.10g, want %.10g", what, got, want)
	}
}

func ExampleECE() {
	probs := []float32{ // three samples of two classes
		0.9, 0.1,
		0.8, 0.2,
		0.3, 0.7,
	}
	confidence, hit := calib.TopLabel(probs, 2, []int{0, 1, 1})
	bins := calib.EqualWidth(confidence, hit, 2, 0, 1)
	fmt.Printf("accuracy %.3f at confidence %.3f: ECE %.3f\n", bins[1].Accuracy, bins[1].Confidence, calib.ECE(bins))
	// Output: accuracy 0.667 at confidence 0.800: ECE 0.133
}

func ExampleFitOrigin() {
	bins := []calib.Bin{
		{Count: 50, Confidence: 0.2, Accuracy: 0.1},
		{Count: 50, Confidence: 0.8, Accuracy: 0.4},
	}
	line, _ := calib.FitOrigin(bins)
	fmt.Printf("κ = %.2f ± %.2f\n", line.Slope, line.StdErr)
	// Output: κ = 0.50 ± 0.08
}

func TestMetricsByHand(t *testing.T) {
	probs := []float32{0.7, 0.2, 0.1, 0.25, 0.5, 0.25, 0.1, 0.3, 0.6}
	labels := []int{0, 0, 2}
	near(t, "NLL", calib.NLL(probs, 3, labels), -(math.Log(0.7)+math.Log(0.25)+math.Log(0.6))/3, 1e-7)
	near(t, "Brier", calib.Brier(probs, 3, labels), (0.09+0.04+0.01+0.5625+0.25+0.0625+0.01+0.09+0.16)/3, 1e-7)
	confidence, hit := calib.TopLabel(probs, 3, labels)
	bins := calib.EqualWidth(confidence, hit, 10, 0, 1)
	// 0.7 and 0.6 are alone in their bins and right, 0.5 wrong.
	near(t, "ECE", calib.ECE(bins), (0.3+0.5+0.4)/3, 1e-6)
	near(t, "MCE", calib.MCE(bins), 0.5, 1e-6)
	// One bin: |share of the class − mean probability|, averaged.
	near(t, "class-wise ECE", calib.ClasswiseECE(probs, 3, labels, 1),
		(math.Abs(2./3-0.35)+1./3+math.Abs(1./3-0.95/3))/3,
		1e-6)
	if got := calib.ECE(calib.EqualWidth(nil, nil, 15, 0, 1)); !math.IsNaN(got) {
		t.Errorf("ECE of nothing = %v", got)
	}
	if got := calib.MCE(nil); !math.IsNaN(got) {
		t.Errorf("MCE of nothing = %v", got)
	}
	near(t, "NLL of an impossible label", calib.NLL([]float32{1, 0}, 2, []int{1}),
		-math.Log(math.SmallestNonzeroFloat32),
		1e-9)
}

func TestSoftmax(t *testing.T) {
	probs := make([]float32, 4)
	calib.Softmax([]float32{1000, 1000, 0, float32(2 * math.Log(3))}, 2, 2, probs)
	for i, want := range []float64{0.5, 0.5, 0.25, 0.75} {
		near(t, fmt.Sprint("p", i), float64(probs[i]), want, 1e-6)
	}
}

// Bins hold every sample once, in its place, whatever the binning.
func TestBinsKeepSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 7, 100} {
		confidence, hit := make([]float64, n), make([]bool, n)
		sum, hits := 0.0, 0.0
		for i := range confidence {
			confidence[i], hit[i] = float64(rng.IntN(11))/10, rng.IntN(2) == 0 // also on edges
			sum += confidence[i]
			if hit[i] {
				hits++
			}
		}
		for name, bins := range map[string][]calib.Bin{
			"equal width": calib.EqualWidth(confidence, hit, 10, 0, 1),
			"equal count": calib.EqualCount(confidence, hit, 10),
			"no width":    calib.EqualWidth(confidence, hit, 10, 1, 1),
		} {
			count, c, a := 0, 0.0, 0.0
			least, most := math.MaxInt, 0
			for _, b := range bins {
				count += b.Count
				c += float64(b.Count) * b.Confidence
				a += float64(b.Count) * b.Accuracy
				least, most = min(least, b.Count), max(most, b.Count)
				if name != "no width" && b.Count > 0 && !(b.Confidence >= b.Low-1e-12 && b.Confidence <= b.High+1e-12) {
					t.Errorf("%s: mean confidence outside of %+v", name, b)
				}
			}
			if count != n || math.Abs(c-sum) > 1e-9 || math.Abs(a-hits) > 1e-9 || len(bins) != 10 {
				t.Errorf("%s: %d samples became %d; confidence %g became %g, hits %g became %g", name, n, count, sum, c,
					hits, a)
			}
			if name == "equal count" && most-least > 1 {
				t.Errorf("equal count: bins of %d and %d", least, most)
			}
		}
	}
}

package calib_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/calib"
)

// randomBins draws bins along accuracy = slope·confidence + intercept, cut to [0, 1], with binomial noise.
func randomBins(rng *rand.Rand, slope, intercept float64, count int) []calib.Bin {
	bins := make([]calib.Bin, 20)
	for i := range bins {
		c := (float64(i) + 0.5) / 20
		p := min(max(slope*c+intercept, 0), 1)
		hits := 0
		for range count {
			if rng.Float64() < p {
				hits++
			}
		}
		bins[i] = calib.Bin{Count: count, Confidence: c}
		if count > 0 {
			bins[i].Accuracy = float64(hits) / float64(count)
		}
	}
	return bins
}

// minimum finds the minimum of f over a box by ever finer grids.
func minimum(f func(a, b float64) float64, a0, a1, b0, b1 float64) (a, b float64) {
	low, high := [2]float64{a0, b0}, [2]float64{a1, b1}
	for range 40 {
		best := math.Inf(1)
		const n = 20
		for i := range n + 1 {
			for j := range n + 1 {
				x, y := low[0]+(high[0]-low[0])*float64(i)/n, low[1]+(high[1]-low[1])*float64(j)/n
				if v := f(x, y); v < best {
					best, a, b = v, x, y
				}
			}
		}
		for k, c := range [2]float64{a, b} {
			r := (high[k] - low[k]) / 4
			low[k], high[k] = max([2]float64{a0, b0}[k], c-r), min([2]float64{a1, b1}[k], c+r)
		}
	}
	return a, b
}

// The closed forms are the minima that a search finds, inside the box and on its edges.
func TestFitsAreMinima(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	edges := 0
	for i := range 60 {
		slope, intercept := 3*rng.NormFloat64(), 2*rng.NormFloat64()
		bins := randomBins(rng, slope, intercept, 1+rng.IntN(30))
		if i%3 == 0 { // logits as confidences: far from the origin
			for j := range bins {
				bins[j].Confidence = 10*bins[j].Confidence - 2
				bins[j].Accuracy = 5*bins[j].Accuracy - 1
			}
		}
		bins[4].Count, bins[4].Confidence, bins[4].Accuracy = 0, 0, 0
		box := func(a, b float64) float64 {
			sum, n := 0.0, 0.0
			for _, bin := range bins {
				if bin.Count > 0 {
					r := a*bin.Confidence + b - bin.Accuracy
					sum += r * r
					n++
				}
			}
			return sum/n + 0.001*((a-1)*(a-1)+b*b)
		}
		got := calib.FitBox(bins, 0.001, 0.01, 10, -1, 1)
		a, b := minimum(box, 0.01, 10, -1, 1)
		if box(got.Slope, got.Intercept) > box(a, b)+1e-9 || got.Slope < 0.01 || got.Slope > 10 ||
			math.Abs(got.Intercept) > 1 {
			t.Errorf("FitBox gives (%g, %g), a search (%g, %g)", got.Slope, got.Intercept, a, b)
		}
		if got.Slope == 0.01 || got.Slope == 10 || math.Abs(got.Intercept) == 1 {
			edges++
		}
		weighted := func(a, b float64) float64 {
			sum := 0.0
			for _, bin := range bins {
				r := a*bin.Confidence + b - bin.Accuracy
				sum += float64(bin.Count) * r * r
			}
			return sum
		}
		line, ok := calib.FitLine(bins)
		a, b = minimum(weighted, -30, 30, -30, 30)
		if !ok || weighted(line.Slope, line.Intercept) > weighted(a, b)+1e-9 {
			t.Errorf("FitLine gives (%g, %g), a search (%g, %g)", line.Slope, line.Intercept, a, b)
		}
		line, ok = calib.FitOrigin(bins)
		a, _ = minimum(func(a, _ float64) float64 { return weighted(a, 0) }, -30, 30, 0, 0)
		if !ok || line.Intercept != 0 || math.Abs(line.Slope-a) > 1e-6 {
			t.Errorf("FitOrigin gives %g, a search %g", line.Slope, a)
		}
	}
	if edges < 10 || edges > 50 {
		t.Errorf("%d of 60 cases lie on an edge: the test does not try both", edges)
	}
}

func TestFitsWithoutData(t *testing.T) {
	empty := make([]calib.Bin, 5)
	single := []calib.Bin{{Count: 4, Confidence: 0.5, Accuracy: 0.25}, {}}
	if _, ok := calib.FitOrigin(empty); ok {
		t.Error("FitOrigin fits nothing")
	}
	if _, ok := calib.FitLine(single); ok {
		t.Error("FitLine fits one point")
	}
	if _, ok := calib.FitHuber(empty, true); ok {
		t.Error("FitHuber fits nothing")
	}
	if line := calib.FitBox(empty, 0.001, 0.01, 10, -1, 1); line.Slope != 1 || line.Intercept != 0 || line.Bins != 0 {
		t.Errorf("FitBox of nothing = %+v", line)
	}
	if line, ok := calib.FitOrigin(single); !ok || line.Slope != 0.5 || line.Bins != 1 {
		t.Errorf("FitOrigin of one point = %+v, %v", line, ok)
	}
}

// The standard error is what the slopes scatter by.
func TestStandardError(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	fits := map[string]func([]calib.Bin) calib.Line{
		"origin": func(b []calib.Bin) calib.Line { l, _ := calib.FitOrigin(b); return l },
		"line":   func(b []calib.Bin) calib.Line { l, _ := calib.FitLine(b); return l },
		"box":    func(b []calib.Bin) calib.Line { return calib.FitBox(b, 0.001, 0.01, 10, -1, 1) },
	}
	for name, fit := range fits {
		var sum, square, claimed float64
		const n = 2000
		for range n {
			line := fit(randomBins(rng, 0.7, 0.1, 40))
			sum += line.Slope
			square += line.Slope * line.Slope
			claimed += line.StdErr / n
		}
		actual := math.Sqrt(square/n - sum/n*sum/n)
		near(t, name+": standard error", claimed, actual, 0.08*actual)
	}
}

// One bin gone wrong moves least squares more than Huber.
func TestHuberResists(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, intercept := range []bool{false, true} {
		bins := randomBins(rng, 0.8, 0, 400)
		bins[19].Accuracy = 0
		robust, ok := calib.FitHuber(bins, intercept)
		plain, _ := calib.FitOrigin(bins)
		if intercept {
			plain, _ = calib.FitLine(bins)
		}
		if !ok || !(math.Abs(robust.Slope-0.8) < 0.3*math.Abs(plain.Slope-0.8)) {
			t.Errorf("intercept %v: Huber %.3f, least squares %.3f, truth 0.8", intercept, robust.Slope, plain.Slope)
		}
	}
}

package calib_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitft/vitft/calib"
)

// planted makes an epoch whose class y is right with probability kappa[y] times its confidence, as localized
// calibration has it. Every sample is predicted as its own class or, when wrong, labelled as the next.
func planted(rng *rand.Rand, kappa []float64, counts []int) calib.Epoch {
	e := calib.Epoch{Late: true, Number: 20, Counts: make([]int, len(counts))}
	for y, n := range counts {
		for range n {
			c := 0.1 + 0.9*rng.Float64()
			label := y
			if rng.Float64() >= kappa[y]*c {
				label = (y + 1) % len(counts)
			}
			e.Counts[label]++
			e.Samples = append(e.Samples, calib.Sample{Label: int32(label), Predicted: int32(y), Fitted: int32(y),
				Confidence: float32(c), LogSum: float32(-math.Log(c))})
		}
	}
	rng.Shuffle(len(e.Samples), func(i, j int) { e.Samples[i], e.Samples[j] = e.Samples[j], e.Samples[i] })
	return e
}

func estimate(t *testing.T, k calib.Estimator, e calib.Epoch) []calib.Kappa {
	t.Helper()
	kappa, err := k.Estimate(e)
	if err != nil {
		t.Fatal(err)
	}
	return kappa
}

// A planted κ is recovered within its standard error: the error over it has variance 1.
func TestSlopeRecoversPlantedKappa(t *testing.T) {
	truth := []float64{0.9, 0.7, 0.5, 0.3}
	for name, s := range map[string]calib.Slope{
		"least squares": {Shrink: -1},
		"equal count":   {Shrink: -1, EqualCount: true},
		"intercept":     {Shrink: -1, Intercept: true},
		"raw":           {Shrink: -1, Raw: true},
	} {
		rng := rand.New(rand.NewPCG(6, 1))
		sum, n := 0.0, 0.0
		for range 200 {
			for y, k := range estimate(t, s, planted(rng, truth, []int{400, 400, 400, 400})) {
				z := (k.Value - truth[y]) / k.StdErr
				sum += z * z
				n++
				if k.Samples != 400 || k.Bins < 15 || k.Skipped || k.Shrunk {
					t.Fatalf("%s: class %d: %+v", name, y, k)
				}
			}
		}
		near(t, name+": root mean square of error/standard error", math.Sqrt(sum/n), 1, 0.12)
	}
}

// The reference's current estimator takes the reciprocal, clamps and smooths.
func TestDDC(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	e := planted(rng, []float64{0.5, 0.8, 0.8}, []int{900, 900, 6})
	got := estimate(t, calib.DDC{Max: 5, Decay: -1}, e)
	for y, want := range []float64{2, 1.25, 1} {
		near(t, "κ", got[y].Value, want, 4*got[y].StdErr+1e-12)
	}
	if !got[2].Skipped || got[0].Skipped {
		t.Error("6 samples are not skipped, or 900 are")
	}
	near(t, "κ clamped to 1 by default", estimate(t, calib.DDC{Decay: -1}, e)[0].Value, 1, 0)
	first := estimate(t, calib.DDC{Max: 5}, e)
	near(t, "smoothed from 1", first[0].Value, 0.9+0.1*got[0].Value, 1e-12)
	e.Previous = first
	near(t, "smoothed on", estimate(t, calib.DDC{Max: 5}, e)[0].Value, 0.9*first[0].Value+0.1*got[0].Value, 1e-12)
	e.Late, e.Number = false, 4
	near(t, "warming up", estimate(t, calib.DDC{}, e)[0].Value, 1, 0)
}

// The reference's ViT estimator spreads the classes' slopes over [κ_min, 1].
func TestViT(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	var e calib.Epoch
	e.Late, e.Counts = true, []int{300, 300, 300, 0}
	for i := range 900 {
		y := int32(i % 3)
		c := rng.Float64()
		predicted := y
		if rng.Float64() > c*[]float64{0.9, 0.6, 0.3}[y] {
			predicted = (y + 1) % 3
		}
		logSum := float32(-math.Log(c))
		e.Samples = append(e.Samples, calib.Sample{Label: y, Predicted: predicted, True: float32(10 * c),
			LogSum: logSum})
	}
	for _, late := range []bool{true, false} {
		e.Late = late
		k := estimate(t, calib.ViT{Min: 0.2}, e)
		near(t, "greatest", k[0].Value, 1, 1e-9)
		near(t, "least", k[2].Value, 0.2, 1e-9)
		near(t, "middle", k[1].Value, 0.6, 0.15)
		if !k[3].Skipped || k[3].Value != 1 || k[0].Samples != 300 || k[0].Bins != 20 {
			t.Errorf("late %v: %+v", late, k)
		}
	}
	e.Samples = e.Samples[:0]
	for i := range 900 {
		e.Samples = append(e.Samples, calib.Sample{Label: int32(i % 3), Predicted: int32(i % 3), Top: 1, LogSum: 1.5})
	}
	e.Late = true
	for y, k := range estimate(t, calib.ViT{}, e) {
		near(t, "κ of classes that are alike", k.Value, 1, 0)
		_ = y
	}
}

// The bank is the last 1000 samples of a label: older ones must not count.
func TestBankForgets(t *testing.T) {
	e := calib.Epoch{Late: true, Counts: []int{1500, 10}}
	for i := range 1500 {
		s := calib.Sample{Label: 0, Predicted: 0, LogSum: float32(0.1 + float64(i%7)/10)}
		if i < 500 {
			s.Predicted = 1
		}
		e.Samples = append(e.Samples, s)
	}
	k := estimate(t, calib.DDC{Decay: -1}, e)
	if k[0].Samples != 1000 || k[1].Samples != 0 {
		t.Errorf("the bank holds %d and %d samples, want 1000 and 0", k[0].Samples, k[1].Samples)
	}
}

// A full pass over the logits gives what the epoch's samples give when they are of the same logits.
func TestFullPassAgrees(t *testing.T) {
	const n, classes = 600, 5
	rng := rand.New(rand.NewPCG(10, 1))
	e := calib.Epoch{Counts: make([]int, classes), Beta: []float64{1, 1.2, 0.8, 1, 2},
		Delta: []float64{0, -1, -2, 0.5, -3}}
	logits, labels := make([]float32, n*classes), make([]int, n)
	for i := range labels {
		row := logits[i*classes : (i+1)*classes]
		best, fitted, raw, seen := 0, 0, 0.0, 0.0
		adjusted := func(k int) float64 { return e.Beta[k]*float64(row[k]) + e.Delta[k] }
		for k := range row {
			row[k] = float32(2 * rng.NormFloat64())
			raw += math.Exp(float64(row[k]))
			seen += math.Exp(adjusted(k))
			if row[k] > row[best] {
				best = k
			}
			if adjusted(k) > adjusted(fitted) {
				fitted = k
			}
		}
		labels[i] = rng.IntN(classes)
		if rng.IntN(3) > 0 {
			labels[i] = best
		}
		e.Counts[labels[i]]++
		e.Samples = append(e.Samples, calib.Sample{Label: int32(labels[i]), Predicted: int32(best),
			True:   row[labels[i]],
			Top:    row[best],
			LogSum: float32(math.Log(raw)), Fitted: int32(fitted),
			Confidence: float32(math.Exp(adjusted(fitted)) / seen)})
	}
	e.Pass = func(visit func([]float32, []int)) error {
		visit(logits[:200*classes], labels[:200])
		visit(logits[200*classes:], labels[200:])
		return nil
	}
	for _, late := range []bool{false, true} {
		for _, group := range []calib.Grouping{calib.ByLabel, calib.ByPrediction} {
			for _, raw := range []bool{false, true} {
				e.Late = late
				s := calib.Slope{Group: group, Raw: raw, Min: -100, Max: 100, Shrink: -1, Intercept: true}
				bank := estimate(t, s, e)
				s.FullPass = true
				for y, k := range estimate(t, s, e) {
					near(t, "κ of the full pass", k.Value, bank[y].Value, 1e-3*(1+math.Abs(bank[y].Value)))
				}
			}
		}
	}
	// One-vs-rest on probabilities that are the truth: κ = 1.
	e.Late = true
	for i := range labels {
		probs := make([]float32, classes)
		row := logits[i*classes : (i+1)*classes]
		for k := range row {
			row[k] = float32(e.Beta[k]*float64(row[k]) + e.Delta[k])
		}
		calib.Softmax(row, classes, 1, probs)
		u := rng.Float32()
		labels[i] = 0
		for labels[i] < classes-1 && u > probs[labels[i]] {
			u -= probs[labels[i]]
			labels[i]++
		}
	}
	for y, k := range estimate(t, calib.Slope{Group: calib.OneVsRest, Raw: true, Shrink: -1}, e) {
		near(t, "one-vs-rest κ of the truth", k.Value, 1, 4*k.StdErr)
		_ = y
	}
	failed := errors.New("no pass")
	e.Pass = func(func([]float32, []int)) error { return failed }
	if _, err := (calib.Slope{FullPass: true}).Estimate(e); !errors.Is(err, failed) {
		t.Errorf("the pass's error became %v", err)
	}
}

// An epoch without samples of a class, or with none at all, gives κ > 0 everywhere.
func TestEstimatorsSurviveNothing(t *testing.T) {
	for _, name := range calib.Names() {
		k, err := calib.New(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, late := range []bool{false, true} {
			for y, got := range estimate(t, k, calib.Epoch{Late: late, Counts: []int{0, 0}, Number: 9}) {
				if got.Value != 1 || !got.Skipped {
					t.Errorf("%s, late %v: class %d got %+v", name, late, y, got)
				}
			}
		}
	}
}

// What an epoch pays for κ, at the size of CIFAR-100-LT.
func BenchmarkEstimate(b *testing.B) {
	const classes = 100
	rng := rand.New(rand.NewPCG(11, 1))
	kappa, counts, group := make([]float64, classes), make([]int, classes), make([]int, classes)
	for y := range counts {
		kappa[y], counts[y], group[y] = 0.7, int(500*math.Pow(0.01, float64(y)/99)), 3*y/classes
	}
	e := planted(rng, kappa, counts)
	e.Group, e.Beta, e.Delta = group, slices.Repeat([]float64{1}, classes), make([]float64, classes)
	logits, labels := make([]float32, len(e.Samples)*classes), make([]int, len(e.Samples))
	for i, s := range e.Samples {
		labels[i], logits[i*classes+int(s.Predicted)] = int(s.Label), 5
	}
	e.Pass = func(visit func([]float32, []int)) error {
		visit(logits, labels)
		return nil
	}
	for _, spec := range []string{"slope", "slope:huber", "slope:shrink=none", "slope:pass", "slope:by=one-vs-rest",
		"vit",
		"ddc"} {
		k, err := calib.New(spec)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(spec, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Estimate(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

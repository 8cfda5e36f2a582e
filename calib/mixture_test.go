package calib_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/calib"
)

// A mixture is a set of samples of known posterior P and of logits whose softmax p is localized-calibrated, exactly:
// P(y|x) = κ_y p_y(x) for every class at every x.
type mixture struct {
	kappa     []float64
	logits    []float32 // [n, C]
	posterior []float64 // [n, C]
	labels    []int
}

// newMixture draws posteriors with the given priors, more or less, and tilts each so that p = P/κ sums to 1.
func newMixture(rng *rand.Rand, n int, kappa, priors []float64) mixture {
	m := mixture{kappa: kappa, labels: make([]int, n)}
	classes := len(kappa)
	for i := range n {
		log := make([]float64, classes)
		for y := range log {
			log[y] = math.Log(priors[y]) + 2*rng.NormFloat64()
		}
		// Σ P_y (1/κ_y − 1) rises with t where P ∝ exp(log + t/κ).
		p := make([]float64, classes)
		low, high := -20., 20.
		for range 40 {
			t := (low + high) / 2
			sum, excess := 0.0, 0.0
			for y := range p {
				p[y] = math.Exp(log[y] + t*(1/kappa[y]-1))
				sum += p[y]
				excess += p[y] * (1/kappa[y] - 1)
			}
			for y := range p {
				p[y] /= sum
			}
			if excess < 0 {
				low = t
			} else {
				high = t
			}
		}
		u := rng.Float64()
		for u > p[m.labels[i]] && m.labels[i] < classes-1 {
			u -= p[m.labels[i]]
			m.labels[i]++
		}
		for y := range p {
			m.logits = append(m.logits, float32(math.Log(p[y]/kappa[y])))
		}
		m.posterior = append(m.posterior, p...)
	}
	return m
}

func (m mixture) epoch() calib.Epoch {
	classes := len(m.kappa)
	e := calib.Epoch{Late: true, Number: 20, Counts: make([]int, classes)}
	for i, y := range m.labels {
		e.Counts[y]++
		e.Samples = append(e.Samples, calib.NewSample(m.logits[i*classes:(i+1)*classes], y, nil, nil))
	}
	e.Beta, e.Delta = []float64{1, 1, 1, 1, 1}, make([]float64, classes)
	e.Pass = func(visit func([]float32, []int)) error {
		visit(m.logits, m.labels)
		return nil
	}
	return e
}

var (
	mixtureKappa = []float64{0.6, 0.8, 1, 1.3, 1.6}
	balanced     = []float64{0.2, 0.2, 0.2, 0.2, 0.2}
	longTailed   = []float64{0.5, 0.25, 0.12, 0.08, 0.05}
)

// Under localized calibration a class's slope is its κ among the samples that are predicted as it and among all
// samples: there, what is conditioned on is a function of x, and P = κ p holds at each x. Among the samples of its
// label it is not: they were chosen by the outcome.
func TestMixtureRecoversKappa(t *testing.T) {
	cases := []struct {
		name string
		s    calib.Slope
		is   bool
	}{
		{"by prediction", calib.Slope{}, true},
		{"by prediction, equal count", calib.Slope{EqualCount: true}, true},
		{"by prediction, full pass", calib.Slope{FullPass: true}, true},
		{"by prediction, raw", calib.Slope{Raw: true}, true},
		{"one-vs-rest", calib.Slope{Group: calib.OneVsRest}, true},
		{"one-vs-rest, intercept", calib.Slope{Group: calib.OneVsRest, Intercept: true}, true},
		{"by label", calib.Slope{Group: calib.ByLabel}, false},
	}
	rng := rand.New(rand.NewPCG(31, 1))
	square, fits := make([]float64, len(cases)), make([]float64, len(cases))
	const draws = 20
	for range draws {
		m := newMixture(rng, 1500, mixtureKappa, balanced)
		for i, c := range cases {
			c.s.Shrink = -1
			for y, k := range estimate(t, c.s, m.epoch()) {
				if k.Samples >= 20 {
					z := (k.Value - m.kappa[y]) / k.StdErr
					square[i] += z * z
					fits[i]++
				}
			}
		}
	}
	for i, c := range cases {
		z := math.Sqrt(square[i] / fits[i])
		t.Logf("%s: root mean square of error/standard error %.2f in %.0f fits", c.name, z, fits[i])
		if c.is && !(z > 0.75 && z < 1.25) || !c.is && z < 2 {
			t.Errorf("%s: root mean square of error/standard error %.2f", c.name, z)
		}
	}
}

// Fisher consistency: with the estimated slope for κ, argmax κ p/π is the balanced Bayes rule argmax P/π; with its
// reciprocal it is not, nor with the reference's estimator, which takes the reciprocal, nor without κ. The slope is
// one-vs-rest: where κ_y > 1 is large, p_y is never the largest, and a class that is never predicted has no slope among
// the samples predicted as it.
func TestMixtureFisherConsistency(t *testing.T) {
	const draws = 3
	rng := rand.New(rand.NewPCG(32, 1))
	var tests, fitted [2][draws]mixture
	tails := [2][]float64{balanced, longTailed}
	for i, priors := range tails {
		for d := range draws {
			tests[i][d], fitted[i][d] = newMixture(rng, 1000, mixtureKappa, priors),
				newMixture(rng, 3000, mixtureKappa, priors)
		}
	}
	oneVsRest := calib.Slope{Group: calib.OneVsRest}
	agreement := func(k calib.Estimator, power float64, tail int) float64 {
		same, priors := 0.0, tails[tail]
		for d := range draws {
			test := tests[tail][d]
			kappa := estimate(t, k, fitted[tail][d].epoch())
			for i := range test.labels {
				bayes, rule := 0, 0
				var best, most float64
				for y, p := range test.posterior[i*5 : i*5+5] {
					if v := p / priors[y]; v > best {
						bayes, best = y, v
					}
					if v := p / mixtureKappa[y] * math.Pow(kappa[y].Value, power) / priors[y]; v > most {
						rule, most = y, v
					}
				}
				if bayes == rule {
					same += 1 / float64(draws*len(test.labels))
				}
			}
		}
		return same
	}
	for _, c := range []struct {
		name        string
		k           calib.Estimator
		power       float64
		tail        int
		least, most float64
	}{
		{"slope", oneVsRest, 1, 0, 0.96, 1},
		{"reciprocal", oneVsRest, -1, 0, 0, 0.6},
		{"ddc", calib.DDC{Max: 10, Decay: -1}, 1, 0, 0, 0.6},
		{"none", calib.One{}, 1, 0, 0, 0.75},
		{"slope by prediction", calib.Slope{}, 1, 0, 0.75, 1},
		{"long tail: slope", oneVsRest, 1, 1, 0.96, 1},
		{"long tail: reciprocal", oneVsRest, -1, 1, 0, 0.85},
		{"long tail: none", calib.One{}, 1, 1, 0, 0.95},
	} {
		got := agreement(c.k, c.power, c.tail)
		t.Logf("%s: agreement with the balanced Bayes rule %.3f", c.name, got)
		if !(got >= c.least && got <= c.most) {
			t.Errorf("%s: agreement with the balanced Bayes rule %.3f, not from %g to %g", c.name, got, c.least, c.most)
		}
	}
}

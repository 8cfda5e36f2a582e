package calib_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/calib"
)

// shrinkages are what slopes are compared under.
var shrinkages = []struct {
	name string
	s    calib.Slope
}{
	{"plain", calib.Slope{Shrink: -1}},
	{"5 samples", calib.Slope{Shrink: 5, Toward: calib.Global}},
	{"20 samples", calib.Slope{Shrink: 20, Toward: calib.Global}},
	{"20, group", calib.Slope{Shrink: 20}},
	{"auto, global", calib.Slope{Toward: calib.Global}},
	{"auto", calib.Slope{}},
}

// scenarios are populations of 60 classes in two groups of 30, the first of 200 samples a class: what they have of κ
// in common differs.
var scenarios = []struct {
	name         string
	first, other float64 // mean κ of the groups
	spread       float64 // of κ within a group, half the width of a uniform distribution
}{
	{"alike", 0.7, 0.7, 0},
	{"spread", 0.7, 0.7, 0.3},
	{"groups", 0.9, 0.5, 0.1},
}

func population(rng *rand.Rand, first, other, spread float64, n int) (kappa []float64, counts, group []int) {
	for y := range 60 {
		mean, count, g := first, 200, 0
		if y >= 30 {
			mean, count, g = other, n, 1
		}
		kappa, counts, group = append(kappa, mean+spread*(2*rng.Float64()-1)), append(counts, count), append(group, g)
	}
	return kappa, counts, group
}

// TestShrinkage reports the root mean square error of κ for rare classes, and holds that empirical Bayes is better than
// plain regression wherever its target is a population.
func TestShrinkage(t *testing.T) {
	const draws = 12
	for _, c := range scenarios {
		table := fmt.Sprintf("κ %s: root mean square error\nsamples", c.name)
		for _, s := range shrinkages {
			table += fmt.Sprintf("%14s", s.name)
		}
		for _, n := range []int{5, 10, 20, 50} {
			rng := rand.New(rand.NewPCG(21, uint64(n)))
			square := make([]float64, len(shrinkages))
			for range draws {
				truth, counts, group := population(rng, c.first, c.other, c.spread, n)
				e := planted(rng, truth, counts)
				e.Group = group
				for i, s := range shrinkages {
					for y, k := range estimate(t, s.s, e) {
						if group[y] == 1 {
							square[i] += math.Pow(k.Value-truth[y], 2) / (30 * draws)
						}
						if k.Skipped || k.Shrunk != (s.s.Shrink >= 0) || k.Samples != counts[y] {
							t.Fatalf("%s: class %d: %+v", s.name, y, k)
						}
					}
				}
			}
			table += fmt.Sprintf("\n%7d", n)
			for i := range square {
				square[i] = math.Sqrt(square[i])
				table += fmt.Sprintf("%14.3f", square[i])
			}
			plain, global, auto := square[0], square[4], square[5]
			if !(auto < plain) || c.first == c.other && !(global < plain) {
				t.Errorf("%s, %d samples: auto %.3f, toward all classes %.3f, plain %.3f", c.name, n, auto, global,
					plain)
			}
			if n <= 20 && c.spread == 0 && !(auto < plain/3) {
				t.Errorf("classes alike, %d samples: auto %.3f, plain %.3f", n, auto, plain)
			}
		}
		t.Log(table)
	}
}

// TestCoverage holds that κ ± 1.96 standard errors covers the planted κ about as often as it should, on average over
// rare classes. Where classes of a target are all alike, empirical Bayes covers more: it cannot know that they are.
// (Shrinkage by a fixed number of samples is a claim about how much classes differ, and where that is wrong, so is its
// error: it is not here.)
func TestCoverage(t *testing.T) {
	const draws = 20
	for _, c := range scenarios {
		for _, n := range []int{5, 10, 20, 50} {
			for _, s := range []int{0, 4, 5} {
				if c.name == "groups" && s == 4 {
					continue // not one population
				}
				rng := rand.New(rand.NewPCG(22, uint64(n)))
				covered, square := 0.0, 0.0
				for range draws {
					truth, counts, group := population(rng, c.first, c.other, c.spread, n)
					e := planted(rng, truth, counts)
					e.Group = group
					for y, k := range estimate(t, shrinkages[s].s, e) {
						if group[y] == 0 {
							continue
						}
						z := (k.Value - truth[y]) / k.StdErr
						square += z * z / (30 * draws)
						if math.Abs(z) <= 1.96 {
							covered += 1. / (30 * draws)
						}
					}
				}
				t.Logf("κ %s, %d samples, %s: 95 %% intervals cover %.3f; error/standard error %.2f",
					c.name, n, shrinkages[s].name, covered, math.Sqrt(square))
				if !(covered >= 0.90) || covered > 0.99 && (s == 0 || c.spread == 0.3) {
					t.Errorf("κ %s, %d samples, %s: 95 %% intervals cover %.3f", c.name, n, shrinkages[s].name, covered)
				}
			}
		}
	}
}

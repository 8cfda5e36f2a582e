package head_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
)

// fixed is an estimator that knows κ.
type fixed []float64

func (f fixed) Softmax(bool) bool { return false }

func (f fixed) Folds() int { return 0 }

func (f fixed) Estimate(calib.Epoch) ([]calib.Kappa, error) {
	kappa := make([]calib.Kappa, len(f))
	for y, v := range f {
		kappa[y].Value = v
	}
	return kappa, nil
}

// Fisher consistency (METHOD, "Why κ, and which sign"). The samples are of three Gaussians in the plane, whose
// posterior is known and linear in x. The late phase's weights α = π^(−ρ) make softmax miss the posterior by exactly
// κ = π^ρ: the minimiser is p ∝ α P, so P ∝ p/α = κ p. Trained with that κ, the argmax of the raw logits is the
// balanced Bayes rule argmax P(y|x)/π_y, which for round Gaussians is the nearest centre. With 1/κ it is not, nor
// without κ.
func TestFisherConsistency(t *testing.T) {
	centres := [][2]float64{{0, 0}, {2, 0}, {0, 2}}
	priors := []float64{0.9, 0.08, 0.02}
	const rho = 0.6
	rng := rand.New(rand.NewPCG(1, 1))
	d := head.Data{Dim: 2, Classes: 3}
	for y, c := range centres {
		for range int(40000 * priors[y]) {
			d.X = append(d.X, float32(c[0]+rng.NormFloat64()), float32(c[1]+rng.NormFloat64()))
			d.Y = append(d.Y, y)
		}
	}
	kappa, reciprocal := make(fixed, 3), make(fixed, 3)
	for y, p := range priors {
		kappa[y], reciprocal[y] = math.Pow(p, rho), math.Pow(p, -rho)
	}

	const points = 10000
	x, bayes := make([]float32, 2*points), make([]int, points)
	for i := range bayes {
		x[2*i], x[2*i+1] = float32(5*rng.Float64()-1.5), float32(5*rng.Float64()-1.5)
		nearest := math.Inf(1)
		for y, c := range centres {
			if r := math.Hypot(float64(x[2*i])-c[0], float64(x[2*i+1])-c[1]); r < nearest {
				nearest, bayes[i] = r, y
			}
		}
	}
	agreement := func(kappa calib.Estimator) float64 {
		r := train(t, d, head.Settings{Head: "linear", Features: "raw", Start: "zero", Epochs: 8, Batch: 250, LR: 0.1,
			Switch: new(1.0), Tau: new(1.0), Rho: new(rho), Kappa: kappa})
		z := make([]float32, 3*points)
		if err := r.Head.Logits(head.Blas{}, x, z); err != nil {
			t.Fatal(err)
		}
		same := 0.0
		for i, y := range bayes {
			if row := z[3*i : 3*i+3]; row[y] == slices.Max(row) {
				same++
			}
		}
		return same / points
	}
	right, wrong, without := agreement(kappa), agreement(reciprocal), agreement(calib.One{})
	t.Logf("agreement with the balanced Bayes rule: κ %.3f, 1/κ %.3f, none %.3f", right, wrong, without)
	if right < 0.97 {
		t.Errorf("with the true κ the head agrees with the balanced Bayes rule on %.3f of the plane", right)
	}
	if wrong > 0.85 {
		t.Errorf("with 1/κ it still agrees on %.3f", wrong)
	}
	if without > 0.92 {
		t.Errorf("without κ it still agrees on %.3f", without)
	}
}

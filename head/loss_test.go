package head

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/calib"
)

// reference is the loss of a batch in float64, straight from METHOD's formula.
func reference(a Adjustment, cosine bool, dim int, x []float64, labels []int, params []float64) float64 {
	classes := len(a.Alpha)
	w, b, scale := params[:classes*dim], params[classes*dim:classes*dim+classes], params[len(params)-1]
	sum, weight := 0.0, 0.0
	for i, y := range labels {
		z := make([]float64, classes)
		total := 0.0
		for k := range z {
			dot, square := 0.0, 0.0
			for d := range dim {
				dot += w[k*dim+d] * x[i*dim+d]
				square += w[k*dim+d] * w[k*dim+d]
			}
			if cosine {
				dot /= math.Sqrt(square)
			}
			z[k] = a.Beta[k]*(scale*dot+b[k]) + a.Delta[k]
			total += math.Exp(z[k])
		}
		sum += a.Alpha[y] * (math.Log(total) - z[y])
		weight += a.Alpha[y]
	}
	return sum / weight
}

// Every loss in both phases and with both heads: the analytic gradient is the derivative of the reference.
func TestGradient(t *testing.T) {
	const dim, n = 5, 12
	counts := []int{40, 9, 3, 1}
	kappa := []calib.Kappa{{Value: 0.9}, {Value: 0.5}, {Value: 2}, {Value: 0.2}}
	rng := rand.New(rand.NewPCG(1, 2))
	d := Data{Dim: dim, Classes: len(counts)}
	for i := range n {
		for range dim {
			d.X = append(d.X, float32(rng.NormFloat64()))
		}
		d.Y = append(d.Y, i%len(counts))
	}
	batch := rng.Perm(n)
	for _, loss := range Losses() {
		for _, kind := range []string{"cosine", "linear"} {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprint(loss, "/", kind, "/late=", late), func(t *testing.T) {
					s := Settings{Loss: loss, Head: kind, Scale: 3, LearnScale: true, Start: "zero", Gamma: new(0.4), Rho: new(0.5), Tau: new(1.3)}.WithDefaults()
					tr, err := newTrainer(d, s)
					if err != nil {
						t.Fatal(err)
					}
					if err := tr.begin(); err != nil {
						t.Fatal(err)
					}
					w, b, _ := tr.split(tr.state.Params)
					for i := range w {
						w[i] = float32(rng.NormFloat64())
					}
					if kind == "linear" {
						for i := range b {
							b[i] = float32(rng.NormFloat64())
						}
					}
					a, err := NewAdjustment(s, late, counts, kappa)
					if err != nil {
						t.Fatal(err)
					}
					seen := make([]calib.Sample, n)
					got, err := tr.gradient(batch, newBatchLoss(a), seen, true)
					if err != nil {
						t.Fatal(err)
					}
					var x, params []float64
					var labels []int
					for _, j := range batch {
						for _, v := range tr.rows[j*dim : (j+1)*dim] {
							x = append(x, float64(v))
						}
						labels = append(labels, d.Y[j])
					}
					for _, p := range tr.state.Params {
						params = append(params, float64(p))
					}
					f := func() float64 { return reference(a, kind == "cosine", dim, x, labels, params) }
					if want := f(); math.Abs(got-want) > 1e-5*(1+want) {
						t.Errorf("loss %.8g, want %.8g", got, want)
					}
					trained := len(params) // the linear head has no scale, the cosine head no bias
					if kind == "linear" {
						trained--
					}
					for i := range trained {
						if kind == "cosine" && i >= len(counts)*dim && i < len(params)-1 {
							continue
						}
						const h = 1e-5
						at := params[i]
						params[i] = at + h
						up := f()
						params[i] = at - h
						want := (up - f()) / (2 * h)
						params[i] = at
						if diff := math.Abs(float64(tr.grad[i]) - want); diff > 2e-6+2e-5*math.Abs(want) {
							t.Errorf("parameter %d: gradient %.8g, want %.8g", i, tr.grad[i], want)
						}
					}
					// What κ estimation gets to see is of the raw logits.
					for i, j := range batch {
						z := make([]float64, len(counts))
						total := 0.0
						best := 0
						h := tr.current()
						hw := h.EffectiveWeight()
						for k := range z {
							for q := range dim {
								z[k] += float64(hw[k*dim+q]) * float64(tr.rows[j*dim+q])
							}
							z[k] += float64(h.B[k])
							total += math.Exp(z[k])
							if z[k] > z[best] {
								best = k
							}
						}
						o := seen[i]
						fitted, confidence := 0, 0.0
						for k := range z {
							if a.Beta[k]*z[k]+a.Delta[k] > a.Beta[fitted]*z[fitted]+a.Delta[fitted] {
								fitted = k
							}
						}
						for k := range z {
							confidence += math.Exp(a.Beta[k]*z[k] + a.Delta[k] - a.Beta[fitted]*z[fitted] - a.Delta[fitted])
						}
						if int(o.Fitted) != fitted || math.Abs(float64(o.Confidence)-1/confidence) > 1e-5 {
							t.Errorf("sample %d: saw %+v, want %d with %g as the loss sees it", i, o, fitted, 1/confidence)
						}
						if int(o.Label) != d.Y[j] || int(o.Predicted) != best || math.Abs(float64(o.True)-z[d.Y[j]]) > 1e-5 ||
							math.Abs(float64(o.Top)-z[best]) > 1e-5 || math.Abs(float64(o.LogSum)-math.Log(total)) > 1e-5 {
							t.Errorf("sample %d: saw %+v, logits %v", i, o, z)
						}
					}
				})
			}
		}
	}
}

func TestExp32(t *testing.T) {
	worst := 0.0
	for x := float32(0); x > -87; x -= 1.0 / 1024 {
		want := math.Exp(float64(x))
		worst = max(worst, math.Abs(float64(exp32(x))-want)/want)
	}
	if worst > 3e-7 {
		t.Errorf("relative error %.3g", worst)
	}
	for x, want := range map[float32]float32{0: 1, -88: 0, float32(math.Inf(-1)): 0} {
		if got := exp32(x); got != want {
			t.Errorf("exp32(%g) = %g, want %g", x, got, want)
		}
	}
	if got := exp32(float32(math.NaN())); got == got {
		t.Errorf("exp32(NaN) = %g", got)
	}
}

func BenchmarkExp(b *testing.B) {
	x := make([]float32, 1024)
	for i := range x {
		x[i] = -float32(i) / 64
	}
	var sum float32
	b.Run("exp32", func(b *testing.B) {
		for b.Loop() {
			for _, v := range x {
				sum += exp32(v)
			}
		}
	})
	b.Run("math.Exp", func(b *testing.B) {
		for b.Loop() {
			for _, v := range x {
				sum += float32(math.Exp(float64(v)))
			}
		}
	})
	_ = sum
}

package head

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitft/vitft/calib"
)

// reference is the loss of a batch in float64, straight from the formulas: the mean over experts, with the diversity
// term.
func reference(a Adjustment, s Settings, counts []int, dim int, x []float64, labels []int, params []float64) float64 {
	classes, experts := len(a.Alpha), s.Experts
	size := classes * (dim + 2)
	inverse := make([]float64, classes) // 1/T
	mean := 0.0
	for _, n := range counts {
		mean += float64(n) / float64(classes)
	}
	for k, n := range counts {
		inverse[k] = (0.05*float64(slices.Max(counts))/mean + 0.95) / (0.05*float64(n)/mean + 0.95)
	}
	total, weight := 0.0, 0.0
	for i, y := range labels {
		p := make([][]float64, experts) // softened
		for e := range experts {
			w, b, scale := params[e*size:], params[e*size+classes*dim:], params[e*size+classes*dim+classes:]
			z, soft := make([]float64, classes), make([]float64, classes)
			sum, softSum := 0.0, 0.0
			for k := range z {
				dot, square := 0.0, 0.0
				for d := range dim {
					dot += w[k*dim+d] * x[i*dim+d]
					square += w[k*dim+d] * w[k*dim+d]
				}
				if s.Head == "cosine" {
					dot /= math.Sqrt(square)
				}
				raw := scale[k] * (dot + b[k])
				soft[k] = math.Exp(raw * inverse[k])
				softSum += soft[k]
				z[k] = a.Beta[k]*raw + a.Delta[k]
				if k == y {
					z[k] -= a.Margin[k]
				}
				sum += math.Exp(z[k])
			}
			for k := range soft {
				soft[k] /= softSum
			}
			p[e] = soft
			py := math.Exp(z[y]) / sum
			total -= a.Alpha[y] * math.Pow(1-py, a.Focus) * math.Log(py)
		}
		for e := range experts {
			for f := range experts {
				for k := range classes {
					if e != f {
						// Σ α is divided by in the end; this term has a plain mean.
						kl := p[e][k] * math.Log(p[e][k]/p[f][k])
						total -= s.Diversity / float64(experts-1) * kl * meanOf(a.Alpha, labels)
					}
				}
			}
		}
		weight += a.Alpha[y]
	}
	return total / weight / float64(experts)
}

func meanOf(v []float64, at []int) float64 {
	sum := 0.0
	for _, i := range at {
		sum += v[i] / float64(len(at))
	}
	return sum
}

// Every loss in both phases, with both heads, one expert and several: the analytic gradient is the derivative of the
// reference.
func TestGradient(t *testing.T) {
	for _, loss := range Losses() {
		for _, kind := range []string{"cosine", "linear"} {
			for _, late := range []bool{false, true} {
				for _, experts := range []int{1, 3} {
					s := Settings{Loss: loss, Head: kind, Scale: 3, LearnScale: true, Start: "zero", Gamma: new(0.4),
						Rho: new(0.5),
						Tau: new(1.3), Experts: experts}
					if experts > 1 {
						s.Diversity, s.Subspace = 0.3, 1
					}
					if m := findMethod(loss); m.solve != nil {
						continue
					}
					t.Run(fmt.Sprint(loss, "/", kind, "/late=", late, "/", experts),
						func(t *testing.T) { checkGradient(t, s.WithDefaults(), late) })
				}
			}
		}
	}
}

func checkGradient(t *testing.T, s Settings, late bool) {
	const dim, n = 5, 12
	counts := []int{40, 9, 3, 1}
	classes := len(counts)
	kappa := []calib.Kappa{{Value: 0.9}, {Value: 0.5}, {Value: 2}, {Value: 0.2}}
	rng := rand.New(rand.NewPCG(1, 2))
	d := Data{Dim: dim, Classes: classes}
	for i := range n {
		for range dim {
			d.X = append(d.X, float32(rng.NormFloat64()))
		}
		d.Y = append(d.Y, i%classes)
	}
	batch := rng.Perm(n)
	p, err := prepare(t.Context(), d, s, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLinear(t.Context(), d, s, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	l.counts = counts
	for e := range s.Experts {
		p := l.one(l.expert, e)
		for k := range p.s {
			p.s[k] = 1
			if s.Head == "cosine" {
				p.s[k] = float32(s.Scale)
			} else {
				p.b[k] = float32(rng.NormFloat64())
			}
		}
		for i := range p.w {
			p.w[i] = float32(rng.NormFloat64())
		}
	}
	a, err := NewAdjustment(s, late, counts, kappa)
	if err != nil {
		t.Fatal(err)
	}
	l.scales = l.set.method.stage(late).scales
	scales := l.scales
	if scales {
		l.s[classes-1] *= 1.5 // they may differ by then
	}
	r, err := l.loop().begin(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]calib.Sample, n)
	got, err := r.gradient(t.Context(), batch, newBatchLoss(a, true), seen)
	if err != nil {
		t.Fatal(err)
	}
	var x, params []float64
	var labels []int
	for _, j := range batch {
		for _, v := range l.flat.X[j*dim : (j+1)*dim] {
			x = append(x, float64(v))
		}
		labels = append(labels, d.Y[j])
	}
	var grad []float32
	for e := range s.Experts {
		p, g := l.one(l.expert, e), l.one(expert{r.grad[0], r.grad[1], r.grad[2]}, e)
		for _, values := range [][]float32{p.w, p.b, p.s} {
			for _, v := range values {
				params = append(params, float64(v))
			}
		}
		grad = append(append(append(grad, g.w...), g.b...), g.s...)
	}
	f := func() float64 { return reference(a, s, counts, dim, x, labels, params) }
	if want := f(); math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
		t.Errorf("loss %.8g, want %.8g", got, want)
	}
	// The derivative by a shift of some parameters, of the sum over experts that is trained.
	const h = 1e-5
	slope := func(at ...int) float64 {
		shift := func(by float64) {
			for _, i := range at {
				params[i] += by
			}
		}
		shift(h)
		up := f()
		shift(-2 * h)
		down := f()
		shift(h)
		return float64(s.Experts) * (up - down) / (2 * h)
	}
	check := func(what string, i int, want float64) {
		if diff := math.Abs(float64(grad[i]) - want); diff > 3e-6+3e-5*math.Abs(want) {
			t.Errorf("%s, parameter %d: gradient %.8g, want %.8g", what, i, grad[i], want)
		}
	}
	for e := range s.Experts {
		from := e * classes * (dim + 2)
		b, scale := from+classes*dim, from+classes*(dim+1)
		var all []int
		for k := range classes {
			all = append(all, scale+k)
		}
		for i := from; i < b && !scales; i++ {
			check("W", i, slope(i))
		}
		for k := range classes {
			switch {
			case scales && s.Head == "cosine":
				check("scale", scale+k, slope(scale+k)*s.Scale*s.Scale)
			case scales:
				check("scale", scale+k, slope(scale+k))
			case s.Head == "cosine":
				check("scale", scale+k, slope(all...))
				check("no b", b+k, 0)
			default:
				check("b", b+k, slope(b+k))
				check("fixed scale", scale+k, 0)
			}
		}
	}
	for i, trained := range []bool{!scales, !scales && s.Head == "linear", scales || s.Head == "cosine"} {
		if p := l.Params()[i]; p.Frozen == trained {
			t.Errorf("%s: frozen is %v", p.Name, p.Frozen)
		}
	}
	// What κ estimation gets to see is of the raw logits.
	if s.Experts > 1 || a.Margin[0] != 0 {
		return
	}
	hw := l.Head()
	if l.set.method.after != nil {
		return
	}
	for i, j := range batch {
		z := make([]float32, classes)
		if err := hw.multiply(Blas{}, l.flat.X[j*dim:(j+1)*dim], z); err != nil {
			t.Fatal(err)
		}
		o, want := seen[i], calib.NewSample(z, d.Y[j], a.Beta, a.Delta)
		if o.Label != want.Label || o.Predicted != want.Predicted || o.Fitted != want.Fitted ||
			math.Abs(float64(o.True-want.True)) > 1e-5 ||
			math.Abs(float64(o.Top-want.Top)) > 1e-5 || math.Abs(float64(o.LogSum-want.LogSum)) > 1e-5 ||
			math.Abs(float64(o.Confidence-want.Confidence)) > 1e-5 {
			t.Errorf("sample %d: saw %+v, want %+v", i, o, want)
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

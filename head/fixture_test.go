package head

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/calib"
)

func readFixture(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// Values and gradients of every loss and phase against testdata/losses.py, which knows nothing of α, β and Δ.
func TestLossesAgainstNumpy(t *testing.T) {
	var f struct {
		Counts                                []int
		Kappa                                 []float64
		Tau, Gamma, Rho, Focus, Margin, Scale float64
		Labels                                []int
		Logits                                []float32
		Cases                                 []struct {
			Loss     string
			Late     bool
			Value    float64
			Gradient []float64
		}
	}
	readFixture(t, "losses.json", &f)
	var kappa []calib.Kappa
	for _, k := range f.Kappa {
		kappa = append(kappa, calib.Kappa{Value: k})
	}
	tested := map[string]int{}
	for _, c := range f.Cases {
		s := Settings{Loss: c.Loss, Tau: &f.Tau, Gamma: &f.Gamma, Rho: &f.Rho, Focus: &f.Focus, Margin: &f.Margin,
			Scale: f.Scale}
		a, err := NewAdjustment(s, c.Late, f.Counts, kappa)
		if err != nil {
			t.Fatal(err)
		}
		for _, softmax := range []bool{false, true} {
			z := append([]float32(nil), f.Logits...)
			value := newBatchLoss(a, softmax).gradient(1, z, f.Labels, nil)
			if math.Abs(value-c.Value) > 1e-6*(1+c.Value) {
				t.Errorf("%s, late %v: loss %.8g, want %.8g", c.Loss, c.Late, value, c.Value)
			}
			for i, want := range c.Gradient {
				if math.Abs(float64(z[i])-want) > 1e-6 {
					t.Errorf("%s, late %v: gradient %d is %.8g, want %.8g", c.Loss, c.Late, i, z[i], want)
				}
			}
		}
		tested[c.Loss]++
	}
	for _, m := range methods {
		if baseline := m.after != nil || m.solve != nil || m.name == "crt" || m.name == "lws"; tested[m.name] != 2 &&
			!baseline {
			t.Errorf("%s: %d cases", m.name, tested[m.name])
		}
	}
}

// Logistic regression against scikit-learn, linear discriminant analysis against numpy (testdata/baselines.py).
func TestClosedForms(t *testing.T) {
	var f struct {
		Classes, Dim      int
		X, Test           []float32
		Y                 []int
		WeightDecay       float64 `json:"weight_decay"`
		Shrinkage         float64
		LogReg, Unit, LDA []float64
	}
	readFixture(t, "baselines.json", &f)
	d := Data{X: f.X, Y: f.Y, Dim: f.Dim, Classes: f.Classes}
	for _, c := range []struct {
		set  Settings
		want []float64
		near float64
	}{
		{Settings{Loss: "logreg", Features: "raw", WeightDecay: &f.WeightDecay}, f.LogReg, 2e-3},
		{Settings{Loss: "logreg", Features: "center", WeightDecay: &f.WeightDecay}, f.LogReg, 2e-3},
		// a shift changes nothing
		{Settings{Loss: "logreg", Features: "raw", Head: "cosine", WeightDecay: &f.WeightDecay}, f.Unit, 2e-3},
		{Settings{Loss: "lda", Shrinkage: f.Shrinkage}, f.LDA, 1e-4},
	} {
		r, err := Train(context.Background(), d, c.set)
		if err != nil {
			t.Fatal(err)
		}
		z := make([]float32, len(c.want))
		if err := r.Head.Logits(Blas{}, f.Test, z); err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			mean := 0.0
			for _, v := range z[i/f.Classes*f.Classes:][:f.Classes] {
				mean += float64(v) / float64(f.Classes)
			}
			if got := float64(z[i]) - mean; math.Abs(got-want) > c.near*(1+math.Abs(want)) {
				t.Errorf("%s on %s: logit %d is %.6g, want %.6g", c.set.Loss, c.set.Features, i, got, want)
			}
		}
	}
}

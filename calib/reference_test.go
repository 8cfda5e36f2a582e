package calib_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/vitft/vitft/calib"
)

// TestReference compares with testdata/reference.json, which testdata/reference.py computes with numpy and scipy from
// the definitions.
func TestReference(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Classes               int
		Counts, Group, Labels []int
		Logits                []float32
		Beta, Delta           []float64
		Measures              map[string]float64
		Temperature           float64
		TemperatureBalanced   float64 `json:"temperature_balanced"`
		Classwise             []float64
		ClasswiseBalanced     []float64 `json:"classwise_balanced"`
		Kappa                 []struct {
			Spec   string
			Late   bool
			Value  []float64
			StdErr []float64 `json:"std_err"`
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	c := f.Classes

	probs := make([]float32, len(f.Logits))
	calib.Scaling{}.Probabilities(f.Logits, c, probs)
	confidence, hit := calib.TopLabel(probs, c, f.Labels)
	bins := calib.EqualWidth(confidence, hit, 15, 0, 1)
	for name, got := range map[string]float64{
		"ece": calib.ECE(bins), "mce": calib.MCE(bins),
		"ece_equal_count": calib.ECE(calib.EqualCount(confidence, hit, 15)),
		"classwise_ece":   calib.ClasswiseECE(probs, c, f.Labels, 15), "nll": calib.NLL(probs, c, f.Labels),
		"brier": calib.Brier(probs, c, f.Labels),
	} {
		near(t, name, got, f.Measures[name], 1e-6)
	}

	balanced := calib.BalancedWeights(f.Labels, c)
	for _, s := range []struct {
		name    string
		fit     func([]float32, int, []int, []float64) (calib.Scaling, error)
		weights []float64
		want    []float64
	}{
		{"temperature", calib.FitTemperature, nil, []float64{f.Temperature}},
		{"balanced temperature", calib.FitTemperature, balanced, []float64{f.TemperatureBalanced}},
		{"class-wise temperature", calib.FitClasswise, nil, f.Classwise},
		{"balanced class-wise temperature", calib.FitClasswise, balanced, f.ClasswiseBalanced},
	} {
		got, err := s.fit(f.Logits, c, f.Labels, s.weights)
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range s.want {
			near(t, fmt.Sprint(s.name, " ", k), got.Temperature[k], want, 1e-5)
		}
	}

	e := calib.Epoch{Number: 9, Counts: f.Counts, Group: f.Group, Beta: f.Beta, Delta: f.Delta}
	for i, y := range f.Labels {
		e.Samples = append(e.Samples, calib.NewSample(f.Logits[i*c:(i+1)*c], y, f.Beta, f.Delta))
	}
	e.Pass = func(visit func([]float32, []int)) error {
		visit(f.Logits, f.Labels)
		return nil
	}
	for _, k := range f.Kappa {
		estimator, err := calib.New(k.Spec)
		if err != nil {
			t.Fatal(err)
		}
		e.Late = k.Late
		for y, got := range estimate(t, estimator, e) {
			what := fmt.Sprintf("%s, late %v, class %d", k.Spec, k.Late, y)
			near(t, what+": κ", got.Value, k.Value[y], 2e-5*(1+k.Value[y]))
			if k.StdErr != nil {
				near(t, what+": standard error", got.StdErr, k.StdErr[y], 2e-5*(1+k.StdErr[y]))
			}
		}
	}
}

package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

// Measure against scikit-learn and numpy (testdata/metrics.py).
func TestMeasureAgainstScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var fixture struct {
		Logits      []float32
		Labels      []int
		TrainCounts []int          `json:"train_counts"`
		Metrics     map[string]any `json:"metrics"`
	}
	if err := json.Unmarshal(text, &fixture); err != nil {
		t.Fatal(err)
	}
	classes := make([]string, len(fixture.TrainCounts))
	for k := range classes {
		classes[k] = fmt.Sprintf("c%d", k)
	}
	text, err = json.Marshal(Measure(fixture.Logits, fixture.Labels, classes, fixture.TrainCounts))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	near(t, "metrics", got, fixture.Metrics)
}

// near compares JSON values, numbers to 1e-6; got may have more keys.
func near(t *testing.T, path string, got, want any) {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for key := range w {
			near(t, path+"."+key, g[key], w[key])
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			t.Errorf("%s has %d elements, want %d", path, len(g), len(w))
			return
		}
		for i := range w {
			near(t, fmt.Sprintf("%s[%d]", path, i), g[i], w[i])
		}
	case float64:
		if g, ok := got.(float64); !ok || math.Abs(g-w) > 1e-6 {
			t.Errorf("%s is %v, want %v", path, got, w)
		}
	default:
		if got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

func TestMeasureOfNothing(t *testing.T) {
	text, err := json.Marshal(Measure(nil, nil, []string{"a", "b"}, []int{3, 200}))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"top1", "top5", "balanced_accuracy", "macro_f1", "worst_class", "harmonic_mean", "geometric_mean", "ece", "mce", "nll", "brier", "classwise_ece"} {
		if value, there := m[key]; value != nil || !there {
			t.Errorf("%s of no samples is %v, want null", key, value)
		}
	}
}

package head_test

import (
	"slices"
	"testing"

	"github.com/vitft/vitft/head"
)

// A setting that is set, and that nothing reads, is listed; one that is read, or at its default, is not.
func TestWithoutEffect(t *testing.T) {
	for _, c := range []struct {
		s    head.Settings
		want []string
	}{
		{head.Settings{}, nil},
		{head.Settings{Tau: new(2.0), Gamma: new(0.3), Rho: new(1.0)}, nil}, // of cvs
		{head.Settings{Loss: "ce", Tau: new(2.0), Gamma: new(0.15), Switch: new(3.0)}, []string{"switch", "tau"}},
		{head.Settings{Loss: "la", Gamma: new(0.0), Tau: new(0.0)}, []string{"gamma"}},
		{head.Settings{Loss: "focal", Focus: new(0.5), Margin: new(0.1)}, []string{"margin"}},
		{head.Settings{Loss: "ldam", Focus: new(0.5), Margin: new(0.1)}, []string{"focus"}},
		{head.Settings{Loss: "post-hoc-la", Tau: new(0.5)}, nil},
		{head.Settings{Head: "linear", Scale: 9, LearnScale: true}, []string{"learn-scale", "scale"}},
		{head.Settings{Features: "raw", Shrinkage: 0.1, Subspace: 0.3}, []string{"shrinkage", "subspace"}},
		{head.Settings{Optimizer: "adamw", Momentum: new(0.0), Nesterov: true}, []string{"momentum", "nesterov"}},
		{head.Settings{Loss: "ncm", Epochs: 50, LR: 0.1, WeightDecay: new(0.1)},
			[]string{"epochs", "lr", "weight-decay"}},
		{head.Settings{Loss: "ncm"}.WithDefaults(), nil}, // as config.yaml of a run has it
		{head.Settings{Loss: "logreg", WeightDecay: new(0.5)}, nil},
		{head.Settings{Loss: "no such", Tau: new(3.0)}, nil},
	} {
		if got := c.s.WithoutEffect(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		}
	}
	tau := new(2.0)
	if (head.Settings{Loss: "ce", Tau: tau}).WithoutEffect(); *tau != 2 {
		t.Errorf("asking has changed τ to %v", *tau)
	}
}

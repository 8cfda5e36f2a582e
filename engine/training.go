package engine

import (
	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
)

// Training is the part of Config that decides the head: head.Settings in the
// form of flags and files.
type Training struct {
	Loss           string   `yaml:"loss"`
	Head           string   `yaml:"head"`
	Scale          float64  `yaml:"scale"`
	LearnScale     bool     `yaml:"learn-scale"`
	Start          string   `yaml:"start"`
	FeatureScaling string   `yaml:"feature-scaling"`
	Shrinkage      float64  `yaml:"shrinkage"`
	Epochs         int      `yaml:"epochs"`
	Switch         *float64 `yaml:"switch"`
	Restart        *float64 `yaml:"restart"`
	HeadBatch      int      `yaml:"head-batch"`
	Optimizer      string   `yaml:"optimizer"`
	LR             float64  `yaml:"lr"`
	Momentum       *float64 `yaml:"momentum"`
	Nesterov       bool     `yaml:"nesterov"`
	WeightDecay    *float64 `yaml:"weight-decay"`
	Warmup         int      `yaml:"warmup"`
	Tau            *float64 `yaml:"tau"`
	Gamma          *float64 `yaml:"gamma"`
	Rho            *float64 `yaml:"rho"`
	Focus          *float64 `yaml:"focus"`
	Margin         *float64 `yaml:"margin"`
	Noise          float64  `yaml:"noise"`
	Experts        int      `yaml:"experts"`
	Subspace       float64  `yaml:"subspace"`
	Diversity      float64  `yaml:"diversity"`
	Kappa          string   `yaml:"kappa"`
	Seed           uint64   `yaml:"seed"`
}

// settings is what head.Train takes; the matrix product, validation data and
// events are the caller's to add.
func (t *Training) settings() (head.Settings, error) {
	kappa, err := calib.New(t.Kappa)
	if err != nil {
		return head.Settings{}, configError("kappa: %v", err)
	}
	return head.Settings{
		Loss: t.Loss, Head: t.Head, Scale: t.Scale, LearnScale: t.LearnScale, Start: t.Start, Features: t.FeatureScaling, Shrinkage: t.Shrinkage,
		Epochs: t.Epochs, Switch: t.Switch, Restart: t.Restart, Batch: t.HeadBatch,
		Optimizer: t.Optimizer, LR: t.LR, Momentum: t.Momentum, Nesterov: t.Nesterov, WeightDecay: t.WeightDecay, Warmup: t.Warmup,
		Tau: t.Tau, Gamma: t.Gamma, Rho: t.Rho, Focus: t.Focus, Margin: t.Margin, Noise: t.Noise,
		Experts: t.Experts, Subspace: t.Subspace, Diversity: t.Diversity, Kappa: kappa, Seed: t.Seed,
	}, nil
}

// ensureDefaults writes out what head.Settings would assume.
func (t *Training) ensureDefaults() {
	setDefault(&t.Kappa, calib.Names()[0])
	s, err := t.settings()
	if err != nil {
		return // validate says it
	}
	s = s.WithDefaults()
	t.Loss, t.Head, t.Scale, t.Start, t.FeatureScaling = s.Loss, s.Head, s.Scale, s.Start, s.Features
	t.Shrinkage = s.Shrinkage
	t.Epochs, t.Switch, t.Restart, t.HeadBatch = s.Epochs, s.Switch, s.Restart, s.Batch
	t.Optimizer, t.LR, t.Momentum, t.WeightDecay = s.Optimizer, s.LR, s.Momentum, s.WeightDecay
	t.Tau, t.Gamma, t.Rho, t.Focus, t.Margin = s.Tau, s.Gamma, s.Rho, s.Focus, s.Margin
	t.Experts, t.Subspace = s.Experts, s.Subspace
}

// validate passes on what head.Settings finds wrong.
func (t *Training) validate() error {
	s, err := t.settings()
	if err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return configError("%v", err)
	}
	return nil
}

// Losses lists the values of the key loss.
func Losses() []string { return head.Losses() }

// KappaEstimators lists the values of the key kappa, the default first.
func KappaEstimators() []string { return calib.Names() }

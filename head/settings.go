package head

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/calib"
)

// Settings says how to train. Its zero value is the default recipe, chosen by cross-validation (docs/method.md).
// Where 0 itself is a setting the field is a pointer, and nil is the default: Tau: new(0.0).
type Settings struct {
	Loss string // one of Losses (default "cvs")

	Head       string  // "cosine" or "linear" (default "cosine"; tau-norm, lda, logreg "linear")
	Scale      float64 // of the cosine head's logits (default 16; ldam 30)
	LearnScale bool    // train the cosine head's scale too
	Start      string  // "mean": class means; "zero": zeros, for a cosine head small random rows (default "mean")
	Features   string  // "whiten" (within-class), "standardize", "center" (subtract the mean) or "raw" (default "whiten")
	Shrinkage  float64 // of the within-class covariance toward the identity, for "whiten" (default 0.5)

	Epochs      int      // default 30; closed forms take 1, whatever is asked for
	Batch       int      // default 256; larger than the set: full batch
	Optimizer   string   // "sgd" (momentum) or "adamw" (default "sgd")
	LR          float64  // peak learning rate (default 0.02, for a linear head 0.01; ldam 0.006; adamw 0.0003)
	Momentum    *float64 // sgd (default 0.9)
	Nesterov    bool
	WeightDecay *float64 // on W: added to the gradient by sgd, decoupled in adamw (default 0; logreg 1)
	Warmup      int      // epochs of linear warm-up (default 0)

	Switch  *float64 // T0: an epoch, or below 1 a fraction of Epochs (default 0.2)
	Restart *float64 // fraction of LR at which a two-phase loss's schedule starts anew at T0; 0: one cosine throughout (default 1)

	Tau    *float64 // τ of the log priors, and of tau-norm (default 1)
	Gamma  *float64 // γ of the class-dependent scales (default 0.15)
	Rho    *float64 // ρ of the late phase's weights π^(−ρ) (default 0, no re-weighting, for cvs; 0.15 for the others)
	Focus  *float64 // γ of the focal loss (default 2)
	Margin *float64 // of ldam, on the cosine, for the rarest class; others have it times (N_min/N_y)^(1/4) (default 0.5)

	Noise float64 // expected length of Gaussian noise added to features in training, relative to their own (default 0)

	// Experts is how many heads are trained together, on the same batches (default 1); the head that comes out is their
	// mean. Each sees Subspace of the prepared features (default 0.7), and Diversity is the λ that pushes their
	// predictions apart (after RIDE, Wang et al., ICLR 2021; default 0).
	Experts   int
	Subspace  float64
	Diversity float64

	Kappa calib.Estimator // of κ for cvs (default calib.Slope{})

	Seed uint64

	Gemm   Gemm   `json:"-"` // default Blas{}
	Val    *Data  `json:"-"` // measured after every epoch, never trained on; of one view
	Resume *State `json:"-"` // continue from here; the other settings must be those it was made with
	Events Events `json:"-"`
}

// Events are optional functions that Train calls from its own goroutine.
type Events struct {
	// Epoch is called after each epoch. The state is valid during the call only; Clone keeps it.
	Epoch func(e Epoch, s *State)
	// Warn is called when training shows a known sign of failure.
	Warn func(message string)
}

// WithDefaults returns s with every default filled in.
func (s Settings) WithDefaults() Settings {
	set := func(p **float64, v float64) {
		if *p == nil {
			*p = new(v)
		}
	}
	str := func(p *string, v string) { *p = cmp.Or(*p, v) }
	num := func(p *float64, v float64) { *p = cmp.Or(*p, v) }
	whole := func(p *int, v int) { *p = cmp.Or(*p, v) }
	str(&s.Loss, "cvs")
	m, _ := findMethod(s.Loss)
	str(&s.Head, m.head)
	str(&s.Head, "cosine")
	str(&s.Start, "mean")
	str(&s.Features, "whiten")
	str(&s.Optimizer, "sgd")
	num(&s.Scale, m.scale)
	num(&s.Scale, 16)
	num(&s.Subspace, 0.7)
	num(&s.Shrinkage, 0.5)
	whole(&s.Epochs, 30)
	whole(&s.Batch, 256)
	whole(&s.Experts, 1)
	if m.solve != nil {
		s.Epochs, s.Warmup, s.Experts = 1, 0, 1
	}
	switch {
	case s.Optimizer == "adamw":
		num(&s.LR, 0.0003)
	case s.Head == "linear":
		num(&s.LR, 0.01)
	}
	num(&s.LR, m.lr)
	num(&s.LR, 0.02)
	set(&s.Momentum, 0.9)
	set(&s.WeightDecay, m.weightDecay)
	set(&s.Switch, 0.2)
	set(&s.Restart, 1)
	set(&s.Tau, 1)
	set(&s.Gamma, 0.15)
	if s.Loss == "cvs" {
		set(&s.Rho, 0)
	}
	set(&s.Rho, 0.15)
	set(&s.Focus, 2)
	set(&s.Margin, 0.5)
	if s.Kappa == nil {
		s.Kappa = calib.Slope{}
	}
	if s.Gemm == nil {
		s.Gemm = Blas{}
	}
	return s
}

// Validate reports everything that is wrong with s, defaults filled in.
func (s Settings) Validate() error {
	s = s.WithDefaults()
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(what, value string, allowed ...string) {
		fault(!slices.Contains(allowed, value), "unknown %s %q: choose one of %s", what, value, strings.Join(allowed, ", "))
	}
	oneOf("loss", s.Loss, Losses()...)
	oneOf("head", s.Head, "cosine", "linear")
	oneOf("start", s.Start, "mean", "zero")
	oneOf("features", s.Features, "whiten", "standardize", "center", "raw")
	oneOf("optimizer", s.Optimizer, "sgd", "adamw")
	fault(s.Loss == "lda" && (s.Head != "linear" || s.Features != "whiten"), "lda is a linear head on whitened features, not a %s one on features %q", s.Head, s.Features)
	fault(s.Experts < 1, "experts %d: at least 1", s.Experts)
	fault(!(s.Subspace > 0 && s.Subspace <= 1), "subspace %g: must be above 0, at most 1", s.Subspace)
	fault(s.Experts > 1 && s.Subspace == 1 && s.Start == "mean", "%d experts that start alike and see the same: give each a subspace below 1", s.Experts)
	fault(s.Diversity > 0 && s.Experts == 1, "diversity %g of a single expert", s.Diversity)
	fault(s.Epochs < 1, "epochs %d: at least 1", s.Epochs)
	fault(s.Batch < 1, "batch %d: at least 1", s.Batch)
	fault(s.Warmup < 0 || s.Warmup > s.Epochs, "warm-up of %d epochs does not fit into %d", s.Warmup, s.Epochs)
	fault(!(s.Scale > 0), "scale %g: must be above 0", s.Scale)
	fault(!(s.Shrinkage > 0 && s.Shrinkage <= 1), "shrinkage %g: must be above 0, at most 1", s.Shrinkage)
	fault(!(s.LR > 0) || math.IsInf(s.LR, 0), "learning rate %g: must be above 0", s.LR)
	fault(!(*s.Momentum >= 0 && *s.Momentum < 1), "momentum %g: must be in [0, 1)", *s.Momentum)
	for _, p := range []struct {
		name  string
		value float64
	}{{"weight decay", *s.WeightDecay}, {"tau", *s.Tau}, {"gamma", *s.Gamma}, {"rho", *s.Rho}, {"restart", *s.Restart}, {"switch", *s.Switch},
		{"focus", *s.Focus}, {"margin", *s.Margin}, {"noise", s.Noise}, {"diversity", s.Diversity}} {
		fault(!(p.value >= 0) || math.IsInf(p.value, 0), "%s %g: must be 0 or more", p.name, p.value)
	}
	fault(*s.Switch >= 1 && *s.Switch != math.Trunc(*s.Switch), "switch %g: a whole epoch, or a fraction below 1", *s.Switch)
	fault(s.TwoPhase() && *s.Switch > float64(s.Epochs) && *s.Switch >= 1, "switch at epoch %g of %d: the late phase would never begin; %d is the latest", *s.Switch, s.Epochs, s.Epochs)
	return errors.Join(errs...)
}

// TwoPhase says whether the loss switches at T0.
func (s Settings) TwoPhase() bool {
	m, _ := findMethod(s.WithDefaults().Loss)
	return m.late != nil
}

// SwitchEpoch is T0: the number of epochs before the late phase. It is 0 for a loss of one phase.
func (s Settings) SwitchEpoch() int {
	s = s.WithDefaults()
	if !s.TwoPhase() {
		return 0
	}
	if *s.Switch < 1 {
		return int(math.Round(*s.Switch * float64(s.Epochs)))
	}
	return int(*s.Switch)
}

// PhaseOf returns the phase of an epoch, counted from 0.
func (s Settings) PhaseOf(epoch int) Phase {
	switch {
	case !s.TwoPhase():
		return PhaseTrain
	case epoch < s.SwitchEpoch():
		return PhaseMLA
	}
	return PhaseCLA
}

// rate is the learning rate at a time in epochs: linear warm-up, then a cosine to 0, which a two-phase loss begins
// anew at T0 unless Restart is 0.
func (s Settings) rate(time float64) float64 {
	begin, end, peak := 0.0, float64(s.Epochs), s.LR
	if t0 := float64(s.SwitchEpoch()); s.TwoPhase() && *s.Restart > 0 {
		if time < t0 {
			end = t0
		} else {
			begin, peak = t0, s.LR**s.Restart
		}
	}
	if warm := float64(s.Warmup); time < warm {
		return peak * time / warm
	} else if begin < warm {
		begin = warm
	}
	return peak * (1 + math.Cos(math.Pi*(time-begin)/max(end-begin, 1))) / 2
}

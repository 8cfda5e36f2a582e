package head

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
)

// Settings says how to train. Its zero value is the default recipe, chosen by cross-validation (docs/method.md);
// [Settings.Fields] has the defaults. Where 0 itself is a setting the field is a pointer, and nil is the default:
// Tau: new(0.0).
type Settings struct {
	Loss string // one of Losses

	Head       string  // "cosine" or "linear"
	Scale      float64 // of the cosine head's logits
	LearnScale bool    // train the cosine head's scale too
	Start      string  // "mean": class means; "zero": zeros, for a cosine head or several experts small random rows
	Features   string  // "whiten" (within-class), "standardize", "center" (subtract the mean) or "raw"
	Shrinkage  float64 // of the within-class covariance toward the identity, for "whiten"

	Epochs  int      // closed forms take 1, whatever is asked for
	Switch  *float64 // T0: an epoch, or below 1 a fraction of Epochs
	Restart *float64 // fraction of LR at which a two-phase loss's schedule starts anew at T0; 0: one cosine throughout

	Batch       int     // larger than the set: full batch
	Optimizer   string  // "sgd" (momentum) or "adamw"
	LR          float64 // peak learning rate
	Momentum    *float64
	Nesterov    bool
	WeightDecay *float64 // on W: added to the gradient by sgd, decoupled in adamw
	Warmup      int      // epochs of linear warm-up
	Average     int      // last epochs, over whose steps the parameters that come out are the mean; 0: none
	// EarlyStop ends training after so many epochs without a gain of balanced accuracy on Val, in the late phase where
	// there are two, and keeps what the best epoch left. The schedule stays that of all Epochs. 0: off.
	EarlyStop int

	Tau    *float64 // τ of the log priors, and of tau-norm
	Gamma  *float64 // γ of the class-dependent scales
	Rho    *float64 // ρ of the late phase's weights π^(−ρ)
	Focus  *float64 // γ of the focal loss
	Margin *float64 // of ldam, on the cosine, for the rarest class; others have it times (N_min/N_y)^(1/4)

	Noise float64 // expected length of Gaussian noise added to features in training, relative to their own

	// Experts is how many heads are trained together, on the same batches; the head that comes out is their mean. Each
	// sees Subspace of the prepared features, and Diversity is the λ that pushes their predictions apart (after RIDE,
	// Wang et al., ICLR 2021).
	Experts   int
	Subspace  float64
	Diversity float64

	Kappa calib.Estimator // of κ for cvs

	Seed uint64

	Shuffle Shuffle // in which order samples come, and so how many must be in memory

	Gemm Gemm  `json:"-"` // Blas{} if nil
	Val  *Data `json:"-"` // measured after every epoch, never trained on; of one view
	// Resume is where to continue, with the settings it was made with. Its numbers are taken over: it is empty then.
	Resume *State `json:"-"`
	Events Events `json:"-"`
}

// Events are optional functions that Train calls from its own goroutine.
type Events struct {
	// Epoch is called after each epoch. The state is valid during the call only; Clone keeps it.
	Epoch func(e Epoch, s *State)
	// Step is called after each update with how many samples have been learned from, of those of all epochs.
	Step func(done, total int)
	// Warn is called when training shows a known sign of failure.
	Warn func(message string)
}

// Fields declares the settings of training, each by its key, with its default and what it takes. Some defaults depend
// on the loss, the head or the optimizer: list anew after setting one of those.
func (s *Settings) Fields() []setting.Field {
	m := findMethod(cmp.Or(s.Loss, "cvs"))
	kind := cmp.Or(m.head, "cosine")
	rate := cmp.Or(m.lr, 0.02)
	switch {
	case s.Optimizer == "adamw":
		rate = 0.0003
	case cmp.Or(s.Head, kind) == "linear":
		rate = 0.01
	}
	rho := 0.15
	if m.name == "cvs" {
		rho = 0 // no re-weighting
	}
	// The ends are far beyond what makes sense: a value outside is a slip of the pen, and would end in one class.
	positive, fromZero := setting.Positive(1000), setting.Between(0, 1000)
	return slices.Concat(
		setting.In("loss",
			setting.OneOf("loss", &s.Loss, "cvs", Losses(), "loss"),
		),
		setting.In("head",
			setting.OneOf("head", &s.Head, kind, []string{"cosine", "linear"}, "head"),
			setting.Number("scale", &s.Scale, cmp.Or(m.scale, 16), positive, "scale of the cosine head's logits"),
			setting.Flag("learn-scale", &s.LearnScale, "train that scale too"),
			setting.OneOf("start", &s.Start, "mean", []string{"mean", "zero"}, "start at the class means or at zero"),
			setting.OneOf("feature-scaling", &s.Features, "whiten", []string{"whiten", "standardize", "center", "raw"},
				"features before the head"),
			setting.Number("shrinkage", &s.Shrinkage, 0.5, setting.Within(0, 1, false).Or(1, "the identity alone"),
				"shrinkage of the within-class covariance, for whiten"),
		),
		setting.In("training",
			setting.Number("epochs", &s.Epochs, 30, setting.Between(1, maxEpochs), "epochs"),
			setting.Optional("switch", &s.Switch, 0.2, setting.Between(0, maxEpochs),
				"T0, where a two-phase loss switches: an epoch, or a fraction of the epochs below 1"),
			setting.Optional("restart", &s.Restart, 1, fromZero,
				"fraction of the learning rate at which the schedule starts anew at T0 (0: one cosine throughout)"),
			setting.Number("head-batch", &s.Batch, 256, setting.Between(1, 1_000_000_000), "samples of one update"),
			setting.OneOf("optimizer", &s.Optimizer, "sgd", []string{"sgd", "adamw"}, "optimizer"),
			setting.Number("lr", &s.LR, rate, positive, "peak learning rate"),
			setting.Optional("momentum", &s.Momentum, 0.9, setting.Within(0, 1, true), "momentum of sgd"),
			setting.Flag("nesterov", &s.Nesterov, "Nesterov momentum"),
			setting.Optional("weight-decay", &s.WeightDecay, m.weightDecay, fromZero, "weight decay"),
			setting.Number("warmup", &s.Warmup, 0, setting.Between(0, maxEpochs), "epochs of linear warm-up"),
			setting.Number("average", &s.Average, 0, setting.Between(0, maxEpochs),
				"last epochs, over whose updates the mean of the parameters is the model (0: that of the last update)"),
			setting.Number("early-stop", &s.EarlyStop, 0, setting.Between(0, maxEpochs),
				"epochs without a gain of balanced accuracy on --val after which training ends with what the best "+
					"epoch left (0: off)"),
		),
		setting.In("loss",
			setting.Optional("tau", &s.Tau, 1, fromZero, "τ of the log priors"),
			setting.Optional("gamma", &s.Gamma, 0.15, fromZero, "γ of the class-dependent scales"),
			setting.Optional("rho", &s.Rho, rho, fromZero, "ρ of the late phase's class weights"),
			setting.Optional("focus", &s.Focus, 2, fromZero, "γ of the focal loss"),
			setting.Optional("margin", &s.Margin, 0.5, fromZero, "margin of ldam for the rarest class"),
		),
		setting.In("head",
			setting.Number("noise", &s.Noise, 0, fromZero,
				"length of the noise added to features in training, relative to theirs"),
			setting.Number("experts", &s.Experts, 1, setting.Between(1, 1_000_000_000),
				"heads trained together; their mean is the head"),
			setting.Number("subspace", &s.Subspace, 0.7, setting.Within(0, 1, false).Or(1, "all"),
				"share of the features that each of several experts sees"),
			setting.Number("diversity", &s.Diversity, 0, fromZero, "how hard experts' predictions are pushed apart"),
		),
		setting.In("loss",
			setting.Parsed("kappa", &s.Kappa, calib.Estimator(calib.Slope{}), calib.New, "estimator of κ: "+
				strings.Join(calib.Names(), ", ")+"; options behind a colon, as in slope:by=label,shrink=50"),
		),
		setting.In("training",
			setting.Number("seed", &s.Seed, 0, setting.Seeds, "seed of everything random in training and --val"),
			setting.Parsed("shuffle", &s.Shuffle, ShuffleAuto, ParseShuffle, "training images that are shuffled at a "+
				"time, whose features are in memory, the others on the disk: a number; all; auto: all if they fit "+
				"into the memory, else "+strconv.Itoa(shuffledFar)+", or the half, a quarter … of it"),
		),
	)
}

// WithDefaults returns s with every default filled in; a closed form has one epoch, no warm-up and one expert.
func (s Settings) WithDefaults() Settings {
	if m := findMethod(s.Loss); m.solve != nil {
		s.Epochs, s.Warmup, s.Experts = 1, 0, 1
	}
	setting.Fill(s.Fields())
	if s.Gemm == nil {
		s.Gemm = Blas{}
	}
	return s
}

// Validate reports everything that is wrong with s, defaults filled in, each by its key.
func (s Settings) Validate() error {
	s = s.WithDefaults()
	errs := []error{setting.Check(s.Fields())}
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fault.Config.Errorf(format, args...))
		}
	}
	refuse(s.Loss == "lda" && (s.Head != "linear" || s.Features != "whiten"),
		"loss: lda is a linear head on whitened features, not a %s one with feature-scaling %s", s.Head, s.Features)
	refuse(s.Experts > 1 && s.Subspace == 1 && s.Start == "mean",
		"subspace: %d experts that start alike and see the same; give each less than 1", s.Experts)
	refuse(s.Diversity > 0 && s.Experts == 1, "diversity: %g of a single expert", s.Diversity)
	refuse(s.Average > 0 && s.EarlyStop > 0, "average, early-stop: the mean over the last epochs and the best of all "+
		"epochs are two models; leave one of the two out")
	refuse(s.Epochs > 0 && s.Warmup > s.Epochs, "warmup: %d epochs do not fit into %d", s.Warmup, s.Epochs)
	refuse(*s.Switch >= 1 && *s.Switch != math.Trunc(*s.Switch),
		"switch: %g is neither a whole epoch nor a fraction below 1", *s.Switch)
	refuse(s.Epochs > 0 && s.TwoPhase() && *s.Switch > float64(s.Epochs) && *s.Switch >= 1,
		"switch: at epoch %g of %d the late phase would never begin; %d is the latest", *s.Switch, s.Epochs, s.Epochs)
	return errors.Join(errs...)
}

// maxEpochs is more than any head needs.
const maxEpochs = 1_000_000

// TwoPhase says whether the loss switches at T0.
func (s Settings) TwoPhase() bool { return s.schedule().late != nil }

// SwitchEpoch is T0: the number of epochs before the late phase. It is 0 for a loss of one phase.
func (s Settings) SwitchEpoch() int { return s.schedule().t0 }

// PhaseOf returns the phase of an epoch, counted from 0.
func (s Settings) PhaseOf(epoch int) Phase { return s.schedule().phase(epoch) }

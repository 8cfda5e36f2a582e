package head

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/machine"
)

// Shuffle is how many samples are shuffled at a time; ShuffleAll, or of those that do not fit into memory, so that
// [Settings.Far] says so, some ten thousands with ShuffleAuto.
//
// Samples are cut into pieces of [pieceSize] in the order of the data, the pieces are shuffled, and so are the samples
// of as many pieces at a time as have that number: what is read is read in pieces. Data must be in an order that says
// nothing of their classes, which their order by content is.
type Shuffle int

// What a Shuffle is besides a number.
const (
	ShuffleAuto Shuffle = -1
	ShuffleAll  Shuffle = -2
)

const (
	// shuffledFar is how many samples ShuffleAuto shuffles at a time where they are not in memory: enough for hundreds
	// of updates, in 0.4 GB of 768 features. It is halved where even that does not fit, down to fewestFar.
	shuffledFar = 1 << 16
	fewestFar   = 1 << 12
	// readAhead is how many samples are read at a time in an order that nothing is gained in by more.
	readAhead = 1 << 13
	// pieceSize is how many samples are read in one go: megabytes.
	pieceSize = 512
	// ofSample is the bytes that training remembers of a sample: label, place in the epoch, what the model made of it.
	ofSample = 64
)

// ParseShuffle reads what String writes.
func ParseShuffle(text string) (Shuffle, error) {
	switch text {
	case "auto":
		return ShuffleAuto, nil
	case "all":
		return ShuffleAll, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 2 || n > 1_000_000_000 || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%q is neither all nor auto nor a number between 2 and 1000000000", text)
	}
	return Shuffle(n), nil
}

func (s Shuffle) String() string {
	switch s {
	case ShuffleAuto:
		return "auto"
	case ShuffleAll:
		return "all"
	}
	return strconv.Itoa(int(s))
}

// together is how many samples are in memory at a time where not all are.
func (s Shuffle) together() int {
	if s > 0 {
		return int(s)
	}
	return readAhead
}

// windows is the numbers below n, shuffled as a [Shuffle] of so many says.
func windows(rng *rand.Rand, n, together int) []int {
	size := min(pieceSize, together)
	pieces, order := rng.Perm((n+size-1)/size), make([]int, 0, n)
	for len(pieces) > 0 {
		some := min(max(1, together/size), len(pieces))
		begin := len(order)
		for _, p := range pieces[:some] {
			for i := p * size; i < min(n, (p+1)*size); i++ {
				order = append(order, i)
			}
		}
		shuffle(rng, order[begin:])
		pieces = pieces[some:]
	}
	return order
}

// Size is how much there is to train on.
type Size struct {
	Classes, Dim   int
	Samples, Views int   // to learn from, and views of each
	Judged         int   // samples that heads are judged by, besides
	Folds          int   // heads of folds that judge the samples; 0 for none
	Beside         int   // heads that are trained side by side; 0 means 1
	Far            bool  // features to learn from are not in memory
	Held           int64 // bytes that are in memory besides
}

// Far says whether there is too little memory for the features to learn from, or they are not to be there.
func (s Settings) Far(of Size) bool {
	of.Far = false
	return s.Shuffle > 0 || s.CheckMemory(of) != nil
}

// Shuffled is how many samples are shuffled at a time: with ShuffleAuto all of them or, where they are far, shuffledFar
// or as many of these as fit.
func (s Settings) Shuffled(of Size) Shuffle {
	switch {
	case s.Shuffle != ShuffleAuto:
		return s.Shuffle
	case !of.Far:
		return ShuffleAll
	}
	for s.Shuffle = shuffledFar; s.Shuffle > fewestFar && s.CheckMemory(of) != nil; {
		s.Shuffle /= 2
	}
	return s.Shuffle
}

// CheckFolds refuses more folds than there are samples, in folds of folds too.
func (s Settings) CheckFolds(of Size) error {
	if of.Folds > 0 {
		if err := enough(of.Folds, of.Samples); err != nil {
			return fmt.Errorf("folds: %w", err)
		}
		of.Samples -= (of.Samples + of.Folds - 1) / of.Folds
	}
	if s = s.WithDefaults(); findMethod(s.Loss).kappa && s.Kappa.Folds() > 1 {
		if err := enough(s.Kappa.Folds(), of.Samples); err != nil {
			return fmt.Errorf("kappa: %v: %w", s.Kappa, err)
		}
	}
	return nil
}

// CheckMemory refuses a training that would take more memory than there is.
func (s Settings) CheckMemory(of Size) error {
	s = s.WithDefaults()
	heads, features := s.memory(of)
	if of.Far {
		if err := s.checkFar(of); err != nil {
			return err
		}
	}
	if heads > features {
		return machine.Check(heads+features, "experts: training %d of %d classes by %d features, with head-batch %d,",
			s.Experts, of.Classes, of.Dim, min(s.Batch, of.Samples))
	}
	if of.Far {
		return machine.Check(heads+features, "shuffle, val, test: training on %d of %d samples at a time, of %d "+
			"features, and judging %d of %d classes,", min(s.Shuffle.together(), of.Samples), of.Samples, of.Dim,
			of.Judged, of.Classes)
	}
	return machine.Check(heads+features, "views, folds: training on %d samples in %d views of %d features with %d "+
		"folds, and judging %d of %d classes,", of.Samples, max(of.Views, 1), of.Dim, of.Folds, of.Judged, of.Classes)
}

// checkFar refuses what needs all features at once where they are not in memory.
func (s Settings) checkFar(of Size) error {
	const far = "the features do not fit into memory, or are not to be there by shuffle"
	switch {
	case of.Folds > 0:
		return fault.Config.Errorf("calibration, selection: heads of %d folds are to judge the training images, but "+
			"%s; name validation images, or a fraction to hold out, with the key val", of.Folds, far)
	case findMethod(s.Loss).kappa && s.Kappa.Folds() > 1:
		return fault.Config.Errorf("kappa: %v is cross-fitted, but %s; leave its folds out", s.Kappa, far)
	}
	return nil
}

// memory is the bytes that heads and features take. A head has, for each expert, eight copies of its parameters
// (values, two moments and gradients, the state of the last epoch and the result's), and the logits of a batch and
// their gradients. Features are there as they are and as they are prepared, and both again for each fold that is being
// trained; those of samples that are judged with logits, probabilities and a copy. Of features that are far there are
// those that are learned from and those that are read meanwhile, and what is known of each sample. What is held
// besides counts as features.
func (s Settings) memory(of Size) (heads, features float64) {
	c, d, n := float64(of.Classes), float64(of.Dim), float64(of.Samples)
	batch, folds := float64(min(s.Batch, of.Samples)), float64(min(of.Folds, runtime.GOMAXPROCS(0)))
	judged := float64(of.Judged)
	if of.Folds > 0 {
		judged += n
	}
	copies := 8.0
	if s.EarlyStop > 0 || s.Average > 0 { // of the best epoch or of the mean, in the last epoch's and the result's too
		copies += 3
	}
	heads = max(1, float64(of.Beside), folds) * float64(s.Experts) * 4 * (copies*c*(d+2) + d + 2*batch*c)
	features = 4*d*n*float64(max(of.Views, 1))*(2+2*folds) + 4*judged*(d+3*c)
	if of.Far {
		rows := 2*min(s.Shuffle.together(), of.Samples) + 4*RowsAtOnce
		features = 4*d*float64(rows) + ofSample*n + 4*judged*(d+3*c)
	}
	if s.Features == "whiten" {
		features += 8 * 4 * d * d
	}
	return heads, features + float64(of.Held)
}

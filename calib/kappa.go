package calib

import (
	"math"
	"slices"

	"github.com/vitft/vitft/internal/vec"
)

// Kappa is one class's estimate.
type Kappa struct {
	Value   float64 // κ as the loss uses it
	StdErr  float64 // standard error of the slope behind it; where shrunk, its posterior standard deviation; 0: none
	Samples int     // that the fit saw
	Bins    int     // of those samples, not empty
	Skipped bool    // too little data or still warming up: Value is 1, or nears it from the last one where smoothed
	Shrunk  bool    // pulled toward the slope of other classes; one without samples has that slope
}

// Sample is what κ estimation keeps of one training sample: what the head made of it when it was trained on.
type Sample struct {
	Label, Predicted int32   // Predicted: argmax of the raw logits z
	True, Top        float32 // raw logits of Label and of Predicted
	LogSum           float32 // log Σ_k exp(z_k), where the estimator asked for softmax

	// The same as the loss sees it, after its adjustment: argmax of β z + Δ and that class's softmax probability.
	Fitted     int32
	Confidence float32
}

// NewSample makes a Sample of one row of raw logits, [C]: what training would have kept of it under a loss with
// these β and Δ (nil: 1 and 0), LogSum included.
func NewSample(logits []float32, label int, beta, delta []float64) Sample {
	best := vec.Argmax(logits)
	s := Sample{Label: int32(label), Predicted: int32(best), True: logits[label], Top: logits[best]}
	raw, seen := 0.0, make([]float64, len(logits))
	for k, z := range logits {
		raw += math.Exp(float64(z - s.Top))
		seen[k] = float64(z)
		if beta != nil {
			seen[k] *= beta[k]
		}
		if delta != nil {
			seen[k] += delta[k]
		}
	}
	fitted, sum := vec.Argmax(seen), 0.0
	for _, z := range seen {
		sum += math.Exp(z - seen[fitted])
	}
	s.LogSum, s.Fitted, s.Confidence = s.Top+float32(math.Log(raw)), int32(fitted), float32(1/sum)
	return s
}

// Epoch is what an estimator is given at the end of an epoch.
type Epoch struct {
	Number int   // epochs done
	Late   bool  // κ⁺ for the late phase is wanted, else κ* for the early one
	Counts []int // N_y
	Group  []int // of each class, from 0: many, medium or few samples; nil: all classes are one group

	Beta, Delta []float64 // of the loss in the epoch just done

	// Samples are the epoch's training samples in the order of training: the reference code's "bank", without its
	// limit. Where the estimator asks for Folds, they are of heads that did not train on them ([NewSample]).
	Samples []Sample

	// Previous are the estimates of the last epoch for the same phase; nil before the first.
	Previous []Kappa

	// Pass runs the head as it is now over the whole training set and hands over raw logits, [len(labels), C],
	// batch by batch; where the estimator asks for Folds, each row is of the head that did not train on it. It costs
	// about a third of an epoch.
	Pass func(visit func(logits []float32, labels []int)) error
}

// Estimator is what the trainer asks for κ ([New] makes one from text). Implementations hold no state between epochs:
// all of it is in Epoch.
type Estimator interface {
	// Estimate returns one κ > 0 for each class.
	Estimate(e Epoch) ([]Kappa, error)
	// Softmax says whether Estimate reads Sample.LogSum in that phase.
	Softmax(late bool) bool
	// Folds is how many folds Samples and Pass are to be cross-fitted with; 0: none, as training saw them.
	Folds() int
}

// One is κ ≡ 1: the ablation without calibration.
type One struct{}

func (One) Estimate(e Epoch) ([]Kappa, error) {
	return slices.Repeat([]Kappa{{Value: 1, Skipped: true}}, len(e.Counts)), nil
}

func (One) Softmax(bool) bool { return false }
func (One) Folds() int        { return 0 }

// banks returns, for each class, its last min(1000, N_y) samples of the epoch. Every sample is seen once in an epoch,
// so this is what a first-in first-out bank of the reference code's size would hold at its end.
func banks(e Epoch) [][]Sample {
	banks := make([][]Sample, len(e.Counts))
	for _, s := range slices.Backward(e.Samples) {
		if b := banks[s.Label]; len(b) < 1000 {
			banks[s.Label] = append(b, s)
		}
	}
	return banks
}

// series is one class's confidences and hits.
type series struct {
	confidence []float64
	hit        []bool
}

func (s *series) add(confidence float64, hit bool) {
	s.confidence = append(s.confidence, confidence)
	s.hit = append(s.hit, hit)
}

// bins sorts into n bins, on [0, 1] or, for logits, between the least and the greatest.
func (s series) bins(n int, logits, equalCount bool) []Bin {
	if equalCount {
		return EqualCount(s.confidence, s.hit, n)
	}
	low, high := 0.0, 1.0
	if logits && len(s.confidence) > 0 {
		low, high = slices.Min(s.confidence), slices.Max(s.confidence)
	}
	return EqualWidth(s.confidence, s.hit, n, low, high)
}

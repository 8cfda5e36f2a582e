package head

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/calib"
)

// State is everything that training needs to continue after an epoch to the bit-identical head: plain values, for the
// caller to write down in any form that keeps float32 and float64 exact. Random numbers need no place in it: each
// epoch draws its order from the seed and its own number.
type State struct {
	Epoch  int       // epochs done
	Steps  int       // updates since the optimizer began (at 0, or at a restart)
	Params []float32 // of each expert W [C, D], B [C] and the scales S [C]
	First  []float32 // momentum, or Adam's first moment
	Second []float32 // Adam's second moment; empty for sgd
	Early  []calib.Kappa
	Late   []calib.Kappa
	// History has one entry for every epoch done.
	History []Epoch
}

// Clone returns a copy that shares nothing with s.
func (s *State) Clone() *State {
	c := *s
	c.Params, c.First, c.Second = slices.Clone(s.Params), slices.Clone(s.First), slices.Clone(s.Second)
	c.Early, c.Late = slices.Clone(s.Early), slices.Clone(s.Late)
	c.History = slices.Clone(s.History)
	return &c
}

func (s *State) check(params, second, classes, epochs int) error {
	for _, k := range [][]calib.Kappa{s.Early, s.Late} {
		if k != nil && len(k) != classes {
			return fmt.Errorf("the state has κ for %d classes, the data %d", len(k), classes)
		}
	}
	switch {
	case len(s.Params) != params || len(s.First) != params || len(s.Second) != second:
		return fmt.Errorf("the state holds %d, %d and %d values where these settings and data need %d, %d and %d",
			len(s.Params), len(s.First), len(s.Second), params, params, second)
	case s.Epoch < 0 || s.Epoch > epochs || len(s.History) != s.Epoch || s.Steps < 0:
		return fmt.Errorf("the state is after epoch %d of %d with %d epochs of history", s.Epoch, epochs, len(s.History))
	}
	return nil
}

// Epoch is the record of one epoch.
type Epoch struct {
	Number  int     `json:"epoch"` // from 1
	Phase   Phase   `json:"phase"`
	Loss    float64 `json:"loss"` // mean of the batches' losses, weighted by size
	LR      float64 `json:"lr"`   // of the first update
	Seconds float64 `json:"seconds"`
	// Train is what the head made of the samples as it was trained on them; Val is of Settings.Val after the epoch.
	Train Accuracy  `json:"train"`
	Val   *Accuracy `json:"val,omitempty"`
	// Kappa is what the loss used in this epoch; nil for a loss without κ.
	Kappa []calib.Kappa `json:"-"`
}

// Accuracy is top-1 accuracy in the field's four readings; a value with nothing to compute it from is nil.
type Accuracy struct {
	Top1     *float64 `json:"top1"`
	Balanced *float64 `json:"balanced_accuracy"` // mean over the classes that have samples
	Many     *float64 `json:"many"`              // the same over the classes of a group
	Medium   *float64 `json:"medium"`
	Few      *float64 `json:"few"`
}

// Group is a class's group by its training count.
type Group string

const (
	Many   Group = "many"   // more than 100
	Medium Group = "medium" // 20 to 100
	Few    Group = "few"    // fewer than 20
)

// groups are all three, most frequent first.
var groups = []Group{Many, Medium, Few}

// GroupOf returns the group of a class with n training samples.
func GroupOf(n int) Group {
	switch {
	case n > 100:
		return Many
	case n >= 20:
		return Medium
	}
	return Few
}

// accuracy reads top-1 accuracy off a set's predictions; trained holds the training counts, for the groups.
func accuracy(labels []int, predicted func(i int) int, trained []int) Accuracy {
	right, total := make([]int, len(trained)), make([]int, len(trained))
	for i, y := range labels {
		total[y]++
		if predicted(i) == y {
			right[y]++
		}
	}
	mean := func(in func(y int) bool) *float64 {
		sum, n := 0.0, 0
		for y := range total {
			if total[y] > 0 && in(y) {
				sum += float64(right[y]) / float64(total[y])
				n++
			}
		}
		if n == 0 {
			return nil
		}
		return new(sum / float64(n))
	}
	group := func(g Group) *float64 { return mean(func(y int) bool { return GroupOf(trained[y]) == g }) }
	a := Accuracy{Balanced: mean(func(int) bool { return true }), Many: group(Many), Medium: group(Medium), Few: group(Few)}
	if len(labels) > 0 {
		hits := 0
		for _, n := range right {
			hits += n
		}
		a.Top1 = new(float64(hits) / float64(len(labels)))
	}
	return a
}

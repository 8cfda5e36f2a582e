package calib

import (
	"math"

	"github.com/vitft/vitft/internal/vec"
)

// Shot is a class's part of the long tail, by its number of training images, in the convention of the field
// (Liu et al., CVPR 2019).
type Shot int

// The groups, most frequent first.
const (
	Many Shot = iota
	Medium
	Few
)

// Shots lists all groups, most frequent first.
func Shots() []Shot { return []Shot{Many, Medium, Few} }

// ShotOf returns the group of a class with n training images.
func ShotOf(n int) Shot {
	switch {
	case n > 100:
		return Many
	case n >= 20:
		return Medium
	}
	return Few
}

func (g Shot) String() string { return [...]string{Many: "many", Medium: "medium", Few: "few"}[g] }

// Range says which numbers of training images a group's classes have.
func (g Shot) Range() string {
	return [...]string{Many: "more than 100", Medium: "20 to 100", Few: "fewer than 20"}[g]
}

// ClassAccuracy returns the share of each class's samples that are predicted rightly, NaN for a class without samples.
func ClassAccuracy(labels []int, classes int, predicted func(i int) int) []float64 {
	right, total := make([]float64, classes), make([]float64, classes)
	for i, y := range labels {
		total[y]++
		if predicted(i) == y {
			right[y]++
		}
	}
	for y, n := range total {
		right[y] /= n // 0/0 is NaN
	}
	return right
}

// Mean is the mean over the values that are not NaN and whose index is wanted (nil: all); NaN where there are none.
func Mean(values []float64, wanted func(i int) bool) float64 {
	sum, n := 0.0, 0.0
	for i, v := range values {
		if !math.IsNaN(v) && (wanted == nil || wanted(i)) {
			sum += v
			n++
		}
	}
	return sum / n
}

// BalancedAccuracy is the mean accuracy of the classes that have samples, under logits [n, C].
func BalancedAccuracy(logits []float32, labels []int, classes int) float64 {
	return Mean(ClassAccuracy(labels, classes, func(i int) int {
		return vec.Argmax(logits[i*classes : (i+1)*classes])
	}), nil)
}

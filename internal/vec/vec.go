// Package vec has what many packages do with a row of numbers.
package vec

import (
	"math"
	"slices"
)

// Argmax is the index of the largest value, of equal ones the first; 0 for an empty row.
func Argmax[T float32 | float64](row []T) int {
	best := 0
	for k, v := range row {
		if v > row[best] {
			best = k
		}
	}
	return best
}

// NotFinite is the index of the first value that is NaN or infinite, −1 if there is none.
func NotFinite(row []float32) int {
	for k, v := range row {
		if v-v != 0 {
			return k
		}
	}
	return -1
}

// Differs is the index of the first value of got that is further from want than most times the largest of want, −1 if
// there is none. What is no number differs.
func Differs(want, got []float32, most float64) int {
	largest := 0.0
	for _, v := range want {
		largest = max(largest, math.Abs(float64(v)))
	}
	for k, v := range want {
		if d := math.Abs(float64(got[k] - v)); !(d <= most*largest) {
			return k
		}
	}
	return -1
}

// Scatter puts row k of rows, each of so many values, in place to[k].
func Scatter[T any](to []int, width int, rows []T) []T {
	out := slices.Clone(rows)
	for k, place := range to[:len(rows)/width] {
		copy(out[place*width:(place+1)*width], rows[k*width:(k+1)*width])
	}
	return out
}

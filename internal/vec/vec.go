// Package vec has what many packages do with a row of numbers.
package vec

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

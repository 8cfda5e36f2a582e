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

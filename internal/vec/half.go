package vec

import (
	"math"
	"sync"
)

// Half rounds to the nearest float16 (IEEE 754 binary16), ties to even; false beyond its range, or for no number.
func Half(x float32) (uint16, bool) {
	const largest = 65504
	a := math.Abs(float64(x))
	if !(a < largest+16) { // from there on rounding leads to infinity
		return 0, false
	}
	var sign uint16
	if math.Signbit(float64(x)) {
		sign = 1 << 15
	}
	// A float16 is a multiple of 2^(e-10), e its exponent, at least -14: 1024 to 2047 times, or less where e is -14.
	exponent := max(-14, math.Ilogb(a))
	multiple := uint16(math.RoundToEven(math.Ldexp(a, 10-exponent)))
	return sign | uint16(exponent+14)<<10 + multiple, true
}

// Widen writes the values of float16 numbers to dst.
func Widen(dst []float32, src []uint16) {
	table := halves()
	for i, h := range src {
		dst[i] = table[h]
	}
}

// halves has the value of every float16.
var halves = sync.OnceValue(func() *[1 << 16]float32 {
	table := new([1 << 16]float32)
	for bits := range table {
		exponent, fraction := bits>>10&31, bits&(1<<10-1)
		v := math.Ldexp(float64(fraction), -24)
		switch {
		case exponent == 31 && fraction == 0:
			v = math.Inf(1)
		case exponent == 31:
			v = math.NaN()
		case exponent > 0:
			v = math.Ldexp(float64(1024+fraction), exponent-25)
		}
		table[bits] = float32(math.Copysign(v, float64(1-bits>>15*2)))
	}
	return table
})

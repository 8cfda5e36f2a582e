package vec

import (
	"math"
	"sync"
)

// Half rounds to the nearest float16 (IEEE 754 binary16), ties to even; false beyond its range, or for no number.
func Half(x float32) (uint16, bool) {
	const (
		infinite = 0x477ff000 // 65520, from where on rounding leads to infinity
		normal   = 0x38800000 // 2^-14
	)
	bits := math.Float32bits(x)
	sign, a := uint16(bits>>16&(1<<15)), bits&^(1<<31)
	switch {
	case a >= infinite: // or no number
		return 0, false
	case a >= normal: // exponents differ by 112, fractions by 13 bits; the sum carries into what is kept
		return sign | uint16((a-112<<23+(1<<12-1)+a>>13&1)>>13), true
	}
	// Less is a multiple of 2^-24, which is the last bit of the sum.
	return sign | uint16(math.Float32bits(math.Float32frombits(a)+0.5)), true
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

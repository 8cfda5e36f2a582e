package vec_test

import (
	"math"
	"testing"

	"github.com/vitft/vitft/internal/vec"
)

// fromHalf is the value of a finite float16.
func fromHalf(h uint16) float64 {
	exponent, fraction := int(h>>10&31), float64(h&(1<<10-1))
	v := math.Ldexp(fraction, -24)
	if exponent > 0 {
		v = math.Ldexp(1024+fraction, exponent-25)
	}
	if h>>15 == 1 {
		v = -v
	}
	return v
}

func TestHalf(t *testing.T) {
	const infinity = 31 << 10
	for _, sign := range []uint16{0, 1 << 15} {
		for bits := uint16(0); bits < infinity; bits++ {
			x := fromHalf(sign | bits)
			if got, ok := vec.Half(float32(x)); !ok || got != sign|bits {
				t.Fatalf("Half(%v) = %#x, want %#x", x, got, sign|bits)
			}
			if bits+1 == infinity {
				continue
			}
			// Halfway to the next one, to the even one; a little less and more, to the nearer.
			next := fromHalf(sign | (bits + 1))
			middle := float32((x + next) / 2)
			even := bits + bits&1
			for _, c := range []struct {
				x    float32
				want uint16
			}{{middle, even}, {math.Nextafter32(middle, float32(x)), bits},
				{math.Nextafter32(middle, float32(next)), bits + 1}} {
				if got, ok := vec.Half(c.x); !ok || got != sign|c.want {
					t.Fatalf("Half(%v) = %#x, want %#x", c.x, got, sign|c.want)
				}
			}
		}
	}
	for _, x := range []float64{65519.9, -65519.9} {
		if got, ok := vec.Half(float32(x)); !ok || fromHalf(got) != math.Copysign(65504, x) {
			t.Errorf("Half(%v) = %v, %v", x, fromHalf(got), ok)
		}
	}
	for _, x := range []float64{65520, -1e9, math.Inf(1), math.NaN()} {
		if got, ok := vec.Half(float32(x)); ok {
			t.Errorf("Half(%v) = %v, want a refusal", x, fromHalf(got))
		}
	}
}

func TestWiden(t *testing.T) {
	for bits := range 1 << 16 {
		var got [1]float32
		vec.Widen(got[:], []uint16{uint16(bits)})
		want := float32(math.Inf(1 - bits>>15*2))
		switch {
		case bits>>10&31 < 31:
			want = float32(fromHalf(uint16(bits)))
		case bits&(1<<10-1) > 0:
			if got[0] == got[0] {
				t.Fatalf("%#x is %v, not NaN", bits, got[0])
			}
			continue
		}
		if math.Float32bits(got[0]) != math.Float32bits(want) {
			t.Fatalf("%#x is %v, want %v", bits, got[0], want)
		}
	}
}

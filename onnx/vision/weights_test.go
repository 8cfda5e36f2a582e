package vision

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
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
			if got, ok := half(float32(x)); !ok || got != sign|bits {
				t.Fatalf("half(%v) = %#x, want %#x", x, got, sign|bits)
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
			}{{middle, even}, {math.Nextafter32(middle, float32(x)), bits}, {math.Nextafter32(middle, float32(next)), bits + 1}} {
				if got, ok := half(c.x); !ok || got != sign|c.want {
					t.Fatalf("half(%v) = %#x, want %#x", c.x, got, sign|c.want)
				}
			}
		}
	}
	for _, x := range []float64{65519.9, -65519.9} {
		if got, ok := half(float32(x)); !ok || fromHalf(got) != math.Copysign(65504, x) {
			t.Errorf("half(%v) = %v, %v", x, fromHalf(got), ok)
		}
	}
	for _, x := range []float64{65520, -1e9, math.Inf(1), math.NaN()} {
		if got, ok := half(float32(x)); ok {
			t.Errorf("half(%v) = %v, want a refusal", x, fromHalf(got))
		}
	}
}

func TestQuantise(t *testing.T) {
	const rows, columns = 40, 7
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, rows*columns)
	for i := range v {
		if c := i % columns; c != 3 { // column 3 is all zero
			v[i] = float32(r.NormFloat64() * math.Pow(10, float64(c-3)))
		}
	}
	for name, channel := range map[string]func(int) int{"columns": func(i int) int { return i % columns }, "rows": func(i int) int { return i / columns }} {
		q, scales, ok := quantise(v, max(rows, columns), channel)
		if !ok {
			t.Fatalf("%s: refused", name)
		}
		for i, x := range v {
			s := float64(scales[channel(i)])
			if d := math.Abs(float64(x) - float64(int8(q[i]))*s); d > s*0.5001 {
				t.Errorf("%s: %v became %v with a scale of %v", name, x, float64(int8(q[i]))*s, s)
			}
		}
	}
	v[5] = float32(math.NaN())
	if _, _, ok := quantise(v, columns, func(i int) int { return i % columns }); ok {
		t.Error("it quantised what is no number")
	}
}

// A model without large float32 weights has nothing to store otherwise.
func TestNothingToStoreOtherwise(t *testing.T) {
	for name, convert := range map[string]func(*graph.Model) (int, error){"half": HalfWeights, "int8": QuantizeWeights} {
		if n, err := convert(read(t, "float16.onnx")); n != 0 || !errors.Is(err, graph.ErrModel) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

package vec_test

import (
	"math"
	"slices"
	"testing"

	"github.com/vitft/vitft/internal/vec"
)

func TestArgmax(t *testing.T) {
	for _, c := range []struct {
		row  []float64
		want int
	}{
		{nil, 0}, {[]float64{3}, 0}, {[]float64{-2, -1, -3}, 1}, {[]float64{1, 7, 7}, 1},
		{[]float64{1, math.NaN(), 2}, 2}, {[]float64{0, math.Inf(1)}, 1},
	} {
		if got := vec.Argmax(c.row); got != c.want {
			t.Errorf("%v: %d, want %d", c.row, got, c.want)
		}
	}
}

func TestNotFinite(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for want, row := range map[int][]float32{-1: {0, math.MaxFloat32, -1}, 0: {-inf, inf}, 1: {2, nan}} {
		if got := vec.NotFinite(row); got != want {
			t.Errorf("%v: %d, want %d", row, got, want)
		}
	}
}

func TestScatter(t *testing.T) {
	if got := vec.Scatter([]int{2, 0, 1}, 2, []int{1, 2, 3, 4, 5, 6}); !slices.Equal(got, []int{3, 4, 5, 6, 1, 2}) {
		t.Error(got)
	}
	if got := vec.Scatter([]int{1, 0}, 1, []int(nil)); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestDiffers(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		want, got []float32
		at        int
	}{
		{[]float32{4, -8}, []float32{4.5, -8}, -1}, {[]float32{4, -8}, []float32{4.5, -9.5}, 1}, {nil, nil, -1},
		{[]float32{1, 2}, []float32{nan, 2}, 0}, {[]float32{1, nan}, []float32{1, nan}, 0},
		{[]float32{0, 0}, []float32{0, 0.1}, 1},
	} {
		if at := vec.Differs(c.want, c.got, 1.0/8); at != c.at {
			t.Errorf("%v and %v differ at %d, want %d", c.want, c.got, at, c.at)
		}
	}
}

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

package calib_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/vitft/vitft/calib"
)

func TestShots(t *testing.T) {
	for n, want := range map[int]calib.Shot{0: calib.Few, 19: calib.Few, 20: calib.Medium, 100: calib.Medium,
		101: calib.Many} {
		if got := calib.ShotOf(n); got != want {
			t.Errorf("%d images: %v, want %v", n, got, want)
		}
	}
}

func TestClassAccuracy(t *testing.T) {
	labels, predicted := []int{0, 0, 0, 2, 2}, []int{0, 0, 1, 0, 2}
	got := calib.ClassAccuracy(labels, 3, func(i int) int { return predicted[i] })
	if got[0] != 2.0/3 || !math.IsNaN(got[1]) || got[2] != 0.5 {
		t.Errorf("accuracies %v", got)
	}
	if m := calib.Mean(got, nil); math.Abs(m-7.0/12) > 1e-15 {
		t.Errorf("mean %v", m)
	}
	if m := calib.Mean(got, func(i int) bool { return i == 1 }); !math.IsNaN(m) {
		t.Errorf("mean of nothing is %v", m)
	}
}

func ExampleBalancedAccuracy() {
	logits := []float32{2, 1, 3, 0, 0, 1} // of three samples
	fmt.Println(calib.BalancedAccuracy(logits, []int{0, 1, 1}, 2))
	for _, g := range calib.Shots() {
		fmt.Printf("%v: %s\n", g, g.Range())
	}
	// Output:
	// 0.75
	// many: more than 100
	// medium: 20 to 100
	// few: fewer than 20
}

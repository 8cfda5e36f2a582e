package head

import (
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
)

func TestWarningsInTheEnd(t *testing.T) {
	type losses map[Phase][]float64
	const kappa = "κ" // the early phase of a loss with it
	for want, cases := range map[string][]losses{
		"": {
			{},
			{PhaseTrain: {3}},
			{PhaseTrain: {3, 2, 1, 1.4}},
			{PhaseTrain: {3, 4, 2.9}},
			{PhaseTrain: {1e-4, 1e-4, 2e-4}},            // nothing was left to learn
			{PhaseMLA: {2, 1}, PhaseCLA: {5, 5}},        // which the losses of the phases have no measure of
			{PhaseMLA: {2, 2}, PhaseCLA: {5, 4}},        // the first phase may have had nothing to gain
			{PhaseMLA: {2, 2}, PhaseCLA: {1e-8, 1e-7}},  // nor the second
			{PhaseMLA: {0.5}, PhaseCLA: {9}},            // one epoch each
			{PhaseTrain: {-1, -2}},                      // the diversity of experts counts against it
			{PhaseMLA: {2, 2.9}, PhaseCLA: {0.1, 0.05}}, // within what κ does to it
			{kappa: {0.4, 0.3, 5.4}},
		},
		"the loss never fell: it was 2 in the first epoch and": {
			{PhaseTrain: {2, 2}},
			{PhaseTrain: {2, 2 - 1e-8, 2}}, // the order of a sum
			{PhaseTrain: {2, 2.5, 2.1}},
			{PhaseMLA: {2, 2}, PhaseCLA: {1, 1}},
			{PhaseMLA: {2}, PhaseCLA: {1, 1}},
			{kappa: {2, 3}, PhaseCLA: {1, 1}},
		},
		"the loss rose from 2 in epoch": {
			{PhaseTrain: {2, 1, 4}},
			{PhaseTrain: {2, 5}},
			{PhaseMLA: {2, 4}, PhaseCLA: {1, 0.5}},
			{PhaseMLA: {3, 2}, PhaseCLA: {2, 1, 3.1}},
		},
	} {
		for _, c := range cases {
			s := State{}
			for _, phase := range []Phase{PhaseTrain, kappa, PhaseMLA, PhaseCLA} {
				for _, loss := range c[phase] {
					e := Epoch{Number: len(s.History) + 1, Phase: phase, Loss: loss}
					if phase == kappa {
						e.Phase, e.Kappa = PhaseMLA, []calib.Kappa{{Value: 1}}
					}
					s.History = append(s.History, e)
				}
			}
			got := strings.Join(s.Warnings(), "; ")
			if !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("%v: %q, want %q", c, got, want)
			}
		}
	}
}

func TestRenumbered(t *testing.T) {
	h := Head{Classes: 3, Dim: 2, W: []float32{1, 2, 3, 4, 5, 6}, B: []float32{7, 8, 9}, Mean: []float32{1, 1},
		InvStd: []float32{2, 2}}
	r := h.Renumbered([]int{1, 2, 0})
	x := []float32{0.3, 4}
	before, after := make([]float32, 3), make([]float32, 3)
	for head, z := range map[*Head][]float32{&h: before, r: after} {
		if err := head.Logits(Blas{}, x, z); err != nil {
			t.Fatal(err)
		}
	}
	if want := []float32{before[2], before[0], before[1]}; !slices.Equal(after, want) || h.B[0] != 7 {
		t.Errorf("logits %v, want %v; the head itself has bias %v", after, want, h.B)
	}
}

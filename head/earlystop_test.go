package head_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/head"
)

// Training ends after so many epochs without a gain, in the late phase, on the course that it has without: what it
// keeps is what that had after the best epoch.
func TestEarlyStop(t *testing.T) {
	d, val := mixture(1, 6, 4, 60, 30, 8, 2), mixture(2, 6, 4, 20, 20, 20, 20)
	stopped := 0
	for seed := range uint64(4) {
		for _, loss := range []string{"la", "cvs"} {
			s := head.Settings{Loss: loss, Epochs: 20, Batch: 16, LR: 0.1, Seed: seed, Val: &val}
			var states []*head.State
			s.Events.Epoch = func(_ head.Epoch, state *head.State) { states = append(states, state.Clone()) }
			whole := train(t, d, s).State
			s.Events, s.EarlyStop = head.Events{}, 2
			r := train(t, d, s)
			best, highest := 0, -1.0
			for _, e := range r.State.History {
				if *e.Val.Balanced > highest {
					best, highest = e.Number, *e.Val.Balanced
				}
			}
			last := min(max(best, s.SwitchEpoch())+2, 20)
			if e := r.State.EarlyStop(); e == nil || *e != (head.EarlyStop{Epoch: last, Best: best}) ||
				len(r.State.History) != last {
				t.Errorf("%s: %+v after %d epochs, want %d, the best %d", loss, e, len(r.State.History), last, best)
				continue
			}
			if last < 20 {
				stopped++
			}
			for i, p := range r.State.Params {
				if !slices.Equal(p.Values, states[best-1].Params[i].Values) {
					t.Errorf("%s: %s is not that of epoch %d", loss, p.Name, best)
				}
			}
			z, err := r.Head.LogitsOf(head.Blas{}, val)
			if err != nil {
				t.Fatal(err)
			}
			if got := calib.BalancedAccuracy(z, val.Y, 4); got != highest {
				t.Errorf("%s: the head is at %v, epoch %d was at %v", loss, got, best, highest)
			}
			if r.State.History[0].Loss != whole.History[0].Loss || whole.EarlyStop() != nil {
				t.Errorf("%s: another course", loss)
			}
			s.Resume = r.State.Clone() // it has ended, and stays so
			if again := train(t, d, s); !slices.Equal(again.Head.W, r.Head.W) ||
				len(again.State.History) != last {
				t.Errorf("%s: resumed in its end it goes on", loss)
			}
			s.Resume, s.EarlyStop = r.State, 0
			if _, err := head.Train(t.Context(), d, s); err == nil || !strings.Contains(err.Error(), "best epoch") {
				t.Errorf("%s: resumed without early stop: %v", loss, err)
			}
		}
	}
	if stopped == 0 {
		t.Error("no training ended early")
	}
	s := head.Settings{EarlyStop: 2}
	if _, err := head.Train(t.Context(), d, s); err == nil || fault.Of(err) != fault.Config ||
		!strings.Contains(err.Error(), "early-stop") {
		t.Errorf("without validation data: %v", err)
	}
	s.Average = 3
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "average") {
		t.Errorf("of the last epochs there is a mean, wherever they are: %v", err)
	}
	s.Average = 0
	// Heads of folds have none to look at, and are trained to the end.
	s.Epochs = 3
	early, err := head.OutOfFold(t.Context(), d, nil, s, 3)
	if err != nil {
		t.Fatal(err)
	}
	s.EarlyStop = 0
	if z, err := head.OutOfFold(t.Context(), d, nil, s, 3); err != nil || !slices.Equal(z, early) {
		t.Errorf("folds of a training that may end early have other logits (%v)", err)
	}
}

// Steps count the samples of all epochs.
func TestSteps(t *testing.T) {
	d := mixture(1, 6, 4, 20, 10, 4, 2)
	var at []int
	s := head.Settings{Loss: "la", Epochs: 3, Batch: 16}
	s.Events.Step = func(done, total int) {
		if at = append(at, done); total != 3*36 {
			t.Errorf("%d samples in all", total)
		}
	}
	train(t, d, s)
	if want := []int{16, 32, 36, 52, 68, 72, 88, 104, 108}; !slices.Equal(at, want) {
		t.Errorf("steps at %d, want %d", at, want)
	}
}

package head

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// tail is a small long-tailed mixture.
func tail(counts ...int) Data {
	const dim = 6
	d := Data{Dim: dim, Classes: len(counts)}
	rng := rand.New(rand.NewPCG(1, 7))
	for y, n := range counts {
		for range n {
			for k := range dim {
				d.X = append(d.X, float32(rng.NormFloat64()+3*math.Sin(float64(5*y+k))))
			}
			d.Y = append(d.Y, y)
		}
	}
	return d
}

func mustTrain(t *testing.T, d Data, s Settings) *Result {
	t.Helper()
	r, err := Train(context.Background(), d, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Post-hoc methods are cross-entropy with something done to the head in the end.
func TestPostHoc(t *testing.T) {
	d := tail(60, 20, 5)
	base := Settings{Loss: "ce", Head: "linear", Epochs: 4, Batch: 16, Tau: new(0.7)}
	ce := mustTrain(t, d, base)
	la, norm := base, base
	la.Loss, norm.Loss = "post-hoc-la", "tau-norm"
	adjusted, normalised := mustTrain(t, d, la), mustTrain(t, d, norm)
	for _, r := range []*Result{adjusted, normalised} {
		for i, p := range r.State.Params {
			if !slices.Equal(p.Values, ce.State.Params[i].Values) {
				t.Errorf("%s trained otherwise than under cross-entropy", p.Name)
			}
		}
	}
	near := func(what string, got float32, want float64) {
		if math.Abs(float64(got)-want) > 1e-5*(1+math.Abs(want)) {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}
	for y, n := range []float64{60, 20, 5} {
		near("bias", adjusted.Head.B[y], float64(ce.Head.B[y])-0.7*math.Log(n/85))
		near("bias", normalised.Head.B[y], 0)
		row := ce.Head.W[y*d.Dim : (y+1)*d.Dim]
		square := 0.0
		for _, v := range row {
			square += float64(v) * float64(v)
		}
		for i, v := range row {
			near("weight", adjusted.Head.W[y*d.Dim+i], float64(v))
			near("weight", normalised.Head.W[y*d.Dim+i], float64(v)/math.Pow(math.Sqrt(square), 0.7))
		}
	}
}

// Class-aware sampling draws classes equally often, and the samples of a class too; an empty class never.
func TestBalancedOrder(t *testing.T) {
	d := tail(50, 0, 12, 3)
	s := Loop{Labels: d.Y, Classes: d.Classes}
	order := s.order(2, true)
	if len(order) != len(d.Y) || !slices.Equal(order, s.order(2, true)) || slices.Equal(order, s.order(3, true)) {
		t.Fatalf("%d draws", len(order))
	}
	drawn, classes := make([]int, len(d.Y)), make([]int, d.Classes)
	for _, i := range order {
		drawn[i]++
		classes[d.Y[i]]++
	}
	for y, n := range d.Counts() {
		if n == 0 && classes[y] > 0 || n > 0 && (classes[y] < 21 || classes[y] > 22) { // 65 draws, 3 classes
			t.Errorf("class %d drawn %d times", y, classes[y])
		}
		for i, label := range d.Y {
			if label == y && (drawn[i] < classes[y]/n || drawn[i] > classes[y]/n+1) {
				t.Errorf("sample %d of class %d drawn %d times of %d", i, y, drawn[i], classes[y])
			}
		}
	}
}

// From T0 on lws trains one scale a class and nothing else, whatever the schedule and the optimizer.
func TestLWSFreezesTheRest(t *testing.T) {
	d := tail(60, 20, 5)
	for _, s := range []Settings{{}, {Head: "linear"}, {Restart: new(0.0), WeightDecay: new(0.1)},
		{Optimizer: "adamw", WeightDecay: new(0.1)}} {
		s.Loss, s.Epochs, s.Batch, s.Switch = "lws", 6, 16, new(3.0)
		var states []*State
		s.Events.Epoch = func(_ Epoch, state *State) { states = append(states, state.Clone()) }
		mustTrain(t, d, s)
		at := func(epoch int) ([]float32, []float32) {
			s := states[epoch-1]
			return slices.Concat(s.Values("weight"), s.Values("bias")), s.Values("scale")
		}
		w1, s1 := at(1)
		w3, s3 := at(3)
		w6, s6 := at(6)
		if slices.Equal(w1, w3) || !slices.Equal(s1, s3) {
			t.Errorf("%s %s: early, W stays or S moves", s.Head, s.Optimizer)
		}
		if !slices.Equal(w3, w6) || slices.Equal(s3, s6) || s6[0] == s6[2] {
			t.Errorf("%s %s: late, W moves or S stays: %v, %v", s.Head, s.Optimizer, s3, s6)
		}
	}
}

// A closed form takes one epoch, reports it, and resumes to itself.
func TestClosedFormsReport(t *testing.T) {
	d := tail(60, 20, 5)
	for _, loss := range []string{"ncm", "lda", "logreg"} {
		var epochs []Epoch
		s := Settings{Loss: loss, Epochs: 30, Switch: new(7.0), Warmup: 2, Val: &d}
		s.Events.Epoch = func(e Epoch, _ *State) { epochs = append(epochs, e) }
		r := mustTrain(t, d, s)
		if len(epochs) != 1 || epochs[0].Number != 1 || epochs[0].Phase != PhaseTrain || !(epochs[0].Loss > 0) ||
			epochs[0].Val == nil {
			t.Fatalf("%s: epochs %+v", loss, epochs)
		}
		if *epochs[0].Train.Balanced < 0.8 || *epochs[0].Train.Balanced != *epochs[0].Val.Balanced {
			t.Errorf("%s: balanced accuracy %.3f, on the same data as validation %.3f", loss, *epochs[0].Train.Balanced,
				*epochs[0].Val.Balanced)
		}
		s.Resume = r.State
		if again := mustTrain(t, d, s); !slices.Equal(again.Head.W, r.Head.W) || len(epochs) != 1 {
			t.Errorf("%s: resumed to another head", loss)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Resume = nil
		if r, err := Train(ctx, d, s); err == nil || r == nil || r.State.Epoch != 0 {
			t.Errorf("%s, cancelled: %v", loss, err)
		}
	}
}

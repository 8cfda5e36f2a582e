package head_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
)

// same says whether two heads have the same bits.
func same(a, b *head.Head) bool {
	return slices.Equal(a.W, b.W) && slices.Equal(a.B, b.B) && slices.Equal(a.Mean, b.Mean) &&
		slices.Equal(a.InvStd, b.InvStd) && slices.Equal(a.Transform, b.Transform) && a.Normalize == b.Normalize
}

// withViews adds views to data: copies with some noise.
func withViews(d head.Data, views int) head.Data {
	v := head.Data{Y: d.Y, Dim: d.Dim, Classes: d.Classes, Views: views}
	for i := range d.Y {
		for k := range views {
			for j, x := range d.X[i*d.Dim : (i+1)*d.Dim] {
				v.X = append(v.X, x+0.3*float32(k)*float32(math.Sin(float64(7*i+3*j+k))))
			}
		}
	}
	return v
}

// Every method, and settings of all kinds, side by side: each head is the one that it is alone.
func TestTrainAll(t *testing.T) {
	plain := mixture(1, 12, 4, 70, 40, 12, 5, 1)
	val := mixture(2, 12, 4, 6, 6, 6, 6, 6)
	for _, d := range []head.Data{plain, withViews(plain, 3)} {
		sets := []head.Settings{
			{Seed: 1}, {Val: &val}, {Features: "raw"}, {Shrinkage: 0.2}, {Experts: 3, Diversity: 0.1}, {Noise: 0.3},
			{Kappa: calib.Slope{CrossFit: 3}, Noise: 0.1}, {Loss: "la", Optimizer: "adamw", Head: "linear"},
		}
		for _, loss := range head.Losses() {
			sets = append(sets, head.Settings{Loss: loss})
		}
		for i := range sets {
			sets[i].Epochs, sets[i].Batch = 4, 32
		}
		results, err := head.TrainAll(context.Background(), d, sets)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range sets {
			alone := train(t, d, s)
			if !same(alone.Head, results[i].Head) || !slices.Equal(alone.State.Values("weight"),
				results[i].State.Values("weight")) {
				t.Errorf("settings %d (%s) of %d views: another head than alone", i, s.Loss, d.Views)
			}
		}
	}
}

func TestTrainAllErrors(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	var set *head.SetError
	if r, err := head.TrainAll(context.Background(), d, []head.Settings{{}, {Loss: "x"}}); r != nil ||
		!errors.As(err, &set) || set.Index != 1 {
		t.Errorf("an unknown loss: %v, %v", r, err)
	}
	r, err := head.TrainAll(context.Background(), d, []head.Settings{{Epochs: 3},
		{Head: "linear", LR: 1000, WeightDecay: new(1000.0), Epochs: 5, Batch: 16}})
	var diverged *head.DivergedError
	if !errors.As(err, &diverged) || !errors.As(err, &set) || set.Index != 1 || r[0].State.Epoch != 3 ||
		r[1].State.Epoch != diverged.Epoch-1 {
		t.Errorf("one that diverges: %v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var epochs atomic.Int32
	stop := head.Settings{Epochs: 1000, Events: head.Events{Epoch: func(head.Epoch, *head.State) {
		if epochs.Add(1) == 7 {
			cancel()
		}
	}}}
	r, err = head.TrainAll(ctx, d, []head.Settings{stop, stop, stop, stop, stop, stop, stop, stop, stop})
	if !errors.Is(err, context.Canceled) || len(r) != 9 || r[8] != nil {
		t.Errorf("cancelled: %v, %v", r, err)
	}
	if r, err := head.TrainAll(context.Background(), d, nil); err != nil || len(r) != 0 {
		t.Errorf("no heads: %v, %v", r, err)
	}
}

// Out-of-fold logits of a sample are those of a head trained without it, whatever is put in its place.
func TestOutOfFold(t *testing.T) {
	d := withViews(mixture(1, 6, 4, 60, 30, 9, 2, 1), 2)
	s := head.Settings{Epochs: 3, Batch: 16, Seed: 5}
	predict := func(d head.Data, held []float32) []float32 {
		z, err := head.OutOfFold(context.Background(), d, held, s, 4)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	plain := func(d head.Data) []float32 {
		var x []float32
		for i := range d.Y {
			x = append(x, d.X[2*i*d.Dim:(2*i+1)*d.Dim]...)
		}
		return x
	}
	want, held := predict(d, nil), plain(d)
	if got := predict(d, held); !slices.Equal(got, want) {
		t.Error("held out view 0 is not the default")
	}
	row := func(z []float32, i int) []float32 { return z[i*d.Classes : (i+1)*d.Classes] }
	for _, i := range []int{0, 59, 70, 95, 99, 100, 101} {
		changed := d
		changed.X = slices.Clone(d.X)
		for j := range 2 * d.Dim {
			changed.X[2*i*d.Dim+j] -= 50
		}
		got := predict(changed, held)
		moved := 0
		for k := range d.Y {
			if !slices.Equal(row(got, k), row(want, k)) {
				moved++
			}
		}
		if last := i == 101; slices.Equal(row(got, i), row(want, i)) == last {
			t.Errorf("sample %d: seen by the head that predicts it: %v", i, !last)
		}
		if moved < len(d.Y)/2 {
			t.Errorf("sample %d: only %d others depend on it", i, moved)
		}
	}
	s.Seed = 6
	if slices.Equal(predict(d, nil), want) {
		t.Error("another seed, the same folds")
	}
	for _, folds := range []int{-1, 0, 1, 103} {
		if _, err := head.OutOfFold(context.Background(), d, nil, s, folds); err == nil {
			t.Errorf("%d folds: accepted", folds)
		}
	}
	if _, err := head.OutOfFold(context.Background(), d, held[1:], s, 4); err == nil {
		t.Error("held features of the wrong size: accepted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := head.OutOfFold(ctx, d, nil, s, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// spy keeps what it is asked.
type spy struct {
	calib.Slope
	mu    sync.Mutex
	asked []calib.Epoch
}

func (s *spy) Estimate(e calib.Epoch) ([]calib.Kappa, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, e)
	return s.Slope.Estimate(e)
}

// Cross-fitted κ is read off out-of-fold logits once, holds from the first epoch, and comes back with a resume.
func TestCrossFit(t *testing.T) {
	d := mixture(1, 8, 3, 130, 40, 8)
	estimator := &spy{Slope: calib.Slope{CrossFit: 4}}
	s := head.Settings{Epochs: 6, Batch: 16, Switch: new(2.0), Kappa: estimator, Seed: 3}
	var states []*head.State
	s.Events.Epoch = func(_ head.Epoch, state *head.State) { states = append(states, state.Clone()) }
	whole := train(t, d, s)
	if len(estimator.asked) != 2 {
		t.Fatalf("κ estimated %d times", len(estimator.asked))
	}
	without := head.Settings{Batch: 16, Switch: new(2.0), Kappa: calib.One{}, Seed: 3}
	for i, epochs := range []int{2, 6} {
		e := estimator.asked[i]
		if e.Number != epochs || e.Late != (i == 1) || len(e.Samples) != len(d.Y) ||
			!slices.Equal(e.Group, []int{0, 1, 2}) ||
			e.Previous != nil {
			t.Errorf("asked %d: after epoch %d, late %v, %d samples, groups %v", i, e.Number, e.Late, len(e.Samples),
				e.Group)
		}
		// κ* is of heads at T0: those of a training whose schedule ends there.
		without.Epochs = epochs
		z, err := head.OutOfFold(context.Background(), d, nil, without, 4)
		if err != nil {
			t.Fatal(err)
		}
		err = e.Pass(func(logits []float32, labels []int) {
			if !slices.Equal(logits, z) || !slices.Equal(labels, d.Y) {
				t.Errorf("asked %d: the logits are not out of fold", i)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for j, o := range e.Samples {
			if want := calib.NewSample(z[j*3:j*3+3], d.Y[j], e.Beta, e.Delta); o != want {
				t.Fatalf("asked %d: sample %d is %+v, want %+v", i, j, o, want)
			}
		}
	}
	for i, e := range whole.State.History {
		want := whole.State.Early
		if i >= 2 {
			want = whole.State.Late
		}
		if !slices.Equal(e.Kappa, want) || e.Kappa[0].Value == 1 {
			t.Errorf("epoch %d: κ %+v, want %+v", i+1, e.Kappa, want)
		}
	}
	for _, from := range []int{0, 3} {
		s.Resume = states[from]
		if again := train(t, d, s); !same(whole.Head, again.Head) || len(estimator.asked) != 2 {
			t.Errorf("resumed after epoch %d: another head, or κ estimated again", from+1)
		}
	}
}

// Views that are all alike are no views at all, but for the draw; different ones are used, one at a time.
func TestViews(t *testing.T) {
	plain := mixture(1, 8, 3, 50, 20, 8)
	s := head.Settings{Epochs: 3, Batch: 16}
	twice := head.Data{Y: plain.Y, Dim: 8, Classes: 3, Views: 2}
	for i := range plain.Y {
		row := plain.X[8*i : 8*i+8]
		twice.X = append(append(twice.X, row...), row...)
	}
	one, two := train(t, plain, s).Head, train(t, twice, s).Head
	for i, w := range one.W {
		if math.Abs(float64(two.W[i]-w)) > 1e-4*(1+math.Abs(float64(w))) {
			t.Fatalf("weight %d: %g with two equal views, %g with one", i, two.W[i], w)
		}
	}
	varied := withViews(plain, 3)
	if same(train(t, varied, s).Head, one) {
		t.Error("views change nothing")
	}
	s.Val = &varied
	if _, err := head.Train(context.Background(), plain, s); err == nil {
		t.Error("validation data of several views: accepted")
	}
	varied.Views = -1
	if err := varied.Validate(); err == nil {
		t.Error("-1 views: accepted")
	}
}

// The head of several experts is the mean of theirs, and on sound data as good as one.
func TestExperts(t *testing.T) {
	d, test := mixture(1, 24, 5, 200, 60, 20, 6), mixture(2, 24, 5, 100, 100, 100, 100)
	for _, kind := range []string{"cosine", "linear"} {
		s := head.Settings{Experts: 3, Subspace: 0.75, Diversity: 0.1, Head: kind, Epochs: 10, Batch: 32}
		r := train(t, d, s)
		for k := range 4 {
			for j := range 24 {
				mean, seen := 0.0, 0
				for e := range 3 {
					row, norm := r.State.Values("weight")[(e*4+k)*24:(e*4+k+1)*24], 1.0
					if kind == "cosine" {
						square := 0.0
						for _, v := range row {
							square += float64(v) * float64(v)
						}
						norm = math.Sqrt(square)
					}
					mean += float64(r.State.Values("scale")[e*4+k]) * float64(row[j]) / norm / 3
					if row[j] != 0 {
						seen++
					}
				}
				if got := float64(r.Head.W[k*24+j]); math.Abs(got-mean) > 1e-5*(1+math.Abs(mean)) || seen == 0 &&
					mean != 0 {
					t.Errorf("%s: weight %d, %d is %g, the mean of the experts %g", kind, k, j, got, mean)
				}
			}
		}
		alone := train(t, d, head.Settings{Head: kind, Epochs: 10, Batch: 32}).Head
		if got, one := balanced(t, r.Head, test), balanced(t, alone, test); got < one-0.05 {
			t.Errorf("%s: balanced accuracy %.3f, of one head %.3f", kind, got, one)
		}
	}
}

// Noise is drawn anew for each epoch and seed, and is gone from the head that comes out.
func TestNoise(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	s := head.Settings{Epochs: 2, Batch: 16, Noise: 0.5}
	one := train(t, d, s)
	if !same(one.Head, train(t, d, s).Head) {
		t.Error("the same settings, another head")
	}
	if same(one.Head, train(t, d, head.Settings{Epochs: 2, Batch: 16}).Head) {
		t.Error("noise changes nothing")
	}
	l, err := head.NewLinear(d, s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var z [3][3]float32
	for i, epoch := range []int{0, 1, 0} {
		l.Begin(epoch, head.PhaseMLA)
		if _, err := l.Forward(t.Context(), []int{7}, z[i][:]); err != nil {
			t.Fatal(err)
		}
	}
	if z[0] == z[1] || z[0] != z[2] {
		t.Errorf("logits of epochs 0, 1 and 0: %v", z)
	}
}

// BenchmarkTrainAll is a sweep of 16 heads beside the same heads one after the other; "ratio" is how many times as
// long those take.
func BenchmarkTrainAll(b *testing.B) {
	d := longTail()
	sets := make([]head.Settings, 16)
	for i := range sets {
		sets[i] = head.Settings{Loss: []string{"cvs", "la"}[i%2], Epochs: 3, Seed: uint64(i / 2)}
	}
	for b.Loop() {
		began := time.Now()
		for _, s := range sets {
			train(b, d, s)
		}
		alone := time.Since(began)
		began = time.Now()
		if _, err := head.TrainAll(context.Background(), d, sets); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(alone.Seconds()/time.Since(began).Seconds(), "ratio")
		b.ReportMetric(time.Since(began).Seconds()/float64(len(sets)*3), "s/epoch")
	}
}

func ExampleTrainAll() {
	data := head.Data{Dim: 1, Classes: 2, X: []float32{-1, -2, 1, 2, 3}, Y: []int{0, 0, 1, 1, 1}}
	var sets []head.Settings
	for _, loss := range []string{"ce", "la", "ncm"} {
		sets = append(sets, head.Settings{Loss: loss, Head: "linear", Epochs: 5})
	}
	results, err := head.TrainAll(context.Background(), data, sets)
	if err != nil {
		panic(err)
	}
	for i, r := range results {
		fmt.Println(sets[i].Loss, "took epochs:", len(r.State.History))
	}
	// Output:
	// ce took epochs: 5
	// la took epochs: 5
	// ncm took epochs: 1
}

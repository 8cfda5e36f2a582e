package head_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/vec"
)

// mixture draws counts[y] samples of each class from unit Gaussians around random centres of the given distance.
func mixture(seed uint64, dim int, distance float64, counts ...int) head.Data {
	centres := rand.New(rand.NewPCG(1, 0)) // the same for every seed
	rng := rand.New(rand.NewPCG(seed, 1))
	d := head.Data{Dim: dim, Classes: len(counts)}
	for y, n := range counts {
		centre := make([]float64, dim)
		for k := range centre {
			centre[k] = distance * centres.NormFloat64() / math.Sqrt(float64(dim))
		}
		for range n {
			for k := range centre {
				d.X = append(d.X, float32(centre[k]+rng.NormFloat64()))
			}
			d.Y = append(d.Y, y)
		}
	}
	return d
}

func train(t testing.TB, d head.Data, s head.Settings) *head.Result {
	t.Helper()
	r, err := head.Train(context.Background(), d, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// balanced is the balanced accuracy of h on d.
func balanced(t testing.TB, h *head.Head, d head.Data) float64 {
	t.Helper()
	z := make([]float32, len(d.Y)*d.Classes)
	if err := h.Logits(head.Blas{}, d.X, z); err != nil {
		t.Fatal(err)
	}
	return calib.BalancedAccuracy(z, d.Y, d.Classes)
}

func TestTrainEveryLossAndHead(t *testing.T) {
	d, test := mixture(1, 16, 5, 200, 60, 20, 6), mixture(2, 16, 5, 100, 100, 100, 100)
	for _, loss := range head.Losses() {
		for _, kind := range []string{"cosine", "linear"} {
			for _, optimizer := range []string{"sgd", "adamw"} {
				if loss == "lda" && kind == "cosine" {
					continue
				}
				t.Run(fmt.Sprint(loss, "/", kind, "/", optimizer), func(t *testing.T) {
					s := head.Settings{Loss: loss, Head: kind, Optimizer: optimizer, Epochs: 20, Batch: 32}
					if kind == "linear" && optimizer == "adamw" {
						s.LR = 0.003 // the default is for more updates than a set this small has
					}
					r := train(t, d, s)
					first, last := r.State.History[0], r.State.History[len(r.State.History)-1]
					if !(balanced(t, r.Head, test) > 0.8) {
						t.Errorf("balanced accuracy %.3f; loss %.3f to %.3f", balanced(t, r.Head, test), first.Loss,
							last.Loss)
					}
				})
			}
		}
	}
}

// The same inputs give the same bits, and an interrupted training ends as one that was not.
func TestResume(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	val := mixture(2, 8, 3, 10, 10, 10)
	for _, s := range []head.Settings{
		{},
		{Optimizer: "adamw", Head: "linear", Start: "zero", Warmup: 2},
		{LearnScale: true, Nesterov: true, Restart: new(0.0), Kappa: calib.DDC{}},
		{Loss: "la", WeightDecay: new(1e-3), Batch: 1 << 20},
		{Kappa: calib.Slope{Group: calib.OneVsRest, Decay: 0.5}, Switch: new(0.5)},
		{Optimizer: "adamw", Average: 3},
	} {
		s.Epochs, s.Seed, s.Val = 8, 3, &val
		if s.Batch == 0 {
			s.Batch = 16
		}
		var middle []*head.State
		s.Events.Epoch = func(_ head.Epoch, state *head.State) { middle = append(middle, state.Clone()) }
		whole := train(t, d, s)
		states := middle
		for _, from := range []int{0, 3, 6} {
			s.Resume = states[from]
			again := train(t, d, s)
			if !slices.Equal(whole.Head.W, again.Head.W) || !slices.Equal(whole.Head.B, again.Head.B) {
				t.Errorf("%s %s resumed after epoch %d: another head", s.Optimizer, s.Loss, from+1)
			}
			if len(again.State.History) != 8 {
				t.Errorf("history of %d epochs", len(again.State.History))
			}
		}
	}
}

// The mean over the last epochs is that of the parameters after each update.
func TestAverage(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	s := head.Settings{Loss: "la", Epochs: 5, Batch: 1 << 20} // one update an epoch
	var after [][]float32
	s.Events.Epoch = func(_ head.Epoch, state *head.State) {
		after = append(after, slices.Clone(state.Values("weight")))
	}
	last := train(t, d, s).State
	want := make([]float32, len(after[0]))
	for i := range want {
		want[i] = (after[2][i] + after[3][i] + after[4][i]) / 3
	}
	s.Average = 3
	mean := train(t, d, s).State
	if at := vec.Differs(want, mean.Values("weight"), 1e-6); at >= 0 {
		t.Errorf("weight %d is %v, want %v", at, mean.Values("weight")[at], want[at])
	}
	if slices.Equal(mean.Values("weight"), last.Values("weight")) {
		t.Error("the mean is the last")
	}
	s.Average = 100
	if got := train(t, d, s).State.Meant; got != 5 {
		t.Errorf("the mean of all epochs is of %d updates, want 5", got)
	}
}

// Every epoch of a loss with κ says which it used, from 1 on; losses without κ say none.
func TestKappaIsReported(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	moved := false
	for i, e := range train(t, d, head.Settings{Epochs: 6, Batch: 16, Switch: new(3.0)}).State.History {
		if len(e.Kappa) != 3 || i == 0 && (e.Kappa[0].Value != 1 || !e.Kappa[0].Skipped) {
			t.Errorf("epoch %d: κ = %+v", e.Number, e.Kappa)
		}
		moved = moved || e.Kappa[0].Value != 1
		if want := []head.Phase{head.PhaseMLA, head.PhaseCLA}[i/3]; e.Phase != want {
			t.Errorf("epoch %d is of phase %s", e.Number, e.Phase)
		}
	}
	if !moved {
		t.Error("κ never left 1")
	}
	if e := train(t, d, head.Settings{Loss: "la", Epochs: 1}).State.History[0]; e.Kappa != nil ||
		e.Phase != head.PhaseTrain {
		t.Errorf("la: %+v", e)
	}
}

// How many processors share the work does not show in the head.
func TestSameBitsOnAnyProcessors(t *testing.T) {
	d := mixture(1, 64, 5, 300, 200, 150, 90, 50, 30, 20, 10)
	s := head.Settings{Epochs: 4, Batch: 300, Switch: new(2.0)}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one := train(t, d, s)
	runtime.GOMAXPROCS(5)
	if five := train(t, d, s); !slices.Equal(one.Head.W, five.Head.W) {
		t.Error("another head on five processors than on one")
	}
}

func TestInterrupted(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	ctx, cancel := context.WithCancel(context.Background())
	s := head.Settings{Epochs: 6, Batch: 16}
	s.Events.Epoch = func(e head.Epoch, _ *head.State) {
		if e.Number == 3 {
			cancel()
		}
	}
	r, err := head.Train(ctx, d, s)
	if !errors.Is(err, context.Canceled) || r == nil || r.State.Epoch != 3 {
		t.Fatalf("got %v, %v", r, err)
	}
	s.Resume, s.Events.Epoch = r.State, nil
	if got, want := train(t, d, s), train(t, d, head.Settings{Epochs: 6, Batch: 16}); !slices.Equal(got.Head.W,
		want.Head.W) {
		t.Error("another head than without the interruption")
	}
}

func TestDiverged(t *testing.T) {
	d := mixture(1, 8, 3, 50, 20, 8)
	s := head.Settings{Head: "linear", LR: 1000, WeightDecay: new(1000.0), Epochs: 5, Batch: 16}
	r, err := head.Train(context.Background(), d, s)
	var diverged *head.DivergedError
	if !errors.As(err, &diverged) || diverged.Epoch < 1 || diverged.LR == 0 || r == nil ||
		r.State.Epoch != diverged.Epoch-1 {
		t.Fatalf("got %v, %v", r, err)
	}
	for _, v := range r.Head.W {
		if !(math.Abs(float64(v)) <= math.MaxFloat32) {
			t.Fatalf("the head of the last whole epoch has a weight of %v", v)
		}
	}
}

func TestRefusals(t *testing.T) {
	good := mixture(1, 4, 3, 5, 5)
	bad := func(change func(d *head.Data)) head.Data {
		d := good
		d.X, d.Y = slices.Clone(d.X), slices.Clone(d.Y)
		change(&d)
		return d
	}
	for _, c := range []struct {
		name string
		data head.Data
		set  head.Settings
		want []string
	}{
		{"several at once", good, head.Settings{Loss: "x", Head: "y", LR: -1, Rho: new(math.NaN())},
			[]string{`loss: "x" is none of ce, focal`, `head: "y" is none of cosine, linear`, "lr: -1 is not above 0",
				"rho: NaN is not between 0 and 1000"}},
		{"late switch", good, head.Settings{Epochs: 10, Switch: new(11.0)}, []string{"switch: at epoch 11 of 10"}},
		{"broken switch", good, head.Settings{Switch: new(1.5)}, []string{"switch: 1.5"}},
		{"lda on a cosine", good, head.Settings{Loss: "lda", Head: "cosine"},
			[]string{"linear head on whitened features"}},
		{"experts alike", good, head.Settings{Experts: 3, Subspace: 1}, []string{"start alike"}},
		{"one diverse expert", good, head.Settings{Diversity: 1}, []string{"single expert"}},
		{"negative noise", good, head.Settings{Noise: -1}, []string{"noise: -1 is not between 0 and 1000"}},
		{"one class", bad(func(d *head.Data) { d.Classes = 1 }), head.Settings{}, []string{"two classes"}},
		{"label", bad(func(d *head.Data) { d.Y[3] = 2 }), head.Settings{}, []string{"sample 3: label 2"}},
		{"NaN", bad(func(d *head.Data) { d.X[5] = float32(math.NaN()) }), head.Settings{},
			[]string{"sample 1: feature 1 is NaN"}},
		{"size", bad(func(d *head.Data) { d.Dim = 3 }), head.Settings{}, []string{"10×1×3"}},
		{"empty", head.Data{Dim: 3, Classes: 2}, head.Settings{}, []string{"no samples"}},
		{"state", good, head.Settings{Resume: &head.State{}}, []string{"resuming"}},
		{"val", good, head.Settings{Val: new(mixture(1, 5, 3, 5, 5))}, []string{"validation data of 5 features"}},
	} {
		_, err := head.Train(context.Background(), c.data, c.set)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", c.name, err, want)
			}
		}
	}
}

// An empty class must neither crash nor win.
func TestEmptyClass(t *testing.T) {
	d := mixture(1, 8, 4, 50, 0, 20)
	for _, kind := range []string{"cosine", "linear"} {
		r := train(t, d, head.Settings{Head: kind, Epochs: 10, Batch: 16})
		for _, v := range r.Head.W {
			if math.IsNaN(float64(v)) {
				t.Fatalf("%s: NaN", kind)
			}
		}
	}
}

// A state that gob has written and read back is the same, accuracies of 0 among them.
func TestStateAsGob(t *testing.T) {
	d := mixture(1, 8, 3, 150, 20, 8)
	s := train(t, d, head.Settings{Epochs: 2, Optimizer: "adamw", Val: &d}).State
	s.History[1].Val.Few, s.History[0].Train.Many = new(0.0), nil
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(s); err != nil {
		t.Fatal(err)
	}
	back := new(head.State)
	if err := gob.NewDecoder(&b).Decode(back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, back) {
		t.Errorf("written %+v, read %+v", s, back)
	}
	line, err := json.Marshal(back.History[1].Val)
	if err != nil || !strings.HasPrefix(string(line), `{"top1":1,"balanced_accuracy":`) ||
		!strings.HasSuffix(string(line), `,"few":0}`) {
		t.Errorf("as JSON %s, %v", line, err)
	}
}

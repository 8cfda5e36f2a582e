package head_test

import (
	"context"
	"errors"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/scratch"
)

// far is the same data, on the disk.
func far(t *testing.T, d head.Data) head.Data {
	t.Helper()
	dir := t.TempDir()
	room := func(rows int) (head.Matrix, error) { return scratch.New(dir, rows, d.Dim) }
	m, err := room(len(d.X) / d.Dim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Write(0, d.X); err != nil {
		t.Fatal(err)
	}
	d.X, d.Far = nil, &head.Far{Rows: m, New: room}
	return d
}

// Where features are changes no bit of a head, of whatever method; nor does an interruption.
func TestFarIsTheSame(t *testing.T) {
	d, val := mixture(1, 8, 3, 1500, 700, 10), mixture(2, 8, 3, 20, 20, 20)
	two := d
	two.Views, two.Y = 2, nil
	for i := 0; i < len(d.Y); i += 2 {
		two.Y = append(two.Y, d.Y[i])
	}
	two.X = d.X[:len(two.Y)*2*d.Dim]
	for name, c := range map[string]struct {
		data head.Data
		s    head.Settings
	}{
		"the default":  {d, head.Settings{Shuffle: head.ShuffleAll}},
		"windows":      {d, head.Settings{Shuffle: 700}}, // one piece each
		"many pieces":  {d, head.Settings{Shuffle: 20, Noise: 0.1}},
		"views":        {two, head.Settings{Shuffle: 600, Features: "standardize", Head: "linear"}},
		"of two sizes": {d, head.Settings{Shuffle: 1024, Batch: 300, Experts: 2, Features: "center"}},
		"logreg":       {d, head.Settings{Loss: "logreg", Shuffle: 100}},
		"lda":          {d, head.Settings{Loss: "lda", Shuffle: 100}},
		"ncm":          {two, head.Settings{Loss: "ncm", Shuffle: 100}},
		"crt":          {d, head.Settings{Loss: "crt", Shuffle: 100}},
		"lws":          {two, head.Settings{Loss: "lws", Shuffle: 100}},
		"tau-norm":     {d, head.Settings{Loss: "tau-norm", Shuffle: 100, Features: "raw"}},
		"vit":          {d, head.Settings{Kappa: calib.ViT{}, Shuffle: 100}},
	} {
		c.s.Epochs, c.s.Val = 4, &val
		want := train(t, c.data, c.s)
		data := far(t, c.data)
		got := train(t, data, c.s)
		timeless(want.State)
		timeless(got.State)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: another head", name)
		}
		if want.State.Epoch == 1 {
			continue
		}
		ctx, stop := context.WithCancel(t.Context())
		s := c.s
		s.Events.Epoch = func(e head.Epoch, _ *head.State) {
			if e.Number == 2 {
				stop()
			}
		}
		part, err := head.Train(ctx, data, s)
		if !errors.Is(err, context.Canceled) || part.State.Epoch != 2 {
			t.Fatalf("%s: %v", name, err)
		}
		s = c.s
		s.Resume = part.State
		again := train(t, data, s)
		timeless(again.State)
		if !reflect.DeepEqual(again, want) {
			t.Errorf("%s: another head when it was interrupted", name)
		}
		data.Far.New = nil
		spent := train(t, data, c.s)
		timeless(spent.State)
		if !reflect.DeepEqual(spent, want) {
			t.Errorf("%s: another head of features that are prepared in place", name)
		}
	}
}

func timeless(s *head.State) {
	for i := range s.History {
		s.History[i].Seconds = 0
	}
}

// Another number of samples that are shuffled at a time is another order, of which each is as good a one.
func TestShuffleIsAnOrder(t *testing.T) {
	d := mixture(1, 8, 3, 1500, 700, 10)
	heads := map[float32]bool{}
	for _, n := range []head.Shuffle{head.ShuffleAll, 100, 1024} {
		r := train(t, d, head.Settings{Epochs: 4, Shuffle: n})
		heads[r.Head.W[0]] = true
		if last := r.State.History[3]; *last.Train.Balanced < 0.7 {
			t.Errorf("shuffle %v: balanced accuracy %v", n, *last.Train.Balanced)
		}
	}
	if len(heads) != 3 {
		t.Errorf("%d heads of three orders", len(heads))
	}
	for _, text := range []string{"auto", "all", "2", "65536"} {
		if s, err := head.ParseShuffle(text); err != nil || s.String() != text {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "1", "-1", "0", "some", "1e6", "99999999999"} {
		if s, err := head.ParseShuffle(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

// Left to itself, all samples are shuffled, and of those that are far from memory as many as fit.
func TestShuffleFits(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	of := head.Size{Classes: 10, Dim: 512, Samples: 1_000_000}
	auto := head.Settings{Shuffle: head.ShuffleAuto}
	if got := auto.Shuffled(of); got != head.ShuffleAll {
		t.Errorf("in memory: %v", got)
	}
	of.Far = true
	for limit, want := range map[int64]head.Shuffle{
		1 << 30: 65536, 300 << 20: 32768, 200 << 20: 16384, 104 << 20: 4096, 1 << 20: 4096,
	} {
		debug.SetMemoryLimit(limit)
		got := auto.Shuffled(of)
		if got != want {
			t.Errorf("in %d MiB: %v, not %v", limit>>20, got, want)
		}
		if err := (head.Settings{Shuffle: got}).CheckMemory(of); (err == nil) != (limit > 1<<20) {
			t.Errorf("in %d MiB: %v", limit>>20, err)
		}
		for _, set := range []head.Shuffle{7, 100_000, head.ShuffleAll} {
			if got := (head.Settings{Shuffle: set}).Shuffled(of); got != set {
				t.Errorf("%v became %v", set, got)
			}
		}
	}
}

// What would need all features at once is refused by the name of the setting, and what cannot be read is an error.
func TestFarRefuses(t *testing.T) {
	of := head.Size{Classes: 3, Dim: 8, Samples: 1000, Far: true}
	folds := of
	folds.Folds = 5
	for want, err := range map[string]error{
		"":            head.Settings{}.CheckMemory(of),
		"calibration": head.Settings{}.CheckMemory(folds),
		"kappa":       head.Settings{Kappa: calib.Slope{CrossFit: 3}}.CheckMemory(of),
	} {
		if want == "" && err != nil || want != "" && (fault.Of(err) != fault.Config ||
			!strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
	d := far(t, mixture(1, 8, 3, 100, 50, 10))
	if _, err := head.OutOfFold(t.Context(), d, nil, head.Settings{}, 2); err == nil {
		t.Error("out of fold")
	}
	if _, err := head.TrainAll(t.Context(), d, []head.Settings{{}}); err == nil {
		t.Error("several at a time")
	}
	broken := errors.New("broken disk")
	for _, after := range []int{0, 1, 2, 3, 4, 5} { // class means, covariance, preparation; start, training
		failing := d
		failing.Far = &head.Far{Rows: &unreliable{d.Far.Rows, after, broken}, New: func(n int) (head.Matrix, error) {
			m, err := d.Far.New(n)
			return &unreliable{m, after - 3, broken}, err
		}}
		if _, err := head.Train(t.Context(), failing, head.Settings{Epochs: 3}); !errors.Is(err, broken) {
			t.Errorf("after %d reads: %v", after, err)
		}
	}
}

// unreliable is a Matrix that breaks after some reads.
type unreliable struct {
	head.Matrix
	left int
	err  error
}

func (u *unreliable) Features(ctx context.Context, rows []int, dst []float32) error {
	if u.left--; u.left < 0 {
		return u.err
	}
	return u.Matrix.Features(ctx, rows, dst)
}

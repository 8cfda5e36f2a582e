package head_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/head/headtest"
)

// adapted is a linear head on x + A x, with A trained too: what an adapter in the backbone is, in small.
type adapted struct {
	*head.Linear
	adapter
}

// adapter is the source of x + A x.
type adapter struct {
	data head.Data
	a    []float32 // [D, D]
	x    []float32 // of the last rows
}

func (b *adapter) Features(ctx context.Context, rows []int, dst []float32) error {
	dim := b.data.Dim
	b.x = make([]float32, len(dst))
	if err := b.data.Features(ctx, rows, b.x); err != nil {
		return err
	}
	for i := range rows {
		for j := range dim {
			sum := b.x[i*dim+j]
			for k, v := range b.x[i*dim : (i+1)*dim] {
				sum += b.a[j*dim+k] * v
			}
			dst[i*dim+j] = sum
		}
	}
	return nil
}

func newAdapted(t testing.TB, d, val head.Data, s head.Settings) *adapted {
	t.Helper()
	m := &adapted{adapter: adapter{data: d, a: make([]float32, d.Dim*d.Dim)}}
	var err error
	if m.Linear, err = head.NewLinear(d, s, &m.adapter, &adapter{data: val, a: m.a}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *adapted) Params() []head.Param {
	dim := m.data.Dim
	return append(m.Linear.Params(), head.Param{Name: "adapter", Shape: []int{dim, dim}, Values: m.a, Rate: 0.05,
		Optimizer: "adamw"})
}

func (m *adapted) Backward(ctx context.Context, dz []float32, grad [][]float32) error {
	dim := m.data.Dim
	dx := make([]float32, len(m.x))
	if err := m.BackwardFeatures(ctx, dz, grad[:3], dx); err != nil {
		return err
	}
	clear(grad[3])
	for i, g := range dx {
		for k, v := range m.x[i/dim*dim : i/dim*dim+dim] {
			grad[3][i%dim*dim+k] += g * v
		}
	}
	return nil
}

func loopOf(d, val head.Data, s head.Settings) head.Loop {
	return head.Loop{Settings: s, Labels: d.Y, Classes: d.Classes, Views: d.Views, Held: val.Y}
}

// The suite passes for the head alone and for one with an adapter below, which has its gradient back through
// normalisation, whitening and standardisation.
func TestTrainables(t *testing.T) {
	val := mixture(2, 6, 4, 5, 5, 5, 5)
	for _, d := range []head.Data{mixture(1, 6, 4, 30, 15, 6, 2), withViews(mixture(1, 6, 4, 30, 15, 6, 2), 2)} {
		for _, kind := range []string{"cosine", "linear"} {
			for _, s := range []head.Settings{
				{}, {Features: "standardize", Noise: 0.3}, {Features: "raw", Loss: "la", Optimizer: "adamw"},
				{Loss: "lws"},
				{Experts: 3, Subspace: 1, Start: "zero", Diversity: 0.2},
				{Features: "center", Kappa: calib.Slope{FullPass: true}},
				{Loss: "la", EarlyStop: 1},
			} {
				s.Head, s.Epochs, s.Seed = kind, 4, 3
				t.Run(fmt.Sprintf("%d views/%s/%s %s %d", max(d.Views, 1), kind, s.Loss, s.Features, s.Experts),
					func(t *testing.T) {
						headtest.TestTrainable(t, loopOf(d, val, s),
							func() head.Trainable { return newAdapted(t, d, val, s) })
						s.Val = &val
						headtest.TestTrainable(t, loopOf(d, val, s), func() head.Trainable {
							l, err := head.NewLinear(d, s, nil, nil)
							if err != nil {
								t.Fatal(err)
							}
							return l
						})
					})
			}
		}
	}
}

// Where two features of a class's samples are mixed up, the adapter can sort them out: the loss falls further than
// without it, under every loss.
func TestLoopTrainsWhatIsBelow(t *testing.T) {
	d, val := mixture(1, 8, 3, 60, 30, 10), mixture(2, 8, 3, 20, 20, 20)
	for _, loss := range []string{"ce", "cvs", "la", "ldam", "crt"} {
		s := head.Settings{Loss: loss, Epochs: 20, Batch: 16}
		m := newAdapted(t, d, val, s)
		state, err := loopOf(d, val, s).Run(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		alone := train(t, d, s).State
		if a, b := state.History[19].Loss, alone.History[19].Loss; !(a < b) {
			t.Errorf("%s: the loss ends at %.4f, without adapter at %.4f", loss, a, b)
		}
		if state.History[19].Val == nil || !slices.Equal(state.Values("adapter"), m.a) || slices.Max(m.a) == 0 {
			t.Errorf("%s: held-out accuracy %v, adapter %v", loss, state.History[19].Val, state.Values("adapter"))
		}
	}
}

// A Source of the same features trains the same head, but for the rounding of products of other shapes.
func TestSourceInPlaceOfMemory(t *testing.T) {
	d, val := mixture(1, 8, 3, 60, 30, 10), mixture(2, 8, 3, 20, 20, 20)
	for _, loss := range []string{"cvs", "ncm", "logreg"} {
		s := head.Settings{Loss: loss, Epochs: 5, Batch: 16}
		l, err := head.NewLinear(d, s, d, val)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := loopOf(d, val, s).Run(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		for i, w := range train(t, d, s).Head.W {
			if math.Abs(float64(w-l.Head().W[i])) > 1e-4*(1+math.Abs(float64(w))) {
				t.Fatalf("%s: weight %d is %g, not %g", loss, i, l.Head().W[i], w)
			}
		}
	}
}

// other is a Trainable that fails where it is told to.
type other struct {
	values []float32
	fail   string
	rate   float64
	calls  int // of Forward

	optimizer string
}

func (o *other) Begin(int, head.Phase) {}

func (o *other) Params() []head.Param {
	return []head.Param{{Name: "all", Shape: []int{1}, Values: o.values, Rate: o.rate, Optimizer: o.optimizer}}
}

func (o *other) Forward(_ context.Context, _ []int, z []float32) (float64, error) {
	for i := range z {
		z[i] = float32(i%2) * o.values[0]
	}
	o.calls++
	return 0, errors.Join(o.failing("forward"), o.failing(fmt.Sprint("forward ", o.calls)))
}

func (o *other) Backward(_ context.Context, dz []float32, grad [][]float32) error {
	grad[0][0] = 0
	for i, v := range dz {
		grad[0][0] += float32(i%2) * v
	}
	return o.failing("backward")
}

func (o *other) Predict(_ context.Context, _ bool, _, _ int, z []float32) error {
	clear(z)
	return o.failing("predict")
}

func (o *other) failing(where string) error {
	if o.fail == where {
		return errors.New("broken " + where)
	}
	return nil
}

func TestLoopRefusals(t *testing.T) {
	good := head.Settings{Loss: "la", Epochs: 3}
	state, err := head.Loop{Settings: good, Labels: []int{0, 1, 1}, Classes: 2}.Run(t.Context(),
		&other{values: []float32{1}})
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(s *head.State)) head.Settings {
		s := good
		s.Resume = state.Clone()
		change(s.Resume)
		return s
	}
	for _, c := range []struct {
		name   string
		set    head.Settings
		labels []int
		fail   string
		kind   fault.Kind
		want   string
	}{
		{"settings", head.Settings{Batch: -1}, []int{0, 1}, "", fault.Config,
			"head-batch: -1 is not between 1 and 1000000000"},
		{"labels", good, []int{0, 2}, "", fault.Data, "labels: sample 1: label 2"},
		{"no labels", good, nil, "", fault.Data, "no samples"},
		{"closed form", head.Settings{Loss: "ncm"}, []int{0, 1}, "", fault.Config, "loss: ncm is a closed form"},
		{"cross-fit", head.Settings{Kappa: calib.Slope{CrossFit: 3}}, []int{0, 1}, "", fault.Config,
			"kappa: slope:crossfit=3"},
		{"forward", good, []int{0, 1}, "forward", fault.Other, "broken forward"},
		{"backward", good, []int{0, 1}, "backward", fault.Other, "broken backward"},
		{"predict", good, []int{0, 1}, "predict", fault.Other, "validation data: broken predict"},
		{"name", changed(func(s *head.State) { s.Params[0].Name = "some" }), []int{0, 1}, "", fault.Data,
			"the state has some, [1], of 1 values with 1 first and 0 second moments of its optimizer where all, [1]"},
		{"mean", changed(func(s *head.State) { s.Meant = 2 }), []int{0, 1}, "", fault.Data,
			"the state has 0 values of the mean of all over 2 updates, not 1"},
		{"shape", changed(func(s *head.State) { s.Params[0].Shape = []int{2} }), []int{0, 1}, "", fault.Data,
			"the state has all, [2], of 1 values"},
		{"optimizer", changed(func(s *head.State) { s.Params[0].Second = []float32{1} }), []int{0, 1}, "", fault.Data,
			"1 second moments of its optimizer where all, [1], of 1 values with 1 first and 0 second"},
		{"more", changed(func(s *head.State) { s.Params = append(s.Params, s.Params[0]) }), []int{0, 1}, "", fault.Data,
			"0 second moments of its optimizer where nothing is trained here"},
		{"epochs", changed(func(s *head.State) { s.Epoch = 4 }), []int{0, 1}, "", fault.Data, "after epoch 4 of 3"},
		{"κ", changed(func(s *head.State) { s.Early = make([]calib.Kappa, 3) }), []int{0, 1}, "", fault.Data,
			"κ for 3 classes"},
	} {
		_, err := head.Loop{Settings: c.set, Labels: c.labels, Classes: 2, Held: []int{0, 1}}.Run(t.Context(),
			&other{values: []float32{1}, fail: c.fail})
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != c.kind {
			t.Errorf("%s: %v of kind %q, want %q of kind %q", c.name, err, fault.Of(err), c.want, c.kind)
		}
	}
	_, err = head.Loop{Settings: good, Labels: []int{0, 1}, Classes: 2}.Run(t.Context(),
		&other{values: []float32{1}, rate: 1e300})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "diverged in epoch 1") {
		t.Errorf("what diverges: %v", err)
	}
	_, err = head.Loop{Settings: good, Labels: []int{0, 1}, Classes: 2}.Run(t.Context(), &other{optimizer: "lion"})
	if err == nil || !strings.Contains(err.Error(), `param all: optimizer "lion"`) {
		t.Errorf("an unknown optimizer: %v", err)
	}
	_, err = head.Loop{Settings: good, Labels: []int{0, 1}, Classes: 2, Held: []int{5}}.Run(t.Context(), &other{})
	if err == nil || !strings.Contains(err.Error(), "labels: sample 0: label 5") {
		t.Errorf("a wrong label held out: %v", err)
	}
}

// After an error, in the midst of an epoch too, the model is as it was after the last whole one, like the state.
func TestLoopRollsBack(t *testing.T) {
	broken := &other{values: []float32{1}, fail: "forward 6"}
	loop := head.Loop{Settings: head.Settings{Loss: "ce", Epochs: 3, Batch: 1}, Labels: []int{0, 1, 1}, Classes: 2}
	var after float32
	loop.Settings.Events.Epoch = func(head.Epoch, *head.State) { after = broken.values[0] }
	if s, err := loop.Run(t.Context(), broken); err == nil || s.Epoch != 1 || broken.values[0] != after ||
		s.Values("all")[0] != after {
		t.Errorf("%v: broken off after epoch %d at %v, which ended at %v", err, s.Epoch, broken.values, after)
	}

	d := mixture(1, 6, 4, 30, 15, 6)
	ctx, cancel := context.WithCancel(t.Context())
	s := head.Settings{Epochs: 6, Batch: 8, Events: head.Events{Epoch: func(e head.Epoch, _ *head.State) {
		if e.Number == 2 {
			cancel()
		}
	}}}
	m := newAdapted(t, d, d, s)
	state, err := loopOf(d, d, s).Run(ctx, m)
	if !errors.Is(err, context.Canceled) || state.Epoch != 2 {
		t.Fatalf("%v after epoch %d", err, state.Epoch)
	}
	for _, p := range m.Params() {
		if !slices.Equal(p.Values, state.Values(p.Name)) {
			t.Errorf("%s is not as in the state", p.Name)
		}
	}
	if state.Values("none") != nil {
		t.Error("values of a parameter that is not there")
	}
}

// A parameter's own rate of learning is relative to that of the settings.
func TestRate(t *testing.T) {
	end := func(lr, rate float64) float32 {
		m := &other{values: []float32{1}, rate: rate}
		loop := head.Loop{Settings: head.Settings{Loss: "ce", Epochs: 3, LR: lr}, Labels: []int{0, 1, 1}, Classes: 2}
		if _, err := loop.Run(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		return m.values[0]
	}
	if end(0.5, 0) != end(0.5, 1) || end(0.5, 0.5) != end(0.25, 0) || end(0.5, 0.5) == end(0.5, 0) {
		t.Errorf("ends at %v, %v, %v", end(0.5, 0), end(0.5, 0.5), end(0.25, 0))
	}
}

// What a head without a source below cannot do.
func TestLinearRefusals(t *testing.T) {
	d := mixture(1, 6, 4, 30, 15, 6)
	if _, err := head.NewLinear(d, head.Settings{LR: -1}, nil, nil); err == nil {
		t.Error("a negative learning rate is accepted")
	}
	l, err := head.NewLinear(d, head.Settings{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.BackwardFeatures(t.Context(), nil, nil, make([]float32, 6)); err == nil {
		t.Error("a gradient of features without a source")
	}
	if l, err = head.NewLinear(d, head.Settings{}, d, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Predict(t.Context(), true, 0, 1, make([]float32, 3)); err == nil {
		t.Error("a prediction of data held out, of which there are none")
	}
}

// A batch that goes through the model in parts has the gradient and the loss of the whole, for losses that weigh
// samples by class too.
func TestMicroBatches(t *testing.T) {
	d, val := mixture(1, 8, 3, 40, 20, 7), mixture(2, 8, 3, 10, 10, 10)
	for _, loss := range []string{"ce", "cvs", "cb", "ldam-drw", "focal"} {
		s := head.Settings{Loss: loss, Epochs: 4, Batch: 16}
		var states []*head.State
		for _, micro := range []int{0, 5, 16, 100} {
			l := loopOf(d, val, s)
			l.Micro = micro
			state, err := l.Run(t.Context(), newAdapted(t, d, val, s))
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, state)
		}
		for k, got := range states[1:] {
			for i, p := range states[0].Params {
				for j, v := range p.Values {
					if d := math.Abs(float64(v - got.Params[i].Values[j])); d > 1e-4 {
						t.Fatalf("%s, micro %d: %s differs by %g", loss, k+1, p.Name, d)
					}
				}
			}
			if d := states[0].History[3].Loss - got.History[3].Loss; math.Abs(d) > 1e-5 {
				t.Errorf("%s: the loss differs by %g", loss, d)
			}
			if k > 0 && !slices.Equal(got.Values("adapter"), states[0].Values("adapter")) {
				t.Errorf("%s: one part that is the whole gives other bits", loss)
			}
		}
	}
	l := loopOf(d, val, head.Settings{Experts: 2, Diversity: 0.1})
	l.Micro = 4
	_, err := l.Run(t.Context(), newAdapted(t, d, val, l.Settings))
	if err == nil || !strings.Contains(err.Error(), "diversity") {
		t.Errorf("diversity in parts: %v", err)
	}
}

// Package headtest has what every head.Trainable must pass.
package headtest

import (
	"bytes"
	"encoding/gob"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitft/vitft/head"
)

// TestTrainable tests the models that fresh makes, all alike, as loop trains them: that gradients are those of central
// differences, in the first phase and away from the start; that equal parameters give equal bits; and that a training
// which is resumed, from a state that gob wrote, ends as one that was not interrupted. Batches are of a few samples.
func TestTrainable(t *testing.T, loop head.Loop, fresh func() head.Trainable) {
	t.Helper()
	loop.Settings.Batch = min(8, len(loop.Labels)/2)
	p := probe{T: t, phase: loop.Settings.PhaseOf(0), rng: rand.New(rand.NewPCG(1, 1))}
	for i := range loop.Settings.Batch {
		p.rows = append(p.rows, i*len(loop.Labels)/loop.Settings.Batch*max(loop.Views, 1))
	}
	p.toward = p.normal(max(loop.Settings.Experts, 1) * len(p.rows) * loop.Classes)
	m, other := fresh(), fresh()
	names := map[string]bool{}
	for i, q := range m.Params() {
		size := 1
		for _, n := range q.Shape {
			size *= n
		}
		if names[q.Name] || size != len(q.Values) {
			t.Errorf("param %s: %d values of shape %d, or another of the same name", q.Name, len(q.Values), q.Shape)
		}
		names[q.Name] = true
		if !q.Frozen {
			h := float32(0.1 * length(q.Values))
			for k, v := range p.normal(size) {
				q.Values[k] += h * v
			}
		}
		copy(other.Params()[i].Values, q.Values)
	}
	loss, size, grad := p.at(m)
	again, _, gradAgain := p.at(other)
	if size == 0 || loss != again {
		t.Error("equal parameters give other logits, or all are 0")
	}
	for i, q := range m.Params() {
		if !slices.Equal(grad[i], gradAgain[i]) {
			t.Errorf("param %s: equal parameters give another gradient", q.Name)
		}
		if !q.Frozen {
			p.differences(m, q, loss, grad[i])
		}
	}
	resume(t, loop, fresh)
}

// probe is the loss Σ toward·z + own of a few rows.
type probe struct {
	*testing.T
	phase  head.Phase
	rng    *rand.Rand
	rows   []int
	toward []float32
}

// loss returns the loss, and how large its terms are.
func (p *probe) loss(m head.Trainable) (loss, size float64) {
	p.Helper()
	m.Begin(0, p.phase)
	z := make([]float32, len(p.toward))
	loss, err := m.Forward(p.Context(), p.rows, z)
	if err != nil {
		p.Fatal(err)
	}
	for i, v := range z {
		term := float64(p.toward[i]) * float64(v)
		loss, size = loss+term, size+math.Abs(term)
	}
	return loss, size
}

// at returns the loss, how large its terms are, and its gradient.
func (p *probe) at(m head.Trainable) (loss, size float64, grad [][]float32) {
	p.Helper()
	loss, size = p.loss(m)
	for _, q := range m.Params() {
		grad = append(grad, make([]float32, len(q.Values)))
	}
	if err := m.Backward(p.Context(), slices.Clone(p.toward), grad); err != nil {
		p.Fatal(err)
	}
	return loss, size, grad
}

// differences compares a gradient with differences from a loss along some directions. Where a ReLU is all but at its
// kink, the gradient is the slope of one side.
func (p *probe) differences(m head.Trainable, q head.Param, from float64, grad []float32) {
	p.Helper()
	start, scale := slices.Clone(q.Values), length(q.Values)
	for range 3 {
		way, along, square := p.normal(len(start)), 0.0, 0.0
		for k, g := range grad {
			along += float64(g) * float64(way[k])
			square += float64(g) * float64(g)
		}
		moved := func(h float64) (loss, size float64) {
			for k, v := range way {
				q.Values[k] = start[k] + float32(h)*v
			}
			return p.loss(m)
		}
		near, got := false, 0.0
		for _, step := range []float64{0.1, 0.03, 0.01, 0.003} { // float32 has too few digits for one that suits all
			h := step * scale
			up, _ := moved(h)
			down, size := moved(-h)
			got = (up - down) / (2 * h)
			off := min(math.Abs(got-along), math.Abs((up-from)/h-along), math.Abs((from-down)/h-along))
			if near = off <= 1e-2*(math.Abs(along)+math.Sqrt(square))+1e-7*size/h; near {
				break
			}
		}
		copy(q.Values, start)
		if !near {
			p.Errorf("param %s: the loss changes by %.5g along a direction, its gradient says %.5g", q.Name, got, along)
		}
	}
}

// length is the root mean square of values, or 0.1 where they are smaller.
func length(values []float32) float64 {
	square := 0.0
	for _, v := range values {
		square += float64(v) * float64(v) / float64(len(values))
	}
	return max(math.Sqrt(square), 0.1)
}

func (p *probe) normal(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(p.rng.NormFloat64())
	}
	return v
}

// resume trains from every state of a training to its end.
func resume(t *testing.T, loop head.Loop, fresh func() head.Trainable) {
	t.Helper()
	run := func() *head.State {
		state, err := loop.Run(t.Context(), fresh())
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	var written bytes.Buffer
	loop.Settings.Events = head.Events{Epoch: func(_ head.Epoch, s *head.State) {
		if err := gob.NewEncoder(&written).Encode(s); err != nil {
			t.Fatal(err)
		}
	}}
	whole := run()
	loop.Settings.Events = head.Events{}
	for epoch := range whole.Epoch {
		loop.Settings.Resume = new(head.State)
		if err := gob.NewDecoder(&written).Decode(loop.Settings.Resume); err != nil {
			t.Fatal(err)
		}
		for i, q := range run().Params {
			if !slices.Equal(q.Values, whole.Params[i].Values) {
				t.Errorf("param %s: resumed after epoch %d it ends otherwise", q.Name, epoch+1)
			}
		}
	}
}

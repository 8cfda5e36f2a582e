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
	p := probe{t: t, loop: loop, rng: rand.New(rand.NewPCG(1, 1))}
	for i := range loop.Settings.Batch {
		p.rows = append(p.rows, i*len(loop.Labels)/loop.Settings.Batch*max(loop.Views, 1))
	}
	p.toward = p.normal(max(loop.Settings.Experts, 1) * len(p.rows) * loop.Classes)
	m := fresh()
	names := map[string]bool{}
	for _, q := range m.Params() {
		size := 1
		for _, n := range q.Shape {
			size *= n
		}
		if names[q.Name] || size != len(q.Values) {
			t.Errorf("param %s: %d values of shape %d, or another of the same name", q.Name, len(q.Values), q.Shape)
		}
		names[q.Name] = true
		if !q.Frozen {
			p.move(q.Values, p.normal(size), 0.1)
		}
	}
	p.equalBits(m, fresh())
	p.gradient(m)
	p.resume(fresh)
}

// probe is the loss Σ toward·z + own of a few rows.
type probe struct {
	t      *testing.T
	loop   head.Loop
	rng    *rand.Rand
	rows   []int
	toward []float32
}

// at returns the loss, and how large its terms are.
func (p *probe) at(m head.Trainable) (loss, size float64, z []float32) {
	p.t.Helper()
	m.Begin(0, p.loop.Settings.PhaseOf(0))
	z = make([]float32, len(p.toward))
	own, err := m.Forward(p.t.Context(), p.rows, z)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, v := range z {
		own += float64(p.toward[i]) * float64(v)
		size += math.Abs(float64(p.toward[i]) * float64(v))
	}
	return own, size, z
}

// backward returns the gradient of that loss.
func (p *probe) backward(m head.Trainable) [][]float32 {
	p.t.Helper()
	p.at(m)
	var grad [][]float32
	for _, q := range m.Params() {
		grad = append(grad, make([]float32, len(q.Values)))
	}
	if err := m.Backward(p.t.Context(), slices.Clone(p.toward), grad); err != nil {
		p.t.Fatal(err)
	}
	return grad
}

func (p *probe) gradient(m head.Trainable) {
	p.t.Helper()
	grad := p.backward(m)
	for i, q := range m.Params() {
		for range 3 {
			if q.Frozen {
				break
			}
			way, start := p.normal(len(q.Values)), slices.Clone(q.Values)
			along, square := 0.0, 0.0
			for k, g := range grad[i] {
				along += float64(g) * float64(way[k])
				square += float64(g) * float64(g)
			}
			near, got := false, 0.0
			for _, step := range []float64{0.1, 0.03, 0.01, 0.003} { // float32 has too few digits for one that suits all
				h := p.move(q.Values, way, step)
				up, _, _ := p.at(m)
				copy(q.Values, start)
				p.move(q.Values, way, -step)
				down, size, _ := p.at(m)
				copy(q.Values, start)
				got = (up - down) / (2 * h)
				near = near || math.Abs(got-along) <= 1e-2*(math.Abs(along)+math.Sqrt(square))+1e-7*size/h
			}
			if !near {
				p.t.Errorf("param %s: the loss changes by %.5g along a direction, its gradient says %.5g", q.Name, got, along)
			}
		}
	}
}

// equalBits gives other the parameters of m.
func (p *probe) equalBits(m, other head.Trainable) {
	p.t.Helper()
	_, _, z := p.at(m)
	params := m.Params()
	for i, q := range other.Params() {
		copy(q.Values, params[i].Values)
	}
	if _, _, again := p.at(other); !slices.Equal(z, again) {
		p.t.Error("equal parameters give other logits")
	}
	for i, g := range p.backward(m) {
		if !slices.Equal(g, p.backward(other)[i]) {
			p.t.Errorf("param %s: equal parameters give another gradient", params[i].Name)
		}
	}
}

func (p *probe) resume(fresh func() head.Trainable) {
	p.t.Helper()
	loop, written := p.loop, [][]byte{}
	loop.Settings.Events = head.Events{Epoch: func(_ head.Epoch, s *head.State) {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(s); err != nil {
			p.t.Fatal(err)
		}
		written = append(written, b.Bytes())
	}}
	whole, err := loop.Run(p.t.Context(), fresh())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, from := range written {
		loop.Settings.Resume, loop.Settings.Events = new(head.State), head.Events{}
		if err := gob.NewDecoder(bytes.NewReader(from)).Decode(loop.Settings.Resume); err != nil {
			p.t.Fatal(err)
		}
		again, err := loop.Run(p.t.Context(), fresh())
		if err != nil {
			p.t.Fatal(err)
		}
		for i, q := range again.Params {
			if !slices.Equal(q.Values, whole.Params[i].Values) {
				p.t.Errorf("param %s: resumed after epoch %d it ends otherwise", q.Name, loop.Settings.Resume.Epoch)
			}
		}
	}
}

// move adds a step along way, relative to the size of values, and returns its length in ways.
func (p *probe) move(values, way []float32, step float64) float64 {
	square := 0.0
	for _, v := range values {
		square += float64(v) * float64(v) / float64(len(values))
	}
	h := float64(float32(step * max(math.Sqrt(square), 0.1)))
	for i, v := range way {
		values[i] += float32(h) * v
	}
	return h
}

func (p *probe) normal(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(p.rng.NormFloat64())
	}
	return v
}

// Package adapter learns inside a backbone: it trains the head together with what package onnx/adapt puts into the last
// blocks, on tokens of the place before them.
//
// # Basics
//
//	p, err := adapter.NewPlan(b, classes, seed, options)              // what is trained, and whether it can be
//	t := adapter.Trainer{Train: set, Data: data, Views: 1, Judged: 1} // on what
//	defer t.Close()
//	result, _, err := t.Run(ctx, p, settings)                         // as head.Train
//	learnt, file, err := p.Adapter(result.State)                      // to be put into the backbone
//
// Tokens are features of the part of the backbone that stays as it is: they are encoded once and kept like others (see
// package feature), but for training images that are other each epoch, which are read and encoded each time.
//
// # Caveats
//
// A Model is for one goroutine, and so is a Trainer.
package adapter

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
)

// Model is a head and the blocks below it in training.
type Model struct {
	*head.Linear
	plan   *Plan
	tokens Tokens
	train  Set
	held   Set
	values [][]float32 // of the plan's parameters

	step  *onnx.GradientModel // of the tokens that are kept
	whole *onnx.Session       // of all
	rate  float64             // of learning, relative to the head's
	rng   *rand.Rand          // which tokens

	judging bool // Predict is under way
	n       int  // rows of the last Forward
	// Room for tokens in training and in judging, and for the gradient by the features.
	x, seen, dx []float32
}

// Begin implements head.Trainable.
func (m *Model) Begin(epoch int, phase head.Phase) {
	m.Linear.Begin(epoch, phase)
	m.tokens.begin(epoch)
	m.rng = rand.New(rand.NewPCG(m.plan.seed, tokenStream|uint64(epoch)))
}

// Order implements head.Ordered.
func (m *Model) Order(rows []int) { m.tokens.announce(m.train, rows, m.plan.options.Micro) }

// tokenStream keeps the draws of tokens apart from those of package head.
const tokenStream = 7 << 60

// Params implements head.Trainable: those of the head, then those in the backbone.
func (m *Model) Params() []head.Param {
	list := m.Linear.Params()
	for i, p := range m.plan.adapted.Params() {
		shape := make([]int, len(p.Shape))
		for k, d := range p.Shape {
			shape[k] = int(d)
		}
		list = append(list, head.Param{Name: p.Name, Shape: shape, Values: m.values[i], Decays: p.Decays,
			Rate: m.rate, Optimizer: m.plan.options.Optimizer})
	}
	return list
}

// Backward implements head.Trainable.
func (m *Model) Backward(ctx context.Context, dz []float32, grad [][]float32) error {
	dim := m.plan.Dim()
	m.dx = grow(m.dx, m.n*dim)
	own := len(grad) - len(m.values)
	if err := m.BackwardFeatures(ctx, dz, grad[:own], m.dx); err != nil {
		return err
	}
	var out []onnx.Tensor
	for i, p := range m.plan.adapted.Params() {
		out = append(out, onnx.Tensor{Shape: p.Shape, Data: grad[own+i]})
	}
	return m.step.Backward(ctx, m.dx, m.n, out)
}

// Predict implements head.Trainable.
func (m *Model) Predict(ctx context.Context, held bool, from, to int, z []float32) error {
	m.judging = true
	defer func() { m.judging = false }()
	return m.Linear.Predict(ctx, held, from, to, z)
}

// source gives the embeddings of the training set: in training of some of the tokens, drawn anew each time, else of
// all.
type source struct{ *Model }

// Features implements head.Source.
func (s source) Features(ctx context.Context, rows []int, dst []float32) error {
	if s.judging {
		return s.judge(ctx, s.train, rows, dst)
	}
	kept := s.plan.draw(s.rng)
	s.x = grow(s.x, len(rows)*len(kept)*s.plan.width())
	if err := s.tokens.trained(ctx, s.train, rows, kept, s.x); err != nil {
		return err
	}
	s.n = len(rows)
	return s.step.Forward(ctx, s.plan.inputs(s.x, s.values, len(rows), len(kept)), len(rows), dst)
}

// heldOut gives the embeddings of the set held out.
type heldOut struct{ *Model }

// Features implements head.Source.
func (h heldOut) Features(ctx context.Context, rows []int, dst []float32) error {
	return h.mean(ctx, h.held, rows, dst)
}

// Embed gives the embeddings of a set, [n, D], as they are judged: the mean over its views.
func (m *Model) Embed(ctx context.Context, set Set) ([]float32, error) {
	rows, x := make([]int, len(set.IDs)), make([]float32, len(set.IDs)*m.plan.Dim())
	for i := range rows {
		rows[i] = i
	}
	return x, m.mean(ctx, set, rows, x)
}

// mean gives the mean embeddings of some samples.
func (m *Model) mean(ctx context.Context, set Set, samples []int, dst []float32) error {
	views := max(set.Views, 1)
	rows, one := make([]int, len(samples)), dst
	for k := range views {
		for i, sample := range samples {
			rows[i] = sample*views + k
		}
		if k == 1 {
			one = make([]float32, len(dst))
		}
		if err := m.judge(ctx, set, rows, one); err != nil {
			return err
		}
		for i := 0; k > 0 && i < len(dst); i++ {
			dst[i] += one[i]
		}
	}
	for i := 0; views > 1 && i < len(dst); i++ {
		dst[i] /= float32(views)
	}
	return nil
}

// judge gives the embeddings of rows, of all tokens.
func (m *Model) judge(ctx context.Context, set Set, rows []int, dst []float32) error {
	dim, all := m.plan.Dim(), int(m.plan.adapted.Tokens)
	for len(rows) > 0 {
		some := rows[:min(len(rows), m.plan.options.Micro)]
		m.seen = grow(m.seen, len(some)*all*m.plan.width())
		if err := m.tokens.judged(ctx, set, some, m.seen); err != nil {
			return err
		}
		out := onnx.Tensor{Shape: []int64{int64(len(some)), int64(dim)}, Data: dst[:len(some)*dim]}
		if err := m.whole.Run(ctx, m.plan.inputs(m.seen, m.values, len(some), all), []onnx.Tensor{out}); err != nil {
			return err
		}
		rows, dst = rows[len(some):], dst[len(some)*dim:]
	}
	return nil
}

func grow(s []float32, n int) []float32 { return slices.Grow(s[:0], n)[:n] }

// Close frees the graphs.
func (m *Model) Close() error {
	m.tokens.end()
	return errors.Join(m.step.Close(), m.whole.Close())
}

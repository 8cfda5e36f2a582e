package onnx

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// GradientModel is a model that gives a matrix and, for a gradient with respect to that, the gradients with respect to
// its parameters. It runs in two halves, so that the caller can compute the one from the other, and keeps between them
// what the first gives for the second, in main memory. It is for one goroutine.
type GradientModel struct {
	forward, backward *Session
	halves            [2]*graph.Model
	seed              string
	shapes            map[int64][]Tensor // of what the first half gives, by the size of the batch
	room              [][]float32        // for what is kept, of the largest batch until now
	last, kept        []Tensor           // what the last Forward was given, and gave
}

// NewGradientModel loads the two halves that package grad splits a model with gradients into, at the input seed.
func NewGradientModel(forward, backward *graph.Model, seed string, o SessionOptions) (*GradientModel, error) {
	g := &GradientModel{halves: [2]*graph.Model{forward, backward}, seed: seed, shapes: map[int64][]Tensor{}}
	for i, s := range []**Session{&g.forward, &g.backward} {
		data, err := g.halves[i].Bytes()
		if err == nil {
			*s, err = NewSession(data, o)
		}
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

// Forward computes the model's matrix, [n,D], of n samples. The inputs must stay as they are until Backward has ended.
func (g *GradientModel) Forward(ctx context.Context, inputs []Tensor, n int, out []float32) error {
	outputs, err := g.outputs(inputs, int64(n))
	if err != nil {
		return err
	}
	outputs[0].Data = out
	g.last, g.kept = inputs, outputs
	return g.forward.Run(ctx, inputs, outputs)
}

// Backward takes the gradient with respect to the matrix of the last Forward, [n,D], to those with respect to the
// parameters.
func (g *GradientModel) Backward(ctx context.Context, seed []float32, n int, grads []Tensor) error {
	if g.kept == nil || g.kept[0].Shape[0] != int64(n) {
		return errors.New("gradients of a run that there was not")
	}
	named := map[string]Tensor{g.seed: {Shape: g.kept[0].Shape, Data: seed}}
	for i, v := range g.forward.Inputs() {
		named[v.Name] = g.last[i]
	}
	for i, v := range g.forward.Outputs() {
		named[v.Name] = g.kept[i]
	}
	var in []Tensor
	for _, v := range g.backward.Inputs() {
		in = append(in, named[v.Name])
	}
	return g.backward.Run(ctx, in, grads)
}

// outputs are those of the first half, with room for what is kept.
func (g *GradientModel) outputs(inputs []Tensor, n int64) ([]Tensor, error) {
	list := g.shapes[n]
	if list == nil {
		var err error
		if list, err = g.shaped(inputs); err != nil {
			return nil, err
		}
		g.shapes[n] = list
	}
	g.room = append(g.room, make([][]float32, len(list)-len(g.room))...)
	for i := range list[1:] {
		size := int(graph.Elements(list[1+i].Shape))
		if len(g.room[i]) < size {
			g.room[i] = make([]float32, size)
		}
		list[1+i].Data = g.room[i][:size]
	}
	return list, nil
}

// shaped are the outputs of the first half by their shapes.
func (g *GradientModel) shaped(inputs []Tensor) ([]Tensor, error) {
	var given []graph.Value
	for i, v := range g.forward.Inputs() {
		v.Shape = inputs[i].Shape
		given = append(given, v)
	}
	shapes := shape.Infer(g.halves[0], given...)
	var list []Tensor
	for _, v := range g.forward.Outputs() {
		t := Tensor{Shape: shapes[v.Name]}
		if t.Shape == nil || graph.Elements(t.Shape) < 0 {
			return nil, fmt.Errorf("%w: the shape of %s is not known for inputs of the shapes %v", graph.ErrModel,
				v.Name, given)
		}
		list = append(list, t)
	}
	return list, nil
}

// Kept is how many bytes are kept between the halves for inputs of these shapes.
func (g *GradientModel) Kept(inputs []Tensor) (bytes int64, err error) {
	list, err := g.shaped(inputs)
	for _, t := range list[min(1, len(list)):] {
		bytes += 4 * graph.Elements(t.Shape)
	}
	return bytes, err
}

// Close frees both halves.
func (g *GradientModel) Close() (err error) {
	for _, s := range []*Session{g.forward, g.backward} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

package adapt

import (
	"errors"

	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// Gradients is the part that is trained with the gradients by its parameters, in their order, of which seed, an input,
// is that by the embedding. The first output is the embedding. The error, which wraps [graph.ErrModel], names the nodes
// that no gradient passes.
func (a *Adapted) Gradients(p Part, seed string) (*graph.Model, error) {
	part, err := a.Trained(p)
	if err != nil {
		return nil, err
	}
	var inputs []string
	for _, v := range a.params {
		inputs = append(inputs, v.input)
	}
	g, err := grad.Backward(part, vision.Embedding, inputs,
		grad.Options{Seed: seed, Outputs: []string{vision.Embedding}})
	if err != nil {
		return nil, err
	}
	return g.Model, nil
}

// Support says which kinds of parameters all blocks of a transformer can be trained by; the error says why the others
// cannot be.
func (t *Transformer) Support() (kinds []Kind, err error) {
	for _, kind := range Kinds() {
		a, fault := t.Insert(Options{Kind: kind, Rank: 1, bare: true})
		if fault == nil {
			_, fault = a.Gradients(Part{}, "seed")
		}
		if fault == nil {
			kinds = append(kinds, kind)
		}
		err = errors.Join(err, fault)
	}
	return kinds, err
}

package onnx

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitft/vitft/onnx/graph"
)

// Encoder maps images to feature vectors: an [ImageModel] with one output.
type Encoder struct{ *ImageModel }

// NewEncoder loads a serialised model with one input, float32 [B,3,H,W], and one output, float32 [B,D], as package
// vision's Backbone makes them. B is fixed or dynamic; H, W and D are fixed.
func NewEncoder(model []byte, o SessionOptions) (*Encoder, error) {
	m, err := NewImageModel(model, o)
	if err != nil {
		return nil, err
	}
	if len(m.widths) != 1 {
		err := fmt.Errorf("%w: outputs %v, need the embedding alone", graph.ErrModel, m.Outputs())
		return nil, errors.Join(err, m.Close())
	}
	return &Encoder{m}, nil
}

// Dim returns D, the length of a feature.
func (e *Encoder) Dim() int { return e.widths[0] }

// Run encodes n images: pixels is [n,3,H,W], features [n,D].
func (e *Encoder) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	return e.ImageModel.Run(ctx, pixels, n, features)
}

package onnx

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitft/vitft/onnx/graph"
)

// FeatureModel maps images to feature vectors: an [ImageModel] with one output.
type FeatureModel struct{ *ImageModel }

// NewFeatureModel loads a serialised model with one input, float32 [B,3,H,W], and one output, float32 [B,D], as package
// vision's Backbone makes them. B is fixed or dynamic; H, W and D are fixed.
func NewFeatureModel(model []byte, o SessionOptions) (*FeatureModel, error) {
	m, err := NewImageModel(model, o)
	if err != nil {
		return nil, err
	}
	if len(m.widths) != 1 {
		err := fmt.Errorf("%w: outputs %v, need the embedding alone", graph.ErrModel, m.Outputs())
		return nil, errors.Join(err, m.Close())
	}
	return &FeatureModel{m}, nil
}

// Dim returns D, the length of a feature.
func (m *FeatureModel) Dim() int { return m.widths[0] }

// Run encodes n images: pixels is [n,3,H,W], features [n,D].
func (m *FeatureModel) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	return m.ImageModel.Run(ctx, pixels, n, features)
}

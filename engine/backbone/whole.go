package backbone

import (
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

// Whole is the model with all of its weights in it, as what is trained inside a backbone wants them: float32 tensors.
// What it computes of its constants and of the size of images is computed: see [onnx.Fold].
func (b *Backbone) Whole() (*graph.Model, error) {
	m := b.Model.Copy()
	if b.Model.Dir() != "" {
		if err := m.Inline(); err != nil {
			return nil, err
		}
	}
	return m, onnx.Fold(m)
}

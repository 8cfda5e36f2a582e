package trained

import (
	"fmt"
	"math/rand/v2"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// Member is the content of a model.onnx of a backbone of so many dimensions with a head of random weights and, if kind
// is not "", the same in its last blocks. Members of other seeds have other weights there.
func Member(backbone *graph.Model, dim int, p vit.Preprocess, kind adapt.Kind, blocks,
	classes int, seed uint64,
) ([]byte, error) {
	r := rand.New(rand.NewPCG(seed, 7))
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64()) / 20
		}
		return v
	}
	if kind != "" {
		transformer, err := adapt.Find(backbone)
		if err != nil {
			return nil, err
		}
		adapted, err := transformer.Insert(adapt.Options{Kind: kind, Blocks: blocks, Rank: 8})
		if err != nil {
			return nil, err
		}
		var values [][]float32
		for _, p := range adapted.Params() {
			v := random(p.Size())
			for i, start := range p.Start() {
				v[i] += start
			}
			values = append(values, v)
		}
		if backbone, err = adapted.Bake(values); err != nil {
			return nil, err
		}
	}
	labels := make([]string, classes)
	for k := range labels {
		labels[k] = fmt.Sprintf("class %d of %d", k, seed)
	}
	return artifact.Build(artifact.Parts{Backbone: backbone, Labels: labels, Preprocess: p,
		Head: vision.Head{Classes: classes, Weight: random(classes * dim)}})
}

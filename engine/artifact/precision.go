package artifact

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// Precision is a way to store the weights of a classifier, and how far it may lead from what they say in float32.
type Precision struct {
	Name       string
	Margin     float64 // how much surer of its label float32 may be where this gives another; 0: none is another
	Difference float64 // of a probability, at most
	suffix     string  // of a file's name, as transformers.js looks for it
	convert    func(*graph.Model) (int, error)
}

// What float16 and int8 may change was measured on photos with a ViT-Tiny (docs/cli.md, Export), which has little to
// spare.
var precisions = []Precision{
	{"float32", 0, 1e-4, "", nil},
	{"float16", 0.005, 0.01, "_fp16", vision.HalfWeights},
	{"int8", 0.05, 0.1, "_quantized", vision.QuantizeWeights},
}

// Precisions lists the names of all, first that of float32, in which a run leaves its model.
func Precisions() []string {
	var names []string
	for _, p := range precisions {
		names = append(names, p.Name)
	}
	return names
}

// LookupPrecision finds one by its name.
func LookupPrecision(name string) (Precision, bool) {
	for _, p := range precisions {
		if p.Name == name {
			return p, true
		}
	}
	return Precision{}, false
}

// Exact reports whether the weights stay as they are.
func (p Precision) Exact() bool { return p.convert == nil }

// Convert is a model in p, and how many weights that stores in another way.
func (p Precision) Convert(model []byte) (converted []byte, weights int, err error) {
	if p.Exact() {
		return model, 0, nil
	}
	m, err := graph.Parse(model)
	if err != nil {
		return nil, 0, err
	}
	if weights, err = p.convert(m); err != nil {
		return nil, 0, fmt.Errorf("the model in %s: %w", p.Name, err)
	}
	m.SetMetadata(PrecisionKey, p.Name)
	converted, err = seal(m)
	return converted, weights, err
}

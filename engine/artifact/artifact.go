// Package artifact is model.onnx as a contract: what a classifier that vitft exports has inside, so that it can be run
// with no other file.
//
// # Basics
//
//	model, err := artifact.Build(artifact.Parts{Backbone: cut, Head: head, Labels: labels, Preprocess: p})
//	sig, err := graph.ReadSignature(model)
//	d, err := artifact.Describe(sig) // d.Labels, d.Preprocess, d.Dim
//
// The input pixel_values is float32 [batch, 3, H, W]; the outputs are probabilities and logits [batch, C] and embedding
// [batch, D]. Metadata hold the class names and how an image becomes pixel_values. A head alone, which was trained on
// embeddings that were given, has the input embedding in its place. [Precisions] are the ways to store the weights,
// [HuggingFace] makes the files that other programs look for beside a model.
//
// # Caveats
//
// Only vision transformers as package graph cuts them off; the file must stay below the 2 GB of a protobuf message.
package artifact

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/jsontext"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// The files of a run folder that a classifier reads.
const (
	ModelFile = "model.onnx"
	CardFile  = "README.md" // the model card
)

// The keys of a model's metadata.
const (
	LabelsKey     = "vitft.labels"     // the class names, a JSON array in the order of the outputs
	PreprocessKey = "vitft.preprocess" // the JSON of a vit.Preprocess
	PrecisionKey  = "vitft.precision"  // how the weights are stored, where it is not as in the run
	InputKey      = "vitft.input"      // "embedding" of a head alone
	LogitsKey     = "vitft.logits"     // "calibrated" where the logits are divided by temperatures; raw otherwise
)

// NameOf is what the model in a run folder or a file is called: the last part of the path, without .onnx.
func NameOf(path string) string {
	if absolute, err := filepath.Abs(path); err == nil { // "." has a name too
		path = absolute
	}
	return strings.TrimSuffix(filepath.Base(path), ".onnx")
}

// Parts are what a classifier is built from.
type Parts struct {
	Backbone   *graph.Model  // cut off at its feature, as vision.Backbone returns it; it is not changed; nil: none
	Views      []vision.View // of an image, whose mean feature is the embedding; up to one: the image itself
	Head       vision.Head
	Labels     []string // [C]
	Preprocess vit.Preprocess
	Dim        int // D, of a head alone
}

// Build makes the content of a model.onnx, pixel_values → probabilities, logits, embedding, or of a head alone,
// embedding → probabilities, logits. The nodes that made the features stay as they are.
func Build(p Parts) ([]byte, error) {
	labels, err := json.Marshal(p.Labels)
	if err != nil {
		return nil, err
	}
	m, err := p.model()
	if err != nil {
		return nil, err
	}
	m.SetMetadata(LabelsKey, string(labels))
	return seal(m)
}

// model is the nodes, with the preprocessing that they need.
func (p Parts) model() (*graph.Model, error) {
	if p.Backbone == nil {
		m, err := vision.HeadAlone(p.Dim, p.Head)
		if err == nil {
			m.SetMetadata(InputKey, vision.Embedding)
		}
		return m, err
	}
	m := p.Backbone.Clone()
	var err error
	if len(p.Views) > 1 {
		if m, err = vision.Average(m, p.Views); err != nil {
			return nil, err
		}
	}
	if err := vision.AppendHead(m, p.Head); err != nil {
		return nil, err
	}
	preprocess, err := json.Marshal(p.Preprocess.Resolved())
	if err != nil {
		return nil, err
	}
	m.SetMetadata(PreprocessKey, string(preprocess))
	return m, m.Inline()
}

// Description is what a model says of itself.
type Description struct {
	Labels     []string       // [C]
	Preprocess vit.Preprocess // with the defaults written out; its Width and Height are those of the input
	Dim        int            // D, the length of the embedding; 0 if the model does not give it
	HeadAlone  bool           // it takes the embedding, not images: Preprocess is nothing
}

// Size is how many values the input has, of one image.
func (d Description) Size() int {
	if d.HeadAlone {
		return d.Dim
	}
	return d.Preprocess.Size()
}

// Describe reads labels and preprocessing from the metadata and checks that they fit the model.
func Describe(sig graph.Signature) (d Description, err error) {
	const cure = "it is no classifier that vitft exported; make one with `vitft export --run RUN --out model.onnx`"
	labels, ok := sig.Metadata[LabelsKey]
	if !ok {
		return d, fault.Data.Errorf("no %s in the metadata: %s", LabelsKey, cure)
	}
	if err := json.Unmarshal([]byte(labels), &d.Labels); err != nil {
		return d, fault.Data.Errorf("metadata %s is no list of names: %w", LabelsKey, jsontext.Explain(err))
	}
	var input []int64 // behind the batch
	makes := fmt.Sprintf("%s is %s", InputKey, vision.Embedding)
	if d.HeadAlone = sig.Metadata[InputKey] == vision.Embedding; d.HeadAlone {
		if len(sig.Inputs) == 1 && len(sig.Inputs[0].Shape) == 2 {
			d.Dim = int(sig.Inputs[0].Shape[1])
		}
		input = []int64{int64(d.Dim)}
	} else {
		text, ok := sig.Metadata[PreprocessKey]
		if !ok {
			return d, fault.Data.Errorf("no %s in the metadata: %s", PreprocessKey, cure)
		}
		p, err := vit.ParsePreprocess([]byte(text))
		if err != nil {
			return d, fault.Data.Errorf("metadata %s: %w", PreprocessKey, err)
		}
		d.Preprocess = p.Resolved()
		input = []int64{3, int64(p.Height), int64(p.Width)}
		makes = fmt.Sprintf("%s makes images of %d×%d", PreprocessKey, p.Width, p.Height)
	}
	found := 0
	for _, v := range sig.Outputs {
		if len(v.Shape) != 2 {
			continue
		}
		switch v.Name {
		case vision.Probabilities, vision.Logits:
			found++
			if v.Shape[1] != int64(len(d.Labels)) {
				return d, fault.Data.Errorf("output %s has %d classes, %s names %d",
					v.Name, v.Shape[1], LabelsKey, len(d.Labels))
			}
		case vision.Embedding:
			d.Dim = int(v.Shape[1])
		}
	}
	if found != 2 || len(d.Labels) == 0 {
		return d, fault.Data.Errorf("no outputs %s and %s: %s", vision.Probabilities, vision.Logits, cure)
	}
	if len(sig.Inputs) == 1 {
		shape := sig.Inputs[0].Shape
		if !slices.Equal(shape[min(1, len(shape)):], input) || d.Size() < 1 {
			return d, fault.Data.Errorf("input %v, but %s", sig.Inputs[0], makes)
		}
	}
	return d, nil
}

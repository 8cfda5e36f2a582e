package artifact_test

import (
	"fmt"
	"log"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// A backbone and the weights of a head become one file.
func ExampleBuild() {
	backbone, preprocess, err := embedded() // a cut graph.Model and a vit.Preprocess
	if err != nil {
		log.Fatal(err)
	}
	model, err := artifact.Build(artifact.Parts{
		Backbone: backbone, Head: vision.Head{Classes: 2, Weight: make([]float32, 2*448)},
		Labels: []string{"cat", "dog"}, Preprocess: preprocess,
	})
	if err != nil {
		log.Fatal(err)
	}
	sig, err := graph.ReadSignature(model)
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range sig.Outputs {
		fmt.Println(v.Name, v.Shape)
	}
	// Output:
	// probabilities [-1 2]
	// logits [-1 2]
	// embedding [-1 448]
}

// What a file says of itself, without running it.
func ExampleDescribe() {
	d, err := artifact.Describe(graph.Signature{
		Inputs: []graph.Value{{Name: "pixel_values", Type: "float32", Shape: []int64{-1, 3, 224, 224}}},
		Outputs: []graph.Value{
			{Name: "probabilities", Shape: []int64{-1, 2}}, {Name: "logits", Shape: []int64{-1, 2}},
			{Name: "embedding", Shape: []int64{-1, 192}},
		},
		Metadata: map[string]string{
			"vitft.labels": `["cat","dog"]`, "vitft.preprocess": `{"width":224,"height":224,"resize_to":256}`,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Labels, d.Dim, d.Preprocess.Resize, d.Preprocess.ResizeTo)
	// Output: [cat dog] 192 shortest 256
}

func ExampleHuggingFace() {
	files, err := artifact.HuggingFace([]string{"cat", "dog"}, vit.DefaultPreprocess(224, 224), 192)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		fmt.Println(f.Name, len(f.Content) > 0)
	}
	// Output:
	// config.json true
	// preprocessor_config.json true
}

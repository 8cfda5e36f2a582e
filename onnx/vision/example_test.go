package vision_test

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// A classifier that gives only logits is cut down to the input of its last layer.
func ExampleBackbone() {
	m, err := graph.Read("testdata/gemm.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	backbone, found, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(backbone.Inputs(), backbone.Outputs())
	fmt.Println(found.Feature.Tensor, found.Feature.Dim)
	for _, reason := range found.Reasons {
		fmt.Println("-", reason)
	}
	// Output:
	// [{pixel_values float32 [-1 3 16 16]}] [{embedding float32 [-1 8]}]
	// cls_token 8
	// - output logits is class scores; the feature is cls_token, the input of its last layer (Gemm n/logits)
	// - a transformer: 1 attention blocks
}

func ExampleInspect() {
	m, err := graph.Read("testdata/refuse_grey.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = vision.Inspect(m, vision.FeatureChoice{})
	fmt.Println(err)
	// Output: unsuitable model: it takes images of 1 channels, need 3 (RGB)
}

// A trained head, on the mean of two views, with weights of half the size.
func ExampleAppendHead() {
	m, err := graph.Read("testdata/pooled.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	backbone, found, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil {
		fmt.Println(err)
		return
	}
	averaged, err := vision.Average(backbone, vision.Views(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	head := vision.Head{Classes: 3, Weight: make([]float32, 3*found.Feature.Dim), Temperature: []float32{1.5}}
	if err := vision.AppendHead(averaged, head); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(averaged.Outputs())
	fmt.Println(vision.Single(averaged).Outputs())
	// Output:
	// [{probabilities float32 [-1 3]} {logits float32 [-1 3]} {embedding float32 [-1 8]}]
	// [{embedding float32 [-1 8]}]
}

func ExampleHalfWeights() {
	m, err := graph.Read("testdata/pooled.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = vision.HalfWeights(m)
	fmt.Println(err)
	// Output: unsuitable model: it has no float32 weights that could be stored otherwise
}

package models

import (
	_ "embed"
	"encoding/json"
	"slices"
)

//go:embed micro_vit.onnx
var microViT []byte

// Means and deviations as the preprocessor_config.json of the models have them.
const (
	half     = `"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]`
	imageNet = `"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]`
	clip     = `"mean":[0.48145466,0.4578275,0.40821073],"std":[0.26862954,0.26130258,0.27577711]`
)

const logitsOnly = "; publishes logits only: name the feature with --feature"

// square is the preprocessing of a model with side×side input.
func square(side, resize, to, interpolation, normalise string) json.RawMessage {
	return json.RawMessage(`{"width":` + side + `,"height":` + side + `,"resize":"` + resize + `","resize_to":` + to +
		`,"interpolation":"` + interpolation + `",` + normalise + `,"orientation":true}`)
}

// onHub completes backbones that are on the hub, under main as the first pull pins it, and take 224×224 pixels.
func onHub(list ...Backbone) []Backbone {
	for i := range list {
		list[i].Revision, list[i].Width, list[i].Height = mainRevision, 224, 224
	}
	return list
}

// registry has the default first. Repositories, files and preprocessing were looked up in November 2026; Output is
// where Hugging Face's exporter puts the feature of such a model.
var registry = slices.Concat([]Backbone{
	{
		Name:        "vitft-micro-28",
		Description: "micro ViT of this project, self-supervised on Fashion-MNIST and Caltech-101 training images",
		Licence:     "Apache-2.0",
		Embedded:    true,
		SHA256:      "3a0fe2c5686d0209af0125188357088648043af4479c06f5bdaae16f945c2859",
		Verified:    true,
		Width:       28, Height: 28,
		Preprocess: square("28", "shortest", "28", "bicubic", half),
		Output:     "embedding", Pooling: "pooled", Dim: 448,
	},
	{
		// Of unknown origin: met as a file only, so no repository and no licence.
		Name:        "vit-tiny-patch16-224",
		Description: "ViT-Ti/16 as timm builds it, supervised on ImageNet-21k and ImageNet-1k by all signs",
		SHA256:      "0edfb80c50c8952e06364c54c0f0e5cb42adf7ced96885ffc48fee930736fe13",
		Verified:    true,
		Width:       224, Height: 224,
		Preprocess: square("224", "shortest", "224", "bicubic", half),
		Output:     "embedding", Pooling: "pooled", Dim: 192,
	},
}, onHub(
	Backbone{
		// Its logits are the mean of two classifiers, so there is no one tensor before "the" classifier.
		Name:        "deit-tiny-distilled-patch16-224",
		Description: "DeiT-Ti/16 distilled, supervised on ImageNet-1k" + logitsOnly,
		Licence:     "Apache-2.0",
		Repository:  "Xenova/deit-tiny-distilled-patch16-224", File: "onnx/model.onnx",
		Preprocess: square("224", "exact", "256", "bicubic", imageNet),
		Output:     "logits", Pooling: "logits-input", Dim: 192,
	},
	Backbone{
		Name:        "deit-small-distilled-patch16-224",
		Description: "DeiT-S/16 distilled, supervised on ImageNet-1k" + logitsOnly,
		Licence:     "Apache-2.0",
		Repository:  "Xenova/deit-small-distilled-patch16-224", File: "onnx/model.onnx",
		Preprocess: square("224", "exact", "256", "bicubic", imageNet),
		Output:     "logits", Pooling: "logits-input", Dim: 384,
	},
	Backbone{
		Name:        "dinov2-small",
		Description: "DINOv2 ViT-S/14, self-supervised on LVD-142M",
		Licence:     "Apache-2.0",
		Repository:  "onnx-community/dinov2-small", File: "onnx/model.onnx",
		Preprocess: square("224", "shortest", "256", "bicubic", imageNet),
		Output:     "last_hidden_state", Pooling: "cls", Dim: 384,
	},
	Backbone{
		Name:        "vit-base-patch16-224-in21k",
		Description: "ViT-B/16, supervised on ImageNet-21k",
		Licence:     "Apache-2.0",
		Repository:  "Xenova/vit-base-patch16-224-in21k", File: "onnx/model.onnx",
		Preprocess: square("224", "exact", "0", "bilinear", half),
		Output:     "last_hidden_state", Pooling: "cls", Dim: 768,
	},
	Backbone{
		Name:        "dinov2-base",
		Description: "DINOv2 ViT-B/14, self-supervised on LVD-142M",
		Licence:     "Apache-2.0",
		Repository:  "onnx-community/dinov2-base", File: "onnx/model.onnx",
		Preprocess: square("224", "shortest", "256", "bicubic", imageNet),
		Output:     "last_hidden_state", Pooling: "cls", Dim: 768,
	},
	Backbone{
		Name:        "clip-vit-base-patch16",
		Description: "CLIP ViT-B/16 image encoder with its projection, image-text pairs (OpenAI)",
		Licence:     "MIT", // of the code that published the weights; the hub page names none
		Repository:  "Xenova/clip-vit-base-patch16", File: "onnx/vision_model.onnx",
		Preprocess: square("224", "shortest", "224", "bicubic", clip),
		Output:     "image_embeds", Pooling: "pooled", Dim: 512,
	},
	Backbone{
		Name:        "siglip-base-patch16-224",
		Description: "SigLIP ViT-B/16 image encoder with attention pooling, image-text pairs (WebLI)",
		Licence:     "Apache-2.0",
		Repository:  "Xenova/siglip-base-patch16-224", File: "onnx/vision_model.onnx",
		Preprocess: square("224", "exact", "0", "bicubic", half),
		Output:     "pooler_output", Pooling: "pooled", Dim: 768,
	},
))

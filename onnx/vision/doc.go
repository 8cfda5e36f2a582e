// Package vision makes image encoders of ONNX files: it finds the feature tensor of a model, cuts the model down to it,
// and gives it views of an image, a trained head and smaller weights. It is pure Go and runs nothing.
//
// # Basics
//
//	m, err := graph.Read("vit.onnx")
//	backbone, found, err := vision.Backbone(m, vision.FeatureChoice{})
//
// turns any file that holds an image encoder into a model with the one input pixel_values, float32 [B,3,H,W], and the
// one output embedding, float32 [B,D]; found says what was chosen and why. Everything between the boundary and the
// original graph (float16 casts, layout, pooling) is made of graph nodes, so an exported model computes what training
// saw. [Inspect] tells the same without cutting, and [AppendHead] adds the classifier.
//
// # What is recognised
//
// In this order: a pooled output [B,D], by name (embedding, image_embeds, pooler_output, …) or because nothing makes it
// a classifier's; the tokens [B,N,D] of the last layer (last_hidden_state), pooled to the CLS token, the mean of the
// patch tokens, registers left out, or both; for a classifier that gives only logits, the input of its last matrix
// product; and the mean over a feature map [B,D,h,w] or [B,h,w,D]. The batch may be fixed or dynamic, the image size
// too; images may enter as NCHW or NHWC, float32, float16 or uint8. Of a model with several inputs, such as CLIP, the
// image half is taken if the feature depends on it alone.
//
// # Caveats
//
// The choice is made from names, shapes and the structure of the graph; where those mislead, name the tensor and the
// pooling. What cannot serve is refused with an error that wraps [graph.ErrModel].
package vision

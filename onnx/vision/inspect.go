package vision

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// Pooling says how a feature vector is made of what the model gives.
type Pooling string

const (
	PoolAuto    Pooling = "auto"         // the first of the others that fits; the zero value "" means the same
	PoolOutput  Pooling = "pooled"       // a tensor [B,D] as it is
	PoolCLS     Pooling = "cls"          // the first token of [B,N,D]
	PoolMean    Pooling = "mean"         // over the patch tokens of [B,N,D], or the positions of [B,D,h,w]
	PoolCLSMean Pooling = "cls+mean"     // both, one after the other: [B,2D]
	PoolLogits  Pooling = "logits-input" // what the classifier's last matrix product takes
)

// ParsePooling returns the pooling of that name.
func ParsePooling(name string) (Pooling, error) {
	all := []Pooling{PoolAuto, PoolOutput, PoolCLS, PoolMean, PoolCLSMean, PoolLogits}
	if p := cmp.Or(Pooling(name), PoolAuto); slices.Contains(all, p) {
		return p, nil
	}
	return "", fmt.Errorf("unknown pooling %q; it must be auto, pooled, cls, mean, cls+mean or logits-input", name)
}

// FeatureChoice says what to take from a model. The zero value leaves everything to be found out.
type FeatureChoice struct {
	Tensor        string  // an output, or any tensor inside the graph; "" = find one
	Pooling       Pooling // default [PoolAuto]
	Width, Height int     // image size in pixels, for models that leave it open; 0 = as the model says
}

// Inspection says what a model is, what would be used of it, and why.
type Inspection struct {
	graph.Info
	Image    ImageInput    `json:"image"`
	Feature  Feature       `json:"feature"`
	Others   []graph.Value `json:"others"`             // tensors that could serve too, when they are named
	Reasons  []string      `json:"reasons"`            // for the choices, in order
	Problems []string      `json:"problems,omitempty"` // why it cannot serve; empty if it can
}

// ImageInput describes how images enter the model.
type ImageInput struct {
	Input  string `json:"input"`
	Type   string `json:"type"`   // of the original input
	Layout string `json:"layout"` // "NCHW" or "NHWC"
	Batch  int64  `json:"batch"`  // -1 = any
	Width  int64  `json:"width"`  // -1 = any, must be chosen
	Height int64  `json:"height"`

	Normalises *Normalisation `json:"normalises,omitempty"` // what the graph itself does to pixels first
}

// Feature describes the chosen feature.
type Feature struct {
	Tensor  string  `json:"tensor"`
	Shape   []int64 `json:"shape"` // of that tensor, -1 where not fixed
	Pooling Pooling `json:"pooling"`
	Prefix  int64   `json:"prefix_tokens"`    // tokens before the patches: 1 for a CLS token
	Layout  string  `json:"layout,omitempty"` // "NHWC" of a feature map [B,h,w,D]
	Dim     int64   `json:"dim"`              // D of the embedding, after pooling
}

// Inspect finds out what [Backbone] would do. The inspection is filled as far as possible even when the model cannot
// serve; the error, which wraps [graph.ErrModel], then holds its Problems.
func Inspect(m *graph.Model, want FeatureChoice) (Inspection, error) {
	f := find(m, want)
	return f.result, f.err()
}

// Backbone returns the part of the model that maps images to features, with the input pixel_values, float32 [B,3,H,W],
// and the output embedding, float32 [B,D]. The model itself stays as it is; weights are shared, not copied. Metadata is
// kept; external data stays where it is, see [graph.Model.Dir]. B is "batch" where it is dynamic; H, W and D are always
// fixed. The error, which wraps [graph.ErrModel], says why the model cannot serve.
func Backbone(m *graph.Model, want FeatureChoice) (*graph.Model, Inspection, error) {
	f := find(m, want)
	if im := f.result.Image; !f.failed() && (im.Width < 1 || im.Height < 1) {
		f.problem("the model takes images of any size: say which width and height")
	}
	var backbone *graph.Model
	err := f.err()
	if err == nil {
		backbone, err = cut(m, f.result.Image, f.result.Feature)
	}
	if err != nil || !backbone.BehindLinks() {
		return backbone, f.result, err
	}
	if err := backbone.Inline(); err != nil {
		return nil, f.result, fmt.Errorf("%w (its external data is behind symbolic links, which ONNX Runtime does not "+
			"follow: copy the files themselves into one folder)", err)
	}
	return backbone, f.result, nil
}

// finder makes the choices, one after the other, from the facts, and notes what is found.
type finder struct {
	facts
	want    FeatureChoice
	decided map[string]bool // class scores that outputs are decisions by
	result  Inspection
}

// find makes all choices. It stops at the first that cannot be made.
func find(m *graph.Model, want FeatureChoice) *finder {
	f := &finder{facts: newFacts(m), want: want, decided: map[string]bool{}}
	in := &f.result
	in.Info = m.Info()
	in.Inputs, in.Outputs = f.inferred(in.Inputs), f.inferred(in.Outputs)
	if f.refuseUnsupported(); f.failed() {
		return f
	}
	defer func() { in.Others = f.others() }()
	tensor, pooling := f.chooseTensor()
	if f.failed() {
		return f
	}
	in.Feature = Feature{Tensor: tensor, Pooling: pooling, Dim: graph.Unknown}
	if in.Image = f.chooseImage(tensor); f.failed() {
		return f
	}
	in.Image.Width, in.Image.Height = f.chooseSize(in.Image)
	f.inferFor(in.Image)
	if f.refuseOtherSize(in.Image); f.failed() {
		return f
	}
	if pooling == PoolLogits {
		f.refineWidth(tensor)
	}
	in.Feature = f.choosePooling(in.Feature, in.Image)
	f.refuseRandom(tensor)
	f.noteKind()
	return f
}

// some images are what an open batch is taken to be of; one would be squeezed away.
const some = 2

// inferFor repeats the inference of shapes with what is known of the image by now. An open batch is taken to be of some
// images: exporters compute shapes from it, and from an unknown number nothing follows.
func (f *finder) inferFor(im ImageInput) {
	fixed := []int64{im.Batch, 3, im.Height, im.Width}
	if im.Layout == "NHWC" {
		fixed = []int64{im.Batch, im.Height, im.Width, 3}
	}
	if im.Batch == graph.Unknown {
		fixed[0] = some
	}
	f.shapes = shape.Infer(f.model, graph.Value{Name: im.Input, Shape: fixed})
}

// inferEarly repeats it before anything is chosen, with what the image input says, where there is one.
func (f *finder) inferEarly() {
	i := slices.IndexFunc(f.inputs, func(v graph.Value) bool { return mayBeImage(v) && len(v.Shape) == 4 })
	if i < 0 {
		return
	}
	given := graph.Value{Name: f.inputs[i].Name, Shape: slices.Clone(f.inputs[i].Shape)}
	wanted := []int64{some, graph.Unknown, int64(cmp.Or(f.want.Height, graph.Unknown)),
		int64(cmp.Or(f.want.Width, graph.Unknown))}
	for k, n := range given.Shape {
		if n == graph.Unknown {
			given.Shape[k] = wanted[k]
		}
	}
	f.shapes = shape.Infer(f.model, given)
}

// noteKind says whether the model has attention. It is advice only: any encoder with one vector per image will do.
func (f *finder) noteKind() {
	attention, outputs := 0, graph.Names(f.result.Outputs)
	for _, n := range f.nodes() {
		switch n.GetOpType() {
		case "Softmax", "Attention", "MultiHeadAttention", "GroupQueryAttention", "PackedAttention":
			if len(n.Output) > 0 && !slices.Contains(outputs, n.Output[0]) && !f.decided[n.Output[0]] {
				attention++ // but for the Softmax of a classifier
			}
		}
	}
	if attention > 0 {
		f.reason("a transformer: %d attention blocks", attention)
	} else {
		f.reason("no attention found: probably a convolutional network, which serves as well")
	}
}

func (f *finder) reason(format string, args ...any) {
	f.result.Reasons = append(f.result.Reasons, fmt.Sprintf(format, args...))
}

func (f *finder) problem(format string, args ...any) {
	f.result.Problems = append(f.result.Problems, fmt.Sprintf(format, args...))
}

func (f *finder) failed() bool { return len(f.result.Problems) > 0 }

func (f *finder) err() error {
	if !f.failed() {
		return nil
	}
	return fmt.Errorf("%w: %s", graph.ErrModel, strings.Join(f.result.Problems, "; "))
}

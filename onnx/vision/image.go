package vision

import (
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// chooseImage settles layout, type, batch and, where the file fixes it, size of the image input behind a tensor.
func (f *finder) chooseImage(tensor string) ImageInput {
	on := f.dependsOn(tensor)
	switch {
	case len(on) == 0:
		f.problem("%s depends on no input", tensor)
	case len(on) > 1:
		f.problem("%s depends on the inputs %s, not on the image alone; name a tensor inside the image half", tensor,
			list(on))
	case !mayBeImage(on[0]):
		f.problem("%s depends on the input %s, which is no image [B,3,H,W]", tensor, describe(on))
	}
	if f.failed() {
		return ImageInput{}
	}
	v, s := on[0], on[0].Shape
	if s == nil {
		s = []int64{graph.Unknown, graph.Unknown, graph.Unknown, graph.Unknown}
	}
	stem, transposed := f.stem(v.Name)
	im := ImageInput{Input: v.Name, Type: v.Type, Layout: "NCHW", Batch: s[0], Height: s[2], Width: s[3]}
	channels := s[1]
	if channels != 3 && (s[3] == 3 || transposed && channels == graph.Unknown) {
		im.Layout, im.Height, im.Width, channels = "NHWC", s[1], s[2], s[3]
	}
	if stem != nil && channels == graph.Unknown && len(f.shapes[second(stem)]) == 4 {
		channels = f.shapes[second(stem)][1]
	}
	if channels != 3 && channels != graph.Unknown {
		f.problem("it takes images of %d channels, need 3 (RGB)", channels)
		return im
	}
	if v.Type == "uint8" {
		f.reason("the model takes bytes and normalises them itself: give it pixels in [0,1], mean 0 and standard " +
			"deviation 1")
	} else {
		axis := 1
		if im.Layout == "NHWC" {
			axis = 3
		}
		if im.Normalises = f.normalisation(v.Name, axis); im.Normalises != nil {
			f.reason("the graph normalises pixels itself: it takes %v", im.Normalises)
		}
	}
	if im.Layout == "NHWC" {
		f.reason("the model takes images channels last; a transposition is put before it")
	}
	return im
}

// mayBeImage reports whether an input can be one of images, by rank and element type.
func mayBeImage(v graph.Value) bool {
	return slices.Contains([]string{"float32", "float16", "float64", "uint8"}, v.Type) &&
		(v.Shape == nil || len(v.Shape) == 4)
}

// chooseSize settles the image size: the model's own, else the wanted one, else the one its position embedding is for.
func (f *finder) chooseSize(im ImageInput) (width, height int64) {
	choose := func(name string, has int64, want int) int64 {
		switch {
		case want == 0:
		case has == graph.Unknown:
			f.reason("image %s %d was asked for", name, want)
			return int64(want)
		case has != int64(want):
			f.problem("it takes images of %s %d only, not %d", name, has, want)
		}
		return has
	}
	width, height = choose("width", im.Width, f.want.Width), choose("height", im.Height, f.want.Height)
	patch := f.patch(im.Input)
	if width != graph.Unknown || height != graph.Unknown || patch == 0 {
		return width, height
	}
	for _, p := range f.positions() {
		for prefix := int64(0); prefix <= 2; prefix++ { // none, CLS, CLS and distillation
			if grid := p.constant[1] - prefix; isSquare(grid) {
				side := patch * int64(math.Sqrt(float64(grid)))
				f.reason("image size %d follows from the position embedding %v and patches of %d px", side, p.constant,
					patch)
				return side, side
			}
		}
	}
	return width, height
}

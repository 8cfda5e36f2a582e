package vit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/internal/jsontext"
)

// Preprocess says how an image becomes a model's input: resize, centre crop, scale to [0, 1], normalise. Its JSON is
// the metadata "vitft.preprocess" of exported models.
//
// Only Width and Height must be set; every other zero value stands for the default named at its field, Orientation
// apart. DefaultPreprocess sets that too.
type Preprocess struct {
	// Width and Height are the model's input in pixels.
	Width  int `json:"width"`
	Height int `json:"height"`

	// Resize is "shortest" (the default): scale the shortest edge to ResizeTo and keep the aspect ratio, the long edge
	// rounded down as torchvision does; or "exact": squash to Width×Height, or to ResizeTo×ResizeTo if that is set. A
	// centre crop to Width×Height follows either.
	Resize string `json:"resize"`

	// Crop is how half of an odd margin is rounded: to even (the default), as torchvision and timm do, or "down", as
	// Hugging Face's processors do.
	Crop string `json:"crop,omitempty"`

	// ResizeTo is the edge before the crop, at least Width and Height. A crop_pct p is the same as ResizeTo =
	// floor(Width/p). 0 means max(Width, Height) with "shortest", no crop with "exact".
	ResizeTo int `json:"resize_to"`

	// Interpolation is Pillow's "nearest", "box", "bilinear", "hamming", "bicubic" (the default) or "lanczos".
	Interpolation string `json:"interpolation"`

	// Mean and Std, red, green and blue, are applied after scaling to [0, 1]: (v/255 − Mean) / Std. Both all zero means
	// ImageNet's.
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`

	// Orientation turns the image as its EXIF data say. JSON without the key means true.
	Orientation bool `json:"orientation"`
}

// DefaultPreprocess is what most ImageNet models expect, for use when nothing is known about one: shortest edge to the
// input size, bicubic, ImageNet's mean and deviation.
func DefaultPreprocess(width, height int) Preprocess {
	return Preprocess{Width: width, Height: height, Orientation: true}.Resolved()
}

var (
	imageNetMean = [3]float32{0.485, 0.456, 0.406}
	imageNetStd  = [3]float32{0.229, 0.224, 0.225}
)

// Resolved is p with the defaults written out.
func (p Preprocess) Resolved() Preprocess {
	if p.Resize == "" {
		p.Resize = "shortest"
	}
	if p.ResizeTo == 0 && p.Resize == "shortest" {
		p.ResizeTo = max(p.Width, p.Height)
	}
	if p.Resize == "exact" && (p.ResizeTo == 0 || p.halves(p.ResizeTo-p.Width) && p.halves(p.ResizeTo-p.Height)) {
		p.Crop = "" // it makes no difference
	}
	if p.Interpolation == "" {
		p.Interpolation = "bicubic"
	}
	if p.Mean == [3]float32{} && p.Std == [3]float32{} {
		p.Mean, p.Std = imageNetMean, imageNetStd
	}
	return p
}

// maxInput bounds the input size, so that a wrong number is an error and not gigabytes.
const maxInput = 1 << 14

// Validate reports all that is wrong with p.
func (p Preprocess) Validate() error {
	p = p.Resolved()
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("preprocess: "+format, args...)) }
	if p.Width < 1 || p.Height < 1 || p.Width > maxInput || p.Height > maxInput {
		fault("width and height are %d and %d; each must be in [1, %d]", p.Width, p.Height, maxInput)
	}
	if p.Resize != "shortest" && p.Resize != "exact" {
		fault("resize is %q; it must be \"shortest\" or \"exact\"", p.Resize)
	}
	if p.Crop != "" && p.Crop != cropDown {
		fault("crop is %q; it must be \"down\", or left out to round half to even", p.Crop)
	}
	if p.ResizeTo != 0 && (p.ResizeTo < max(p.Width, p.Height) || p.ResizeTo > maxInput) {
		fault("resize_to is %d; it must be in [%d, %d], the crop's larger side and up", p.ResizeTo,
			max(p.Width, p.Height), maxInput)
	}
	if _, ok := filters[p.Interpolation]; !ok && p.Interpolation != "nearest" {
		fault("interpolation is %q; it must be nearest, box, bilinear, hamming, bicubic or lanczos", p.Interpolation)
	}
	for c := range 3 {
		if m, s := float64(p.Mean[c]), float64(p.Std[c]); math.IsNaN(m) || math.IsInf(m, 0) || math.IsInf(s, 0) ||
			!(s > 0) {
			fault("mean and std of channel %d are %v and %v; they must be finite, and std positive", c, m, s)
		}
	}
	return errors.Join(faults...)
}

// Key is canonical text for what Preprocess and Decode do to an image: equal keys, equal pixels.
func (p Preprocess) Key() string {
	p = p.Resolved()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %dx%d %s:%d %s mean", DecoderID, p.Width, p.Height, p.Resize, p.ResizeTo, p.Interpolation)
	for _, v := range slices.Concat(p.Mean[:], p.Std[:]) {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatFloat(float64(v), 'g', -1, 32))
	}
	fmt.Fprintf(&b, " orientation %t", p.Orientation)
	if p.Crop != "" { // keys without it are those of earlier versions
		fmt.Fprintf(&b, " crop %s", p.Crop)
	}
	return b.String()
}

// ParsePreprocess reads the JSON of a Preprocess, as found in the metadata of a model. Unknown keys are errors, and so
// is what Validate finds.
func ParsePreprocess(data []byte) (Preprocess, error) {
	var p Preprocess
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("preprocess: %w", jsontext.Explain(err))
	}
	return p, p.Validate()
}

// UnmarshalJSON refuses unknown keys; Orientation is true unless said otherwise.
func (p *Preprocess) UnmarshalJSON(data []byte) error {
	type plain Preprocess
	v := plain{Orientation: true}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return jsontext.Explain(err)
	}
	*p = Preprocess(v)
	return nil
}

// Size is the length of Image's dst: 3·Height·Width.
func (p Preprocess) Size() int { return 3 * p.Height * p.Width }

// Image writes img, resized, cropped and normalised, to dst as [3, Height, Width]. It is safe for concurrent use.
func (p Preprocess) Image(img *RGB, dst []float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	return w.image(p, img, dst)
}

// Bytes decodes an encoded image and writes it to dst as Image does. An image that cannot be used is an *ImageError. It
// is safe for concurrent use and reuses its buffers.
func (p Preprocess) Bytes(data []byte, dst []float32) error {
	return p.BytesWithin(context.Background(), MaxPixels, data, dst)
}

// BytesWithin is Bytes with a limit of its own, at most MaxPixels, on the pixels of the image. Larger ones are refused
// before they are decoded. Images that take much memory wait for each other, and no longer than ctx.
func (p Preprocess) BytesWithin(ctx context.Context, maxPixels int, data []byte, dst []float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	return w.bytes(ctx, p, maxPixels, data, dst)
}

// GoImage writes a decoded image to dst as Image does, with the pixels of FromImage. It is safe for concurrent use and
// reuses its buffers.
func (p Preprocess) GoImage(m image.Image, dst []float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	w.decoded.fromImage(m)
	return w.image(p, &w.decoded, dst)
}

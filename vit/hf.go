package vit

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/internal/jsontext"
)

// hfConfig is the part of a preprocessor_config.json, or of timm's pretrained_cfg, that shapes pixels. Pointers tell a
// missing key from a zero.
type hfConfig struct {
	Type    string `json:"image_processor_type"`
	OldType string `json:"feature_extractor_type"`

	DoResize *bool    `json:"do_resize"`
	Size     *hfSize  `json:"size"`
	CropPct  *float64 `json:"crop_pct"`
	Resample *int     `json:"resample"`

	DoCenterCrop *bool   `json:"do_center_crop"`
	CropSize     *hfSize `json:"crop_size"`

	DoRescale     *bool           `json:"do_rescale"`
	RescaleFactor *float64        `json:"rescale_factor"`
	RescaleOffset json.RawMessage `json:"rescale_offset"`

	DoNormalize *bool     `json:"do_normalize"`
	ImageMean   []float64 `json:"image_mean"`
	ImageStd    []float64 `json:"image_std"`

	DoPad          *bool           `json:"do_pad"`
	DoFlipChannels *bool           `json:"do_flip_channel_order"`
	DoSplit        *bool           `json:"do_image_splitting"`
	MaxPatches     *int            `json:"max_num_patches"`
	NumFrames      *int            `json:"num_frames"`
	ImageProcessor json.RawMessage `json:"image_processor"` // of a processor_config.json
	PretrainedCfg  *timmCfg        `json:"pretrained_cfg"`
	TimmInputSize  []int           `json:"input_size"`
}

// hfSize is {"height", "width"}, {"shortest_edge"}, or a number whose meaning the processor decides.
type hfSize struct {
	Height, Width, ShortestEdge int
	Number                      int
}

func (s *hfSize) UnmarshalJSON(data []byte) error {
	var n int
	if json.Unmarshal(data, &n) == nil {
		*s = hfSize{Number: n}
		return nil
	}
	var pair []int
	if json.Unmarshal(data, &pair) == nil && len(pair) == 2 {
		*s = hfSize{Height: pair[0], Width: pair[1]}
		return nil
	}
	var object map[string]*int
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("size %s is no number, [height, width] or object", data)
	}
	*s = hfSize{}
	for key, value := range object {
		if value == nil {
			continue
		}
		switch key {
		case "height":
			s.Height = *value
		case "width":
			s.Width = *value
		case "shortest_edge":
			s.ShortestEdge = *value
		default:
			return fmt.Errorf("size by %q is not supported; height and width, or shortest_edge, are", key)
		}
	}
	return nil
}

// family is what a processor class does where its configuration file is silent.
type family struct {
	square   bool // a plain number is the side of a square, not the shortest edge
	crop     bool // do_center_crop by default
	convnext bool // crop_pct
	resample int
	size     int
	cropSize int
	mean     [3]float64
	std      [3]float64
}

var (
	hfImageNetMean = [3]float64{0.485, 0.456, 0.406}
	hfImageNetStd  = [3]float64{0.229, 0.224, 0.225}
	hfHalf         = [3]float64{0.5, 0.5, 0.5}
	hfCLIPMean     = [3]float64{0.48145466, 0.4578275, 0.40821073}
	hfCLIPStd      = [3]float64{0.26862954, 0.26130258, 0.27577711}
)

// hfFamilies are the supported processors, less the endings ImageProcessor, ImageProcessorFast, ImageProcessorPil and
// FeatureExtractor, with the defaults of their constructors in Hugging Face transformers. "" stands for a file that
// names none: it is read like ViT's.
var hfFamilies = map[string]family{
	"":          {square: true, resample: 2, size: 224, cropSize: 224, mean: hfHalf, std: hfHalf},
	"ViT":       {square: true, resample: 2, size: 224, cropSize: 224, mean: hfHalf, std: hfHalf},
	"DeiT":      {square: true, crop: true, resample: 3, size: 256, cropSize: 224, mean: hfHalf, std: hfHalf},
	"Beit":      {square: true, crop: true, resample: 3, size: 256, cropSize: 224, mean: hfHalf, std: hfHalf},
	"CLIP":      {crop: true, resample: 3, size: 224, cropSize: 224, mean: hfCLIPMean, std: hfCLIPStd},
	"Siglip":    {square: true, resample: 3, size: 224, cropSize: 224, mean: hfHalf, std: hfHalf},
	"Bit":       {crop: true, resample: 3, size: 224, cropSize: 224, mean: hfCLIPMean, std: hfCLIPStd},
	"DINOv3ViT": {square: true, resample: 2, size: 224, cropSize: 224, mean: hfImageNetMean, std: hfImageNetStd},
	"ConvNext":  {convnext: true, resample: 3, size: 384, mean: hfHalf, std: hfHalf},
}

// ParseHF reads a preprocessor_config.json in the Hugging Face convention: of ViT, DeiT, BEiT, CLIP, SigLIP, DINOv2
// (Bit), DINOv3 and ConvNeXt processors, old feature extractors among them, and a config.json of timm (pretrained_cfg,
// or its keys alone); also a processor_config.json, which has the image processor inside. What cannot be expressed as a
// Preprocess is refused by name.
func ParseHF(data []byte) (Preprocess, error) {
	p, err := parseHF(data)
	if err == nil {
		err = p.Validate()
	}
	if err != nil {
		return Preprocess{}, fmt.Errorf("preprocessor configuration: %w", jsontext.Explain(err))
	}
	return p, nil
}

func parseHF(data []byte) (Preprocess, error) {
	var c hfConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return Preprocess{}, err
	}
	if c.ImageProcessor != nil {
		data, c = c.ImageProcessor, hfConfig{}
		if err := json.Unmarshal(data, &c); err != nil {
			return Preprocess{}, err
		}
	}
	if c.PretrainedCfg != nil {
		return c.PretrainedCfg.preprocess()
	}
	if c.TimmInputSize != nil {
		var t timmCfg
		if err := json.Unmarshal(data, &t); err != nil {
			return Preprocess{}, err
		}
		return t.preprocess()
	}
	name := c.Type
	if name == "" {
		name = c.OldType
	}
	if name == "" && c.Size == nil && c.CropSize == nil {
		return Preprocess{}, errors.New("has neither image_processor_type nor size nor input_size; not an image " +
			"processor's file")
	}
	f, err := familyOf(name)
	if err != nil {
		return Preprocess{}, err
	}
	if err := c.refuse(); err != nil {
		return Preprocess{}, err
	}
	p := Preprocess{Orientation: true}
	if err := c.geometry(f, &p); err != nil {
		return p, err
	}
	names := []string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"} // Pillow's numbers
	r := or(c.Resample, f.resample)
	if r < 0 || r >= len(names) {
		return p, fmt.Errorf("resample is %d; it must be 0 to 5", r)
	}
	p.Interpolation = names[r]
	return p, c.scaling(f, &p)
}

func familyOf(name string) (family, error) {
	short := name
	for _, ending := range []string{"Fast", "Pil", "ImageProcessor", "FeatureExtractor"} {
		short = strings.TrimSuffix(short, ending)
	}
	f, ok := hfFamilies[short]
	if !ok {
		return f, fmt.Errorf("processor %q is not supported; ViT, DeiT, Beit, CLIP, Siglip, Bit, DINOv3ViT, "+
			"ConvNext and "+
			"timm are", name)
	}
	return f, nil
}

// refuse names a step that Preprocess does not have.
func (c *hfConfig) refuse() error {
	on := func(b *bool) bool { return b != nil && *b }
	switch {
	case on(c.DoPad):
		return errors.New("do_pad is not supported")
	case on(c.DoFlipChannels):
		return errors.New("do_flip_channel_order (BGR input) is not supported")
	case on(c.DoSplit):
		return errors.New("do_image_splitting is not supported")
	case len(c.RescaleOffset) > 0 && !slices.Contains([]string{"false", "null", "0"}, string(c.RescaleOffset)):
		return errors.New("rescale_offset is not supported")
	case c.MaxPatches != nil:
		return errors.New("max_num_patches (input of varying shape) is not supported")
	case c.NumFrames != nil:
		return errors.New("num_frames (video) is not supported")
	}
	return nil
}

// geometry reads resize and crop.
func (c *hfConfig) geometry(f family, p *Preprocess) error {
	size := hfSize{Number: f.size}
	if c.Size != nil {
		size = *c.Size
	}
	if f.square && size.Number != 0 {
		size = hfSize{Height: size.Number, Width: size.Number}
	}
	size.ShortestEdge = max(size.ShortestEdge, size.Number)
	if !or(c.DoResize, true) {
		return errors.New("do_resize false is not supported: the model's input has one size")
	}
	edge := size.ShortestEdge
	square := edge == 0
	if square && (size.Height < 1 || size.Width < 1) {
		return fmt.Errorf("size is %d×%d; height and width, or shortest_edge, must be positive", size.Width,
			size.Height)
	}

	if f.convnext {
		if edge == 0 && size.Height == size.Width {
			edge = size.Height
		}
		if edge == 0 {
			return errors.New("ConvNext's size must have a shortest_edge")
		}
		p.Width, p.Height = edge, edge
		p.Resize = "exact"
		if edge < 384 { // above, ConvNext squashes and does not crop
			pct := or(c.CropPct, 224.0/256)
			if !(pct > 0 && pct <= 1) {
				return fmt.Errorf("crop_pct is %v; it must be in (0, 1]", pct)
			}
			p.Resize, p.ResizeTo = "shortest", int(float64(edge)/pct)
		}
		return nil
	}
	if c.CropPct != nil {
		return errors.New("crop_pct is only supported for ConvNext and timm")
	}

	if !or(c.DoCenterCrop, f.crop) {
		if !square {
			return errors.New("size by shortest_edge without do_center_crop is not supported: inputs would vary in " +
				"shape")
		}
		p.Resize, p.Width, p.Height = "exact", size.Width, size.Height
		return nil
	}
	crop := hfSize{Number: f.cropSize}
	if c.CropSize != nil {
		crop = *c.CropSize
	}
	if n := max(crop.Number, crop.ShortestEdge); n > 0 {
		crop.Height, crop.Width = n, n
	}
	p.Width, p.Height = crop.Width, crop.Height
	switch {
	case !square:
		p.Resize, p.ResizeTo = "shortest", edge
	case size == hfSize{Height: crop.Height, Width: crop.Width}:
		p.Resize = "exact"
	case size.Height == size.Width:
		p.Resize, p.ResizeTo = "exact", size.Height
	default:
		return fmt.Errorf("a crop to %d×%d after squashing to %d×%d is not supported: that size must be square",
			crop.Width, crop.Height, size.Width, size.Height)
	}
	return nil
}

// scaling reads rescale and normalise. A factor other than 1/255 goes into mean and deviation.
func (c *hfConfig) scaling(f family, p *Preprocess) error {
	mean, std := f.mean, f.std
	for _, v := range []struct {
		key  string
		from []float64
		to   *[3]float64
	}{{"image_mean", c.ImageMean, &mean}, {"image_std", c.ImageStd, &std}} {
		if v.from == nil {
			continue
		}
		if len(v.from) != 3 {
			return fmt.Errorf("%s has %d values; only three channels are supported", v.key, len(v.from))
		}
		copy(v.to[:], v.from)
	}
	if !or(c.DoNormalize, true) {
		mean, std = [3]float64{}, [3]float64{1, 1, 1}
	}
	factor := or(c.RescaleFactor, 1.0/255)
	if !or(c.DoRescale, true) {
		factor = 1
	}
	if !(factor > 0) || math.IsInf(factor, 0) {
		return fmt.Errorf("rescale_factor is %v; it must be positive", factor)
	}
	scale := 255 * factor
	if math.Abs(scale-1) < 1e-6 {
		scale = 1
	}
	for i := range 3 {
		p.Mean[i], p.Std[i] = float32(mean[i]/scale), float32(std[i]/scale)
		if !(p.Std[i] > 0) { // before Preprocess takes all zeros for the default
			return fmt.Errorf("image_std has %v; it must be positive", std[i])
		}
	}
	return nil
}

// timmCfg is timm's pretrained_cfg.
type timmCfg struct {
	InputSize     []int     `json:"input_size"`
	CropPct       *float64  `json:"crop_pct"`
	CropMode      string    `json:"crop_mode"`
	Interpolation string    `json:"interpolation"`
	Mean          []float64 `json:"mean"`
	Std           []float64 `json:"std"`
}

// preprocess follows timm's transforms_imagenet_eval.
func (t *timmCfg) preprocess() (Preprocess, error) {
	p := Preprocess{Orientation: true, Interpolation: t.Interpolation}
	if len(t.InputSize) != 3 || t.InputSize[0] != 3 {
		return p, fmt.Errorf("input_size is %v; it must be [3, height, width]", t.InputSize)
	}
	p.Height, p.Width = t.InputSize[1], t.InputSize[2]
	pct := or(t.CropPct, 0.875)
	if !(pct > 0 && pct <= 1) {
		return p, fmt.Errorf("crop_pct is %v; it must be in (0, 1]", pct)
	}
	if p.Height != p.Width {
		return p, fmt.Errorf("input_size is %v; only square ones are supported", t.InputSize)
	}
	p.ResizeTo = int(math.Floor(float64(p.Width) / pct))
	switch t.CropMode {
	case "", "center":
		p.Resize = "shortest"
	case "squash":
		p.Resize = "exact"
	default:
		return p, fmt.Errorf("crop_mode %q is not supported; center and squash are", t.CropMode)
	}
	c := hfConfig{ImageMean: t.Mean, ImageStd: t.Std}
	return p, c.scaling(family{mean: hfImageNetMean, std: hfImageNetStd}, &p)
}

// or is *v, or the default if v is nil.
func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

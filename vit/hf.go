package vit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/internal/jsontext"
)

// hfConfig is the part of a preprocessor_config.json, or of timm's and open_clip's files, that shapes pixels. Pointers
// tell a missing key from a zero.
type hfConfig struct {
	Type    string `json:"image_processor_type"`
	OldType string `json:"feature_extractor_type"`

	DoResize toggle   `json:"do_resize"`
	Square   *bool    `json:"default_to_square"`
	Size     *hfSize  `json:"size"`
	CropPct  *float64 `json:"crop_pct"`
	Resample *int     `json:"resample"`

	DoCenterCrop toggle  `json:"do_center_crop"`
	CropSize     *hfSize `json:"crop_size"`

	DoRescale     toggle          `json:"do_rescale"`
	RescaleFactor *float64        `json:"rescale_factor"`
	RescaleOffset json.RawMessage `json:"rescale_offset"`

	DoNormalize toggle   `json:"do_normalize"`
	ImageMean   channels `json:"image_mean"`
	ImageStd    channels `json:"image_std"`
	IncludeTop  *bool    `json:"include_top"` // of EfficientNet: the deviation divides twice

	DoPad          *bool           `json:"do_pad"`
	DoFlipChannels *bool           `json:"do_flip_channel_order"`
	DoSplit        *bool           `json:"do_image_splitting"`
	DoPanAndScan   *bool           `json:"do_pan_and_scan"`
	CropToPatches  *bool           `json:"crop_to_patches"`
	KeepAspect     *bool           `json:"keep_aspect_ratio"`
	MultipleOf     *int            `json:"ensure_multiple_of"`
	MaxPatches     *int            `json:"max_num_patches"`
	NumFrames      *int            `json:"num_frames"`
	ImageProcessor json.RawMessage `json:"image_processor"` // of a processor_config.json
	PretrainedCfg  *timmCfg        `json:"pretrained_cfg"`
	TimmInputSize  []int           `json:"input_size"`
	OpenCLIP       *openCLIPCfg    `json:"preprocess_cfg"`
	OpenCLIPModel  json.RawMessage `json:"model_cfg"`
}

// toggle turns a step on or off. A file that is silent leaves it to the processor; null turns it off, as transformers
// does, which writes null for a step that was taken out.
type toggle struct{ said, on bool }

func (t *toggle) UnmarshalJSON(data []byte) error {
	t.said = true
	return json.Unmarshal(data, &t.on)
}

func (t toggle) or(otherwise bool) bool {
	if t.said {
		return t.on
	}
	return otherwise
}

// channels are a number for each channel; one number stands for all.
type channels []float64

func (c *channels) UnmarshalJSON(data []byte) error {
	var one float64
	if string(data) != "null" && json.Unmarshal(data, &one) == nil {
		*c = channels{one, one, one}
		return nil
	}
	return json.Unmarshal(data, (*[]float64)(c))
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

// ParseHF reads a preprocessor_config.json in the Hugging Face convention, of the processors of hfFamilies, old feature
// extractors among them; a processor_config.json, which has the image processor inside; a config.json of timm
// (pretrained_cfg, or its keys alone); and an open_clip_config.json. What cannot be expressed as a Preprocess is
// refused by name.
func ParseHF(data []byte) (Preprocess, error) {
	p, err := parseHF(jsontext.Plain(data))
	if err == nil {
		err = p.Validate()
	}
	if err != nil {
		return Preprocess{}, fmt.Errorf("preprocessor configuration: %w", jsontext.Explain(err))
	}
	return p.Resolved(), nil
}

func parseHF(data []byte) (Preprocess, error) {
	var c hfConfig
	err := json.Unmarshal(data, &c)
	if err == nil && c.ImageProcessor != nil {
		data, c = c.ImageProcessor, hfConfig{}
		err = json.Unmarshal(data, &c)
	}
	if err != nil { // that of a processor which is not supported says less than its name
		var named struct {
			Type string `json:"image_processor_type"`
		}
		if json.Unmarshal(data, &named) == nil {
			if _, unknown := familyOf(named.Type); unknown != nil {
				err = unknown
			}
		}
		return Preprocess{}, err
	}
	switch {
	case c.PretrainedCfg != nil:
		return c.PretrainedCfg.preprocess()
	case c.OpenCLIP != nil || c.OpenCLIPModel != nil:
		return cmp.Or(c.OpenCLIP, &openCLIPCfg{}).preprocess(data)
	case c.TimmInputSize != nil:
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
	if err := c.refuse(f); err != nil {
		return Preprocess{}, err
	}
	p := Preprocess{Orientation: true, Crop: cropDown}
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

// refuse names a step that Preprocess does not have.
func (c *hfConfig) refuse(f family) error {
	on := func(b *bool) bool { return b != nil && *b }
	offset := len(c.RescaleOffset) > 0 && !slices.Contains([]string{"false", "null", "0"}, string(c.RescaleOffset))
	switch {
	case on(c.DoPad):
		return errors.New("do_pad is not supported")
	case or(c.DoFlipChannels, f.flip):
		return errors.New("do_flip_channel_order (BGR input) is not supported")
	case on(c.DoSplit):
		return errors.New("do_image_splitting is not supported")
	case on(c.DoPanAndScan):
		return errors.New("do_pan_and_scan is not supported")
	case on(c.CropToPatches):
		return errors.New("crop_to_patches is not supported")
	case offset && (f.own != efficientNet || string(c.RescaleOffset) != "true"):
		return errors.New("rescale_offset is not supported")
	case on(c.KeepAspect):
		return errors.New("keep_aspect_ratio (input of varying shape) is not supported")
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
	if or(c.Square, f.square) && size.Number != 0 {
		size = hfSize{Height: size.Number, Width: size.Number}
	}
	size.ShortestEdge = max(size.ShortestEdge, size.Number)
	if !c.DoResize.or(true) {
		return errors.New("do_resize false is not supported: the model's input has one size")
	}
	square := size.ShortestEdge == 0
	if square && (size.Height < 1 || size.Width < 1) {
		return fmt.Errorf("size is %d×%d; height and width, or shortest_edge, must be positive", size.Width,
			size.Height)
	}
	if n := or(c.MultipleOf, 1); n > 1 && (size.Width%n > 0 || size.Height%n > 0) {
		return fmt.Errorf("ensure_multiple_of %d changes the size %d×%d, which is not supported", n, size.Width,
			size.Height)
	}
	crop := hfSize{Number: f.cropSize}
	if c.CropSize != nil {
		crop = *c.CropSize
	}
	if n := max(crop.Number, crop.ShortestEdge); n > 0 {
		crop.Height, crop.Width = n, n
	}
	cropped := c.DoCenterCrop.or(f.crop) && !f.whole

	switch f.own {
	case convNext:
		return c.convNext(f, p, size, cropped, crop)
	case leViT:
		size.ShortestEdge = int(256.0 / 224 * float64(size.ShortestEdge))
	case poolFormer:
		pct, err := c.cropPct(f)
		if err != nil {
			return err
		}
		if square && size.Height != size.Width {
			return errors.New("PoolFormer's size must be one number")
		}
		size = hfSize{ShortestEdge: int(float64(max(size.ShortestEdge, size.Height)) / pct)}
		square = false
	default:
		if c.CropPct != nil {
			return errors.New("crop_pct is only supported for ConvNext, PoolFormer and timm")
		}
	}

	if !cropped {
		if !square {
			return errors.New("size by shortest_edge without do_center_crop is not supported: inputs would vary in " +
				"shape")
		}
		p.Resize, p.Width, p.Height = "exact", size.Width, size.Height
		return nil
	}
	p.Width, p.Height = crop.Width, crop.Height
	if edge := cmp.Or(size.ShortestEdge, min(size.Width, size.Height)); max(crop.Width, crop.Height) > edge {
		return fmt.Errorf("a crop to %d×%d of photos resized to %d pixels is not supported: it would pad them",
			crop.Width, crop.Height, edge)
	}
	switch {
	case !square:
		p.Resize, p.ResizeTo = "shortest", size.ShortestEdge
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

func (c *hfConfig) cropPct(f family) (float64, error) {
	pct := or(c.CropPct, f.cropPct)
	if !(pct > 0 && pct <= 1) {
		return 0, fmt.Errorf("crop_pct is %v; it must be in (0, 1]", pct)
	}
	return pct, nil
}

func (c *hfConfig) convNext(f family, p *Preprocess, size hfSize, cropped bool, crop hfSize) error {
	edge := size.ShortestEdge
	if edge == 0 && size.Height == size.Width {
		edge = size.Height
	}
	if edge == 0 {
		return errors.New("ConvNext's size must have a shortest_edge")
	}
	if cropped && crop != (hfSize{}) && (crop.Width != edge || crop.Height != edge) {
		return fmt.Errorf("a second crop to %d×%d is not supported", crop.Width, crop.Height)
	}
	p.Width, p.Height = edge, edge
	p.Resize = "exact"
	if edge < 384 { // above, ConvNext squashes and does not crop
		pct, err := c.cropPct(f)
		if err != nil {
			return err
		}
		p.Resize, p.ResizeTo = "shortest", int(float64(edge)/pct)
	}
	return nil
}

// scaling reads rescale and normalise. A factor other than 1/255, and an offset, go into mean and deviation.
func (c *hfConfig) scaling(f family, p *Preprocess) error {
	mean, std := f.norm.mean, f.norm.std
	for _, v := range []struct {
		key  string
		from channels
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
	again := std // what divides once more
	if f.own != efficientNet || !or(c.IncludeTop, true) {
		again = [3]float64{1, 1, 1}
	}
	if !c.DoNormalize.or(!f.raw) || f.own == noMean {
		mean, std = [3]float64{}, [3]float64{1, 1, 1}
	}
	factor := or(c.RescaleFactor, cmp.Or(f.factor, 1.0/255))
	if !c.DoRescale.or(true) {
		factor = 1
	} else if string(c.RescaleOffset) == "true" { // of EfficientNet
		for i := range mean {
			mean[i]++
		}
	}
	if !(factor > 0) || math.IsInf(factor, 0) {
		return fmt.Errorf("rescale_factor is %v; it must be positive", factor)
	}
	scale := 255 * factor
	if math.Abs(scale-1) < 1e-6 {
		scale = 1
	}
	for i := range 3 {
		p.Mean[i], p.Std[i] = float32(mean[i]/scale), float32(std[i]*again[i]/scale)
		if math.Abs(mean[i]/scale) > 10 {
			return fmt.Errorf("image_mean has %v, of pixels that end at %v: if they are to end at 255, do_rescale "+
				"must be false, else the mean is another", mean[i], scale)
		}
		if !(p.Std[i] > 0) { // before Preprocess takes all zeros for the default
			return fmt.Errorf("image_std has %v; it must be positive", std[i])
		}
	}
	return nil
}

// or is *v, or the default if v is nil.
func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

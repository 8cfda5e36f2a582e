package vit

import (
	"encoding/json"
	"fmt"
	"math"
)

// What libraries that prepare photos with torchvision write down.

// timmCfg is timm's pretrained_cfg.
type timmCfg struct {
	InputSize     []int    `json:"input_size"`
	CropPct       *float64 `json:"crop_pct"`
	CropMode      string   `json:"crop_mode"`
	Interpolation string   `json:"interpolation"`
	Mean          channels `json:"mean"`
	Std           channels `json:"std"`
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
	return p, c.scaling(family{norm: hfImageNet}, &p)
}

// openCLIPCfg is open_clip's preprocess_cfg.
type openCLIPCfg struct {
	Size          json.RawMessage `json:"size"`
	Interpolation string          `json:"interpolation"`
	ResizeMode    string          `json:"resize_mode"`
	Mean          channels        `json:"mean"`
	Std           channels        `json:"std"`
}

// preprocess follows open_clip's image_transform, with the whole file for the size, which the model decides first.
func (o *openCLIPCfg) preprocess(data []byte) (Preprocess, error) {
	var file struct {
		Model struct {
			Vision struct {
				ImageSize *hfSize `json:"image_size"`
			} `json:"vision_cfg"`
		} `json:"model_cfg"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return Preprocess{}, err
	}
	size := hfSize{Number: 224}
	if file.Model.Vision.ImageSize != nil {
		size = *file.Model.Vision.ImageSize
	} else if o.Size != nil {
		if err := json.Unmarshal(o.Size, &size); err != nil {
			return Preprocess{}, err
		}
	}
	if size.Number != 0 {
		size.Height, size.Width = size.Number, size.Number
	}
	p := Preprocess{Width: size.Width, Height: size.Height, Interpolation: "bicubic", Orientation: true}
	if o.Interpolation == "bilinear" {
		p.Interpolation = "bilinear"
	}
	switch {
	case o.ResizeMode == "squash":
		p.Resize = "exact"
	case o.ResizeMode != "" && o.ResizeMode != "shortest":
		return p, fmt.Errorf("resize_mode %q is not supported: it pads; shortest and squash are", o.ResizeMode)
	case p.Width != p.Height:
		return p, fmt.Errorf("size is %d×%d; with resize_mode shortest only square ones are supported", p.Width,
			p.Height)
	default:
		p.Resize, p.ResizeTo = "shortest", p.Width
	}
	c := hfConfig{ImageMean: o.Mean, ImageStd: o.Std}
	return p, c.scaling(family{norm: hfCLIP}, &p)
}

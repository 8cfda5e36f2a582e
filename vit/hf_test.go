package vit

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

func TestParseHF(t *testing.T) {
	half, one := [3]float32{0.5, 0.5, 0.5}, [3]float32{1, 1, 1}
	clipMean, clipStd := [3]float32{0.48145466, 0.4578275, 0.40821073}, [3]float32{0.26862954, 0.26130258, 0.27577711}
	square := func(n int, interpolation string, mean, std [3]float32) Preprocess {
		return Preprocess{Width: n, Height: n, Resize: "exact", Interpolation: interpolation, Mean: mean, Std: std,
			Orientation: true}
	}
	cropped := func(resize string, to, n int, interpolation string, mean, std [3]float32) Preprocess {
		p := square(n, interpolation, mean, std)
		p.Resize, p.ResizeTo = resize, to
		return p
	}
	down := func(p Preprocess) Preprocess { p.Crop = "down"; return p } // as transformers crops
	for name, c := range map[string]struct {
		text string
		want Preprocess
	}{
		"ViT": {`{"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}}`,
			square(224, "bilinear", half, half)},
		"ViT, old": {`{"do_normalize": true, "do_resize": true, "feature_extractor_type": "ViTFeatureExtractor", "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 384}`,
			square(384, "bicubic", imageNetMean, imageNetStd)},
		"ViT, oldest": {`{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": 224}`,
			square(224, "bilinear", half, half)},
		"ViT by defaults": {`{"image_processor_type": "ViTImageProcessorFast"}`, square(224, "bilinear", half, half)},
		"DeiT": {`{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "DeiTImageProcessor", "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": {"height": 256, "width": 256}}`,
			cropped("exact", 256, 224, "bicubic", imageNetMean, imageNetStd)},
		"DeiT, old": {`{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "feature_extractor_type": "DeiTFeatureExtractor", "resample": 3, "size": 256}`,
			cropped("exact", 256, 224, "bicubic", half, half)},
		"BEiT": {`{"crop_size": 224, "do_center_crop": false, "feature_extractor_type": "BeitFeatureExtractor", "resample": 2, "size": 224}`,
			square(224, "bilinear", half, half)},
		"CLIP": {`{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": {"shortest_edge": 224}}`,
			down(cropped("shortest", 224, 224, "bicubic", clipMean, clipStd))},
		"CLIP, old":        {`{"crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor", "size": 224}`, down(cropped("shortest", 224, 224, "bicubic", clipMean, clipStd))},
		"CLIP by defaults": {`{"image_processor_type": "CLIPImageProcessor"}`, down(cropped("shortest", 224, 224, "bicubic", clipMean, clipStd))},
		"SigLIP": {`{"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 3, "size": {"height": 256, "width": 256}}`,
			square(256, "bicubic", half, half)},
		"DINOv2": {`{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "BitImageProcessor", "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": {"shortest_edge": 256}}`,
			down(cropped("shortest", 256, 224, "bicubic", imageNetMean, imageNetStd))},
		"DINOv3":                     {`{"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 224, "width": 224}, "crop_size": null, "do_center_crop": null}`, square(224, "bilinear", imageNetMean, imageNetStd)},
		"ConvNeXt":                   {`{"crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}}`, down(cropped("shortest", 256, 224, "bicubic", half, half))},
		"ConvNeXt, large":            {`{"crop_pct": 0.875, "feature_extractor_type": "ConvNextFeatureExtractor", "resample": 3, "size": 384}`, square(384, "bicubic", half, half)},
		"no rescale":                 {`{"size": 8, "do_rescale": false, "image_mean": [127.5, 127.5, 127.5], "image_std": [127.5, 127.5, 127.5]}`, square(8, "bilinear", half, half)},
		"other factor":               {`{"size": 8, "rescale_factor": 0.00784313725490196, "image_mean": [1, 1, 1], "image_std": [2, 2, 2]}`, square(8, "bilinear", half, one)},
		"no normalise":               {`{"size": 8, "do_normalize": false, "image_mean": [1, 1, 1]}`, square(8, "bilinear", [3]float32{}, one)},
		"resample lanczos":           {`{"size": 8, "resample": 1}`, square(8, "lanczos", half, half)},
		"size pair":                  {`{"size": [8, 8]}`, square(8, "bilinear", half, half)},
		"squash to the crop":         {`{"size": 8, "do_center_crop": true, "crop_size": 8}`, square(8, "bilinear", half, half)},
		"timm":                       {`{"architecture": "vit_tiny_patch16_224", "num_classes": 1000, "pretrained_cfg": {"tag": "augreg", "input_size": [3, 224, 224], "fixed_input_size": true, "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}`, cropped("shortest", 248, 224, "bicubic", half, half)},
		"timm, keys alone":           {`{"input_size": [3, 32, 32], "interpolation": "bilinear", "crop_pct": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}`, cropped("shortest", 32, 32, "bilinear", imageNetMean, imageNetStd)},
		"timm, squash":               {`{"input_size": [3, 378, 378], "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}`, cropped("exact", 378, 378, "bicubic", half, half)},
		"CLIP inside a processor":    {`{"image_processor": {"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "image_processor_type": "CLIPImageProcessor", "resample": 3, "size": {"shortest_edge": 224}}, "processor_class": "CLIPProcessor"}`, down(cropped("shortest", 224, 224, "bicubic", clipMean, clipStd))},
		"timm's data_config":         {`{"input_size": [3, 224, 224], "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.9, "crop_mode": "center"}`, cropped("shortest", 248, 224, "bicubic", half, half)},
		"one mean for all":           {`{"size": 8, "image_mean": 0.5, "image_std": 0.5}`, square(8, "bilinear", half, half)},
		"byte order mark":            {"\ufeff" + `{"size": 8}`, square(8, "bilinear", half, half)},
		"UTF-16 of PowerShell":       {utf16(`{"size": 8}`), square(8, "bilinear", half, half)},
		"DeiT, odd margin":           {`{"image_processor_type": "DeiTImageProcessor", "size": 16, "crop_size": 13}`, down(cropped("exact", 16, 13, "bicubic", half, half))},
		"DPT crops never":            {`{"image_processor_type": "DPTImageProcessor", "size": 8, "do_center_crop": true, "crop_size": 6}`, square(8, "bicubic", half, half)},
		"timm, odd margin":           {`{"input_size": [3, 13, 13], "interpolation": "bicubic", "crop_pct": 0.8, "crop_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}`, cropped("exact", 16, 13, "bicubic", half, half)},
		"open_clip":                  {`{"model_cfg": {"embed_dim": 8, "vision_cfg": {"image_size": 16}}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "shortest"}}`, cropped("shortest", 16, 16, "bilinear", half, half)},
		"open_clip, the model alone": {`{"model_cfg": {"embed_dim": 8, "vision_cfg": {"image_size": 16}}}`, cropped("shortest", 16, 16, "bicubic", clipMean, clipStd)},
		"open_clip by defaults":      {`{"preprocess_cfg": {}}`, cropped("shortest", 224, 224, "bicubic", clipMean, clipStd)},
		"open_clip, squash":          {`{"model_cfg": {"vision_cfg": {"image_size": [16, 12]}}, "preprocess_cfg": {"size": 384, "interpolation": "random", "resize_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}`, Preprocess{Width: 12, Height: 16, Resize: "exact", Interpolation: "bicubic", Mean: half, Std: half, Orientation: true}},
		"open_clip's own size":       {`{"model_cfg": {"vision_cfg": {"timm_model_name": "vit"}}, "preprocess_cfg": {"size": [8, 8], "resize_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}`, square(8, "bicubic", half, half)},
		"null turns a step off":      {`{"size": 8, "do_rescale": null, "do_normalize": null}`, square(8, "bilinear", [3]float32{}, [3]float32{1. / 255, 1. / 255, 1. / 255})},
		"a number that is a square":  {`{"image_processor_type": "CLIPImageProcessor", "size": 8, "default_to_square": true, "do_center_crop": null}`, square(8, "bicubic", clipMean, clipStd)},
		"rescale offset that is no":  {`{"size": 8, "rescale_offset": false}`, square(8, "bilinear", half, half)},
	} {
		got, err := ParseHF([]byte(c.text))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
}

func TestParseHFRefuses(t *testing.T) {
	for text, word := range map[string]string{
		``:                       "JSON",
		`[]`:                     "array",
		`{}`:                     "image_processor_type",
		`{"model_type": "bert"}`: "image_processor_type",
		`{"image_processor_type": "Siglip2ImageProcessor"}`:                                     "Siglip2ImageProcessor",
		`{"image_processor_type": "DonutImageProcessor"}`:                                       "DonutImageProcessor",
		`{"size": 8, "do_pad": true}`:                                                           "do_pad",
		`{"size": 8, "do_flip_channel_order": true}`:                                            "BGR",
		`{"size": 8, "do_image_splitting": true}`:                                               "do_image_splitting",
		`{"size": 8, "max_num_patches": 256}`:                                                   "max_num_patches",
		`{"size": 8, "num_frames": 4}`:                                                          "num_frames",
		`{"size": 8, "rescale_offset": true}`:                                                   "rescale_offset",
		`{"size": 8, "do_resize": false}`:                                                       "do_resize",
		`{"size": 8, "resample": 6}`:                                                            "resample",
		`{"size": 8, "crop_pct": 0.9}`:                                                          "crop_pct",
		`{"size": {"longest_edge": 8}}`:                                                         "longest_edge",
		`{"size": "8"}`:                                                                         "size",
		`{"size": {"height": 8}}`:                                                               "0×8",
		`{"size": {"height": -8, "width": 8}}`:                                                  "8×-8",
		`{"size": {"shortest_edge": 8}}`:                                                        "do_center_crop",
		`{"size": {"height": 8, "width": 9}, "do_center_crop": true, "crop_size": 7}`:           "square",
		`{"size": 6, "do_center_crop": true, "crop_size": 7}`:                                   "pad",
		`{"size": 8, "image_mean": [0.5]}`:                                                      "image_mean",
		`{"size": 8, "image_std": [0, 0, 0], "image_mean": [0, 0, 0]}`:                          "image_std",
		`{"size": 8, "image_mean": [123.675, 116.28, 103.53], "image_std": [58.4, 57.1, 57.4]}`: "do_rescale must be false",
		`{"preprocess_cfg": {"mean": [123.675, 116.28, 103.53]}}`:                               "123.675",
		`{"size": 8, "rescale_factor": 0}`:                                                      "rescale_factor",
		`{"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0}`:        "crop_pct",
		`{"image_processor_type": "ConvNextImageProcessor", "size": {"height": 8, "width": 9}}`: "shortest_edge",
		`{"preprocess_cfg": {"resize_mode": "longest"}}`:                                        "longest",
		`{"preprocess_cfg": {"size": [8, 9]}}`:                                                  "square",
		`{"preprocess_cfg": {"size": "8"}}`:                                                     "size",
		`{"preprocess_cfg": {"mean": [0.5]}}`:                                                   "image_mean",
		`{"image_processor_type": "Owlv2ImageProcessorFast", "size": {"longest_edge": 8}}`:      "pads",
		`{"image_processor_type": "MyImageProcessor"}`:                                          "ViTImageProcessor",
		`{"image_processor_type": "MobileViTImageProcessor"}`:                                   "BGR",
		`{"image_processor_type": "DPTImageProcessor", "keep_aspect_ratio": true}`:              "keep_aspect_ratio",
		`{"image_processor_type": "DPTImageProcessor", "size": 16, "ensure_multiple_of": 14}`:   "ensure_multiple_of",
		`{"image_processor_type": "Gemma3ImageProcessor", "do_pan_and_scan": true}`:             "do_pan_and_scan",
		`{"image_processor_type": "GotOcr2ImageProcessor", "crop_to_patches": true}`:            "crop_to_patches",
		`{"image_processor_type": "PoolFormerImageProcessor", "size": [8, 9]}`:                  "one number",
		`{"image_processor_type": "LevitImageProcessor", "do_center_crop": false}`:              "do_center_crop",
		`{"input_size": [1, 28, 28]}`:                                                           "input_size",
		`{"input_size": [3, 28, 32]}`:                                                           "square",
		`{"input_size": [3, 32, 32], "crop_mode": "border"}`:                                    "border",
		`{"input_size": [3, 32, 32], "crop_pct": 1.5}`:                                          "crop_pct",
		`{"input_size": [3, 32, 32], "interpolation": "random"}`:                                "random",
	} {
		p, err := ParseHF([]byte(text))
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %+v, %v; want an error that says %q", text, p, err, word)
		}
	}
}

// utf16 is text as PowerShell writes it.
func utf16(text string) string {
	b := []byte("\xff\xfe")
	for _, c := range []byte(text) {
		b = append(b, c, 0)
	}
	return string(b)
}

// What processors of transformers make of photos, ours makes too: testdata/make_processors.py.
func TestProcessorsEqualTransformers(t *testing.T) {
	var cases []struct {
		Config json.RawMessage
		Photos []struct {
			Width, Height int
			Shape         [3]int
			Values        []float64
		}
	}
	if err := json.Unmarshal(testkit.ReadFile(t, "testdata", "processors.json"), &cases); err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{"": true, "DINOv3ViT": true} // the one is ViT, the other runs in PyTorch alone
	for _, c := range cases {
		p, err := ParseHF(c.Config)
		if err != nil {
			t.Errorf("%s: %v", c.Config, err)
			continue
		}
		for _, photo := range c.Photos {
			img := &RGB{Width: photo.Width, Height: photo.Height}
			for y := range photo.Height {
				for x := range photo.Width {
					img.Pix = append(img.Pix, byte(7*x+13*y), byte(x*y+50), byte(255-3*x+5*y))
				}
			}
			got := make([]float32, p.Size())
			if err := p.Image(img, got); err != nil || photo.Shape != [3]int{3, p.Height, p.Width} {
				t.Errorf("%s: %v, %d×%d for %v", c.Config, err, p.Height, p.Width, photo.Shape)
				break
			}
			for i, want := range photo.Values {
				if at := i * (len(got) - 1) / 11; math.Abs(float64(got[at])-want) > 1e-4*max(1, math.Abs(want)) {
					t.Errorf("%s: value %d of a photo of %d×%d is %v, not %v", c.Config, at, photo.Width, photo.Height,
						got[at], want)
					break
				}
			}
		}
		var named hfConfig
		if err := json.Unmarshal(c.Config, &named); err != nil {
			t.Fatal(err)
		}
		tried[strings.TrimSuffix(named.Type, "ImageProcessor")] = true
	}
	for name := range hfFamilies {
		if !tried[name] {
			t.Errorf("%s is accepted, and nothing shows that it is equal", name)
		}
	}
}

func TestUltralytics(t *testing.T) {
	for imgsz, want := range map[string]Preprocess{
		"[224, 224]": {Width: 224, Height: 224, Resize: "shortest", ResizeTo: 224},
		"64":         {Width: 64, Height: 64, Resize: "shortest", ResizeTo: 64},
		"[64]":       {Width: 64, Height: 64, Resize: "shortest", ResizeTo: 64},
		"(32, 64)":   {Width: 64, Height: 32, Resize: "exact"},
	} {
		want.Interpolation, want.Std, want.Orientation = "bilinear", [3]float32{1, 1, 1}, true
		if p, err := Ultralytics(imgsz); err != nil || p != want {
			t.Errorf("%s: %+v, %v", imgsz, p, err)
		}
	}
	for _, imgsz := range []string{"", "[]", "[0, 0]", "[99999, 99999]", "[99999999999999999999]", "[1, 2, 3]", "-1"} {
		if p, err := Ultralytics(imgsz); err == nil {
			t.Errorf("%s: %+v", imgsz, p)
		}
	}
}

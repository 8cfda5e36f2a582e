package vit

import (
	"cmp"
	"fmt"
	"strings"
)

// family is what a processor class does where its configuration file is silent.
type family struct {
	square   bool // a plain number is the side of a square, not the shortest edge
	crop     bool // do_center_crop by default
	whole    bool // crops never
	raw      bool // do_normalize is false by default
	flip     bool // do_flip_channel_order by default
	resample int
	size     int
	cropSize int
	cropPct  float64 // of the classes that have it
	factor   float64 // 0: 1/255
	norm     normalisation
	own      step // what it does in its own way
}

// step is what tells a processor class from the rest, where constants do not.
type step int

const (
	convNext     step = iota + 1 // shortest edge by crop_pct and crop, or from 384 on squashed
	poolFormer                   // shortest edge by crop_pct, also for height and width
	leViT                        // shortest edge is that of the crop
	efficientNet                 // rescale_offset, include_top
	noMean                       // normalises never
)

// normalisation is mean and deviation.
type normalisation struct{ mean, std [3]float64 }

var (
	hfHalf     = normalisation{[3]float64{0.5, 0.5, 0.5}, [3]float64{0.5, 0.5, 0.5}}
	hfOnes     = normalisation{[3]float64{1, 1, 1}, [3]float64{1, 1, 1}}
	hfImageNet = normalisation{[3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}}
	hfCLIP     = normalisation{
		[3]float64{0.48145466, 0.4578275, 0.40821073}, [3]float64{0.26862954, 0.26130258, 0.27577711}}
)

// hfFamilies are the supported processors, less the endings ImageProcessor, ImageProcessorFast, ImageProcessorPil and
// FeatureExtractor, with the defaults of their constructors in Hugging Face transformers. "" stands for a file that
// names none: it is read like ViT's. testdata/make_processors.py compared each with ours.
var hfFamilies = map[string]family{
	"":                {square: true, resample: 2, size: 224, cropSize: 224, norm: hfHalf},
	"ViT":             {square: true, resample: 2, size: 224, cropSize: 224, norm: hfHalf},
	"Beit":            {square: true, crop: true, resample: 3, size: 256, cropSize: 224, norm: hfHalf},
	"Bit":             {crop: true, resample: 3, size: 224, cropSize: 224, norm: hfCLIP},
	"Blip":            {square: true, resample: 3, size: 384, norm: hfCLIP},
	"Chameleon":       {crop: true, resample: 1, size: 512, cropSize: 512, factor: 0.0078, norm: hfOnes},
	"ChineseCLIP":     {crop: true, resample: 3, size: 224, cropSize: 224, norm: hfCLIP},
	"CLIP":            {crop: true, resample: 3, size: 224, cropSize: 224, norm: hfCLIP},
	"ConvNext":        {own: convNext, cropPct: 224.0 / 256, resample: 3, size: 384, norm: hfHalf},
	"DeiT":            {square: true, crop: true, resample: 3, size: 256, cropSize: 224, norm: hfHalf},
	"DINOv3ViT":       {square: true, resample: 2, size: 224, cropSize: 224, norm: hfImageNet},
	"DPT":             {square: true, whole: true, resample: 3, size: 384, norm: hfHalf},
	"EfficientFormer": {square: true, crop: true, resample: 3, size: 224, cropSize: 224, norm: hfImageNet},
	"EfficientNet":    {own: efficientNet, square: true, resample: 3, size: 346, cropSize: 289, norm: hfHalf},
	"Flava":           {square: true, crop: true, resample: 3, size: 224, cropSize: 224, norm: hfCLIP},
	"Gemma3":          {square: true, whole: true, resample: 2, size: 224, norm: hfHalf},
	"GotOcr2":         {square: true, whole: true, resample: 3, size: 384, norm: hfCLIP},
	"Idefics":         {square: true, resample: 3, size: 224, norm: hfCLIP},
	"Levit":           {own: leViT, crop: true, resample: 3, size: 224, cropSize: 224, norm: hfImageNet},
	"Llava":           {crop: true, resample: 3, size: 224, cropSize: 224, norm: hfCLIP},
	"MobileNetV1":     {crop: true, resample: 2, size: 256, cropSize: 224, norm: hfHalf},
	"MobileNetV2":     {crop: true, resample: 2, size: 256, cropSize: 224, norm: hfHalf},
	"MobileViT":       {own: noMean, flip: true, crop: true, resample: 3, size: 224, cropSize: 256},
	"OwlViT":          {square: true, resample: 3, size: 768, cropSize: 768, norm: hfCLIP},
	"PoolFormer": {own: poolFormer, crop: true, cropPct: 0.9, resample: 3, size: 224, cropSize: 224,
		norm: hfImageNet},
	"PromptDepthAnything": {square: true, whole: true, resample: 3, size: 384, norm: hfHalf},
	"Pvt":                 {square: true, resample: 3, size: 224, norm: hfImageNet},
	"RTDetr":              {raw: true, square: true, whole: true, resample: 2, size: 640, norm: hfImageNet},
	"Segformer":           {square: true, whole: true, resample: 2, size: 512, norm: hfImageNet},
	"Siglip":              {square: true, resample: 3, size: 224, cropSize: 224, norm: hfHalf},
	"ViTHybrid":           {crop: true, resample: 3, size: 224, cropSize: 224, norm: hfCLIP},
}

func familyOf(name string) (family, error) {
	short := name
	for _, ending := range []string{"Fast", "Pil", "ImageProcessor", "FeatureExtractor"} {
		short = strings.TrimSuffix(short, ending)
	}
	f, ok := hfFamilies[short]
	if !ok {
		return f, fmt.Errorf("processor %q is not supported: %s", name, cmp.Or(hfRefused[short],
			"its steps are not known; if they are those of a known one, such as ViTImageProcessor (size) or "+
				"CLIPImageProcessor (shortest edge and crop), name that in a copy of the file"))
	}
	return f, nil
}

// hfRefused says what well-known processors do that Preprocess cannot say.
var hfRefused = func() map[string]string {
	why := map[string]string{}
	for what, names := range map[string]string{
		"it pads to a common size": "BridgeTower ConditionalDetr DeformableDetr Detr Fuyu GroundingDino Janus " +
			"Kosmos2_5 Mask2Former MaskFormer OneFormer Owlv2 Sam Sam2 Sam3 SegGpt SuperPoint Swin2SR Tvp Vilt Yolos",
		"it cuts a photo into patches or tiles, as its shape wants": "Aria Emu3 Gemma4 Idefics2 Idefics3 Lfm2Vl " +
			"Llama4 LlavaNext LlavaOnevision Mllama Ovis2 Phi4Multimodal Pix2Struct Pixtral Qwen2VL Siglip2 SmolVLM",
		"it makes sides multiples of a number, so that inputs vary in shape": "GLPN TextNet ZoeDepth",
		"it crops a share of the photo before it resizes":                    "Perceiver",
		"it takes videos":                           "VideoMAE Vivit VideoLlava",
		"it gives colours the numbers of clusters":  "ImageGPT",
		"it gives the channels as blue, green, red": "LayoutLMv2 LayoutLMv3 PPLCNet",
		"it turns and pads pages":                   "Donut Nougat",
		"it cuts boxes out of a photo":              "VitPose",
	} {
		for _, name := range strings.Fields(names) {
			why[name] = what
		}
	}
	return why
}()

package backbone

import (
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// Options say which backbone, and which of its features. The zero value is the embedded one.
type Options struct {
	Name       string // an .onnx file, or a name that models.Hub finds; Default()
	Preprocess string // JSON file with the preprocessing; found out
	Feature    string // auto, a pooling, a tensor's name, or TENSOR:POOLING; auto
	ImageSize  int    // for models that take any; that of the preprocessing
	Adapter    string // adapter.safetensors of a run that learnt inside this backbone; none
}

// Default is the name of the embedded backbone.
func Default() string { return models.Default().Name }

// Fields declares the settings.
func (o *Options) Fields() []setting.Field {
	notPath := func(s string) (bool, error) {
		return isName(s) || filepath.Ext(s) != ".onnx" && !strings.ContainsRune(s, filepath.Separator), nil
	}
	return setting.In("backbone",
		setting.PathOr("backbone", &o.Name, Default(), notPath,
			"an .onnx file, or a name that 'vitft models list' shows"),
		setting.Path("preprocess", &o.Preprocess, "", "JSON file with the preprocessing "+
			"(default: the model's metadata, a library's file beside it or one folder up, or the registry)"),
		setting.Text("feature", &o.Feature, "auto", nil,
			"feature to use: auto, pooled, cls, mean, cls+mean, logits-input, a tensor's name, or TENSOR:POOLING"),
		setting.Number("image-size", &o.ImageSize, 0, setting.Between(1, 8192).Or(0, "the preprocessing's own"),
			"image size in pixels, for models that leave it open (0: that of the preprocessing, else 224)"),
		setting.Path("adapter", &o.Adapter, "",
			"adapter.safetensors of a run, to put what was learnt there into this backbone"),
	)
}

// choice reads --feature, a pooling, a tensor's name, or TENSOR:POOLING, for images of the size that is prepared.
func (o Options) choice(pre vit.Preprocess) vision.FeatureChoice {
	c := vision.FeatureChoice{Tensor: o.Feature, Width: pre.Width, Height: pre.Height}
	at := strings.LastIndexByte(o.Feature, ':')
	pooling := o.Feature[at+1:]
	if at > 0 {
		pooling = strings.ToLower(pooling)
	}
	if p, err := vision.ParsePooling(pooling); err == nil {
		c.Tensor, c.Pooling = o.Feature[:max(0, at)], p
	}
	return c
}

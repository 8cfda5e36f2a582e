package engine

import (
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// ModelReport is what Inspect finds: the model, what would be used of it, and
// how images would be prepared for it.
type ModelReport struct {
	vision.Inspection
	SHA256         string          `json:"sha256"`
	Preprocess     *vit.Preprocess `json:"preprocess"`
	PreprocessFrom string          `json:"preprocess_from,omitempty"`
}

// Inspect says what finetune would do with the backbone of c, without running
// it. When the backbone cannot serve, the report is filled as far as possible
// and the error says why.
func Inspect(c Config) (*ModelReport, error) {
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	model, sum, err := readModel(c)
	if err != nil {
		return nil, err
	}
	r := &ModelReport{SHA256: sum}
	pre, from, err := findPreprocess(c, model, sum)
	if err == nil {
		pre = pre.Resolved()
		r.Preprocess, r.PreprocessFrom = &pre, from
	}
	choice := featureChoice(c.Feature)
	choice.Width, choice.Height = pre.Width, pre.Height
	var unfit error
	r.Inspection, unfit = vision.Inspect(model, choice)
	if unfit != nil {
		return r, misfit(unfit, from, pre, r.Image)
	}
	return r, err
}

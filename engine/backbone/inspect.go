package backbone

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// Report is what Inspect finds: the model, what would be used of it, and how images would be prepared for it.
type Report struct {
	vision.Inspection
	SHA256         string          `json:"sha256"`
	Preprocess     *vit.Preprocess `json:"preprocess"`
	PreprocessFrom string          `json:"preprocess_from,omitempty"`
	Warning        string          `json:"preprocess_warning,omitempty"`
	Untried        string          `json:"untried,omitempty"` // why the runtime was not asked whether it takes the model
	Adapt          Adaptable       `json:"adapt"`
}

// Adaptable says what can be trained inside a backbone.
type Adaptable struct {
	Blocks  int          `json:"blocks"`                      // of attention and MLP
	Before  int          `json:"attentions_before,omitempty"` // in blocks of another form, before them
	Tokens  int64        `json:"tokens"`
	Dim     int64        `json:"dim"` // of a token
	Kinds   []adapt.Kind `json:"kinds"`
	Problem string       `json:"problem,omitempty"` // why there are no more
}

// Inspect says what Open would do with a backbone. When the backbone cannot serve, also because the runtime does not
// take it, the report is filled as far as possible and the error says why.
func Inspect(o Options) (*Report, error) {
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	model, sum, err := read(o.Name)
	if err != nil {
		return nil, err
	}
	r := &Report{SHA256: sum}
	pre, from, err := findPreprocess(o, model, sum)
	if err == nil {
		pre = pre.Resolved()
		r.Preprocess, r.PreprocessFrom = &pre, from
	}
	var unfit error
	if r.Inspection, unfit = vision.Inspect(model, o.choice(pre)); unfit != nil {
		return r, withSizes(unfit, from, pre, r.Image)
	}
	r.Warning = twice(pre, r.Image)
	cut, _, unfit := vision.Backbone(model, o.choice(pre))
	if unfit != nil {
		return r, cmp.Or(err, unfit)
	}
	if err != nil {
		return r, err
	}
	if cut, err = r.try(o.Name, cut); err == nil {
		r.Adapt = adaptable(cut, r.Untried == "")
	}
	return r, err
}

// try has the runtime load what would be used of a model, as Open does, and returns what that would use: only it knows
// which operators, versions and shapes it takes, and whether a batch that is declared fixed is.
func (r *Report) try(name string, cut *graph.Model) (*graph.Model, error) {
	d := device.Options{Provider: string(onnx.CPU)}
	if err := d.Load(event.Events{}); err != nil {
		r.Untried = err.Error()
		return cut, nil
	}
	b := &Backbone{Name: name, Model: cut, Inspection: r.Inspection, Preprocess: *r.Preprocess, device: d}
	session, err := b.encoder(cut, d)
	if err != nil {
		return nil, fmt.Errorf("backbone %s: %w", name, err)
	}
	b.Session = session
	err = b.freeBatch(event.Events{})
	return b.Model, errors.Join(err, b.Session.Close())
}

// adaptable says it of a backbone; what it computes of its weights can only be known where the runtime is.
func adaptable(m *graph.Model, runs bool) (a Adaptable) {
	err := error(nil)
	if runs {
		m = m.Copy()
		err = errors.Join(adapt.AnyBatch(m), onnx.Fold(m))
	}
	var t *adapt.Transformer
	if err == nil {
		t, err = adapt.Find(m)
	}
	if err == nil {
		a.Blocks, a.Before, a.Tokens, a.Dim = len(t.Blocks), t.Before(), t.Tokens, t.Dim
		a.Kinds, err = t.Support()
	}
	if err != nil {
		a.Problem = err.Error()
	}
	return a
}

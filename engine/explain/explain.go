// Package explain says which parts of a photo speak for its class, and which against it.
//
// # Basics
//
//	e, err := explain.Open("run", classify.Options{}) // a run folder or a model.onnx
//	defer e.Close()
//	x, err := e.Explain(ctx, photo, prediction.Class)
//	x.Grid     // what each patch adds to the class's logit, row by row
//	x.Overlay() // a PNG: the photo as the model sees it, with the patches tinted
//
// The contributions are integrated gradients (Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML
// 2017) of the raw logit by the pixels, summed over each patch of the backbone: the mean gradient on the way from a
// blank image, of the colour that preprocessing makes 0, to the photo, times the way. They sum to the difference of the
// two images' logits, but for the error of the sum over the steps, which [Explanation] tells.
//
// A model that package grad cannot differentiate is asked about the photo with each patch blanked in turn, which takes
// longer; a patch's contribution is then what the logit loses (Zeiler and Fergus, ECCV 2014). These need not sum to
// anything.
//
// # Caveats
//
// What is explained is the model, not the photo: a patch of background that the model goes by has a contribution, too.
// Of a model that judges several views of an image the contributions are to the logit of their mean.
package explain

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// Method is how contributions are found.
type Method string

// The methods.
const (
	Gradients Method = "integrated gradients"
	Occlusion Method = "occlusion"
)

const (
	// Near the blank image the gradients of norms change fast: steps that grow with the way leave a fraction of the
	// error of as many equal ones.
	steps = 24
	batch = 8 // of occluded images
	seed  = "explain/seed"
)

// Explainer explains what one model says. It may be used by many goroutines; they wait for each other.
type Explainer struct {
	says      artifact.Description
	maxPixels int
	sum       string // SHA-256 of the model's file
	patch     int    // pixels
	turn      chan struct{}

	gradients *onnx.Session    // pixel_values, seed → logits, their gradient; nil where there are none
	why       error            // there are none
	occluded  *onnx.ImageModel // in their place
}

// Open loads the model of a run folder, or a model.onnx.
func Open(path string, o classify.Options) (*Explainer, error) {
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	path, err := place.Fetch(path)
	if err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	file := classify.ModelFile(path)
	content, err := userfile.Read(file, userfile.Large)
	if err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	if err := artifact.CheckModel(file, content); err != nil {
		return nil, err
	}
	e, err := load(content, filepath.Dir(file), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return e, nil
}

func load(content []byte, dir string, o classify.Options) (*Explainer, error) {
	sig, err := graph.ReadSignature(content)
	if err != nil {
		return nil, err
	}
	e := &Explainer{maxPixels: o.MaxPixels, sum: artifact.SumOf(content), turn: make(chan struct{}, 1)}
	if e.says, err = artifact.Describe(sig); err != nil {
		return nil, err
	}
	if err := o.Device.Load(o.Events); err != nil {
		return nil, err
	}
	m, err := graph.Parse(content)
	if err != nil {
		return nil, err
	}
	e.patch = patchOf(m, e.says.Preprocess)
	session := o.Device.Session(dir)
	if e.gradients, e.why = differentiate(m, session); e.why == nil {
		return e, nil
	}
	o.Events.Warn("the model cannot be differentiated; each patch is blanked in turn, which takes longer",
		"reason", e.why)
	session.Weights = o.Weights
	e.occluded, err = onnx.NewImageModel(content, session)
	return e, err
}

// differentiate makes the graph of the logits and their gradient by the pixels ready.
func differentiate(m *graph.Model, o onnx.SessionOptions) (*onnx.Session, error) {
	inputs := m.Inputs()
	if len(inputs) != 1 || len(inputs[0].Shape) != 4 || inputs[0].Shape[0] > 1 {
		return nil, fmt.Errorf("%w: inputs %v", graph.ErrModel, inputs)
	}
	g, err := grad.Backward(m, vision.Logits, graph.Names(inputs),
		grad.Options{Seed: seed, Outputs: []string{vision.Logits}})
	if err != nil {
		return nil, err
	}
	content, err := g.Bytes()
	if err != nil {
		return nil, err
	}
	return onnx.NewSession(content, o)
}

// Explanation is what the patches of a photo add to the logit of a class.
type Explanation struct {
	Method Method      `json:"method"`
	Label  string      `json:"label"`
	Logit  float64     `json:"logit"`       // of the photo
	Blank  float64     `json:"blank_logit"` // of the blank image
	Error  float64     `json:"error"`       // what the contributions of integrated gradients lack of the difference
	Patch  int         `json:"patch"`       // the side of one, in pixels of the model's input
	Width  int         `json:"width"`       // of the model's input
	Height int         `json:"height"`
	Grid   [][]float64 `json:"grid"` // row by row

	preprocess vit.Preprocess
	pixels     []float32 // [3,H,W]
}

// Explain finds what the patches of an encoded image add to the logit of a class. What is wrong with the image is a
// *vit.ImageError.
func (e *Explainer) Explain(ctx context.Context, encoded []byte, class int) (*Explanation, error) {
	if class < 0 || class >= len(e.says.Labels) {
		return nil, fault.Config.Errorf("class %d of %d", class, len(e.says.Labels))
	}
	p := e.says.Preprocess
	pixels := make([]float32, p.Size())
	if err := p.BytesWithin(ctx, e.maxPixels, encoded, pixels); err != nil {
		return nil, err
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	x := &Explanation{Label: e.says.Labels[class], Patch: e.patch, Width: p.Width, Height: p.Height,
		preprocess: p, pixels: pixels}
	rows, columns := (p.Height+e.patch-1)/e.patch, (p.Width+e.patch-1)/e.patch
	x.Grid = make([][]float64, rows)
	for r := range x.Grid {
		x.Grid[r] = make([]float64, columns)
	}
	by := e.integrate
	if e.gradients == nil {
		by = e.occlude
	}
	if err := by(ctx, x, class); err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	for _, row := range x.Grid {
		for _, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fault.Data.Errorf("explain: the model gives numbers that are not finite for this image")
			}
		}
	}
	return x, nil
}

// integrate sums gradients over the way, in the middles of its steps, which end at the cubes of equal ones.
func (e *Explainer) integrate(ctx context.Context, x *Explanation, class int) error {
	x.Method = Gradients
	classes, size := len(e.says.Labels), len(x.pixels)
	shape, row := []int64{1, 3, int64(x.Height), int64(x.Width)}, []int64{1, int64(classes)}
	at, slope := make([]float32, size), make([]float32, size)
	logits, wanted := make([]float32, classes), make([]float32, classes)
	wanted[class] = 1
	run := func(share float64) error {
		for i, v := range x.pixels {
			at[i] = float32(share) * v
		}
		return e.gradients.Run(ctx, []onnx.Tensor{{Shape: shape, Data: at}, {Shape: row, Data: wanted}},
			[]onnx.Tensor{{Shape: row, Data: logits}, {Shape: shape, Data: slope}})
	}
	sum, total := make([]float64, size), 0.0
	for i := range steps {
		u := (float64(i) + 0.5) / steps
		if err := run(u * u * u); err != nil {
			return err
		}
		for k, g := range slope {
			sum[k] += float64(g) * 3 * u * u / steps
		}
	}
	for i, v := range x.pixels {
		c := sum[i] * float64(v)
		*x.at(i) += c
		total += c
	}
	for _, end := range []struct {
		share float64
		logit *float64
	}{{0, &x.Blank}, {1, &x.Logit}} {
		if err := run(end.share); err != nil {
			return err
		}
		*end.logit = float64(logits[class])
	}
	x.Error = x.Logit - x.Blank - total
	return nil
}

// at is the place in the grid of a pixel's value.
func (x *Explanation) at(i int) *float64 {
	i %= x.Width * x.Height
	return &x.Grid[i/x.Width/x.Patch][i%x.Width/x.Patch]
}

// Sum is the SHA-256 of the model's file.
func (e *Explainer) Sum() string { return e.sum }

// Close frees the model.
func (e *Explainer) Close() (err error) {
	if e.gradients != nil {
		err = e.gradients.Close()
	}
	if e.occluded != nil {
		err = errors.Join(err, e.occluded.Close())
	}
	return err
}

// patchOf is the side of the model's patches or, where they are not to be seen in the graph, a fourteenth of the
// image's: ViTs cut 224 pixels into patches of 16.
func patchOf(m *graph.Model, p vit.Preprocess) int {
	for _, n := range m.Graph().Node {
		if n.GetOpType() != "Conv" {
			continue
		}
		if s := graph.Attr(n, "strides").GetInts(); len(s) == 2 && s[0] == s[1] && s[0] >= 2 &&
			int(s[0])*4 <= min(p.Width, p.Height) && int(s[0])*64 >= max(p.Width, p.Height) {
			return int(s[0])
		}
		break
	}
	return max(1, (min(p.Width, p.Height)+7)/14, max(p.Width, p.Height)/64)
}

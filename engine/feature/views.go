package feature

import (
	"context"
	"errors"

	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

// view is one way to look at images, with a feature store of its own.
type view struct {
	store   *store.Store
	session *onnx.Session // makes the view of the pixels; nil for the plain one
}

func (v view) close() error {
	var errs []error
	if v.store != nil {
		errs = append(errs, v.store.Close())
	}
	if v.session != nil {
		errs = append(errs, v.session.Close())
	}
	return errors.Join(errs...)
}

// viewSet is a set of views: bit k is view k.
type viewSet uint

func (s viewSet) has(k int) bool { return s>>k&1 == 1 }

// lacks are those of the first n views in which an image has not been encoded.
func (x *Extractor) lacks(id store.ID, n int) viewSet {
	var s viewSet
	for k, v := range x.views[:n] {
		if !v.store.Has(id) {
			s |= 1 << k
		}
	}
	return s
}

// model is the backbone on the views of a set.
func (x *Extractor) model(s viewSet) vit.Model {
	p := x.backbone.Preprocess
	m := viewModel{model: x.backbone.Session, image: []int64{3, int64(p.Height), int64(p.Width)}}
	for k, v := range x.views {
		if s.has(k) {
			m.views = append(m.views, v.session)
		}
	}
	return m
}

// viewModel gives the features of several views of each image, one after the other, as one.
type viewModel struct {
	model *onnx.FeatureModel
	views []*onnx.Session
	image []int64 // 3, H, W
}

func (m viewModel) Dim() int { return len(m.views) * m.model.Dim() }

func (m viewModel) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	dim := m.model.Dim()
	shape := append([]int64{int64(n)}, m.image...)
	viewed, one := make([]float32, len(pixels)), make([]float32, n*dim)
	for k, session := range m.views {
		x := pixels
		if session != nil {
			x = viewed
			in, out := onnx.Tensor{Shape: shape, Data: pixels}, onnx.Tensor{Shape: shape, Data: viewed}
			if err := session.Run(ctx, []onnx.Tensor{in}, []onnx.Tensor{out}); err != nil {
				return err
			}
		}
		if err := m.model.Run(ctx, x, n, one); err != nil {
			return err
		}
		for i := range n {
			copy(features[(i*len(m.views)+k)*dim:], one[i*dim:(i+1)*dim])
		}
	}
	return nil
}

// writers add to the stores of several views.
type writers []*store.Writer

// writers are for the views of a set.
func (x *Extractor) writers(ctx context.Context, s viewSet) (writers, error) {
	library, _ := onnx.Loaded()
	var ws writers
	for k, v := range x.views {
		if !s.has(k) {
			continue
		}
		w, err := v.store.Writer(ctx, store.WriterOptions{Library: library.Version})
		if err != nil {
			return nil, err
		}
		ws = append(ws, w)
	}
	return ws, nil
}

// append adds the features of an image, as viewModel gives them.
func (ws writers) append(ctx context.Context, id store.ID, name string, features []float32) error {
	dim := len(features) / len(ws)
	for k, w := range ws {
		if err := w.Append(ctx, id, name, features[k*dim:(k+1)*dim]); err != nil {
			return err
		}
	}
	return nil
}

func (ws writers) close(ctx context.Context) error {
	var errs []error
	for _, w := range ws {
		errs = append(errs, w.Close(ctx))
	}
	return errors.Join(errs...)
}

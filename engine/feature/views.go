package feature

import (
	"context"
	"errors"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/onnx"
)

// view is one way to look at images, with a feature store of its own.
type view struct {
	store   *store.Store
	session *onnx.Session // makes the view of the pixels; nil for the plain one
}

func (v view) close() (err error) {
	if v.store != nil {
		err = v.store.Close()
	}
	if v.session != nil {
		err = errors.Join(err, v.session.Close())
	}
	return err
}

// viewSet is a set of views: bit k is view k.
type viewSet uint

// in are the views of a set.
func (x *Extractor) in(s viewSet) (views []view) {
	for k, v := range x.views {
		if s>>k&1 == 1 {
			views = append(views, v)
		}
	}
	return views
}

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

// viewModel gives the features of several views of each image, one after the other, as one.
type viewModel struct {
	*backbone.Backbone
	views []view
}

func (m viewModel) Dim() int { return len(m.views) * m.Session.Dim() }

func (m viewModel) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	dim := m.Session.Dim()
	shape := []int64{int64(n), 3, int64(m.Preprocess.Height), int64(m.Preprocess.Width)}
	one := make([]float32, n*dim)
	var viewed []float32 // the plain view takes none
	for k, v := range m.views {
		x := pixels
		if v.session != nil {
			if viewed == nil {
				viewed = make([]float32, len(pixels))
			}
			x = viewed
			in, out := onnx.Tensor{Shape: shape, Data: pixels}, onnx.Tensor{Shape: shape, Data: viewed}
			if err := v.session.Run(ctx, []onnx.Tensor{in}, []onnx.Tensor{out}); err != nil {
				return err
			}
		}
		if err := m.Session.Run(ctx, x, n, one); err != nil {
			return err
		}
		for i := range n {
			copy(features[(i*len(m.views)+k)*dim:], one[i*dim:(i+1)*dim])
		}
	}
	return nil
}

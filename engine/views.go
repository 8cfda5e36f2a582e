package engine

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/vitft/vitft/engine/store"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// view is one way to look at images, with a feature store of its own.
type view struct {
	store   *store.Store
	session *onnx.Session // makes the view of the pixels; nil for the plain one
}

// viewSet is a set of views: bit k is view k.
type viewSet uint

// has reports whether view k is in the set.
func (s viewSet) has(k int) bool { return s>>k&1 == 1 }

// viewsOf is how many views of the images of a set are needed: training takes
// its own number; what is judged, or calibrated on, is seen as at test time.
func (c *Config) viewsOf(what string) int {
	switch {
	case what != "train":
		return c.TTA
	case c.Val == "" && (c.Test == "" || c.Calibration != noCalibration):
		return max(c.Views, c.TTA)
	}
	return c.Views
}

// openView opens the store of a view and makes what draws it. key is that of the
// plain view.
func (b *backbone) openView(v vision.View, key store.Key, c Config, ev Events) (_ view, err error) {
	var opened view
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close())
		}
	}()
	if v != (vision.View{}) {
		key.View = v.String()
		model, err := vision.ViewModel(b.model, v)
		if err != nil {
			return opened, err
		}
		text, err := model.Bytes()
		if err != nil {
			return opened, err
		}
		options := onnx.SessionOptions{Provider: onnx.Provider(b.encoder.Provider()), Threads: c.Threads}
		if opened.session, err = onnx.NewSession(text, options); err != nil {
			return opened, err
		}
	}
	s, report, err := store.Open(filepath.Join(c.Cache, "features"), key)
	if err != nil {
		return opened, err
	}
	opened.store = s
	for _, bad := range report.Bad {
		ev.warn("a block of the feature store is damaged; its images are encoded again", "block", bad.Path, "reason", bad.Err)
	}
	ev.info("feature store", "folder", s.Dir(), "view", v.String(), "features", report.Features)
	return opened, nil
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

// lacking are those of the first n views in which an image has not been encoded.
func (e *encoding) lacking(id store.ID, n int) viewSet {
	var s viewSet
	for k, v := range e.views[:n] {
		if !v.store.Has(id) {
			s |= 1 << k
		}
	}
	return s
}

// looking is the backbone on the views of a set.
func (e *encoding) looking(s viewSet) vit.Model {
	m := looking{encoder: e.backbone.encoder, image: []int64{3, int64(e.backbone.preprocess.Height), int64(e.backbone.preprocess.Width)}}
	for k, v := range e.views {
		if s.has(k) {
			m.views = append(m.views, v.session)
		}
	}
	return m
}

// looking encodes several views of each image: a feature is those of the views,
// one after the other.
type looking struct {
	encoder *onnx.Encoder
	views   []*onnx.Session
	image   []int64 // 3, H, W
}

func (m looking) Dim() int { return len(m.views) * m.encoder.Dim() }

func (m looking) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	dim := m.encoder.Dim()
	shape := append([]int64{int64(n)}, m.image...)
	viewed, one := make([]float32, len(pixels)), make([]float32, n*dim)
	for k, session := range m.views {
		x := pixels
		if session != nil {
			x = viewed
			if err := session.Run(ctx, []onnx.Tensor{{Shape: shape, Data: pixels}}, []onnx.Tensor{{Shape: shape, Data: viewed}}); err != nil {
				return err
			}
		}
		if err := m.encoder.Run(ctx, x, n, one); err != nil {
			return err
		}
		for i := range n {
			copy(features[(i*len(m.views)+k)*dim:], one[i*dim:(i+1)*dim])
		}
	}
	return nil
}

// viewWriters add to the stores of several views.
type viewWriters []*store.Writer

// writers are for the views of a set.
func (e *encoding) writers(s viewSet) (viewWriters, error) {
	library, _ := onnx.Loaded()
	var ws viewWriters
	for k, v := range e.views {
		if !s.has(k) {
			continue
		}
		w, err := v.store.Writer(store.WriterOptions{Library: library.Version})
		if err != nil {
			return nil, err
		}
		ws = append(ws, w)
	}
	return ws, nil
}

// append adds the features of an image, as looking gives them.
func (ws viewWriters) append(id store.ID, name string, features []float32) error {
	dim := len(features) / len(ws)
	for k, w := range ws {
		if err := w.Append(id, name, features[k*dim:(k+1)*dim]); err != nil {
			return err
		}
	}
	return nil
}

func (ws viewWriters) close() error {
	var errs []error
	for _, w := range ws {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}

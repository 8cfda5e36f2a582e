// Package backbone makes a vision transformer ready to run: from its name or file to the graph that is cut at the
// feature, the preprocessing of its images and a session.
//
// # Basics
//
//	b, err := backbone.Open(backbone.Options{Name: "vit_b16.onnx"}, device.Options{}, event.Events{})
//	defer b.Close()
//	err = b.Session.Run(ctx, pixels, n, features) // images as b.Preprocess makes them
//	key := b.Key()                                // what the features depend on, beside the images
//
// [Inspect] says what would be used of a model without running it. [OpenModel] opens the front part of the model.onnx
// that a run has exported.
//
// # Caveats
//
// The runtime library is loaded once for a process. Features are the same to the bit only on one kind of processor,
// with one library and provider.
package backbone

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// Backbone is a frozen encoder, ready to run, and what it is. Its fields are to be read only.
type Backbone struct {
	Name       string       // as it was asked for
	SHA256     string       // of the model file, weights included
	Model      *graph.Model // cut at the feature
	Inspection vision.Inspection
	Preprocess vit.Preprocess
	Session    *onnx.FeatureModel // of Model

	device device.Options
	key    store.Key
	source *graph.Model // the whole
}

// Open finds a backbone, loads the runtime library and makes the backbone ready to run.
func Open(o Options, d device.Options, ev event.Events) (*Backbone, error) {
	if err := errors.Join(setting.Complete(o.Fields()), setting.Complete(d.Fields())); err != nil {
		return nil, err
	}
	model, sum, err := read(o.Name)
	if err != nil {
		return nil, err
	}
	pre, source, err := findPreprocess(o, model, sum)
	if err != nil {
		return nil, err
	}
	cut, inspection, err := vision.Backbone(model, o.choice(pre))
	if err != nil {
		return nil, fmt.Errorf("backbone %s: %w", o.Name, withSizes(err, source, pre, inspection.Image))
	}
	b := &Backbone{Name: o.Name, SHA256: sum, Model: cut, Inspection: inspection, Preprocess: pre.Resolved(), device: d,
		source: model}
	f := inspection.Feature
	ev.Info("backbone", "file", o.Name, "feature", f.Tensor, "pooling", f.Pooling, "dim", f.Dim,
		"why", strings.Join(inspection.Reasons, "; "))
	note := ev.Info
	if strings.HasPrefix(source, guessed) {
		note = ev.Warn
	}
	note("preprocessing", "from", source, "resize", b.Preprocess.Resize,
		"size", fmt.Sprintf("%d×%d", pre.Width, pre.Height), "interpolation", b.Preprocess.Interpolation,
		"mean", b.Preprocess.Mean, "std", b.Preprocess.Std)
	if warning := twice(pre, inspection.Image); warning != "" {
		ev.Warn(warning)
	}
	b.key = store.Key{
		Backbone: sum, Preprocess: b.Preprocess.Key(), Precision: inspection.Image.Type,
		Feature: fmt.Sprintf("%s/%s", f.Tensor, f.Pooling),
	}
	if f.Prefix > 1 && f.Pooling != vision.PoolCLS { // a mean that leaves out registers
		b.key.Feature += fmt.Sprintf(" after %d tokens", f.Prefix)
	}
	if err := d.Load(ev); err != nil {
		return nil, err
	}
	if o.Adapter != "" {
		if err := b.put(o.Adapter); err != nil {
			return nil, err
		}
	}
	return b.start(ev)
}

// Exported is what a run has recorded about the model.onnx that it exported.
type Exported struct {
	SHA256     string         // of the file; not checked if it is empty
	Preprocess vit.Preprocess // of the original backbone
	Key        store.Key      // of its features

	// Vouched says whether a file with a sum is known to have the nodes of that backbone; nil: it has. What another
	// makes is kept as features of that file.
	Vouched func(sum string) bool

	// Standalone says that the file is a Backbone's own: its graph is run as it is.
	Standalone bool
}

// OpenModel makes the front part of an exported model ready to run, up to the embedding of one view. Its nodes are
// those of the original backbone, whose features these are.
func OpenModel(path string, x Exported, d device.Options, ev event.Events) (*Backbone, error) {
	if err := setting.Complete(d.Fields()); err != nil {
		return nil, err
	}
	model, err := graph.Read(path, artifact.CheckModel)
	if err != nil {
		return nil, err
	}
	sum, err := model.Hash()
	if err != nil {
		return nil, err
	} else if x.SHA256 != "" && sum != x.SHA256 {
		return nil, fault.Data.Errorf("%s is not the file that its run has written: "+
			"its SHA-256 is %s, not %s; copy it anew or run again", path, sum, x.SHA256)
	}
	if x.Vouched != nil && !x.Vouched(sum) {
		x.Key.Backbone = "exported " + sum
	}
	cut, inspection, err := vision.Backbone(vision.Single(model), vision.FeatureChoice{
		Tensor: vision.Embedding, Width: x.Preprocess.Width, Height: x.Preprocess.Height})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if x.Standalone {
		cut = model
	}
	if x.Key.Graph != "" {
		if x.Key.Graph, err = cut.Sum(); err != nil {
			return nil, err
		}
	}
	b := &Backbone{Name: path, SHA256: x.Key.Backbone, Model: cut, Inspection: inspection, Preprocess: x.Preprocess,
		device: d, key: x.Key, source: model}
	if err := d.Load(ev); err != nil {
		return nil, err
	}
	return b.start(ev)
}

// KeepTokens lets the features be kept in half the space, as float16, and as those of a graph of that sum alone: where
// it is cut and how it is rewritten differs with the version of this program.
func (b *Backbone) KeepTokens(graph string) *Backbone {
	b.key.Stored, b.key.Graph = store.Half, graph
	return b
}

// With makes a model ready to run that takes the same images and was made of b's: a part of it, or b with weights that
// were trained. made says how, which tells its features from those of b. It is closed by the caller.
func (b *Backbone) With(m *graph.Model, made string, ev event.Events) (*Backbone, error) {
	w := *b
	w.Model, w.device = m, b.Beside()
	w.key.Feature += " " + made
	return w.start(ev)
}

// Key is what the features of the plain view depend on.
func (b *Backbone) Key() store.Key {
	key := b.key
	key.Provider, key.Dim = b.Session.Provider(), b.Session.Dim()
	return key
}

// View is a session that makes a view of pixels, to be closed by the caller.
func (b *Backbone) View(v vision.View) (*onnx.Session, error) {
	model, err := vision.ViewModel(b.Model, v)
	if err != nil {
		return nil, err
	}
	text, err := model.Bytes()
	if err != nil {
		return nil, err
	}
	return onnx.NewSession(text, b.Beside().Session(""))
}

// Standalone is the graph that computes the embedding as one ONNX file, weights included: OpenModel makes of it a
// backbone with the same features.
func (b *Backbone) Standalone() ([]byte, error) {
	m := b.Model.Clone()
	if err := m.Inline(); err != nil {
		return nil, err
	}
	return m.Bytes()
}

// Unchanged refuses a backbone whose files of weights have changed since it was opened: what it makes then is no
// feature of it.
func (b *Backbone) Unchanged() error { return b.source.Unchanged() }

// Rest frees what the session takes until it runs again, such as while its features are learned from.
func (b *Backbone) Rest() error {
	return b.Session.Rest(func() ([]byte, error) {
		text, err := b.Model.Bytes()
		return text, errors.Join(err, b.Unchanged())
	})
}

// Close ends the session.
func (b *Backbone) Close() error { return b.Session.Close() }

// start opens the session; the runtime is loaded.
func (b *Backbone) start(ev event.Events) (_ *Backbone, err error) {
	if b.Session, err = b.encoder(b.Model, b.device); err != nil {
		return nil, fmt.Errorf("backbone %s: %w", b.Name, err)
	}
	if err := errors.Join(b.freeBatch(ev), b.Unchanged()); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	provider := []any{"runs on", b.Session.Provider()}
	if note := b.Session.Note(); note != "" {
		provider = append(provider, "why", note)
	}
	ev.Info("provider", provider...)
	return b, nil
}

func (b *Backbone) encoder(m *graph.Model, d device.Options) (*onnx.FeatureModel, error) {
	text, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	o := d.Session(m.Dir())
	o.Name = b.Name
	return onnx.NewFeatureModel(text, o)
}

// FirstNotFinite describes the first node that does not give finite values for a prepared image, and which; "" where
// none is found.
func (b *Backbone) FirstNotFinite(ctx context.Context, pixels []float32) string {
	shape := []int64{max(1, b.Inspection.Image.Batch), 3, int64(b.Preprocess.Height), int64(b.Preprocess.Width)}
	batch := slices.Repeat(pixels, int(shape[0]))
	text, err := onnx.FirstNotFinite(ctx, b.Model, b.Beside().Session(b.Model.Dir()), batch, shape)
	if err != nil { // that the feature is not finite is known without
		return ""
	}
	return text
}

// freeBatch lets a model with a fixed batch take any number of images, if its nodes turn out to give the same features
// then: exporters often fix no more than the declaration.
func (b *Backbone) freeBatch(ev event.Events) error {
	batch := int(b.Inspection.Image.Batch)
	if batch < 1 {
		return nil
	}
	free, err := vision.FreeBatch(b.Model)
	if err != nil {
		return err
	}
	images := 2
	if batch == images {
		images++
	}
	session, err := b.encoder(free, b.Beside())
	if err == nil {
		if err = agree(b.Session, session, images, 3*b.Preprocess.Width*b.Preprocess.Height); err == nil {
			b.Model, session, b.Session = free, b.Session, session
		}
		err = errors.Join(err, session.Close())
	}
	if err != nil {
		ev.Info("the model takes batches of one size only", "batch", batch, "why", err)
	}
	return nil
}

// Beside are the options of another session beside the first, where that runs.
func (b *Backbone) Beside() device.Options {
	d := b.device
	d.Provider = b.Session.Provider()
	return d
}

// agree says where two models differ on n images of the given size.
func agree(a, b *onnx.FeatureModel, n, size int) error {
	pixels := make([]float32, n*size)
	for i := range pixels {
		pixels[i] = float32(math.Sin(0.37 * float64(i)))
	}
	want, got := make([]float32, n*a.Dim()), make([]float32, n*a.Dim())
	ctx := context.Background()
	if err := errors.Join(a.Run(ctx, pixels, n, want), b.Run(ctx, pixels, n, got)); err != nil {
		return err
	}
	if i := vec.Differs(want, got, 1e-3); i >= 0 {
		return fmt.Errorf("in another batch a feature is %v instead of %v", got[i], want[i])
	}
	return nil
}

// Sum is the SHA-256 of the backbone with a name or path, by which its features are kept.
func Sum(name string) (string, error) {
	_, sum, err := read(name)
	return sum, err
}

// read reads the backbone with a name or path, and its hash.
func read(name string) (*graph.Model, string, error) {
	at, err := locate(name)
	if err != nil {
		return nil, "", err
	}
	if at.Embedded {
		data, err := at.Bytes()
		if err != nil {
			return nil, "", err
		}
		m, err := graph.Parse(data)
		return m, at.SHA256, err
	}
	m, err := graph.Read(at.Path, artifact.CheckModel)
	if err != nil {
		return nil, "", fmt.Errorf("backbone: %w", err)
	}
	sum, err := m.Hash()
	return m, sum, err
}

// Package classify says what is on images, with a model that vitft exported: inference and nothing else, for programs
// that do not train.
//
// # Basics
//
//	c, err := classify.Open("run", classify.Options{}) // a run folder or a model.onnx
//	defer c.Close()
//	p, err := c.ClassifyBytes(ctx, photo)              // p.Label, p.Confidence, p.Top(5)
//
// [New] takes the content of a model.onnx, which may come out of the program itself with go:embed. One [Classifier]
// serves a whole program: images of all calls are run together. What is wrong with an image is a *vit.ImageError; the
// kind of any other error is told by package fault.
//
// # Caveats
//
// The program needs cgo and, where it runs, the ONNX Runtime library, which is loaded once per process. Answers have
// the same bits in whatever company on one machine with one library; another processor, provider or number of threads
// rounds differently.
package classify

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// ErrClosed means that a Classifier was used after Close.
var ErrClosed = errors.New("the classifier is closed")

// Classifier names what is on images. It is safe for concurrent use, and meant for it: images of different calls are
// run together, up to MaxBatch at a time, while others are decoded in the callers' goroutines. An image gets the same
// answer in whatever company; on the CPU, to the last bit. At most 2·MaxBatch + GOMAXPROCS images are in memory as
// pixels; further callers wait their turn.
//
// A call whose context ends returns at once and does not disturb the others.
type Classifier struct {
	model     *onnx.ImageModel
	says      artifact.Description // what the model says of itself
	info      ModelInfo
	maxPixels int
	queue     *queue

	mu     sync.RWMutex // held to change closed
	closed bool
	calls  sync.WaitGroup
	end    sync.Once
	err    error // of closing the model
}

// Open loads the model of a run folder, or a model.onnx; of one in an object store a copy on this machine.
func Open(path string, o Options) (*Classifier, error) {
	path, err := place.Fetch(path)
	if err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	file, card := ModelFile(path), ""
	if file != path {
		text, err := userfile.Read(filepath.Join(path, artifact.CardFile), userfile.Text)
		if errors.As(err, new(userfile.Refusal)) { // there may be none
			return nil, err
		}
		card = string(text)
	}
	model, err := userfile.Read(file, userfile.Large)
	switch {
	case errors.Is(err, fs.ErrNotExist) && file != path:
		return nil, fault.Data.Errorf("%s has no %s: it is no finished run", path, artifact.ModelFile)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Data.Errorf("there is no run folder or model file %s", path)
	case err != nil:
		return nil, fmt.Errorf("read the model: %w", err)
	}
	if err := artifact.CheckModel(file, model); err != nil {
		return nil, err
	}
	c, err := load(model, filepath.Dir(file), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.info.Name, c.info.Path, c.info.Card = artifact.NameOf(path), file, card
	return c, nil
}

// ModelFile is the model.onnx of a run folder; a file is its own.
func ModelFile(path string) string {
	if stat, err := os.Stat(path); err == nil && stat.IsDir() {
		return filepath.Join(path, artifact.ModelFile)
	}
	return path
}

// InCommon finds the weights that several run folders or model.onnx files have in common, as those of one backbone do.
// Classifiers that are opened with them as their Options.Weights hold them once. It is nil if there are none.
func InCommon(paths []string) *onnx.Weights {
	if len(paths) < 2 {
		return nil
	}
	return onnx.InCommon(func(yield func([]byte) bool) {
		for _, path := range paths {
			path, err := place.Fetch(path)
			if err != nil {
				continue
			}
			model, err := userfile.Read(ModelFile(path), userfile.Large)
			if err == nil && !yield(model) { // what is wrong with one Open says
				return
			}
		}
	})
}

// New loads the content of a model.onnx, which may be embedded in the program with go:embed. It is not needed any more
// afterwards.
func New(model []byte, o Options) (*Classifier, error) {
	if _, err := artifact.Sealed(model); err != nil {
		return nil, err
	}
	return load(model, "", o)
}

// Classify classifies an image that is decoded already, and upright. Decoded by others, a JPEG may have slightly other
// pixels than ClassifyBytes gives it.
func (c *Classifier) Classify(ctx context.Context, img image.Image) (Prediction, error) {
	return c.one(ctx, func(_ context.Context, pixels []float32) error {
		if err := c.TakesImages(); err != nil {
			return err
		}
		b := img.Bounds()
		if w, h := b.Dx(), b.Dy(); w > 0 && h > c.maxPixels/w {
			err := fmt.Errorf("%d×%d pixels; the limit is %d in all", w, h, c.maxPixels)
			return &vit.ImageError{Reason: vit.ReasonTooLarge, Err: err}
		}
		return c.says.Preprocess.GoImage(img, pixels)
	})
}

// ClassifyBytes classifies an encoded image, the content of a file: JPEG, PNG, WebP, GIF, BMP, TIFF, PGM or PPM. What
// is wrong with one is a *vit.ImageError.
func (c *Classifier) ClassifyBytes(ctx context.Context, encoded []byte) (Prediction, error) {
	return c.one(ctx, c.decode(encoded))
}

// ClassifyBatch classifies several encoded images and returns as many results in their order. An error beside it says
// that there are none: the context has ended, or the Classifier is closed.
func (c *Classifier) ClassifyBatch(ctx context.Context, encoded [][]byte) ([]Classified, error) {
	return c.several(ctx, len(encoded), func(i int) preparation { return c.decode(encoded[i]) })
}

// ClassifyPixels runs the model on n images that are preprocessed already, [n,3,H,W], and returns n predictions.
func (c *Classifier) ClassifyPixels(ctx context.Context, pixels []float32, n int) ([]Prediction, error) {
	if err := c.TakesImages(); err != nil {
		return nil, err
	}
	if size := c.says.Size(); n < 0 || len(pixels) != n*size {
		return nil, fault.Config.Errorf("%d pixel values for %d images of 3×%d×%d, which have %d",
			len(pixels), n, c.says.Preprocess.Height, c.says.Preprocess.Width, max(n, 0)*size)
	}
	return c.prepared(ctx, pixels, n)
}

// ClassifyEmbeddings runs a head alone, which was trained on embeddings that were given, on n of them, [n,D].
func (c *Classifier) ClassifyEmbeddings(ctx context.Context, vectors []float32, n int) ([]Prediction, error) {
	if !c.says.HeadAlone {
		return nil, fault.Data.Errorf("%s takes images, not embeddings", c.info.Name)
	}
	if n < 0 || len(vectors) != n*c.says.Dim {
		return nil, fault.Config.Errorf("%d values for %d embeddings of %d", len(vectors), n, c.says.Dim)
	}
	return c.prepared(ctx, vectors, n)
}

// TakesImages refuses a head alone.
func (c *Classifier) TakesImages() error {
	if !c.says.HeadAlone {
		return nil
	}
	return fault.Data.Errorf("%s takes embeddings, not images: it is a head alone, trained on embeddings of %d values "+
		"(input %s); judge a file of embeddings with vitft evaluate, or train on images for a model that takes them",
		c.info.Name, c.says.Dim, vision.Embedding)
}

// prepared runs the model on n inputs as they are.
func (c *Classifier) prepared(ctx context.Context, values []float32, n int) ([]Prediction, error) {
	size := c.says.Size()
	results, err := c.several(ctx, n, func(i int) preparation {
		return func(_ context.Context, dst []float32) error {
			copy(dst, values[i*size:])
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	predictions := make([]Prediction, n)
	for i, r := range results {
		if r.Err != nil {
			return nil, r.Err
		}
		predictions[i] = r.Prediction
	}
	return predictions, nil
}

// Labels are the class names in the order of the model's outputs.
func (c *Classifier) Labels() []string { return slices.Clone(c.says.Labels) }

// Preprocess is how images become the model's input.
func (c *Classifier) Preprocess() vit.Preprocess { return c.says.Preprocess }

// Info says what is run.
func (c *Classifier) Info() ModelInfo { return c.info }

// Close waits for the calls in progress and frees the model. Later calls fail with ErrClosed.
func (c *Classifier) Close() error {
	c.end.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.calls.Wait()
		c.queue.close()
		c.err = c.model.Close()
	})
	return c.err
}

// load makes a Classifier of a model whose external weights, if it has any, lie in dir.
func load(model []byte, dir string, o Options) (*Classifier, error) {
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	sig, err := graph.ReadSignature(model)
	if err != nil {
		return nil, err
	}
	d, err := artifact.Describe(sig)
	if err != nil {
		return nil, err
	}
	if err := o.Device.Load(o.Events); err != nil {
		return nil, err
	}
	session := o.Device.Session(dir)
	session.Weights = o.Weights
	m, err := onnx.NewImageModel(model, session)
	if err != nil {
		return nil, err
	}
	c := &Classifier{model: m, says: d, maxPixels: o.MaxPixels, info: ModelInfo{
		Name: "model", SHA256: artifact.SumOf(model), Metadata: sig.Metadata,
		Classes: len(d.Labels), Dim: d.Dim, Width: d.Preprocess.Width, Height: d.Preprocess.Height,
		HeadAlone: d.HeadAlone, Provider: m.Provider(), Note: m.Note(), OneByOne: m.OneByOne(),
		InCommon: m.InCommon(),
	}}
	note := []any{"runs on", c.info.Provider}
	if c.info.Note != "" {
		note = append(note, "why", c.info.Note)
	}
	o.Events.Info("provider", note...)
	if c.info.OneByOne { // a batch would only make the first of it wait for the last
		o.MaxBatch = 1
	}
	if c.queue, err = newQueue(m, d, o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return c, nil
}

// preparation writes the pixels of an image, or says what is wrong with it.
type preparation func(ctx context.Context, pixels []float32) error

// decode prepares an encoded image.
func (c *Classifier) decode(encoded []byte) preparation {
	return func(ctx context.Context, pixels []float32) error {
		if err := c.TakesImages(); err != nil {
			return err
		}
		return c.says.Preprocess.BytesWithin(ctx, c.maxPixels, encoded, pixels)
	}
}

// read prepares the image in a file, which is read in the place of a decoder, so that few are in memory.
func (c *Classifier) read(path string) preparation {
	return func(ctx context.Context, pixels []float32) error {
		encoded, err := place.Read(path, userfile.Image)
		if err != nil {
			return err
		}
		return c.decode(encoded)(ctx, pixels)
	}
}

// one classifies an image, which is prepared in the caller's goroutine.
func (c *Classifier) one(ctx context.Context, prepare preparation) (Prediction, error) {
	if err := c.begin(); err != nil {
		return Prediction{}, err
	}
	defer c.calls.Done()
	r, err := c.queue.submit(ctx, prepare)
	if err != nil {
		return Prediction{}, err
	}
	return r.wait()
}

// several classifies n images, which are prepared in parallel.
func (c *Classifier) several(ctx context.Context, n int, prepare func(i int) preparation) ([]Classified, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	results, waiting := make([]Classified, n), make([]*request, n)
	err := par.For(ctx, n, 0, func(i int) { waiting[i], results[i].Err = c.queue.submit(ctx, prepare(i)) })
	if err != nil {
		return nil, err
	}
	for i, r := range waiting {
		if r != nil {
			results[i].Prediction, results[i].Err = r.wait()
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return results, nil
}

// begin counts a call; the caller ends it with c.calls.Done.
func (c *Classifier) begin() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return ErrClosed
	}
	c.calls.Add(1)
	return nil
}

package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// ErrClosed means that a Classifier was used after Close.
var ErrClosed = errors.New("the classifier is closed")

// Classifier names what is on images, with a model that [Finetune] or [Export]
// wrote. It is safe for concurrent use, and meant for it: images of different
// calls are run together, up to MaxBatch at a time, while others are decoded in
// the callers' goroutines. An image gets the same answer in whatever company; on
// the CPU, to the last bit. At most 2·MaxBatch + GOMAXPROCS images are in memory
// as pixels; further callers wait their turn.
//
// A call whose context ends returns at once and does not disturb the others.
type Classifier struct {
	model      *onnx.ImageModel
	preprocess vit.Preprocess
	labels     []string
	info       ModelInfo
	maxPixels  int
	queue      *queue

	mu     sync.RWMutex // held to change closed
	closed bool
	calls  sync.WaitGroup
	ended  chan struct{} // closed when the model is
	err    error         // of closing it
}

// ClassifierOptions says how to run a Classifier. The zero value is right for
// most uses.
type ClassifierOptions struct {
	Provider  string        // auto, cpu or cuda; auto
	Threads   int           // of the runtime, within one run; all cores
	Library   string        // the ONNX Runtime library to load; found by onnx.Find
	MaxBatch  int           // images run at a time; 16
	MaxDelay  time.Duration // how long an image waits at most for others that are being prepared; 2 ms, negative for not at all
	MaxPixels int           // the largest image that is accepted, in pixels; vit.MaxPixels
	Events    Events        // what loading has to say

	// OnBatch, if not nil, is told after each run of the model how many images it
	// was of and how long it took. One run follows the other, so it should be quick.
	OnBatch func(images int, took time.Duration)
}

func (o *ClassifierOptions) ensureDefaults() error {
	setDefault(&o.Provider, "auto")
	setDefault(&o.MaxBatch, 16)
	setDefault(&o.MaxDelay, 2*time.Millisecond)
	setDefault(&o.MaxPixels, vit.MaxPixels)
	var faults []error
	bad := func(format string, a ...any) { faults = append(faults, configError(format, a...)) }
	if _, err := onnx.ParseProvider(o.Provider); err != nil {
		bad("provider: %v", err)
	}
	if o.Threads < 0 || o.Threads > 1024 {
		bad("threads: %d is not between 0 (all %d cores) and 1024", o.Threads, runtime.NumCPU())
	}
	if o.MaxBatch < 1 || o.MaxBatch > 4096 {
		bad("batch: %d is not between 1 and 4096", o.MaxBatch)
	}
	if o.MaxDelay > time.Minute {
		bad("delay: %v is more than a minute", o.MaxDelay)
	}
	if o.MaxPixels < 1 || o.MaxPixels > vit.MaxPixels {
		bad("pixels: %d is not between 1 and %d", o.MaxPixels, vit.MaxPixels)
	}
	return errors.Join(faults...)
}

// ModelInfo says what a Classifier runs.
type ModelInfo struct {
	Name          string            // of the run folder, or of the file without .onnx; "model" for bytes
	Path          string            // of the file; "" for bytes
	SHA256        string            // of the file
	Classes       int               // C
	Dim           int               // D, the length of the embedding; 0 if the model does not give it
	Width, Height int               // of its input, in pixels
	Provider      string            // what it really runs on
	Note          string            // why auto did not take CUDA; "" if it did or was not asked
	OneByOne      bool              // run on single images, because its arithmetic depends on the batch
	Metadata      map[string]string // of the file
	Card          string            // README.md of the run folder, the model card; "" if there is none
}

// OpenClassifier loads the model of a run folder, or a model.onnx.
func OpenClassifier(path string, o ClassifierOptions) (*Classifier, error) {
	file, card := path, ""
	stat, err := os.Stat(path)
	if err == nil && stat.IsDir() {
		file = runFolder(path).path(modelFile)
		if text, err := os.ReadFile(runFolder(path).path(cardFile)); err == nil {
			card = string(text)
		}
	}
	model, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && file != path:
		return nil, dataError("%s has no %s: it is no finished run", path, modelFile)
	case errors.Is(err, fs.ErrNotExist):
		return nil, dataError("there is no run folder or model file %s", path)
	case err != nil:
		return nil, fmt.Errorf("read the model: %w", err)
	}
	c, err := newClassifier(model, filepath.Dir(file), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.info.Name = strings.TrimSuffix(filepath.Base(absolute(path)), ".onnx")
	c.info.Path, c.info.Card = file, card
	return c, nil
}

// NewClassifier loads the content of a model.onnx, which may be embedded in the
// program with go:embed. It is not needed any more afterwards.
func NewClassifier(model []byte, o ClassifierOptions) (*Classifier, error) {
	return newClassifier(model, "", o)
}

func newClassifier(model []byte, dir string, o ClassifierOptions) (*Classifier, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	sig, err := graph.ReadSignature(model)
	if err != nil {
		return nil, err
	}
	c := &Classifier{maxPixels: o.MaxPixels, ended: make(chan struct{})}
	if err := c.describe(sig); err != nil {
		return nil, err
	}
	if err := loadRuntime(Config{Library: o.Library}, o.Events); err != nil {
		return nil, err
	}
	c.model, err = onnx.NewImageModel(model, onnx.SessionOptions{Provider: onnx.Provider(o.Provider), Threads: o.Threads, ExternalDataDir: dir})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(model)
	c.info.Name, c.info.SHA256, c.info.Metadata = "model", hex.EncodeToString(sum[:]), sig.Metadata
	c.info.Provider, c.info.Note, c.info.OneByOne = c.model.Provider(), c.model.Note(), c.model.OneByOne()
	note := []any{"runs on", c.info.Provider}
	if c.info.Note != "" {
		note = append(note, "why", c.info.Note)
	}
	o.Events.info("provider", note...)
	if c.info.OneByOne { // a batch would only make the first of it wait for the last
		o.MaxBatch = 1
	}
	c.queue = newQueue(c.model, c.preprocess.Size(), o)
	return c, nil
}

// describe reads labels and preprocessing from the metadata and checks that
// they fit the model.
func (c *Classifier) describe(sig graph.Signature) error {
	const cure = "it is no classifier that vitft exported; make one with `vitft export --run RUN --out model.onnx`"
	labels, ok := sig.Metadata[labelsKey]
	if !ok {
		return dataError("no %s in the metadata: %s", labelsKey, cure)
	}
	if err := json.Unmarshal([]byte(labels), &c.labels); err != nil {
		return dataError("metadata %s: %v", labelsKey, err)
	}
	p, err := vit.ParsePreprocess([]byte(sig.Metadata[preprocessKey]))
	if err != nil {
		return dataError("metadata %s: %v", preprocessKey, err)
	}
	c.preprocess = p.Resolved()
	c.info.Classes, c.info.Width, c.info.Height = len(c.labels), p.Width, p.Height
	found := 0
	for _, v := range sig.Outputs {
		if len(v.Shape) != 2 {
			continue
		}
		switch v.Name {
		case vision.Probabilities, vision.Logits:
			found++
			if v.Shape[1] != int64(len(c.labels)) {
				return dataError("output %s has %d classes, %s names %d", v.Name, v.Shape[1], labelsKey, len(c.labels))
			}
		case vision.Embedding:
			c.info.Dim = int(v.Shape[1])
		}
	}
	if found != 2 || len(c.labels) == 0 {
		return dataError("no outputs %s and %s: %s", vision.Probabilities, vision.Logits, cure)
	}
	if len(sig.Inputs) == 1 && !slices.Equal(sig.Inputs[0].Shape[min(1, len(sig.Inputs[0].Shape)):], []int64{3, int64(p.Height), int64(p.Width)}) {
		return dataError("input %v, but %s makes images of %d×%d", sig.Inputs[0], preprocessKey, p.Width, p.Height)
	}
	return nil
}

// Prediction is what a model says of one image.
type Prediction struct {
	Label         string    // of the class with the largest logit
	Class         int       // its index among the labels
	Confidence    float32   // its probability
	Probabilities []float32 // [C], calibrated if the run was
	Logits        []float32 // [C], raw
	Embedding     []float32 // [D], the backbone's feature; nil if the model does not give it
	labels        []string
}

// Score is a class and how sure the model is of it.
type Score struct {
	Label      string  `json:"label"`
	Confidence float32 `json:"confidence"`
}

// Top returns the k classes with the largest logits, the largest first; all if
// there are no more.
func (p Prediction) Top(k int) []Score {
	order := make([]int, len(p.Logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Logits[b], p.Logits[a]) })
	top := make([]Score, min(max(k, 0), len(order)))
	for i := range top {
		top[i] = Score{p.labels[order[i]], p.Probabilities[order[i]]}
	}
	return top
}

// Classified is the Prediction of one image of several, or why there is none.
type Classified struct {
	Prediction
	Err error
}

// Classify classifies an image that is decoded already, and upright. Decoded by
// others, a JPEG may have slightly other pixels than ClassifyBytes gives it.
func (c *Classifier) Classify(ctx context.Context, img image.Image) (Prediction, error) {
	return c.one(ctx, func(pixels []float32) error {
		b := img.Bounds()
		if w, h := b.Dx(), b.Dy(); w > 0 && h > c.maxPixels/w {
			return &vit.ImageError{Reason: vit.ReasonTooLarge, Err: fmt.Errorf("%d×%d pixels; the limit is %d in all", w, h, c.maxPixels)}
		}
		return c.preprocess.GoImage(img, pixels)
	})
}

// ClassifyBytes classifies an encoded image, the content of a file: JPEG, PNG,
// WebP, GIF, BMP, TIFF, PGM or PPM. What is wrong with one is a *vit.ImageError.
func (c *Classifier) ClassifyBytes(ctx context.Context, encoded []byte) (Prediction, error) {
	return c.one(ctx, func(pixels []float32) error { return c.decode(encoded, pixels) })
}

func (c *Classifier) decode(encoded []byte, pixels []float32) error {
	return c.preprocess.BytesWithin(c.maxPixels, encoded, pixels)
}

func (c *Classifier) one(ctx context.Context, prepare func(pixels []float32) error) (Prediction, error) {
	if err := c.begin(); err != nil {
		return Prediction{}, err
	}
	defer c.calls.Done()
	r, err := c.queue.submit(ctx, prepare)
	if err != nil {
		return Prediction{}, err
	}
	return c.predicted(r.wait())
}

// ClassifyBatch classifies several encoded images and returns as many results
// in their order. An error beside it says that there are none: the context has
// ended, or the Classifier is closed.
func (c *Classifier) ClassifyBatch(ctx context.Context, encoded [][]byte) ([]Classified, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	results, waiting := make([]Classified, len(encoded)), make([]*request, len(encoded))
	next := make(chan int, len(encoded))
	for i := range encoded {
		next <- i
	}
	close(next)
	var preparing sync.WaitGroup
	for range min(len(encoded), runtime.GOMAXPROCS(0)) {
		preparing.Go(func() {
			for i := range next {
				waiting[i], results[i].Err = c.queue.submit(ctx, func(pixels []float32) error { return c.decode(encoded[i], pixels) })
			}
		})
	}
	preparing.Wait()
	for i, r := range waiting {
		if r != nil {
			results[i].Prediction, results[i].Err = c.predicted(r.wait())
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return results, nil
}

// ClassifyPixels runs the model on n images that are preprocessed already,
// [n,3,H,W], and returns n predictions.
func (c *Classifier) ClassifyPixels(ctx context.Context, pixels []float32, n int) ([]Prediction, error) {
	size := c.preprocess.Size()
	if n < 0 || len(pixels) != n*size {
		return nil, configError("%d pixel values for %d images of 3×%d×%d, which have %d", len(pixels), n, c.preprocess.Height, c.preprocess.Width, max(n, 0)*size)
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	waiting := make([]*request, n)
	for i := range waiting {
		var err error
		waiting[i], err = c.queue.submit(ctx, func(dst []float32) error {
			copy(dst, pixels[i*size:])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	predictions := make([]Prediction, n)
	for i, r := range waiting {
		var err error
		if predictions[i], err = c.predicted(r.wait()); err != nil {
			return nil, err
		}
	}
	return predictions, nil
}

func (c *Classifier) predicted(a answer, err error) (Prediction, error) {
	if err != nil {
		return Prediction{}, err
	}
	best := argmax(a.logits) // of the logits: probabilities that differ in the last bit may tie
	return Prediction{
		Label: c.labels[best], Class: best, Confidence: a.probabilities[best],
		Probabilities: a.probabilities, Logits: a.logits, Embedding: a.embedding, labels: c.labels,
	}, nil
}

// Labels are the class names in the order of the model's outputs.
func (c *Classifier) Labels() []string { return slices.Clone(c.labels) }

// Preprocess is how images become the model's input.
func (c *Classifier) Preprocess() vit.Preprocess { return c.preprocess }

// Info says what is run.
func (c *Classifier) Info() ModelInfo { return c.info }

// Close waits for the calls in progress and frees the model. Later calls fail
// with ErrClosed.
func (c *Classifier) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if first {
		c.calls.Wait()
		c.queue.close()
		c.err = c.model.Close()
		close(c.ended)
	}
	<-c.ended
	return c.err
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

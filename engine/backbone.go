package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/store"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// preprocessKey is the metadata under which a model carries its preprocessing.
const preprocessKey = "vitft.preprocess"

// fallbackSize is the image size of a model that takes any and names none.
const fallbackSize = 224

// backbone is a frozen encoder, ready to run, and what it is.
type backbone struct {
	name       string // as it was asked for
	sha256     string // of the model file, weights included
	model      *graph.Model
	inspection vision.Inspection
	preprocess vit.Preprocess
	encoder    *onnx.Encoder
}

// readModel reads the backbone that c names.
func readModel(c Config) (*graph.Model, string, error) {
	at, err := locate(c.Backbone)
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
	m, err := graph.Read(at.Path)
	if err != nil {
		return nil, "", fmt.Errorf("backbone: %w", err)
	}
	sum, err := m.Hash()
	return m, sum, err
}

// openBackbone loads the runtime library and makes the backbone ready to run.
// The caller closes encoder.
func openBackbone(c Config, ev Events) (*backbone, error) {
	model, sum, err := readModel(c)
	if err != nil {
		return nil, err
	}
	pre, source, err := findPreprocess(c, model, sum)
	if err != nil {
		return nil, err
	}
	choice := featureChoice(c.Feature)
	choice.Width, choice.Height = pre.Width, pre.Height
	cut, inspection, err := vision.Backbone(model, choice)
	if err != nil {
		return nil, fmt.Errorf("backbone %s: %w", c.Backbone, misfit(err, source, pre, inspection.Image))
	}
	b := &backbone{name: c.Backbone, sha256: sum, model: cut, inspection: inspection, preprocess: pre.Resolved()}
	ev.info("backbone", "file", c.Backbone, "feature", inspection.Feature.Tensor, "pooling", inspection.Feature.Pooling,
		"dim", inspection.Feature.Dim, "why", strings.Join(inspection.Reasons, "; "))
	tell := ev.info
	if strings.HasPrefix(source, guessed) {
		tell = ev.warn
	}
	tell("preprocessing", "from", source, "resize", b.preprocess.Resize, "size", fmt.Sprintf("%d×%d", pre.Width, pre.Height),
		"interpolation", b.preprocess.Interpolation, "mean", b.preprocess.Mean, "std", b.preprocess.Std)
	return b, b.open(c, ev)
}

// misfit adds to the refusal of a model whose preprocessing makes images of
// another size where that size is from and what to do.
func misfit(err error, source string, pre vit.Preprocess, im vision.ImageInput) error {
	width, height := int(im.Width), int(im.Height)
	if width < 1 || height < 1 || width == pre.Width && height == pre.Height {
		return err
	}
	cure := "give its own with --preprocess"
	if width == height {
		cure = fmt.Sprintf("correct that, or give --image-size %d if the rest of it is right", width)
	}
	return fmt.Errorf("%w: the preprocessing makes images of %d×%d (from %s): %s", err, pre.Width, pre.Height, source, cure)
}

// open loads the runtime and the session.
func (b *backbone) open(c Config, ev Events) error {
	if err := loadRuntime(c, ev); err != nil {
		return err
	}
	text, err := b.model.Bytes()
	if err != nil {
		return err
	}
	provider, err := onnx.ParseProvider(c.Provider)
	if err != nil {
		return configError("provider: %v", err)
	}
	b.encoder, err = onnx.NewEncoder(text, onnx.SessionOptions{Provider: provider, Threads: c.Threads, ExternalDataDir: b.model.Dir()})
	if err != nil {
		return fmt.Errorf("backbone %s: %w", b.name, err)
	}
	if err := b.freeBatch(c, ev); err != nil {
		return err
	}
	if note := b.encoder.Note(); note != "" {
		ev.info("provider", "runs on", b.encoder.Provider(), "why", note)
	} else {
		ev.info("provider", "runs on", b.encoder.Provider())
	}
	return nil
}

// freeBatch lets a model with a fixed batch take any number of images, if its
// nodes turn out to give the same features then: exporters often fix no more
// than the declaration.
func (b *backbone) freeBatch(c Config, ev Events) error {
	batch := int(b.inspection.Image.Batch)
	if batch < 1 {
		return nil
	}
	images := 2
	if batch == images {
		images++
	}
	free, err := vision.FreeBatch(b.model)
	if err != nil {
		return err
	}
	text, err := free.Bytes()
	if err != nil {
		return err
	}
	encoder, err := onnx.NewEncoder(text, onnx.SessionOptions{Provider: onnx.Provider(b.encoder.Provider()), Threads: c.Threads, ExternalDataDir: free.Dir()})
	if err == nil {
		if err = agree(b.encoder, encoder, images, 3*b.preprocess.Width*b.preprocess.Height); err == nil {
			b.model, encoder, b.encoder = free, b.encoder, encoder
		}
		err = errors.Join(err, encoder.Close())
	}
	if err != nil {
		ev.info("the model takes batches of one size only", "batch", batch, "why", err)
	}
	return nil
}

// agree says where two encoders differ on n images of the given size.
func agree(a, b *onnx.Encoder, n, size int) error {
	pixels := make([]float32, n*size)
	for i := range pixels {
		pixels[i] = float32(math.Sin(0.37 * float64(i)))
	}
	want, got := make([]float32, n*a.Dim()), make([]float32, n*a.Dim())
	if err := errors.Join(a.Run(context.Background(), pixels, n, want), b.Run(context.Background(), pixels, n, got)); err != nil {
		return err
	}
	largest := 0.0
	for _, v := range want {
		largest = max(largest, math.Abs(float64(v)))
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i] - v)); !(d <= 1e-3*largest) { // also where either is NaN
			return fmt.Errorf("in another batch a feature is %v instead of %v", got[i], v)
		}
	}
	return nil
}

func loadRuntime(c Config, ev Events) error {
	if _, loaded := onnx.Loaded(); loaded && c.Library == "" {
		return nil // a process has one; who names another is told so
	}
	library, err := onnx.Find(c.Library)
	if err != nil {
		return err
	}
	ev.info("runtime library", "path", library.Path, "version", library.Version, "found", library.Source)
	return onnx.Load(library)
}

// key is what the features of b depend on.
func (b *backbone) key() store.Key {
	f := b.inspection.Feature
	feature := fmt.Sprintf("%s/%s", f.Tensor, f.Pooling)
	if f.Prefix > 1 && f.Pooling != vision.PoolCLS { // a mean that leaves out registers
		feature += fmt.Sprintf(" after %d tokens", f.Prefix)
	}
	return store.Key{
		Backbone: b.sha256, Preprocess: b.preprocess.Key(), Feature: feature,
		Precision: b.inspection.Image.Type, Provider: b.encoder.Provider(), Dim: b.encoder.Dim(),
	}
}

// featureChoice reads --feature: a pooling, a tensor's name, or TENSOR:POOLING.
func featureChoice(feature string) vision.FeatureChoice {
	if p, err := vision.ParsePooling(feature); err == nil {
		return vision.FeatureChoice{Pooling: p}
	}
	if i := strings.LastIndexByte(feature, ':'); i >= 0 {
		if p, err := vision.ParsePooling(feature[i+1:]); err == nil {
			return vision.FeatureChoice{Tensor: feature[:i], Pooling: p}
		}
	}
	return vision.FeatureChoice{Tensor: feature}
}

// guessed is the source of a preprocessing that nothing confirms.
const guessed = "a guess: the model says nothing; give --preprocess if it was trained otherwise"

// findPreprocess is the preprocessing of a backbone and where it was found,
// for the size that c.ImageSize asks for.
func findPreprocess(c Config, m *graph.Model, sum string) (vit.Preprocess, string, error) {
	p, source, err := knownPreprocess(c, m, sum)
	if err == nil && c.ImageSize > 0 && (p.Width != c.ImageSize || p.Height != c.ImageSize) {
		p = p.Resolved()
		p.ResizeTo = p.ResizeTo * c.ImageSize / min(p.Width, p.Height) // the same share is cropped
		p.Width, p.Height = c.ImageSize, c.ImageSize
		source += ", image-size changed"
	}
	return p, source, err
}

// knownPreprocess looks in --preprocess, the model's metadata, the
// preprocessor_config.json beside it or in its repository, other files beside
// it, and the registry; else it guesses.
func knownPreprocess(c Config, m *graph.Model, sum string) (vit.Preprocess, string, error) {
	if c.Preprocess != "" {
		p, err := readPreprocess(c.Preprocess)
		return p, c.Preprocess, err
	}
	if text, ok := m.Metadata(preprocessKey); ok {
		p, err := vit.ParsePreprocess([]byte(text))
		if err != nil {
			return p, "", dataError("backbone %s: metadata %s: %v", c.Backbone, preprocessKey, err)
		}
		return p, "the model's metadata", nil
	}
	at, err := locate(c.Backbone)
	if err != nil {
		return vit.Preprocess{}, "", err
	}
	if at.Config != "" {
		p, err := readPreprocess(at.Config)
		return p, at.Config, err
	}
	if path := otherConfig(at.Path); path != "" {
		p, err := readPreprocess(path)
		return p, path, err
	}
	if b, how, ok := models.Recognize(at.Name, sum); ok {
		p, err := vit.ParsePreprocess(b.Preprocess)
		return p, fmt.Sprintf("the registry's %s (%s)", b.Name, how), err
	}
	in, _ := vision.Inspect(m, featureChoice(c.Feature)) // what is wrong with it is said later
	width, height := int(in.Image.Width), int(in.Image.Height)
	if width <= 0 || height <= 0 {
		width, height = fallbackSize, fallbackSize
	}
	p := vit.DefaultPreprocess(width, height)
	if in.Image.Type == "uint8" { // bytes: the model normalises
		p.Mean, p.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	return p, guessed, nil
}

// otherConfig finds the file beside a model that has its preprocessing where
// there is no preprocessor_config.json: transformers 5 writes it into
// processor_config.json for models of images and text, timm (and transformers
// for timm's models) into config.json. It returns "" if neither has it.
func otherConfig(model string) string {
	if model == "" {
		return ""
	}
	for _, name := range []string{"processor_config.json", "config.json"} {
		path := filepath.Join(filepath.Dir(model), name)
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var has struct {
			ImageProcessor json.RawMessage `json:"image_processor"`
			PretrainedCfg  json.RawMessage `json:"pretrained_cfg"`
		}
		if json.Unmarshal(text, &has) == nil && (has.ImageProcessor != nil || has.PretrainedCfg != nil) {
			return path
		}
	}
	return ""
}

// readPreprocess reads a JSON file of ours or in the Hugging Face convention.
func readPreprocess(path string) (vit.Preprocess, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return vit.Preprocess{}, dataError("preprocess: %v", err)
	}
	p, ours := vit.ParsePreprocess(text)
	if ours == nil {
		return p, nil
	}
	p, theirs := vit.ParseHF(text)
	if theirs != nil {
		return p, dataError("preprocess: %s is neither ours (%v) nor a Hugging Face image processor (%v)", path, ours, theirs)
	}
	return p, nil
}

// DefaultBackbone is the name of the embedded backbone.
func DefaultBackbone() string { return models.Default().Name }

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/internal/atomicfile"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// precisionKey is the metadata that says how the weights of an exported model
// are stored, where it is not as in the run.
const precisionKey = "vitft.precision"

// ExportOptions says what Export writes. The zero value is right for most uses.
type ExportOptions struct {
	Precision   string  // how the backbone's weights are stored, one of Precisions; float32
	Images      int     // how many images the file is checked on, at most; 200
	NearTie     float64 // below float32: by how much surer the run may have been of its label where the file gives another; that of the precision
	HuggingFace bool    // write config.json and preprocessor_config.json beside the file
}

// precision is a way to store weights, and how far it may lead.
type precision struct {
	name       string
	margin     float64 // see Agreement.within; 0 = every label is the same
	difference float64
	convert    func(*graph.Model) (int, error)
}

// What float16 and int8 may change was measured on photos with a ViT-Tiny
// (docs/cli.md, Export), which has little to spare.
var precisions = []precision{
	{"float32", 0, 1e-4, nil},
	{"float16", 0.005, 0.01, vision.HalfWeights},
	{"int8", 0.05, 0.1, vision.QuantizeWeights},
}

// Precisions lists the values of ExportOptions.Precision, the default first.
func Precisions() []string {
	var names []string
	for _, p := range precisions {
		names = append(names, p.name)
	}
	return names
}

// Exported says what Export has written.
type Exported struct {
	Files     []string // the model first
	Bytes     int      // of the model
	Converted int      // weights that are stored in another precision than the run's
	Checked   string   // where the images came from that it was checked on
	Agreement Agreement
}

// Export writes the classifier of the run in the folder dir to the file out, in
// the precision asked for, after running it on real images: those of c.Test, else
// the run's test images, else its training images. On a disagreement with what
// the run says of them it fails and writes nothing. In float32 the file is the
// run's model.onnx. Only the settings of c that change speed matter beside Test.
func Export(ctx context.Context, dir, out string, c Config, o ExportOptions, ev Events) (_ *Exported, err error) {
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	p, err := o.resolve(dir, out)
	if err != nil {
		return nil, err
	}
	named := c.Test
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	run, err := openFinished(dir)
	if err != nil {
		return nil, err
	}
	model, converted, err := run.converted(p)
	if err != nil {
		return nil, err
	}
	images, source, err := run.images(named)
	if err != nil {
		return nil, err
	}
	done := &Exported{Bytes: len(model), Converted: converted, Checked: source}
	ev.info("checking the file against the run", "images", min(o.Images, len(images.Items)), "of", source)
	if done.Agreement, err = run.check(ctx, model, evenly(images, o.Images), c, ev); err != nil {
		return nil, err
	}
	if err := done.Agreement.within(o.NearTie, max(p.difference, o.NearTie)); err != nil {
		return done, fmt.Errorf("%s is not written: %w%s", out, err, p.cure())
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return done, err
	}
	write := func(path string, content []byte) error {
		done.Files = append(done.Files, path)
		return atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
	}
	if err := write(out, model); err != nil || !o.HuggingFace {
		return done, err
	}
	beside := filepath.Dir(out)
	config, preprocessor, err := huggingFace(run.classes, run.env.Backbone.Preprocess, run.head.Dim)
	if err != nil {
		return done, err
	}
	return done, errors.Join(write(filepath.Join(beside, "config.json"), config), write(filepath.Join(beside, "preprocessor_config.json"), preprocessor))
}

// resolve checks the options and fills in the defaults.
func (o *ExportOptions) resolve(dir, out string) (precision, error) {
	setDefault(&o.Precision, precisions[0].name)
	setDefault(&o.Images, 200)
	i := slices.IndexFunc(precisions, func(p precision) bool { return p.name == o.Precision })
	switch {
	case dir == "" || out == "":
		return precision{}, configError("export needs a run folder (run) and a file to write (out)")
	case i < 0:
		return precision{}, configError("precision: %q is none of %s", o.Precision, strings.Join(Precisions(), ", "))
	case o.Images < 1:
		return precision{}, configError("images: the file cannot be checked on %d images", o.Images)
	case !(o.NearTie >= 0 && o.NearTie < 1):
		return precision{}, configError("near-tie: %v is no difference of probabilities between 0 and 1", o.NearTie)
	case i == 0 && o.NearTie > 0:
		return precision{}, configError("near-tie: in float32 every label is the same")
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return precision{}, configError("out: %s is a folder; name a file, as in %s", out, filepath.Join(out, modelFile))
	}
	setDefault(&o.NearTie, precisions[i].margin)
	return precisions[i], nil
}

func (p precision) cure() string {
	if p.convert == nil {
		return "; please report it with the backbone"
	}
	return "; choose a higher precision, or allow more with near-tie if you must"
}

// converted is the run's model in a precision, and how many weights it took.
func (r *finished) converted(p precision) ([]byte, int, error) {
	path := r.path(modelFile)
	if !r.has(modelFile) {
		return nil, 0, dataError("%s has no %s", r.runFolder, modelFile)
	}
	if p.convert == nil {
		text, err := os.ReadFile(path)
		return text, 0, err
	}
	m, err := graph.Read(path)
	if err != nil {
		return nil, 0, err
	}
	n, err := p.convert(m)
	if err != nil {
		return nil, 0, fmt.Errorf("%s in %s: %w", path, p.name, err)
	}
	m.SetMetadata(precisionKey, p.name)
	text, err := m.Bytes()
	return text, n, err
}

// images are those that the run can be checked on, and where they come from.
func (r *finished) images(named string) (*dataset.Dataset, string, error) {
	sources := []string{named}
	if named == "" {
		text, err := os.ReadFile(r.path(configFile))
		if err != nil {
			return nil, "", err
		}
		var c Config
		if err := yaml.Unmarshal(text, &c); err != nil {
			return nil, "", dataError("%s is damaged: %v", r.path(configFile), err)
		}
		sources = slices.DeleteFunc([]string{c.Test, c.Train}, func(s string) bool { return s == "" })
	}
	var faults []error
	for _, source := range sources {
		d, _, err := dataset.Open(source, dataset.Options{Classes: r.classes})
		if err == nil {
			return d, source, nil
		}
		faults = append(faults, err)
	}
	return nil, "", fmt.Errorf("no images to check the file on; name some with test: %w", errors.Join(faults...))
}

// evenly is at most n images from all over a data set.
func evenly(d *dataset.Dataset, n int) *dataset.Dataset {
	n = min(n, len(d.Items))
	part := make([]int, n)
	for i := range part {
		part[i] = i * len(d.Items) / n
	}
	return d.Select(part)
}

// check compares what a model says with what the run says, by its head on the
// features of its backbone, as Evaluate does.
func (r *finished) check(ctx context.Context, model []byte, d *dataset.Dataset, c Config, ev Events) (Agreement, error) {
	enc, err := r.openEncoding(c, ev)
	if err != nil {
		return Agreement{}, err
	}
	defer enc.close()
	set, err := enc.encode(ctx, "test", d, len(enc.views))
	if err != nil {
		return Agreement{}, err
	}
	gemm, err := onnx.NewGemm(c.Threads, onnx.CPU)
	if err != nil {
		return Agreement{}, err
	}
	defer gemm.Close()
	logits, err := enc.logits(r.head, set, gemm)
	if err != nil {
		return Agreement{}, err
	}
	return agreement(ctx, model, ClassifierOptions{Provider: enc.backbone.encoder.Provider(), Threads: c.Threads, Library: c.Library}, set.data.Items, logits, r.scaling)
}

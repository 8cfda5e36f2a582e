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

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/internal/atomicfile"
	"github.com/vitft/vitft/onnx"
)

// ExportOptions says what Export writes. The zero value is right for most uses.
type ExportOptions struct {
	Precision   string  // how the backbone's weights are stored, one of artifact.Precisions; float32
	Images      int     // how many images the file is checked on, at most; 200
	NearTie     float64 // below float32: by how much surer the run may have been of its label where the file gives another; that of the precision
	HuggingFace bool    // write config.json and preprocessor_config.json beside the file
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
	if !run.has(modelFile) {
		return nil, dataError("%s has no %s", run.runFolder, modelFile)
	}
	model, converted, err := p.Convert(run.path(modelFile))
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
	if err := done.Agreement.within(o.NearTie, max(p.Difference, o.NearTie)); err != nil {
		return done, fmt.Errorf("%s is not written: %w%s", out, err, cure(p))
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
	files, err := artifact.HuggingFace(run.classes, run.env.Backbone.Preprocess, run.head.Dim)
	for _, f := range files {
		err = errors.Join(err, write(filepath.Join(filepath.Dir(out), f.Name), f.Content))
	}
	return done, err
}

// resolve checks the options and fills in the defaults.
func (o *ExportOptions) resolve(dir, out string) (p artifact.Precision, err error) {
	setDefault(&o.Precision, artifact.Precisions()[0])
	setDefault(&o.Images, 200)
	p, known := artifact.LookupPrecision(o.Precision)
	switch {
	case dir == "" || out == "":
		return p, configError("export needs a run folder (run) and a file to write (out)")
	case !known:
		return p, configError("precision: %q is none of %s", o.Precision, strings.Join(artifact.Precisions(), ", "))
	case o.Images < 1:
		return p, configError("images: the file cannot be checked on %d images", o.Images)
	case !(o.NearTie >= 0 && o.NearTie < 1):
		return p, configError("near-tie: %v is no difference of probabilities between 0 and 1", o.NearTie)
	case p.Exact() && o.NearTie > 0:
		return p, configError("near-tie: in float32 every label is the same")
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return p, configError("out: %s is a folder; name a file, as in %s", out, filepath.Join(out, modelFile))
	}
	setDefault(&o.NearTie, p.Margin)
	return p, nil
}

func cure(p artifact.Precision) string {
	if p.Exact() {
		return "; please report it with the backbone"
	}
	return "; choose a higher precision, or allow more with near-tie if you must"
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
	on := device.Options{Provider: enc.backbone.encoder.Provider(), Threads: c.Threads, Library: c.Library}
	return agreement(ctx, model, classify.Options{Device: on}, set.data.Items, logits, r.scaling)
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
)

// ExportOptions say what Export writes, and how it is checked.
type ExportOptions struct {
	Run         string   // the folder of a finished run
	Out         string   // the file to write
	Precision   string   // how the backbone's weights are stored, one of artifact.Precisions
	HuggingFace bool     // make of it what transformers.js and Optimum load; Out may be a folder then
	Test        string   // images to check the file on; the run's test images, else its training images
	Images      int      // how many of them, at most
	NearTie     *float64 // by how much surer the run may have been of its label where the file gives another
	Device      device.Options
	Features    feature.Options
}

// Fields declares the settings.
func (o *ExportOptions) Fields() []setting.Field {
	precision, _ := artifact.LookupPrecision(cmp.Or(o.Precision, artifact.Precisions()[0]))
	return append([]setting.Field{
		runField(&o.Run),
		setting.Text("out", &o.Out, "", nil, "file to write, with --hf also a folder").Here(),
		setting.OneOf("precision", &o.Precision, artifact.Precisions()[0], artifact.Precisions(),
			"how weights are stored"),
		setting.Flag("hf", &o.HuggingFace,
			"for transformers.js and Optimum: config.json, preprocessor_config.json, onnx/; softmax of its logits is "+
				"the calibrated probability"),
		setting.Path("test", &o.Test, "",
			"images to check the file on (default: the run's test images, else its training images)"),
		setting.Number("images", &o.Images, 200, setting.Between(1, 1_000_000_000), "how many of them, at most"),
		setting.Optional("near-tie", &o.NearTie, precision.Margin, setting.Within(0, 1, true),
			"by how much surer the run may have been of its label where the file gives another (default: that of the "+
				"precision, 0 for float32)"),
	}, fieldsOf(&o.Device, &o.Features)...)
}

// ExportResult says what Export has written.
type ExportResult struct {
	Files     []string // the model first
	Bytes     int      // of the model
	Converted int      // weights that are stored in another precision than the run's
	Beside    bool     // pipelines may crop one pixel beside the run: their processors round half a margin down
	Checked   string   // where the images came from that it was checked on
	Agreement classify.Agreement
}

// Export writes the classifier of a run as one file, in the precision asked for, after running it on real images. On a
// disagreement with what the run says of them it fails and writes nothing; the result then says what was found. In
// float32 the file is the run's model.onnx.
func Export(ctx context.Context, o ExportOptions, ev event.Events) (_ *ExportResult, err error) {
	defer place.Hold()()
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	if err := o.complete(); err != nil {
		return nil, err
	}
	out, err := place.Out(o.Out)
	if err != nil {
		return nil, err
	}
	r, err := run.Open(o.Run)
	if err != nil {
		return nil, err
	}
	model, err := run.ModelFile.Read(r.Folder)
	if err = errors.Join(err, r.Complete(run.ModelFile.File)); err != nil {
		return nil, err
	}
	precision, _ := artifact.LookupPrecision(o.Precision)
	if r.Environment.Embeddings && (o.HuggingFace || !precision.Exact()) {
		return nil, fault.Config.Errorf("precision, hf: the run in %s learned from embeddings, and its model is a "+
			"head alone: there are no weights of a backbone and no preprocessing; leave the settings out", o.Run)
	}
	model, converted, err := precision.Convert(model)
	if err == nil && o.HuggingFace {
		model, err = artifact.ForPipelines(model)
	}
	if err != nil {
		return nil, err
	}
	images, given, source, err := imagesOf(r, o.Test)
	if err != nil {
		return nil, err
	}
	done := &ExportResult{Bytes: len(model), Converted: converted, Checked: source}
	ev.Info("checking the file against the run", "images", min(o.Images, len(images.Items)), "of", source)
	if done.Agreement, err = o.check(ctx, r, model, evenly(images, o.Images), given, ev); err != nil {
		return nil, err
	}
	if err := done.Agreement.Within(*o.NearTie, max(precision.Difference, *o.NearTie)); err != nil {
		cure := "choose a higher precision, or allow more with near-tie if you must"
		if precision.Exact() {
			cure = "please report it with the backbone"
		}
		return done, fmt.Errorf("%s is not written: %w; %s", o.Out, err, cure)
	}
	dir, files := filepath.Dir(out.Path), []artifact.File{{Name: filepath.Base(out.Path), Content: model}}
	if o.HuggingFace {
		p := r.Environment.Backbone.Preprocess
		done.Beside = !artifact.SamePixels(p)
		dir, files, err = precision.Repository(out.Path, model, r.Classes, p, r.Head.Dim)
		if err != nil {
			return done, err
		}
	}
	done.Files, err = artifact.Write(dir, files)
	for i, file := range done.Files {
		done.Files[i] = out.NameOf(file)
	}
	return done, cmp.Or(err, out.Publish("", nil))
}

// complete fills in the defaults and reports everything that is wrong.
func (o *ExportOptions) complete() error {
	if o.Run == "" || o.Out == "" {
		return fault.Config.Errorf("export needs a run folder (run) and a file to write (out)")
	}
	if err := setting.Complete(o.Fields()); err != nil {
		return err
	}
	if err := artifact.Free(o.Out); err != nil {
		return err
	}
	if p, _ := artifact.LookupPrecision(o.Precision); p.Exact() && *o.NearTie > 0 {
		return fault.Config.Errorf("near-tie: in %s every label is the same", o.Precision)
	}
	if artifact.IsFolder(o.Out) && !o.HuggingFace {
		return fault.Config.Errorf("out: %s is a folder; name a file, as in %s", o.Out,
			filepath.Join(o.Out, artifact.ModelFile))
	}
	return nil
}

// imagesOf are those that a run can be checked on, and where they come from.
func imagesOf(r *run.Finished, named string) (*dataset.Dataset, *embedding.Source, string, error) {
	type part struct{ name, source string }
	sources := []part{{"test", named}}
	if named == "" {
		config, err := run.ConfigFile.Read(r.Folder)
		if err != nil {
			return nil, nil, "", err
		}
		sources = slices.DeleteFunc([]part{{"test", config.Text("test")}, {"train", config.Text("train")}},
			func(p part) bool { return p.source == "" })
	}
	var faults []error
	for _, p := range sources {
		d, given, _, err := openFor(r, p.name, p.source)
		if err == nil {
			return d, given, p.source, nil
		}
		faults = append(faults, err)
	}
	return nil, nil, "", fmt.Errorf("no images to check the file on; name some with test: %w", errors.Join(faults...))
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

// check compares what a model says with what the run says, by its head on the features of its backbone, as Evaluate
// does.
func (o *ExportOptions) check(ctx context.Context, r *run.Finished, model []byte, d *dataset.Dataset,
	given *embedding.Source, ev event.Events) (classify.Agreement, error) {
	s, err := reopen(ctx, r, given, o.Device, o.Features, ev)
	if err != nil {
		return classify.Agreement{}, err
	}
	defer s.close()
	set, logits, err := s.judge(ctx, r, d)
	if err != nil {
		return classify.Agreement{}, err
	}
	return s.agreement(ctx, model, set, len(set.Data.Items), logits, r.Scaling)
}

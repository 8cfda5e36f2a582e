package engine

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
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

// EmbedOptions say which images to make embeddings of, by what, and where to write them. The zero value of all but Data
// and Out is right for most uses.
type EmbedOptions struct {
	Data     dataset.Sources // of which one at least must be named
	Backbone backbone.Options
	Run      string // the folder of a finished run whose backbone, with what was learnt inside it, takes its place
	Device   device.Options
	Features feature.Options
	Views    Views  // Test: of which each embedding is the mean
	Seed     uint64 // of what Data.Val holds out
	Out      string // the file to write, whose extension is one of embedding.Extensions
}

// Fields declares the settings.
func (o *EmbedOptions) Fields() []setting.Field {
	tta, _ := setting.Find(o.Views.Fields(), "tta")
	by := setting.In("backbone", runField(&o.Run))[0]
	by.Help = "finished run whose backbone, with what was learnt inside it, takes the place of --backbone"
	return slices.Concat(fieldsOf(&o.Data, &o.Backbone), []setting.Field{by}, fieldsOf(&o.Device, &o.Features),
		[]setting.Field{tta},
		setting.In("data", setting.Number("seed", &o.Seed, 0, setting.Seeds, "seed of --val, as for finetune")),
		setting.In("output", setting.Text("out", &o.Out, "", nil,
			"file to write: .parquet, .npz, .npy (with a .csv of its rows beside) or .safetensors").Here()))
}

// EmbedResult says what Embed has written.
type EmbedResult struct {
	Out  string
	Dim  int // values of an embedding
	Sets []EncodedSet
}

// Embed writes the features of images with path, label and split to a file, encoding those that the store lacks.
func Embed(ctx context.Context, o EmbedOptions, ev event.Events) (_ *EmbedResult, err error) {
	defer place.Hold()()
	defer func() { err = interruption(ctx, err, "the same command goes on") }()
	if err := o.complete(); err != nil {
		return nil, err
	}
	out, err := place.Out(o.Out)
	if err != nil {
		return nil, err
	}
	d, s, err := o.begin(ctx, ev)
	if err != nil {
		return nil, err
	}
	defer s.close()
	done := &EmbedResult{Out: out.Name(), Dim: s.features.Dim()}
	made := &embedding.Made{Name: s.backbone.Name, Key: s.backbone.Key(), Views: s.views.Test}
	if filepath.Ext(made.Name) == ".onnx" { // whose folder is nobody's business
		made.Name = filepath.Base(made.Name)
	}
	t := &embedding.Table{Dim: done.Dim, Made: made}
	var ids []dataset.ID
	known := map[string]bool{}
	for _, p := range d.Parts() {
		set, err := s.features.Ensure(ctx, p.Name, p.Data, s.views.Test)
		if err != nil {
			return nil, err
		}
		for _, class := range set.Data.Classes { // which sets without training images have of their own
			if !known[class] {
				known[class], t.Classes = true, append(t.Classes, class)
			}
		}
		for i, item := range set.Data.Items {
			t.Rows = append(t.Rows, embedding.Row{Path: item.Path, Label: set.Data.Classes[item.Class], Split: p.Name,
				ID: set.Scan.IDs[i]})
		}
		ids = append(ids, set.Scan.IDs...)
		done.Sets = append(done.Sets, encodedSet(set, s.views.Test))
	}
	err = embedding.Write(out.Path, t, func(from int, dst []float32) error {
		rows, err := feature.Mean(ctx, s.features, ids[from:from+len(dst)/t.Dim], s.views.Test)
		copy(dst, rows)
		return err
	})
	return done, cmp.Or(err, out.Publish("", nil))
}

// complete fills in the defaults and reports everything that is wrong.
func (o *EmbedOptions) complete() error {
	if o.Out == "" {
		return fault.Config.Errorf("out: name the file to write, as in features.parquet")
	}
	set := setting.Given(o.ofRun())
	if err := setting.Complete(o.Fields()); err != nil {
		return err
	}
	if o.Run != "" && set != nil {
		return fault.Config.Errorf("run, %s: a run has its backbone and views; leave one of the two out", set[0])
	}
	o.Views.Train = o.Views.Test
	return embedding.Free(o.Out)
}

// ofRun are the fields of what a run decides.
func (o *EmbedOptions) ofRun() []setting.Field {
	tta, _ := setting.Find(o.Views.Fields(), "tta")
	return append(o.Backbone.Fields(), tta)
}

// begin reads the lists of images and makes the backbone ready.
func (o *EmbedOptions) begin(ctx context.Context, ev event.Events) (*dataset.Sets, *session, error) {
	if o.Run == "" {
		return begin(ctx, inputs{o.Data, o.Backbone, o.Device, o.Features, o.Views, o.Seed, nil}, ev)
	}
	r, err := run.Open(o.Run)
	if err != nil {
		return nil, nil, err
	}
	if r.Environment.Embeddings {
		return nil, nil, fault.Config.Errorf("run: that in %s learned from embeddings, and has no backbone", o.Run)
	}
	d, err := o.Data.Open(ctx, o.Seed, o.Features.OpenIndex(), ev)
	if err != nil {
		return nil, nil, err
	}
	s, err := reopen(ctx, r, nil, o.Device, o.Features, ev)
	return d, s, err
}

package engine

import (
	"context"
	"encoding/json"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// beginGiven is begin on embeddings.
func (in inputs) beginGiven(ctx context.Context, ev event.Events) (*dataset.Sets, *session, error) {
	sets, err := in.data.Open(ctx, in.seed, nil, ev)
	if err != nil {
		return nil, nil, err
	}
	if classes := len(sets.Train.Classes); in.given.Dim() < classes {
		ev.Warn("the vectors have fewer numbers than there are classes, which tells them apart badly", "numbers",
			in.given.Dim(), "classes", classes)
	}
	s, err := onGiven(in.given, in.device, ev)
	return sets, s, err
}

// onGiven is a session on embeddings. The runtime is there for the products of heads.
func onGiven(x *embedding.Source, d device.Options, ev event.Events) (*session, error) {
	if err := d.Load(ev); err != nil {
		return nil, err
	}
	gemm, err := onnx.NewGemm(d.Threads, onnx.Provider(d.Provider))
	if err != nil {
		return nil, err
	}
	d.Provider = gemm.Provider() // auto has decided
	gemm.Close()
	return &session{features: x, views: Views{Train: 1, Test: 1}, device: d, events: ev}, nil
}

// given is where the features of a session on embeddings come from; nil of another.
func (s *session) given() *embedding.Source {
	x, _ := s.features.(*embedding.Source)
	return x
}

// environmentGiven is what environment.json holds of a run on embeddings.
func (s *session) environmentGiven() (run.Environment, error) {
	env := run.Here()
	env.Runtime, _ = onnx.Loaded()
	env.Provider.Asked, env.Provider.Ran = s.device.Provider, s.device.Provider
	env.Embeddings = true
	env.Backbone.Feature = vision.Feature{Tensor: vision.Embedding, Dim: int64(s.features.Dim())}
	made := s.given().Made()
	if made == nil {
		return env, nil
	}
	fields, err := json.Marshal(made.Key)
	env.Backbone.Name, env.Backbone.SHA256, env.Backbone.Feature.Tensor = made.Name, made.Key.Backbone, made.Key.Feature
	env.Store.Key, env.Store.Fields = made.Key.Hash(), fields
	if made.Views > 1 {
		env.TTA = vision.Views(made.Views)
	}
	return env, err
}

// openFor opens images for a finished run, or embeddings for one that learned from such: given is where they come from.
func openFor(r *run.Finished, part, source string) (d *dataset.Dataset, given *embedding.Source,
	found []dataset.Finding, err error) {
	s := dataset.Sources{Test: source}
	classes := dataset.Options{Classes: r.Classes, Part: part}
	switch is := embedding.Is(source); {
	case !is && r.Environment.Embeddings:
		return nil, nil, nil, fault.Config.Errorf("%s: the run in %s learned from embeddings, and judges no images; "+
			"make embeddings of them as those of the run were made: vitft embed --test %s --out test.parquet", source,
			r.Folder, source)
	case !is:
		d, found, err = dataset.Open(source, classes)
		return d, nil, found, err
	case !r.Environment.Embeddings:
		return nil, nil, nil, fault.Config.Errorf("%s has embeddings, and the run in %s learned from images; name "+
			"images", source, r.Folder)
	}
	if given, err = embedding.Open(&s, event.Events{}); err != nil {
		return nil, nil, nil, err
	}
	if d, found, err = given.Set(source, classes); err != nil {
		return nil, nil, nil, err
	}
	made, err := madeFor(r)
	switch {
	case err != nil:
	case given.Dim() != r.Head.Dim:
		err = fault.Data.Errorf("%s: its vectors have %d values, those of the run in %s %d; make them with the same "+
			"backbone", source, given.Dim(), r.Folder, r.Head.Dim)
	case !made.Agrees(given.Made()):
		err = fault.Data.Errorf("%s: its vectors were not made as those that the run in %s learned from, by %s (%s)",
			source, r.Folder, made.Name, made.Key.Feature)
	}
	return d, given, found, err
}

// madeFor is what made the vectors that a run learned from; nil: not known.
func madeFor(r *run.Finished) (*embedding.Made, error) {
	env := r.Environment
	if env.Store.Key == "" {
		return nil, nil
	}
	m := &embedding.Made{Name: env.Backbone.Name, Views: len(env.TTA)}
	if err := json.Unmarshal(env.Store.Fields, &m.Key); err != nil {
		return nil, run.EnvironmentFile.Damaged(r.Folder, err)
	}
	return m, nil
}

// agreementGiven is agreement of a head alone.
func (s *session) agreementGiven(ctx context.Context, c *classify.Classifier, set *feature.Set, labels []int,
	probabilities []float32) (classify.Agreement, error) {
	names := make([]string, len(labels))
	for i := range names {
		names[i] = set.Data.Items[i].Path
	}
	vectors := make([]float32, len(names)*s.features.Dim())
	if err := s.features.Gather(ctx, set.Scan.IDs[:len(names)], 0, vectors); err != nil {
		return classify.Agreement{}, err
	}
	return c.AgreementOn(ctx, set.Data.Classes, names, vectors, labels, probabilities)
}

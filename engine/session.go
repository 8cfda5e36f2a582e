package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// session is what tasks begin with: a backbone, its features of images, and how many views are judged.
type session struct {
	backbone *backbone.Backbone // nil: features are embeddings that were given
	features features
	views    Views
	device   device.Options
	events   event.Events
}

// features are those of images: a *feature.Extractor, or a *embedding.Source.
type features interface {
	feature.Source
	Forecast(ctx context.Context, name string, d *dataset.Dataset, n int) (feature.Forecast, error)
	LookOver(ctx context.Context, d *dataset.Sets, n feature.Needed) (feature.Outlook, error)
	Bytes(id dataset.ID, item dataset.Item) ([]byte, error)
	Close() error
}

// inputs are what tasks that encode images begin with: which images, and what makes features of them.
type inputs struct {
	data     dataset.Sources
	backbone backbone.Options
	device   device.Options
	features feature.Options
	views    Views
	seed     uint64 // of what data.Val holds out
	given    *embedding.Source
}

// begin reads the lists of images and makes the backbone ready, with the stores of the views that are wanted.
func begin(ctx context.Context, in inputs, ev event.Events) (*dataset.Sets, *session, error) {
	if in.given != nil {
		return in.beginGiven(ctx, ev)
	}
	if are, err := embedding.Are(&in.data); err != nil || are {
		return nil, nil, cmp.Or(err, fault.Config.Errorf("train, val, test: these are embeddings already, of which "+
			"there is nothing to encode; vitft finetune and vitft sweep learn from them"))
	}
	in.features.Index = in.features.OpenIndex()
	images, err := par.Await(ctx, func() (*dataset.Sets, error) {
		return in.data.Open(ctx, in.seed, in.features.Index, ev)
	}, nil)
	if err != nil {
		return nil, nil, err
	}
	open := func() (*backbone.Backbone, error) { return backbone.Open(in.backbone, in.device, ev) }
	b, err := par.Await(ctx, open, func(b *backbone.Backbone) { b.Close() })
	if err != nil {
		return nil, nil, err
	}
	first := images.Parts()[0].Data // of what is only encoded there may be no training images
	feature.WarnCoarse(b, first, ev)
	if classes := len(first.Classes); b.Session.Dim() < classes {
		ev.Warn("the feature has fewer numbers than there are classes, which tells them apart badly; vitft inspect "+
			"lists others for --feature", "tensor", b.Inspection.Feature.Tensor, "numbers", b.Session.Dim(),
			"classes", classes)
	}
	views := vision.Views(max(in.views.Train, in.views.Test))
	if in.views.Test > 1 { // what cannot be exported is not begun
		if _, err := vision.Average(b.Model, views[:in.views.Test]); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("tta: %w, or use --tta=1", err), b.Close())
		}
	}
	s, err := with(ctx, b, in.device, in.features, views, in.views, ev)
	return images, s, err
}

// reopen makes the backbone of a finished run ready: the part of its model.onnx that computes the embedding of a view,
// with the feature stores of the original backbone if it is known here that these are its nodes.
func reopen(ctx context.Context, r *run.Finished, given *embedding.Source, d device.Options, f feature.Options,
	ev event.Events) (*session, error) {
	if given != nil {
		return onGiven(given, d, ev)
	}
	env := r.Environment
	sums, err := artifact.ReadSums(string(r.Folder))
	if err != nil {
		return nil, err
	}
	x := backbone.Exported{SHA256: sums[artifact.ModelFile], Preprocess: env.Backbone.Preprocess}
	if err := json.Unmarshal(env.Store.Fields, &x.Key); err != nil {
		return nil, run.EnvironmentFile.Damaged(r.Folder, err)
	}
	x.Vouched = func(sum string) bool { return feature.Vouched(f.Here(), sum, x.Key) }
	open := func() (*backbone.Backbone, error) { return backbone.OpenModel(run.ModelFile.Path(r.Folder), x, d, ev) }
	opened, err := par.Await(ctx, open, func(b *backbone.Backbone) { b.Close() })
	if err != nil {
		return nil, err
	}
	views := env.TTA
	if views == nil {
		views = vision.Views(1)
	}
	return with(ctx, opened, d, f, views, Views{Train: len(views), Test: len(views)}, ev)
}

func with(ctx context.Context, b *backbone.Backbone, d device.Options, f feature.Options, views []vision.View, v Views,
	ev event.Events) (*session, error) {
	x, err := feature.Open(ctx, b, views, f, ev)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &session{backbone: b, features: x, views: v, device: d, events: ev}, nil
}

func (s *session) close() error {
	err := s.features.Close()
	if s.backbone != nil {
		err = errors.Join(err, s.backbone.Close())
	}
	return err
}

// provider is where models run.
func (s *session) provider() string {
	if s.backbone == nil {
		return s.device.Provider
	}
	return s.backbone.Session.Provider()
}

// judge is what a finished run says of images: their raw logits [n,C], by its head on the features of its backbone.
func (s *session) judge(ctx context.Context, r *run.Finished, d *dataset.Dataset) (*feature.Set, []float32, error) {
	err := machine.Check(float64(s.judging(len(d.Items), r.Head.Classes)), "test: judging %d images of %d classes",
		len(d.Items), r.Head.Classes)
	if err != nil {
		return nil, nil, err
	}
	set, err := s.features.Ensure(ctx, "test", d, s.views.Test)
	if err != nil {
		return nil, nil, err
	}
	gemm, err := s.gemm()
	if err != nil {
		return nil, nil, err
	}
	defer gemm.Close()
	z, err := s.logits(ctx, r.Head, set, gemm)
	return set, z, err
}

// gemm is the product that heads are multiplied by, where the backbone runs. The caller closes it.
func (s *session) gemm() (*onnx.Gemm, error) {
	return onnx.NewGemm(s.device.Threads, onnx.Provider(s.provider()))
}

// key tells features of other images, backbones or views apart.
func (s *session) key() string {
	if x := s.given(); x != nil {
		return x.Key()
	}
	key := s.backbone.Key().Hash()
	if s.views.Train > 1 || s.views.Test > 1 {
		key = fmt.Sprintf("%s views %d tta %d", key, s.views.Train, s.views.Test)
	}
	return key
}

// encode sees to it that the features of every set are there, and looks for copies among the images. On an error the
// sets that are encoded are returned beside it.
func (s *session) encode(ctx context.Context, d *dataset.Sets, trainingIsJudged bool) (*feature.Sets, error) {
	train, others := s.views.needed(trainingIsJudged)
	return feature.EnsureAll(ctx, s.features, d, feature.Needed{Train: train, Val: others, Test: others}, s.events)
}

// agreement asks the serialised model about the first most images of a set and compares its answers with the run's
// logits [n,C] and scaling.
func (s *session) agreement(ctx context.Context, model []byte, set *feature.Set, most int, logits []float32,
	scaling calib.Scaling) (classify.Agreement, error) {
	n, classes := min(most, len(set.Data.Items)), len(set.Data.Classes)
	d := s.device
	d.Provider = s.provider()
	c, err := classify.New(model, classify.Options{Device: d})
	if err != nil {
		return classify.Agreement{}, err
	}
	defer c.Close()
	labels, probabilities := make([]int, n), make([]float32, n*classes)
	scaling.Probabilities(logits[:n*classes], classes, probabilities)
	for i := range labels {
		labels[i] = vec.Argmax(logits[i*classes : (i+1)*classes])
	}
	if s.backbone == nil {
		return s.agreementGiven(ctx, c, set, labels, probabilities)
	}
	image := func(i int) (string, []byte, error) {
		content, err := s.features.Bytes(set.Scan.IDs[i], set.Data.Items[i])
		return set.Data.Items[i].Path, content, err
	}
	return c.Agreement(ctx, set.Data.Classes, n, image, labels, probabilities)
}

// toLearn is a set as package head learns from it: several views of every image.
func (s *session) toLearn(ctx context.Context, set *feature.Set) (head.Data, error) {
	x, err := feature.Interleaved(ctx, s.features, set.Scan.IDs, s.views.Train)
	return s.data(set, x, s.views.Train), err
}

// toJudge is a set as heads are judged by it: the mean over the test-time views of every image.
func (s *session) toJudge(ctx context.Context, set *feature.Set) (head.Data, error) {
	x, err := feature.Mean(ctx, s.features, set.Scan.IDs, s.views.Test)
	return s.data(set, x, 0), err
}

func (s *session) data(set *feature.Set, x []float32, views int) head.Data {
	return head.Data{X: x, Y: set.Data.Labels(), Dim: s.features.Dim(), Classes: len(set.Data.Classes), Views: views}
}

// ofImage is the bytes that a run keeps of an image: path, content, place among others and in the store.
const ofImage = 560

// size is how much there is to train on, by heads of folds too if they are needed, and of how many images besides the
// features are there to judge heads by.
func (s *session) size(d *dataset.Sets, judged int, c Calibration, needsFolds bool) head.Size {
	of := head.Size{Classes: len(d.Train.Classes), Dim: s.features.Dim(), Samples: len(d.Train.Items),
		Views: s.views.Train, Judged: judged, Held: ofImage * int64(d.Images())}
	if given := s.given(); given != nil {
		of.Held = given.Memory()
	}
	if needsFolds {
		of.Folds = c.Folds
	}
	return of
}

// logits are the raw logits [n,C] of a set under a head. Of its features some are in memory at a time.
func (s *session) logits(ctx context.Context, h *head.Head, set *feature.Set, g head.Gemm) ([]float32, error) {
	ids, together := set.Scan.IDs, s.judgedTogether()
	z := make([]float32, len(ids)*h.Classes)
	for from := 0; from < len(ids); from += together {
		to := min(from+together, len(ids))
		x, err := feature.Mean(ctx, s.features, ids[from:to], s.views.Test)
		if err != nil {
			return nil, err
		}
		if err := h.Logits(g, x, z[from*h.Classes:to*h.Classes]); err != nil {
			return nil, err
		}
	}
	return z, nil
}

// judgedTogether is of how many images the features are in memory where logits are all that is wanted: those that take
// a sixteenth of it, and as much for a view that is added. Heads multiply so many rows at once that their bits are the
// same by any number.
func (s *session) judgedTogether() int {
	return max(1, int(machine.Memory()/16/int64(4*s.features.Dim()*head.RowsAtOnce))) * head.RowsAtOnce
}

// judging is the bytes that it takes to measure n images by their logits: them, probabilities, a copy, and features.
func (s *session) judging(n, classes int) int64 {
	together := min(n, s.judgedTogether())
	return 4 * (3*int64(classes)*int64(n) + int64(min(s.views.Test, 2)*together*s.features.Dim()))
}

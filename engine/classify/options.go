package classify

import (
	"time"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

// Options say how to run a Classifier. The zero value is right for most uses; the defaults stand in Fields.
type Options struct {
	Device    device.Options
	MaxBatch  int            // images run at a time
	MaxDelay  *time.Duration // how long an image waits at most for others that are being prepared; 0 for not at all
	MaxPixels int            // the largest image that is accepted, in pixels
	Weights   *onnx.Weights  // which other Classifiers have too, from InCommon; nil: it has all to itself
	Events    event.Events   // what loading has to say

	// OnBatch, if not nil, is told after each run of the model how many images it was of and how long it took. One run
	// follows the other, so it should be quick.
	OnBatch func(images int, took time.Duration)
}

// Fields declares the settings.
func (o *Options) Fields() []setting.Field {
	return append(o.Device.Fields(),
		setting.Number("batch", &o.MaxBatch, 16, setting.Between(1, 4096), "images run at a time, at most"),
		setting.Optional("delay", &o.MaxDelay, 2*time.Millisecond, setting.Between(0, time.Minute),
			"how long an image waits at most for others that are being prepared"),
		setting.Number("max-pixels", &o.MaxPixels, vit.MaxPixels, setting.Between(1, vit.MaxPixels),
			"pixels of an image, at most"),
	)
}

// ModelInfo says what a Classifier runs.
type ModelInfo struct {
	Name          string            // of the run folder, or of the file without .onnx; "model" for bytes
	Path          string            // of the file; "" for bytes
	SHA256        string            // of the file
	Classes       int               // C
	Dim           int               // D, the length of the embedding; 0 if the model does not give it
	Width, Height int               // of its input, in pixels
	HeadAlone     bool              // it takes embeddings, see ClassifyEmbeddings, and no images
	Provider      string            // what it really runs on
	Note          string            // why auto did not take CUDA; "" if it did or was not asked
	OneByOne      bool              // run on single images, because its arithmetic depends on the batch
	InCommon      int64             // bytes of weights that it holds together with other Classifiers
	Metadata      map[string]string // of the file
	Card          string            // README.md of the run folder, the model card; "" if there is none
}

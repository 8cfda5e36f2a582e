// Package inside has the settings of learning inside a backbone, apart from what learns.
package inside

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/vit"
)

// None is the kind of a training of the head alone.
const None = "none"

const auto = "auto"

// Options are the settings of learning inside the backbone.
type Options struct {
	Kind      string  // "none", or an adapt.Kind; "" is "none"
	Blocks    string  // the last so many, "all", or "auto": six, or all where there are fewer
	Rank      string  // of adapters and LoRA: a number, or "auto" as LIFT has it
	LR        float64 // peak learning rate of what is in the backbone
	Optimizer string  // of what is in the backbone: "adamw" or "sgd"
	Augment   string  // how training sees images: one of Augmentations
	Area      float64 // the least share of an image that a window of Augment shows
	Keep      string  // share of the patch tokens that training sees, others each time; "auto": 1/3, or all
	Micro     int     // samples of a batch that go through the blocks at a time: bounds the memory; 0: by the provider
}

// Fields declares the settings.
func (o *Options) Fields() []setting.Field {
	return setting.In("inside the backbone",
		setting.Text("adapt", &o.Kind, None, kindOr(None),
			"what to train inside the backbone: none, adapter, lora, norm or full, or several joined by a plus, as in "+
				"adapter+norm"),
		setting.Text("adapt-blocks", &o.Blocks, auto, countOr(auto, "all"),
			"blocks to train in: the last so many, all, or auto: six, or all where there are fewer"),
		setting.Text("adapt-rank", &o.Rank, auto, countOr(auto),
			"rank of adapters and lora: a number, or auto (by the number of classes)"),
		setting.Number("adapt-lr", &o.LR, 0.001, setting.Positive(1000),
			"peak learning rate inside the backbone"),
		setting.OneOf("adapt-optimizer", &o.Optimizer, "adamw", []string{"adamw", "sgd"},
			"optimizer inside the backbone"),
		setting.OneOf("augment", &o.Augment, None, Augmentations(),
			"how training inside the backbone sees images, other each epoch: none, mirrored (flip), random windows "+
				"as torchvision draws them (crop), both (crop-flip), or square windows that grow as LIFT+ has them "+
				"(minimal)"),
		setting.Number("crop-area", &o.Area, 0.5, setting.Within(0, 1, false).Or(1, "all"),
			"least share of an image that a random window shows"),
		setting.Text("keep-tokens", &o.Keep, auto, shareOr(auto),
			"share of the patch tokens that training inside the backbone sees, others each time; auto is a third, or "+
				"all where more than half of the blocks learn or the backbone needs them"),
		setting.Number("micro-batch", &o.Micro, 0, setting.Between(0, 4096),
			"samples that go through the blocks at a time, which bounds the memory of training there (0: 16, with "+
				"CUDA 64)"),
	)
}

// kindOr checks what is trained, or a word.
func kindOr(word string) func(string) error {
	return func(text string) error {
		if text == word {
			return nil
		}
		if _, err := adapt.Kind(text).Parts(); err != nil {
			return fmt.Errorf("%w, nor is it %q", err, word)
		}
		return nil
	}
}

// countOr checks a number of at least 1, or one of some words.
func countOr(words ...string) func(string) error {
	return func(text string) error {
		if n, err := strconv.Atoi(text); !slices.Contains(words, text) && (err != nil || n < 1) {
			return fmt.Errorf("%q is neither a number from 1 on nor one of %q", text, words)
		}
		return nil
	}
}

// shareOr checks a number above 0 and up to 1, or a word.
func shareOr(word string) func(string) error {
	return func(text string) error {
		if v, err := strconv.ParseFloat(text, 64); text != word && (err != nil || !(v > 0 && v <= 1)) {
			return fmt.Errorf("%q is neither a share above 0, up to 1, nor %q", text, word)
		}
		return nil
	}
}

// On reports whether anything is trained inside the backbone.
func (o Options) On() bool { return o.Kind != "" && o.Kind != None }

// Validate says what does not go together with a backbone that has the adapter of a file, "" for none, and with so many
// views of each training image.
func (o Options) Validate(file string, views int) error {
	switch {
	case !o.On() && o.Augments():
		return fault.Config.Errorf("augment: a head alone learns from features that are made once, so that augment=%s "+
			"takes something to train inside the backbone; set adapt, or take views of each image", o.Augment)
	case !o.On():
	case file != "":
		return fault.Config.Errorf("adapter: with adapt=%s training would begin inside a backbone that has an adapter "+
			"already; leave one of the two out", o.Kind)
	case o.Augments() && views > 1:
		return fault.Config.Errorf("views: with augment=%s training sees another view in each epoch; leave one of the "+
			"two out", o.Augment)
	}
	return nil
}

// Trains says why a head with some settings cannot learn together with what is inside the backbone, if that learns.
func (o Options) Trains(s head.Settings) error {
	if !o.On() {
		return nil
	}
	return s.InParts()
}

// WithoutEffect lists the settings that are set to something, but read by nobody, the others being as they are.
func (o Options) WithoutEffect() []string {
	var unread []string
	parts, _ := adapt.Kind(o.Kind).Parts()
	ranked := slices.Contains(parts, adapt.Adapter) || slices.Contains(parts, adapt.LoRA)
	switch {
	case !o.On():
		unread = []string{"adapt-blocks", "adapt-rank", "adapt-lr", "adapt-optimizer", "crop-area", "keep-tokens",
			"micro-batch"}
	case !ranked:
		unread = []string{"adapt-rank"}
	}
	if o.On() && !o.Shown(0, 1).Crop {
		unread = append(unread, "crop-area")
	}
	return setting.Unusual(o.Fields(), unread)
}

// Augmentations are the ways in which training sees images.
func Augmentations() []string { return []string{None, "flip", "crop", "crop-flip", "minimal"} }

// Augments reports whether images are other each epoch.
func (o Options) Augments() bool { return o.Augment != "" && o.Augment != None }

// Last says how many of a backbone's blocks are trained in, the last ones.
func (o Options) Last(of int) (int, error) {
	n, err := strconv.Atoi(o.Blocks)
	switch {
	case o.Blocks == auto:
		return min(6, of), nil
	case err != nil: // all
		return of, nil
	case n > of:
		return 0, fault.Config.Errorf("adapt-blocks: %d, and the backbone has %d; take fewer, or all", n, of)
	}
	return n, nil
}

// Shown is how images are seen in an epoch, from 0, of so many.
func (o Options) Shown(epoch, epochs int) vit.Augment {
	switch o.Augment {
	case "flip":
		return vit.Augment{Flip: true}
	case "crop":
		return vit.Augment{Crop: true, Area: o.Area}
	case "crop-flip":
		return vit.Augment{Crop: true, Area: o.Area, Flip: true}
	case "minimal":
		t := float64(epoch) / float64(max(1, epochs-1))
		return vit.Augment{Crop: true, Square: true, Area: o.Area + (1-o.Area)*(1-math.Sqrt(1-t*t))}
	}
	return vit.Augment{}
}

// Recipe fills in what is not set of the settings of a head that is trained together with what is below it: fewer
// epochs of smaller batches.
func (o Options) Recipe(s head.Settings) head.Settings {
	if o.On() {
		s.Epochs, s.Batch, s.LR = cmp.Or(s.Epochs, 5), cmp.Or(s.Batch, 32), cmp.Or(s.LR, 0.01)
	}
	return s
}

// Alone are the settings of a head that is trained on the backbone as it is, for comparison with s: the epochs, batch
// and learning rate of heads, with the same share of the epochs before the switch, and without warm-up.
func Alone(s head.Settings) head.Settings {
	if *s.Switch >= 1 {
		s.Switch = new(min(*s.Switch/float64(s.Epochs), 0.99))
	}
	s.Epochs, s.Batch, s.LR, s.Warmup = 0, 0, 0, 0
	return s.WithDefaults()
}

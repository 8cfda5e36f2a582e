package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx/vision"
)

// Views says how many views of each image there are, in the order of vision.Views: as it is, nearer and mirrored, ….
type Views struct {
	Train int // to learn from; 1
	Test  int // whose mean feature is judged, in evaluation and by the exported model; 1
}

// Fields declares the settings.
func (v *Views) Fields() []setting.Field {
	number := func(key string, p *int, help string) setting.Field {
		return setting.Number(key, p, 1, setting.Between(1, vision.MaxViews), help)
	}
	return setting.In("features",
		number("views", &v.Train, "views of a training image to learn from"),
		number("tta", &v.Test, "views of a test image whose mean feature is judged, in evaluation and by the exported "+
			"model: plain, zoomed and mirrored, zoomed, … (--tta alone: 2)").Alone("2"),
	)
}

// needed is how many views of training and of other images are needed. Training takes its own number; what is judged,
// or calibrated on, is seen as at test time.
func (v Views) needed(trainingIsJudged bool) (train, others int) {
	if trainingIsJudged {
		return max(v.Train, v.Test), v.Test
	}
	return v.Train, v.Test
}

// Calibration says how probabilities are calibrated: on the validation images or, without any, on training images that
// each went to a head not trained on them.
type Calibration struct {
	Method string // one of metric.Calibrations
	Folds  int    // heads that are trained for that; 5
}

// Fields declares the settings.
func (c *Calibration) Fields() []setting.Field {
	return setting.In("calibration",
		setting.OneOf("calibration", &c.Method, metric.NoCalibration, metric.Calibrations(),
			"calibration of the probabilities, on --val or out of fold"),
		setting.Number("folds", &c.Folds, 5, setting.Between(2, 100),
			"parts that training images are cut into, to calibrate or select without validation images"),
	)
}

// withoutEffect lists the settings that are set to something, but read by nobody, the others being as they are.
func (c Calibration) withoutEffect(val string) []string {
	if c.outOfFold(val) {
		return nil
	}
	return setting.Unusual(c.Fields(), []string{"folds"})
}

// outOfFold says whether training images are judged by heads of folds.
func (c Calibration) outOfFold(val string) bool {
	return c.Method != "" && c.Method != metric.NoCalibration && val == ""
}

// judgesTraining says whether training images are judged, for lack of others or by heads of folds.
func (c Calibration) judgesTraining(val, test string) bool { return val+test == "" || c.outOfFold(val) }

// warnWithoutEffect says of settings that they are set in vain.
func warnWithoutEffect(keys []string, ev event.Events) {
	for _, key := range keys {
		ev.Warn("this setting has no effect with the others as they are", "key", key)
	}
}

// stoppable refuses a training that may end early with nothing to see it by.
func stoppable(early bool, val string) error {
	if early && val == "" {
		return fault.Config.Errorf("early-stop: it looks at validation images; name them, or a fraction to hold out, " +
			"with the key val")
	}
	return nil
}

// Shard is a part of every data set: the images whose position leaves remainder Index when divided by Count. The zero
// value is everything.
type Shard struct{ Index, Count int }

// ParseShard reads i/N with i from 1 to N, or i+1/N with i from 0, as schedulers number the parts of a job (Kubernetes,
// AWS Batch, Cloud Run); nothing means everything.
func ParseShard(text string) (Shard, error) {
	if text == "" {
		return Shard{}, nil
	}
	first, second, ok := strings.Cut(text, "/")
	first, fromZero := strings.CutSuffix(first, "+1")
	i, err1 := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if fromZero {
		i++
	}
	if !ok || err1 != nil || err2 != nil || n < 1 || i < 1 || i > n {
		return Shard{}, fmt.Errorf("%q is no part; write i/N with i from 1 to N, or i+1/N where parts are numbered "+
			"from 0", text)
	}
	return Shard{i - 1, n}, nil
}

// of is this part of every set.
func (s Shard) of(d *dataset.Sets) *dataset.Sets {
	every := func(set *dataset.Dataset) *dataset.Dataset {
		if set == nil || s.Count < 2 {
			return set
		}
		return set.Every(s.Count, s.Index)
	}
	return &dataset.Sets{Train: every(d.Train), Val: every(d.Val), Test: every(d.Test)}
}

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index+1, s.Count) }

// fieldsOf lists the fields of several groups.
func fieldsOf(groups ...interface{ Fields() []setting.Field }) []setting.Field {
	var all []setting.Field
	for _, g := range groups {
		all = slices.Concat(all, g.Fields())
	}
	return all
}

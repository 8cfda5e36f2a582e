package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/onnx/vision"
)

// Config is everything that decides a run. The command line, the environment
// and YAML files are faces of this one struct; the keys are the yaml tags.
// The zero value of every field means its default, named at the field; a nil
// pointer means the default that docs/method.md gives for the loss.
type Config struct {
	// Data.
	Train         string   `yaml:"train,omitempty"` // folder, .csv, .jsonl or IDX; required
	Val           string   `yaml:"val,omitempty"`   // the same, or a fraction to hold out; none by default
	Test          string   `yaml:"test,omitempty"`  // the same; none by default
	Imbalance     string   `yaml:"imbalance,omitempty"`
	ImbalanceSeed uint64   `yaml:"imbalance-seed"`
	MaxUnreadable *float64 `yaml:"max-unreadable"` // share of unreadable images that is skipped; 0.01

	// Backbone and features.
	Backbone   string `yaml:"backbone"`             // .onnx path or a name that models.Hub finds; the embedded default
	Preprocess string `yaml:"preprocess,omitempty"` // JSON file; found out by default
	Feature    string `yaml:"feature"`              // auto
	Provider   string `yaml:"provider"`             // auto
	Threads    int    `yaml:"threads"`              // all cores
	Batch      int    `yaml:"batch"`                // 16
	ImageSize  int    `yaml:"image-size"`           // for models that take any; that of the preprocessing
	Cache      string `yaml:"cache"`                // vitft in the user's cache folder; the store is its folder features

	// Views of an image: as it is, nearer and mirrored, … in the order of vision.Views.
	Views int `yaml:"views"` // to train on; 1
	TTA   int `yaml:"tta"`   // whose mean feature is judged, in evaluation and by the exported model; 1

	// Calibration of the probabilities, on the validation images or, without
	// any, on training images that each went to a head not trained on them.
	Calibration string `yaml:"calibration"` // none
	Folds       int    `yaml:"folds"`       // heads that are trained for that; 5

	// Out is the run folder, "run" by default. It is no part of what config.yaml
	// records: reproducing a run writes another folder. For Evaluate it is a file
	// in the form of predictions.csv, not written by default.
	Out string `yaml:"-"`

	// Library is the ONNX Runtime library to load; found by onnx.Find by default.
	Library string `yaml:"-"`

	Training `yaml:",inline"`
}

// EnsureDefaults fills in every field that is zero and makes paths absolute,
// so that the printed configuration works from any folder.
func (c *Config) EnsureDefaults() {
	setDefault(&c.Out, defaultOut)
	if c.MaxUnreadable == nil {
		c.MaxUnreadable = new(0.01)
	}
	setDefault(&c.Backbone, DefaultBackbone())
	setDefault(&c.Feature, "auto")
	setDefault(&c.Provider, "auto")
	setDefault(&c.Batch, 16)
	setDefault(&c.Views, 1)
	setDefault(&c.TTA, 1)
	setDefault(&c.Calibration, noCalibration)
	setDefault(&c.Folds, 5)
	if c.Cache == "" {
		c.Cache = defaultCache()
	}
	for _, path := range []*string{&c.Train, &c.Test, &c.Preprocess, &c.Cache} {
		*path = absolute(*path)
	}
	if _, fraction := c.holdout(); !fraction {
		c.Val = absolute(c.Val)
	}
	if !isName(c.Backbone) && (filepath.Ext(c.Backbone) == ".onnx" || strings.ContainsRune(c.Backbone, filepath.Separator)) {
		c.Backbone = absolute(c.Backbone)
	}
	c.Training.ensureDefaults()
}

// Validate reports all faults at once; each names its key.
func (c *Config) Validate() error {
	var faults []error
	bad := func(key, format string, a ...any) {
		faults = append(faults, configError("%s: %s", key, fmt.Sprintf(format, a...)))
	}
	if !(*c.MaxUnreadable >= 0 && *c.MaxUnreadable <= 1) {
		bad("max-unreadable", "%v is not a share between 0 and 1", *c.MaxUnreadable)
	}
	if c.Batch < 1 || c.Batch > 4096 {
		bad("batch", "%d is not between 1 and 4096", c.Batch)
	}
	if c.ImageSize < 0 || c.ImageSize > 8192 {
		bad("image-size", "%d is not between 0 (the preprocessing's own) and 8192", c.ImageSize)
	}
	if c.Threads < 0 || c.Threads > 1024 {
		bad("threads", "%d is not between 0 (all %d cores) and 1024", c.Threads, runtime.NumCPU())
	}
	for _, v := range []struct {
		key   string
		count int
	}{{"views", c.Views}, {"tta", c.TTA}} {
		if v.count < 1 || v.count > vision.MaxViews {
			bad(v.key, "%d is not between 1 (the image as it is) and %d", v.count, vision.MaxViews)
		}
	}
	if !slices.Contains(Calibrations(), c.Calibration) {
		bad("calibration", "%q is none of %s", c.Calibration, strings.Join(Calibrations(), ", "))
	}
	if c.Folds < 2 || c.Folds > 100 {
		bad("folds", "%d is not between 2 and 100", c.Folds)
	}
	switch c.Provider {
	case "auto", "cpu", "cuda":
	default:
		bad("provider", "%q is none of auto, cpu, cuda", c.Provider)
	}
	if f, is := c.holdout(); is && !(f > 0 && f < 1) {
		bad("val", "a hold-out of %v is not a fraction between 0 and 1", f)
	}
	if _, err := dataset.ParseImbalance(c.Imbalance); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(append(faults, c.Training.validate())...)
}

// holdout is Val read as a fraction, and whether it is one.
func (c *Config) holdout() (float64, bool) {
	f, err := strconv.ParseFloat(c.Val, 64)
	return f, err == nil
}

// DefaultConfig is the configuration of a run that sets nothing.
func DefaultConfig() Config {
	var c Config
	c.EnsureDefaults()
	return c
}

// YAML prints the configuration in the form that --config reads.
func (c *Config) YAML() ([]byte, error) { return yaml.Marshal(c) }

// defaultOut is the run folder where none is named.
const defaultOut = "run"

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func defaultCache() string {
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "vitft")
	}
	return filepath.Join(os.TempDir(), "vitft")
}

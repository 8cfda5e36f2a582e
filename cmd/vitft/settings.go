package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
)

// commandKeys are the settings that belong to the command line, not to
// engine.Config.
var commandKeys = []string{"config", "log-format", "quiet", "ort-lib", "out", "resume",
	"run", "model", "top", "precision", "hf", "images", "near-tie",
	"addr", "delay", "queue", "max-body", "max-images", "max-pixels", "timeout", "drain", "token", "token-file", "tls-cert", "tls-key", "log-requests"}

// newSettings reads VITFT_… from the environment.
func newSettings() *viper.Viper {
	v := viper.New()
	v.SetEnvPrefix("VITFT")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	return v
}

// readSettings binds flags, environment and the --config file, in that order
// of precedence, and refuses keys nobody reads.
func (a *app) readSettings(cmd *cobra.Command) error {
	v := a.settings
	if err := v.BindPFlags(cmd.Flags()); err != nil {
		return err
	}
	path := v.GetString("config")
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: --config: no file %s", errUsage, path)
	} else if err != nil {
		return fmt.Errorf("%w: --config: %w", errUsage, err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("%w: %s is not a YAML map of settings: %w", errUsage, path, err)
	}
	known := append(engine.ConfigKeys(), commandKeys...)
	for key := range values {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%w: %s: unknown key %q; known keys: %s", errUsage, path, key, strings.Join(known, ", "))
		}
	}
	return v.MergeConfigMap(values)
}

// config is the engine's configuration as flags, environment and file give it;
// what none of them names keeps the engine's default.
func (a *app) config() (engine.Config, error) {
	given := map[string]any{}
	for _, key := range engine.ConfigKeys() {
		if value := a.settings.Get(key); a.settings.IsSet(key) && value != nil {
			given[key] = value
		}
	}
	var c engine.Config
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: &c, TagName: "yaml", WeaklyTypedInput: true, Squash: true})
	if err != nil {
		return c, err
	}
	if err := decoder.Decode(given); err != nil {
		return c, fmt.Errorf("%w: settings: %w", errUsage, err)
	}
	c.Out, c.Library = a.settings.GetString("out"), a.settings.GetString("ort-lib")
	return c, nil
}

// encoderFlags are the settings of everything that turns images into features.
func encoderFlags(f *pflag.FlagSet, d engine.Config) {
	f.String("backbone", d.Backbone, "an .onnx file, or a name that 'vitft models list' shows")
	f.String("preprocess", d.Preprocess, "JSON file with the preprocessing (default: the model's metadata, preprocessor_config.json beside it, or the registry)")
	f.String("feature", d.Feature, "feature to use: auto, pooled, cls, mean, cls+mean, logits-input, a tensor's name, or TENSOR:POOLING")
	f.Int("image-size", d.ImageSize, "image size in pixels, for models that leave it open (0: that of the preprocessing, else 224)")
	f.Int("tta", d.TTA, "views of a test image whose mean feature is judged, in evaluation and by the exported model: plain, zoomed and mirrored, zoomed, … (--tta alone: 2)")
	f.Lookup("tta").NoOptDefVal = "2"
	f.Int("views", d.Views, "views of a training image to learn from")
	runtimeFlags(f, d)
}

// noArgs refuses arguments, and says what is meant by one after --tta.
func noArgs(cmd *cobra.Command, args []string) error {
	if f := cmd.Flags().Lookup("tta"); f != nil && f.Changed && len(args) == 1 {
		if n, err := strconv.Atoi(args[0]); err == nil {
			return fmt.Errorf("write --tta=%d: the number of views follows an equals sign", n)
		}
	}
	return cobra.NoArgs(cmd, args)
}

// runtimeFlags are the settings of encoding that do not choose the feature.
func runtimeFlags(f *pflag.FlagSet, d engine.Config) {
	f.String("provider", d.Provider, "where the backbone runs: auto, cpu or cuda")
	f.Int("threads", d.Threads, "threads of the runtime (0: all cores)")
	f.Int("batch", d.Batch, "images encoded at a time")
	f.String("cache", d.Cache, "folder of the feature store")
	f.Float64("max-unreadable", *d.MaxUnreadable, "largest share of unreadable images that is skipped rather than refused")
}

// trainingDataFlags name the images to learn from.
func trainingDataFlags(f *pflag.FlagSet, d engine.Config) {
	f.String("train", d.Train, "training images: folder of class folders, .csv or .jsonl manifest, or IDX file")
	f.String("val", d.Val, "validation images, or a fraction such as 0.1 to hold out of each class")
	f.String("test", d.Test, "test images")
	f.String("imbalance", d.Imbalance, "make the training set long-tailed: exp:RATIO or step:RATIO")
	f.Uint64("imbalance-seed", d.ImbalanceSeed, "which images --imbalance keeps")
}

// classifierFlags are the settings of commands that run a finished model.
func classifierFlags(f *pflag.FlagSet) {
	f.String("provider", "auto", "where the model runs: auto, cpu or cuda")
	f.Int("threads", 0, "threads of the runtime (0: all cores)")
	f.Int("batch", 16, "images run at a time, at most")
}

// openClassifier loads a run folder or a model.onnx as those flags say.
func (a *app) openClassifier(path string) (*classify.Classifier, error) {
	if path == "" {
		return nil, fmt.Errorf("%w: --model: name a run folder or a model.onnx", errUsage)
	}
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	return classify.Open(path, classify.Options{
		Device:   device.Options{Provider: c.Provider, Threads: c.Threads, Library: c.Library},
		MaxBatch: c.Batch, Events: event.Events{Note: a.events().Note},
	})
}

package engine_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
)

// encoding is what encodes for a run.
func encoding(o options) engine.EncodeOptions {
	return engine.EncodeOptions{Data: o.Data, Backbone: o.Backbone, Device: o.Device, Features: o.Features,
		Views: o.Views, Calibration: o.Calibration, Adapt: o.Adapt, Seed: o.Training.Seed}
}

// What encode makes for a run that learns inside the backbone, as a whole or by parts, is what the run takes: it
// encodes nothing more before it trains, and learns the same. A dry run says beforehand what is to be made.
func TestEncodeTokens(t *testing.T) {
	for name, x := range map[string]struct {
		parts  int
		change func(o *options)
		sets   map[string]int // views of each set that is encoded
	}{
		"views": {2, func(o *options) { o.Data.Val, o.Views = "0.3", engine.Views{Train: 2, Test: 3} },
			map[string]int{"train": 2, "val": 3, "test": 3, "train tokens": 2, "val tokens": 3}},
		"out of fold": {1, func(o *options) {
			o.Views.Test, o.Calibration = 2, engine.Calibration{Method: "temperature", Folds: 2}
		}, map[string]int{"train": 2, "test": 2, "train tokens": 2}},
		"augmented": {1, func(o *options) { o.Data.Val, o.Adapt.Augment, o.Adapt.Blocks = "0.3", "flip", "all" },
			map[string]int{"train": 1, "val": 1, "test": 1, "val tokens": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			o := adapting(t, "adapter")
			o.Training = head.Settings{Epochs: 1}
			x.change(&o)
			e := encoding(o)
			e.DryRun = true
			dry, err := engine.Encode(t.Context(), e, event.Events{})
			if err != nil || dry.Sets != nil {
				t.Fatal(dry.Sets, err)
			}
			said := map[string]int{}
			for _, f := range dry.Forecast.Encode {
				if said[f.What] = x.sets[f.What]; f.Missing != f.Images || f.Bytes == 0 {
					t.Errorf("nothing is encoded, and the forecast is %+v", f)
				}
			}
			if !maps.Equal(said, x.sets) {
				t.Errorf("a dry run says %v, want %v", said, x.sets)
			}
			e.DryRun = false
			for i := range x.parts {
				e.Shard = engine.Shard{Index: i, Count: x.parts}
				done, err := engine.Encode(t.Context(), e, event.Events{})
				if err != nil {
					t.Fatal(err)
				}
				made := map[string]int{}
				for _, set := range done.Sets {
					if made[set.What] = set.Views; set.Encoded != set.Images {
						t.Errorf("part %d of %d: %+v", i, x.parts, set)
					}
				}
				if !maps.Equal(made, x.sets) {
					t.Errorf("sets %v, want %v", made, x.sets)
				}
			}
			trained := false
			r, err := engine.Finetune(t.Context(), o, event.Events{
				Progress: func(stage event.Stage, what string, _, _ int) {
					trained = trained || stage == event.Learn
					if stage == event.Encode && !trained {
						t.Errorf("%s: something is encoded once more", what)
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			if x.parts > 1 {
				o = elsewhere(t, o)
				o.Features.Cache = t.TempDir()
				same(t, "encoded before", r.Run, finetune(t, o).Run, run.HeadFile, run.AdapterFile,
					run.PredictionsFile)
			}
		})
	}
}

// A part of the images lacks whole classes, which is no fault of theirs: a dry run of it counts those of all parts.
func TestDryRunOfAPart(t *testing.T) {
	e := encoding(job(t))
	e.DryRun, e.Shard = true, engine.Shard{Index: 1, Count: 30}
	e.Data.Test = ""
	r, err := engine.Encode(t.Context(), e, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	f := r.Forecast
	if f.Encode[0].Images != 3 || len(f.Data.Classes) != 4 || f.Data.Classes[3].Images != 4 {
		t.Errorf("%+v, %+v", f.Encode, f.Data.Classes)
	}
	if text := f.Text(); strings.Contains(text, "end here") || !strings.Contains(text, "findings: 0") {
		t.Errorf("it says %s", text)
	}
}

// What cannot be trained is refused before anything is encoded, and what has no effect is said.
func TestEncodeTokensRefuses(t *testing.T) {
	for what, change := range map[string]func(o *engine.EncodeOptions){
		"adapt-blocks: 9":       func(o *engine.EncodeOptions) { o.Adapt.Blocks = "9" },
		"adapter already":       func(o *engine.EncodeOptions) { o.Backbone.Adapter = "a.safetensors" },
		"augment: a head alone": func(o *engine.EncodeOptions) { o.Adapt.Kind, o.Adapt.Augment = "none", "flip" },
	} {
		e := encoding(adapting(t, "adapter"))
		change(&e)
		_, err := engine.Encode(t.Context(), e, event.Events{Progress: func(event.Stage, string, int, int) {
			t.Errorf("%s: something was begun", what)
		}})
		if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var said []string
	note := event.Events{Note: func(_ event.Level, message string, kv ...any) { said = append(said, message) }}
	e := encoding(adapting(t, "adapter"))
	e.Data.Train = ""
	if _, err := engine.Encode(context.Background(), e, note); err != nil || !slices.ContainsFunc(said,
		func(s string) bool { return strings.Contains(s, "no tokens of these images") }) {
		t.Errorf("of test images: %v, %q", err, said)
	}
}

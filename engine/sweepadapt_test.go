package engine_test

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
)

// adaptingSweep is a sweep over heads with something below them, and the run that is like it but for the kind.
func adaptingSweep(t testing.TB, experiment string) (engine.SweepOptions, options) {
	o, _ := sweepJob(t, experiment)
	one := adapting(t, "")
	o.Data, o.Features, o.Training, o.Adapt = one.Data, one.Features, one.Training, one.Adapt
	return o, one
}

// A head of a sweep is that of a run with its settings, with something below it too: the defaults of the recipe are of
// the point, what is below has its seed, and it is judged by tokens, which are encoded once for each place.
func TestSweepAdapts(t *testing.T) {
	o, one := adaptingSweep(t, `{grid: [{loss: [la, cvs], adapt: [none, adapter]}, {adapt: lora, adapt-blocks: 1}],
		seeds: [3, 4], baseline: {loss: la, adapt: none}}`)
	one.Views.Test, o.Views.Test = 2, 2
	counts, trained := map[string]int{}, 0
	ev := event.Events{Progress: func(stage event.Stage, what string, done, total int) {
		encoded(counts).Progress(stage, what, done, total)
		counted(&trained).Progress(stage, what, done, total)
	}}
	s := runSweep(t, o, ev)
	var names []string
	for _, l := range s.Configurations {
		names = append(names, l.Configuration)
	}
	want := []string{"la", "la adapt=adapter", "cvs", "cvs adapt=adapter", "cvs adapt=lora adapt-blocks=1"}
	if !slices.Equal(names, want) || trained != 10 || s.Failed() > 0 {
		t.Fatalf("%d heads, %d of them failed, of %q", trained, s.Failed(), names)
	}
	if d := s.Configurations[1].Difference; d == nil || d.Seeds != 2 {
		t.Errorf("the difference from the frozen head is %+v", d)
	}
	if counts["test"] != 24 || counts["test tokens"] != 48 || counts["train tokens"] != 148 {
		t.Errorf("%v images were encoded, want each once, and its tokens at both places", counts)
	}
	for i, kind := range []string{"none", "adapter", "lora"} {
		row := 2*i + 1
		if kind == "lora" {
			row = 9
		}
		heads := table(t, o.Out, run.HeadsFile)
		alone := elsewhere(t, ofRow(t, one, o.Out, heads["id"][row]))
		m := finetune(t, alone).Metrics
		if alone.Adapt.Kind != kind || (kind != "none") != run.AdapterFile.Exists(run.Folder(alone.Out)) {
			t.Errorf("row %d: %+v", row, alone.Adapt)
		}
		if kind == "none" {
			expectRow(t, heads, row, map[string]metric.Number{"nll": m.NLL})
		}
		expectRow(t, heads, row, map[string]metric.Number{"balanced_accuracy": m.BalancedAccuracy})
		if got, err := strconv.ParseFloat(heads["nll"][row], 64); err != nil || math.Abs(got-float64(m.NLL)) > 1e-3 {
			t.Errorf("%s: an NLL of %v, finetune gets %v", kind, got, m.NLL)
		}
	}

	// What fits is kept; a place whose tokens are there costs none.
	o.Experiment = parse(t, `{grid: [{loss: la, adapt: [none, adapter, norm]}, {loss: la, adapt: none,
		adapt-rank: [8, 16]}], seeds: [3, 4]}`)
	trained = 0
	clear(counts)
	if s := runSweep(t, o, ev); trained != 2 || len(s.Configurations) != 3 || len(counts) > 0 {
		t.Errorf("%d heads of %d configurations were trained, %v encoded", trained, len(s.Configurations), counts)
	}
}

// Views, and what is selected or calibrated on validation images, are those of the runs.
func TestSweepAdaptsOnValidation(t *testing.T) {
	o, one := adaptingSweep(t, `{grid: [{loss: [la, cvs]}], selection: val}`)
	o.Adapt.Kind, o.Data.Val, o.Views.Train, o.Calibration.Method = "adapter", "0.3", 2, "temperature"
	runSweep(t, o, event.Events{})
	heads := table(t, o.Out, run.HeadsFile)
	one.Adapt, one.Data.Val, one.Views, one.Calibration = o.Adapt, o.Data.Val, o.Views, o.Calibration
	one.Training.Loss = "la"
	r := finetune(t, one)
	expectRow(t, heads, 0, map[string]metric.Number{"balanced_accuracy": r.Metrics.BalancedAccuracy})
	history := read(t, r.Run, run.HistoryFile)
	last := *history[len(history)-1].Val.Balanced
	if got, err := strconv.ParseFloat(heads["selection"][0], 64); err != nil || math.Abs(got-last) > 1e-12 {
		t.Errorf("selected by %v, the run ends with %v", got, last)
	}
}

// Scores by cross-validation and temperatures out of fold are of heads whose backbone was trained without the fold, and
// do not read the test set.
func TestSweepAdaptsOutOfFold(t *testing.T) {
	o, one := adaptingSweep(t, `{grid: [{loss: la, adapt: [none, adapter]}], selection: cv}`)
	o.Calibration = engine.Calibration{Method: "temperature", Folds: 2}
	runSweep(t, o, event.Events{})
	heads := table(t, o.Out, run.HeadsFile)
	one.Calibration, one.Adapt.Kind, one.Training.Loss = o.Calibration, "adapter", "la"
	m := finetune(t, one).Metrics
	for key, want := range map[string]metric.Number{"nll": m.NLL, "nll_before": m.Calibration.Before.NLL} {
		if got, err := strconv.ParseFloat(heads[key][1], 64); err != nil || math.Abs(got-float64(want)) > 1e-3 {
			t.Errorf("%s is %v, finetune gets %v", key, got, want)
		}
	}
	if heads["selection"][0] == "" || heads["selection"][1] == "" {
		t.Errorf("selection scores %q", heads["selection"])
	}

	// A backbone that learns nothing to speak of leaves all scores as they are, in several views too.
	o.Experiment = parse(t, `{grid: [{loss: la, adapt: [none, adapter], epochs: 3, head-batch: 16, lr: 0.01}],
		selection: cv}`)
	o.Adapt.LR, o.Views = 1e-30, engine.Views{Train: 2, Test: 3}
	runSweep(t, o, event.Events{})
	heads = table(t, o.Out, run.HeadsFile)
	for _, key := range []string{"nll", "nll_before", "selection"} {
		frozen, err1 := strconv.ParseFloat(heads[key][0], 64)
		adapted, err2 := strconv.ParseFloat(heads[key][1], 64)
		if err1 != nil || err2 != nil || math.Abs(frozen-adapted) > 2e-3 {
			t.Errorf("%s is %v, of the head alone %v", key, heads[key][1], heads[key][0])
		}
	}
}

// What cannot be trained inside the backbone is refused by its configuration before anything is encoded.
func TestSweepRefusesToAdapt(t *testing.T) {
	for want, c := range map[string]struct {
		grid              string
		adapter, backbone string
		kind              fault.Kind
	}{
		"adapt-blocks=9: adapt": {`{adapt: lora, adapt-blocks: [2, 9]}`, "", "", fault.Config},
		`adapt: "prompt"`:       {`{adapt: [none, prompt]}`, "", "", fault.Config},
		"adapt-rank":            {`{adapt: adapter, adapt-rank: 0}`, "", "", fault.Config},
		"adapter already":       {`{adapt: [none, adapter]}`, "a.safetensors", "", fault.Config},
		"are transformers with": {`{adapt: adapter}`, "", cnn(t), fault.Data},
	} {
		o, _ := adaptingSweep(t, `{grid: [`+c.grid+`]}`)
		o.Backbone.Adapter, o.Backbone.Name = c.adapter, c.backbone
		counts := map[string]int{}
		_, err := engine.Sweep(t.Context(), o, encoded(counts))
		if err == nil || fault.Of(err) != c.kind || !strings.Contains(err.Error(), want) || len(counts) > 0 {
			t.Errorf("%s: %v; encoded: %v", want, err, counts)
		}
	}
	// What is found in training is the head's own failure.
	o, _ := adaptingSweep(t, `{grid: [{loss: [lda, la], adapt: adapter}]}`)
	if s := runSweep(t, o, event.Events{}); s.Failed() != 1 || !strings.Contains(s.Heads[0].Error, "closed form") {
		t.Errorf("%d failed, the first with %q", s.Failed(), s.Heads[0].Error)
	}
}

// Of a head with nothing below it there are no settings of that.
func TestRecipesDependOnWhatIsBelow(t *testing.T) {
	resolve := sweep.Resolver(sweep.Recipe{Below: inside.Options{Rank: "8"}})
	for kind, want := range map[string]map[string]any{
		"none":    {"epochs": 30, "head-batch": 256, "lr": 0.02, "adapt-rank": nil, "micro-batch": nil},
		"adapter": {"epochs": 5, "head-batch": 32, "lr": 0.01, "adapt-rank": "8", "micro-batch": 0},
	} {
		s, err := resolve(map[string]any{"adapt": kind})
		if err != nil {
			t.Fatal(err)
		}
		want["adapt"] = kind
		for key, want := range want {
			if s[key] != want {
				t.Errorf("%s: %s is %v, want %v", kind, key, s[key], want)
			}
		}
	}
}

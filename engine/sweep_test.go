package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
)

// sweepJob is a job to sweep over, small enough to be trained in no time, and the run that is like it.
func sweepJob(t testing.TB, experiment string) (engine.SweepOptions, engine.FinetuneOptions) {
	t.Helper()
	o := job(t)
	o.Training.Epochs = 6
	return engine.SweepOptions{
		Data: o.Data, Device: o.Device, Features: o.Features, Training: o.Training,
		Experiment: parse(t, experiment), Out: filepath.Join(t.TempDir(), "sweep"),
	}, o
}

func parse(t testing.TB, text string) sweep.Experiment {
	t.Helper()
	x, _, err := engine.ParseSweep([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// counted counts the heads that a sweep trains.
func counted(n *int) event.Events {
	return event.Events{Progress: func(stage event.Stage, _ string, _, _ int) {
		if stage == event.Sweep {
			*n++
		}
	}}
}

func runSweep(t testing.TB, o engine.SweepOptions, ev event.Events) *sweep.Summary {
	t.Helper()
	r, err := engine.Sweep(context.Background(), o, ev)
	if err != nil {
		t.Fatal(err)
	}
	if r.Folder != o.Out {
		t.Errorf("the folder is %s, want %s", r.Folder, o.Out)
	}
	return r.Summary
}

// table reads a CSV file of a sweep's folder, by column.
func table(t testing.TB, dir string, f named) map[string][]string {
	t.Helper()
	return columns(t, content(t, dir, f))
}

// timeless is heads.csv without the seconds.
func timeless(t testing.TB, dir string) string {
	heads := table(t, dir, run.HeadsFile)
	delete(heads, "seconds")
	return fmt.Sprint(heads)
}

// expectRow expects a row of heads.csv to have metrics of a run.
func expectRow(t testing.TB, heads map[string][]string, row int, want map[string]metric.Number) {
	t.Helper()
	for name, want := range want {
		if got := heads[name][row]; got != sweep.Format(float64(want)) {
			t.Errorf("%s: %s is %s, finetune gets %v", heads["configuration"][row], name, got, want)
		}
	}
}

// ofRow is the run that trains a head of a sweep, by the file of its settings, where one runs.
func ofRow(t testing.TB, one engine.FinetuneOptions, sweep, id string) engine.FinetuneOptions {
	t.Helper()
	o := engine.FinetuneOptions{Out: one.Out, Device: one.Device, Features: one.Features}
	set(t, o.Fields(), read(t, sweep, run.SweepConfigFile(id)).Values())
	return o
}

func TestSweepLeavesItsTables(t *testing.T) {
	o, one := sweepJob(t, `{name: tables, grid: [{loss: [la, cvs]}, {loss: cvs, switch: [0, 6]}],
		seeds: [0, 1], baseline: {loss: la}}`)
	n := 0
	summary := runSweep(t, o, counted(&n))
	if n != 8 || len(summary.Configurations) != 4 {
		t.Errorf("%d heads of %d configurations, want 8 of 4", n, len(summary.Configurations))
	}
	heads := table(t, o.Out, run.HeadsFile)
	want := []string{"la", "la", "cvs", "cvs", "cvs switch=0", "cvs switch=0", "cvs switch=6", "cvs switch=6"}
	if !slices.Equal(heads["configuration"], want) {
		t.Errorf("heads.csv has %q", heads["configuration"])
	}
	if got := table(t, o.Out, run.SummaryFile)["baseline"]; !slices.Equal(got, []string{"yes", "", "", ""}) {
		t.Errorf("baseline is %q", got)
	}
	if text := content(t, o.Out, run.SummaryTextFile); !strings.Contains(text, "| la (baseline) | ") {
		t.Errorf("summary.md:\n%s", text)
	}
	// A head of a sweep is that of a run with its settings.
	one = ofRow(t, one, o.Out, heads["id"][5])
	if one.Training.Loss != "cvs" || *one.Training.Switch != 0 || one.Training.Seed != 1 {
		t.Errorf("its settings are %+v", one.Training)
	}
	m := finetune(t, one).Metrics
	expectRow(t, heads, 5, map[string]metric.Number{
		"balanced_accuracy": m.BalancedAccuracy, "ece": m.ECE, "nll": m.NLL, "few": m.Groups[calib.Few].Accuracy})
}

// However often a sweep is interrupted, it ends as if it had not been, and trains no head twice that was written.
func TestSweepGoesOnAfterAnInterruption(t *testing.T) {
	o, _ := sweepJob(t, `{grid: [{loss: [ce, la, vs], tau: [0.5, 1, 2], gamma: [0.1, 0.2]}], seeds: [0, 1]}`)
	runSweep(t, o, event.Events{})
	want := timeless(t, o.Out)

	o.Out = filepath.Join(t.TempDir(), "interrupted")
	trained, interruptions := 0, 0
	for {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := engine.Sweep(ctx, o, event.Events{Progress: func(stage event.Stage, _ string, done, total int) {
			if stage != event.Sweep {
				return
			}
			trained++
			if interruptions < 2 && done == (interruptions+1)*total/4 {
				interruptions++
				cancel()
			}
		}})
		cancel()
		if err == nil {
			break
		}
		if fault.Of(err) != fault.Interrupted {
			t.Fatal(err)
		}
		if run.SummaryFile.Exists(run.Folder(o.Out)) {
			t.Error("an interrupted sweep leaves a summary")
		}
	}
	if got := timeless(t, o.Out); got != want {
		t.Error("heads.csv differs from that of a sweep without interruption")
	}
	if interruptions != 2 || trained != 36 {
		t.Errorf("%d heads were finished in %d sessions, want each of 36 once in 3", trained, interruptions+1)
	}
}

func TestSweepReusesHeads(t *testing.T) {
	o, _ := sweepJob(t, `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`)
	runSweep(t, o, event.Events{})
	for _, step := range []struct {
		name, grid string
		change     func()
		want       int
	}{
		{"the same again", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`, func() {}, 0},
		{"another name and baseline", `{name: x, grid: [{loss: [ce, la]}], seeds: [0, 1], baseline: {loss: ce}}`,
			func() {}, 0},
		{"a loss more, one less", `{grid: [{loss: [la, cvs]}], seeds: [0, 1]}`, func() {}, 2},
		{"a seed more", `{grid: [{loss: [ce, la]}], seeds: [0, 1, 2]}`, func() {}, 2},
		{"a default spelled out", `{grid: [{loss: [ce, la], tau: 1}], seeds: [0, 1]}`, func() {}, 0},
		{"damaged files", `{grid: [{loss: [ce, la, cvs]}], seeds: [0, 1, 2]}`, func() {
			files, err := filepath.Glob(run.SweepHeadFile("*").Path(run.Folder(o.Out)))
			if err != nil || len(files) != 8 {
				t.Fatal(files, err)
			}
			for _, file := range files[:2] {
				if err := os.Truncate(file, 100); err != nil {
					t.Fatal(err)
				}
			}
		}, 3}, // and cvs with seed 2
		{"another setting that all share", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`,
			func() { o.Training.Epochs = 5 }, 4},
		{"other images", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`, func() { o.Data.Imbalance = "exp:20" }, 4},
		{"selection", `{grid: [{loss: [ce, la]}], seeds: [0, 1], selection: cv}`, func() {}, 4},
	} {
		step.change()
		n := 0
		o.Experiment = parse(t, step.grid)
		runSweep(t, o, counted(&n))
		if n != step.want {
			t.Errorf("%s: %d heads were trained, want %d", step.name, n, step.want)
		}
		if slices.Contains(table(t, o.Out, run.HeadsFile)["balanced_accuracy"], "") {
			t.Errorf("%s: heads without a result", step.name)
		}
	}
}

// sweep.yaml is an experiment file that gives the sweep again.
func TestSweepYAMLReproduces(t *testing.T) {
	o, _ := sweepJob(t, `{name: again, grid: [{loss: [la, cvs], head: [cosine, linear]}], seeds: [0, 1],
		baseline: {loss: la, head: cosine}, selection: val, select-by: [loss]}`)
	o.Data.Val, o.Data.Imbalance, o.Training.Seed = "0.2", "exp:4", 3
	first := runSweep(t, o, event.Events{})
	x, shared, err := engine.ParseSweep([]byte(content(t, o.Out, run.SweepFile)))
	if err != nil {
		t.Fatal(err)
	}
	again := engine.SweepOptions{Experiment: x}
	set(t, again.Fields(), shared)
	again.Out = filepath.Join(t.TempDir(), "again")
	second := runSweep(t, again, event.Events{})
	if got, want := timeless(t, again.Out), timeless(t, o.Out); got != want {
		t.Errorf("heads.csv differs:\n%s\n%s", got, want)
	}
	same(t, "from its sweep.yaml", again.Out, o.Out, run.SweepFile)
	if first.Configurations[2].Settings["lr"] != second.Configurations[2].Settings["lr"] {
		t.Error("defaults of a loss got lost")
	}
}

func TestSweepTrainsEveryLoss(t *testing.T) {
	losses, estimators := strings.Join(head.Losses(), ", "), strings.Join(calib.Names(), ", ")
	o, _ := sweepJob(t, "{grid: [{loss: ["+losses+"]}, {kappa: ["+estimators+"]}]}")
	s := runSweep(t, o, event.Events{})
	if s.Failed() > 0 {
		t.Errorf("%d heads failed: %q", s.Failed(), table(t, o.Out, run.HeadsFile)["error"])
	}
	for _, line := range s.Configurations {
		if got := line.Metrics["balanced_accuracy"].Mean; !(got > 0.3) {
			t.Errorf("%s: balanced accuracy %.3f of four classes", line.Configuration, got)
		}
	}
}

// A head that diverges is recorded with its reason; the others are untouched, and the next sweep does not try it again.
func TestSweepOutlivesAFailure(t *testing.T) {
	o, _ := sweepJob(t, `{grid: [{loss: ce, head: linear, weight-decay: [0, 1000, 0.01], lr: 1000}, {loss: [la, cvs]}]}`)
	for _, trained := range []int{5, 0} {
		n := 0
		s := runSweep(t, o, counted(&n))
		heads := table(t, o.Out, run.HeadsFile)
		want := []string{"done", "failed", "done", "done", "done"}
		if s.Failed() != 1 || !slices.Equal(heads["status"], want) {
			t.Fatalf("status %q, want %q", heads["status"], want)
		}
		if heads["balanced_accuracy"][1] != "" || !strings.Contains(heads["error"][1], "diverged") ||
			heads["error"][0] != "" {
			t.Errorf("the failed head: %q, %q", heads["balanced_accuracy"][1], heads["error"][1])
		}
		if n != trained {
			t.Errorf("%d heads were trained, want %d", n, trained)
		}
	}
	// Features that cannot be prepared for one head do not stop the others either.
	o.Experiment = parse(t, `{grid: [{loss: [ce, la]}, {loss: ce, shrinkage: 1e-30}]}`)
	s := runSweep(t, o, event.Events{})
	status := table(t, o.Out, run.HeadsFile)["status"]
	if s.Failed() != 1 || !slices.Equal(status, []string{"done", "done", "failed"}) {
		t.Errorf("status %q", status)
	}
	o.Experiment = parse(t, `{grid: [{loss: ce, head: linear, lr: 1000, weight-decay: 1000}]}`)
	_, err := engine.Sweep(t.Context(), o, event.Events{})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("a sweep in which every head failed ends with %v", err)
	}
}

// A closed form has one epoch and no warm-up, whatever is asked for: it is recorded so, and points of a grid that
// differ in nothing else are one head.
func TestClosedFormsHaveNoEpochs(t *testing.T) {
	o, one := sweepJob(t, `{grid: [{loss: ncm, warmup: [0, 5], epochs: [5, 9]}], seeds: [0]}`)
	n := 0
	if s := runSweep(t, o, counted(&n)); n != 1 || len(s.Configurations) != 1 {
		t.Errorf("%d heads of %d configurations, want one", n, len(s.Configurations))
	}
	one.Training = head.Settings{Loss: "ncm", Warmup: 5}
	r := finetune(t, one)
	config := read(t, r.Run, run.ConfigFile)
	for key, want := range map[string]string{"loss": "ncm", "warmup": "0", "epochs": "1", "experts": "1"} {
		if got := config.Text(key); got != want {
			t.Errorf("config.yaml has %s %q, want %q", key, got, want)
		}
	}
	if r.Metrics.Epochs != 1 || len(read(t, r.Run, run.HistoryFile)) != 1 {
		t.Errorf("metrics.json says %d epochs, history.jsonl %d", r.Metrics.Epochs,
			len(read(t, r.Run, run.HistoryFile)))
	}
}

// What is selected is the same whatever the labels of the test images.
func TestSelectionNeverReadsTheTestSet(t *testing.T) {
	o, _ := sweepJob(t, `{grid: [{loss: [la, cvs], lr: [0.0001, 0.02]}], selection: cv, select-by: [loss]}`)
	o.Calibration.Folds = 3
	var scrambled strings.Builder
	scrambled.WriteString("path,label\n")
	for k := range 4 {
		files, err := filepath.Glob(filepath.Join(o.Data.Test, "class-"+string(rune('a'+k)), "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for i, f := range files {
			fmt.Fprintf(&scrambled, "%s,class-%c\n", f, 'a'+(k+i)%4)
		}
	}
	path := testkit.WriteFile(t, filepath.Join(t.TempDir(), "scrambled.csv"), []byte(scrambled.String()))
	for _, selection := range []sweep.Selection{sweep.SelectCV, sweep.SelectVal} {
		o.Experiment.Selection = selection
		if selection == sweep.SelectVal {
			o.Data.Val = "0.3"
		}
		runSweep(t, o, event.Events{})
		before, beforeHeads := table(t, o.Out, run.SummaryFile), table(t, o.Out, run.HeadsFile)
		other := o
		other.Data.Test, other.Out = path, filepath.Join(t.TempDir(), "scrambled")
		runSweep(t, other, event.Events{})
		after, afterHeads := table(t, other.Out, run.SummaryFile), table(t, other.Out, run.HeadsFile)
		selected := 0
		for _, cell := range before["selected"] {
			if cell == "yes" {
				selected++
			}
		}
		if selected != 2 {
			t.Errorf("%s: %d selected, want one for each loss: %q", selection, selected, before["selected"])
		}
		if !slices.Equal(before["selected"], after["selected"]) ||
			!slices.Equal(beforeHeads["selection"], afterHeads["selection"]) {
			t.Errorf("%s: with other test labels\n%q\n%q\nare selected for\n%q\n%q", selection,
				before["selected"], after["selected"], beforeHeads["selection"], afterHeads["selection"])
		}
		if slices.Equal(before["balanced_accuracy"], after["balanced_accuracy"]) {
			t.Errorf("%s: other test labels, but the same accuracy: nothing was tested", selection)
		}
	}
}

// Calibration and test-time views are those of the runs, and where both a score and temperatures need heads of folds,
// these are trained once.
func TestSweepCalibrates(t *testing.T) {
	o, one := sweepJob(t, `{grid: [{loss: [ce, la]}], selection: cv}`)
	o.Calibration, o.Views = engine.Calibration{Method: metric.Temperature, Folds: 3}, engine.Views{Train: 1, Test: 2}
	runSweep(t, o, event.Events{})
	heads := table(t, o.Out, run.HeadsFile)
	one.Calibration, one.Views, one.Training.Loss = o.Calibration, o.Views, "la"
	m := finetune(t, one).Metrics
	before := m.Calibration.Before
	expectRow(t, heads, 1, map[string]metric.Number{
		"ece": m.ECE, "nll": m.NLL, "ece_before": before.ECE, "ece_before_few": before.Groups[calib.Few].ECE})
	if heads["selection"][0] == "" || heads["selection"][1] == "" {
		t.Errorf("selection scores %q", heads["selection"])
	}
}

func TestSweepKeepsToItself(t *testing.T) {
	o, _ := sweepJob(t, `{grid: [{loss: ce}]}`)
	runSweep(t, o, event.Events{})
	lock, err := run.Folder(o.Out).Lock()
	if err != nil {
		t.Fatalf("a finished sweep keeps its folder locked: %v", err)
	}
	if _, err := engine.Sweep(t.Context(), o, event.Events{}); err == nil ||
		!strings.Contains(err.Error(), "another run") {
		t.Errorf("two sweeps in one folder: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// A bad experiment is refused before anything is written, with its cure.
func TestSweepRefuses(t *testing.T) {
	work := t.TempDir()
	testkit.WriteFile(t, filepath.Join(work, "taken", "photos", "1.txt"), nil)
	good := engine.SweepOptions{Out: filepath.Join(work, "out")}
	good.Data.Train, good.Data.Test = work, work
	lone := good
	lone.Data.Test = ""
	for name, x := range map[string]struct {
		options engine.SweepOptions
		grid    string
		wants   []string
	}{
		"value": {good, `{grid: [{loss: ce}, {loss: [la, hinge]}]}`,
			[]string{"grid, block 2", "{loss: hinge}", `"hinge" is none of ce,`}},
		"type":      {good, `{grid: [{epochs: many}]}`, []string{"grid, block 1", "epochs: many is no whole number"}},
		"range":     {good, `{grid: [{loss: cvs, switch: [0, 1.5]}]}`, []string{"grid, block 1", "switch: 1.5"}},
		"baseline":  {good, `{grid: [{loss: ce}], baseline: {loss: la}}`, []string{"baseline", "{loss: la}"}},
		"selection": {good, `{grid: [{loss: ce}], selection: val}`, []string{"val needs validation images"}},
		"no test":   {lone, `{grid: [{loss: ce}]}`, []string{"needs both"}},
	} {
		x.options.Experiment = parse(t, x.grid)
		_, err := engine.Sweep(t.Context(), x.options, event.Events{})
		if err == nil || fault.Of(err) != fault.Config {
			t.Errorf("%s: %v is no configuration error", name, err)
			continue
		}
		for _, want := range x.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", name, want, err)
			}
		}
		if _, err := os.Stat(good.Out); !os.IsNotExist(err) {
			t.Fatalf("%s: there is a folder already", name)
		}
	}
	o, _ := sweepJob(t, `{grid: [{loss: ce}]}`)
	o.Out = filepath.Join(work, "taken")
	_, err := engine.Sweep(t.Context(), o, event.Events{})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), o.Out) {
		t.Errorf("a folder with other things in it: %v", err)
	}
}

func TestSweepSaysWhatHasNoEffect(t *testing.T) {
	o, _ := sweepJob(t, `{grid: [{loss: [ce, la], tau: 1}, {loss: cvs}]}`)
	o.Training = head.Settings{Loss: "la", Tau: new(2.0), Epochs: 3}
	if got := o.Experiment.WithoutEffect(o.Recipe()); !slices.Equal(got, []string{"loss"}) {
		t.Errorf("%v, want loss, which both blocks set; tau still counts in the second", got)
	}
	var warnings []string
	runSweep(t, o, event.Events{}.Recording(&warnings))
	if n := len(warnings); n != 1 || !strings.HasSuffix(warnings[0], "key: loss") {
		t.Errorf("warnings %q", warnings)
	}
}

// More memory than there is, and more folds than there are images, are refused for any point of the grid before an
// image is encoded; a run refuses them too.
func TestRefusedBeforeEncoding(t *testing.T) {
	j := job(t)
	encoded := false
	ev := event.Events{Progress: func(stage event.Stage, _ string, _, _ int) {
		encoded = encoded || stage == event.Encode || stage == event.Scan
	}}
	refused := func(err error, want string) {
		t.Helper()
		if fault.Of(err) != fault.Config || encoded || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; anything is encoded: %v; want %s", err, encoded, want)
		}
	}
	cross := "slope:crossfit=99"
	for want, grid := range map[string]string{
		"experts=100000000: experts: training 100000000 of ":  "grid: [{loss: ce, experts: [1, 100000000]}]",
		"kappa=" + cross + ": kappa: " + cross + ": 99 folds": "grid: [{loss: cvs, kappa: [slope, '" + cross + "']}]",
		"ce: folds: 99 folds of ":                             "selection: cv\ngrid: [{loss: [ce, la]}]",
	} {
		o := engine.SweepOptions{Data: j.Data, Backbone: j.Backbone, Device: j.Device, Features: j.Features,
			Experiment: parse(t, grid), Out: j.Out}
		o.Calibration.Folds = 99
		_, err := engine.Sweep(t.Context(), o, ev)
		refused(err, want)
	}
	j.Calibration = engine.Calibration{Method: "temperature", Folds: 99}
	_, err := engine.Finetune(t.Context(), j, ev)
	refused(err, "folds: 99 folds of ")
	if _, err := os.Stat(j.Out); !os.IsNotExist(err) {
		t.Error("there is a folder already")
	}
}

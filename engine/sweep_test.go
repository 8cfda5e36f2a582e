package engine

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/sweep"
)

// experiment is a job to sweep over, small enough to be trained in no time.
func experiment(t testing.TB, grid string) (Config, sweep.Experiment) {
	t.Helper()
	c := job(t)
	c.Epochs = 6
	return c, parseSweep(t, grid)
}

func parseSweep(t testing.TB, text string) sweep.Experiment {
	t.Helper()
	x, _, err := ParseSweep([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// counted counts the heads that a sweep trains.
func counted(n *int) Events {
	return Events{Progress: func(stage, _ string, _, _ int) {
		if stage == "sweep" {
			*n++
		}
	}}
}

func runSweep(t testing.TB, c Config, x sweep.Experiment, ev Events) *sweep.Summary {
	t.Helper()
	r, err := Sweep(context.Background(), c, x, ev)
	if err != nil {
		t.Fatal(err)
	}
	return r.Summary
}

// table reads a CSV file of a sweep's folder, by column.
func table(t testing.TB, c Config, name string) map[string][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(content(t, c.Out, name))).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d lines (%v)", name, len(rows), err)
	}
	columns := map[string][]string{}
	for _, row := range rows[1:] {
		for j, cell := range row {
			columns[rows[0][j]] = append(columns[rows[0][j]], cell)
		}
	}
	return columns
}

// timeless is heads.csv without the seconds.
func timeless(t testing.TB, c Config) string {
	columns := table(t, c, headsFile)
	delete(columns, "seconds")
	return fmt.Sprint(columns)
}

func TestSweepLeavesItsTables(t *testing.T) {
	c, x := experiment(t, `{name: tables, grid: [{loss: [la, cvs]}, {loss: cvs, switch: [0, 6]}], seeds: [0, 1], baseline: {loss: la}}`)
	n := 0
	summary := runSweep(t, c, x, counted(&n))
	if n != 8 || len(summary.Configurations) != 4 {
		t.Errorf("%d heads of %d configurations, want 8 of 4", n, len(summary.Configurations))
	}
	heads := table(t, c, headsFile)
	if want := []string{"la", "la", "cvs", "cvs", "cvs switch=0", "cvs switch=0", "cvs switch=6", "cvs switch=6"}; !slices.Equal(heads["configuration"], want) {
		t.Errorf("heads.csv has %q", heads["configuration"])
	}
	if got := table(t, c, summaryFile)["baseline"]; !slices.Equal(got, []string{"yes", "", "", ""}) {
		t.Errorf("baseline is %q", got)
	}
	if text := content(t, c.Out, summaryTextFile); !strings.Contains(text, "| la (baseline) | ") {
		t.Errorf("summary.md:\n%s", text)
	}
	// A head of a sweep is that of a run with its settings.
	one := c
	one.Out, one.Loss, one.Switch, one.Seed = filepath.Join(t.TempDir(), "run"), "cvs", new(0.0), 1
	m := finetune(t, one).Metrics
	for name, want := range map[string]Number{"balanced_accuracy": m.BalancedAccuracy, "ece": m.ECE, "nll": m.NLL, "few": m.Groups.Few.Accuracy} {
		if got := heads[name][5]; got != formatFloat(float64(want)) {
			t.Errorf("cvs switch=0 with seed 1: %s is %s, finetune gets %v", name, got, want)
		}
	}
}

// However often a sweep is interrupted, it ends as if it had not been, and
// trains no head twice that was written.
func TestSweepGoesOnAfterAnInterruption(t *testing.T) {
	c, x := experiment(t, `{grid: [{loss: [ce, la, vs], tau: [0.5, 1, 2], gamma: [0.1, 0.2]}], seeds: [0, 1]}`) // 36 heads
	runSweep(t, c, x, Events{})
	want := timeless(t, c)

	c.Out = filepath.Join(t.TempDir(), "interrupted")
	trained, interruptions := 0, 0
	for {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := Sweep(ctx, c, x, Events{Progress: func(stage, _ string, done, total int) {
			if stage != "sweep" {
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
		if KindOf(err) != KindInterrupted {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(c.Out, summaryFile)); err == nil {
			t.Error("an interrupted sweep leaves a summary")
		}
	}
	if got := timeless(t, c); got != want {
		t.Error("heads.csv differs from that of a sweep without interruption")
	}
	if interruptions != 2 || trained != 36 {
		t.Errorf("%d heads were finished in %d sessions, want each of 36 once in 3", trained, interruptions+1)
	}
}

func TestSweepReusesHeads(t *testing.T) {
	c, x := experiment(t, `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`)
	runSweep(t, c, x, Events{})
	for _, step := range []struct {
		name, grid string
		change     func()
		want       int
	}{
		{"the same again", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`, func() {}, 0},
		{"another name and baseline", `{name: x, grid: [{loss: [ce, la]}], seeds: [0, 1], baseline: {loss: ce}}`, func() {}, 0},
		{"a loss more, one less", `{grid: [{loss: [la, cvs]}], seeds: [0, 1]}`, func() {}, 2},
		{"a seed more", `{grid: [{loss: [ce, la]}], seeds: [0, 1, 2]}`, func() {}, 2},
		{"a default spelled out", `{grid: [{loss: [ce, la], tau: 1}], seeds: [0, 1]}`, func() {}, 0},
		{"a damaged file", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`, func() {
			files, _ := filepath.Glob(filepath.Join(c.Out, headsFolder, "*.json"))
			if err := os.Truncate(files[0], 100); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(files[1], 100); err != nil {
				t.Fatal(err)
			}
		}, -1},
		{"another setting that all share", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`, func() { c.Epochs = 5 }, 4},
		{"other images", `{grid: [{loss: [ce, la]}], seeds: [0, 1]}`, func() { c.Imbalance = "exp:20" }, 4},
		{"selection", `{grid: [{loss: [ce, la]}], seeds: [0, 1], selection: cv}`, func() {}, 4},
	} {
		step.change()
		n := 0
		runSweep(t, c, parseSweep(t, step.grid), counted(&n))
		if n != step.want && step.want >= 0 {
			t.Errorf("%s: %d heads were trained, want %d", step.name, n, step.want)
		}
		if failed := slices.ContainsFunc(table(t, c, headsFile)["balanced_accuracy"], func(v string) bool { return v == "" }); failed {
			t.Errorf("%s: heads without a result", step.name)
		}
	}
}

// sweep.yaml is an experiment file that gives the sweep again.
func TestSweepYAMLReproduces(t *testing.T) {
	c, x := experiment(t, `{name: again, grid: [{loss: [la, cvs], head: [cosine, linear]}], seeds: [0, 1], baseline: {loss: la, head: cosine}, selection: val, select-by: [loss]}`)
	c.Val, c.Seed, c.Imbalance = "0.2", 3, "exp:4"
	first := runSweep(t, c, x, Events{})
	want := timeless(t, c)
	again, _, err := ParseSweep([]byte(content(t, c.Out, sweepFile)))
	if err != nil {
		t.Fatal(err)
	}
	back := readConfigAmong(t, filepath.Join(c.Out, sweepFile))
	back.Out = filepath.Join(t.TempDir(), "again")
	second := runSweep(t, back, again, Events{})
	if got := timeless(t, back); got != want {
		t.Errorf("heads.csv differs:\n%s\n%s", got, want)
	}
	if first.Configurations[2].Settings["lr"] != second.Configurations[2].Settings["lr"] {
		t.Error("defaults of a loss got lost")
	}
}

// readConfigAmong reads the settings among an experiment file.
func readConfigAmong(t testing.TB, path string) Config {
	t.Helper()
	var c struct {
		Config `yaml:",inline"`
		Rest   map[string]any `yaml:",inline"`
	}
	readYAML(t, path, &c)
	return c.Config
}

func TestSweepTrainsEveryLoss(t *testing.T) {
	c, x := experiment(t, "{grid: [{loss: ["+strings.Join(Losses(), ", ")+"]}, {kappa: ["+strings.Join(KappaEstimators(), ", ")+"]}]}")
	s := runSweep(t, c, x, Events{})
	if s.Failed() > 0 {
		t.Errorf("%d heads failed: %q", s.Failed(), table(t, c, headsFile)["error"])
	}
	for _, line := range s.Configurations {
		if got := line.Metrics["balanced_accuracy"].Mean; !(got > 0.3) {
			t.Errorf("%s: balanced accuracy %.3f of four classes", line.Configuration, got)
		}
	}
}

// A head that diverges is recorded with its reason; the others are untouched,
// and the next sweep does not try it again.
func TestSweepOutlivesAFailure(t *testing.T) {
	c, x := experiment(t, `{grid: [{loss: ce, head: linear, lr: [0.01, 1e38, 0.02]}, {loss: [la, cvs]}]}`)
	for range 2 {
		n := 0
		s := runSweep(t, c, x, counted(&n))
		heads := table(t, c, headsFile)
		if want := []string{"done", "failed", "done", "done", "done"}; s.Failed() != 1 || !slices.Equal(heads["status"], want) {
			t.Fatalf("status %q, want %q", heads["status"], want)
		}
		if heads["balanced_accuracy"][1] != "" || !strings.Contains(heads["error"][1], "diverged") || heads["error"][0] != "" {
			t.Errorf("the failed head: %q, %q", heads["balanced_accuracy"][1], heads["error"][1])
		}
		if n != 5 && n != 0 {
			t.Errorf("%d heads were trained", n)
		}
	}
	// Features that cannot be prepared for one head do not stop the others either.
	s := runSweep(t, c, parseSweep(t, `{grid: [{loss: [ce, la]}, {loss: ce, shrinkage: 1e-30}]}`), Events{})
	if status := table(t, c, headsFile)["status"]; s.Failed() != 1 || !slices.Equal(status, []string{"done", "done", "failed"}) {
		t.Errorf("status %q", status)
	}
	if _, err := Sweep(context.Background(), c, parseSweep(t, `{grid: [{loss: ce, head: linear, lr: 1e38}]}`), Events{}); err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("a sweep in which every head failed ends with %v", err)
	}
}

// What is selected is the same whatever the labels of the test images.
func TestSelectionNeverReadsTheTestSet(t *testing.T) {
	c, x := experiment(t, `{grid: [{loss: [la, cvs], lr: [0.0001, 0.02]}], selection: cv, select-by: [loss]}`)
	c.Folds = 3
	var scrambled strings.Builder
	scrambled.WriteString("path,label\n")
	for k := range 4 {
		files, err := filepath.Glob(filepath.Join(c.Test, "class-"+string(rune('a'+k)), "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for i, f := range files {
			fmt.Fprintf(&scrambled, "%s,class-%c\n", f, 'a'+(k+i)%4)
		}
	}
	path := filepath.Join(t.TempDir(), "scrambled.csv")
	if err := os.WriteFile(path, []byte(scrambled.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, selection := range []sweep.Selection{sweep.SelectCV, sweep.SelectVal} {
		x.Selection = selection
		if selection == sweep.SelectVal {
			c.Val = "0.3"
		}
		honest := c
		runSweep(t, honest, x, Events{})
		before, beforeHeads := table(t, honest, summaryFile), table(t, honest, headsFile)
		other := c
		other.Test, other.Out = path, filepath.Join(t.TempDir(), "scrambled")
		runSweep(t, other, x, Events{})
		after, afterHeads := table(t, other, summaryFile), table(t, other, headsFile)
		selected := 0
		for _, cell := range before["selected"] {
			if cell == "yes" {
				selected++
			}
		}
		if selected != 2 {
			t.Errorf("%s: %d selected, want one for each loss: %q", selection, selected, before["selected"])
		}
		if !slices.Equal(before["selected"], after["selected"]) || !slices.Equal(beforeHeads["selection"], afterHeads["selection"]) {
			t.Errorf("%s: with other test labels\n%q\n%q\nare selected for\n%q\n%q", selection, before["selected"], after["selected"], beforeHeads["selection"], afterHeads["selection"])
		}
		if slices.Equal(before["balanced_accuracy"], after["balanced_accuracy"]) {
			t.Errorf("%s: other test labels, but the same accuracy: nothing was tested", selection)
		}
	}
}

// Calibration and test-time views are those of the runs, and where both a score
// and temperatures need heads of folds, these are trained once.
func TestSweepCalibrates(t *testing.T) {
	c, x := experiment(t, `{grid: [{loss: [ce, la]}], selection: cv}`)
	c.Calibration, c.TTA, c.Folds, c.Views = temperature, 2, 3, 1
	runSweep(t, c, x, Events{})
	heads := table(t, c, headsFile)
	one := c
	one.Out, one.Loss = filepath.Join(t.TempDir(), "run"), "la"
	m := finetune(t, one).Metrics
	for name, want := range map[string]Number{"ece": m.ECE, "nll": m.NLL, "ece_before": m.Calibration.Before.ECE, "ece_before_few": m.Calibration.Before.Groups.Few.ECE} {
		if got := heads[name][1]; got != formatFloat(float64(want)) {
			t.Errorf("la: %s is %s, finetune gets %v", name, got, want)
		}
	}
	if heads["selection"][0] == "" || heads["selection"][1] == "" {
		t.Errorf("selection scores %q", heads["selection"])
	}
}

func TestSweepKeepsToItself(t *testing.T) {
	c, x := experiment(t, `{grid: [{loss: ce}]}`)
	runSweep(t, c, x, Events{})
	lock, err := runFolder(c.Out).lock()
	if err != nil {
		t.Fatalf("a finished sweep keeps its folder locked: %v", err)
	}
	if _, err := Sweep(context.Background(), c, x, Events{}); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("two sweeps in one folder: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// A bad experiment is refused before anything is written, with its cure.
func TestSweepRefuses(t *testing.T) {
	work := t.TempDir()
	taken := filepath.Join(work, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	good := Config{Train: work, Test: work, Out: filepath.Join(work, "out")}
	for name, c := range map[string]struct {
		config Config
		grid   string
		wants  []string
	}{
		"value":     {good, `{grid: [{loss: ce}, {loss: [la, hinge]}]}`, []string{"grid, block 2", "{loss: hinge}", "choose one of"}},
		"type":      {good, `{grid: [{epochs: many}]}`, []string{"grid, block 1", "epochs: many is no whole number"}},
		"range":     {good, `{grid: [{loss: cvs, switch: [0, 1.5]}]}`, []string{"grid, block 1", "switch 1.5"}},
		"baseline":  {good, `{grid: [{loss: ce}], baseline: {loss: la}}`, []string{"baseline", "{loss: la}"}},
		"selection": {good, `{grid: [{loss: ce}], selection: val}`, []string{"val needs validation images"}},
		"no test":   {Config{Train: work, Out: good.Out}, `{grid: [{loss: ce}]}`, []string{"needs both"}},
	} {
		_, err := Sweep(context.Background(), c.config, parseSweep(t, c.grid), Events{})
		if KindOf(err) != KindConfig {
			t.Errorf("%s: %v is no configuration error", name, err)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", name, want, err)
			}
		}
		if _, err := os.Stat(good.Out); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: there is a folder already", name)
		}
	}
	j := job(t)
	j.Out = taken
	if _, err := Sweep(context.Background(), j, parseSweep(t, `{grid: [{loss: ce}]}`), Events{}); KindOf(err) != KindConfig || !strings.Contains(err.Error(), taken) {
		t.Errorf("a folder with other things in it: %v", err)
	}
}

func TestSweepSaysWhatHasNoEffect(t *testing.T) {
	x := parseSweep(t, `{grid: [{loss: [ce, la], tau: 1}, {loss: cvs}]}`)
	if got := (Training{Loss: "la", Tau: new(2.0), Epochs: 3}).withoutEffect(x); !slices.Equal(got, []string{"loss"}) {
		t.Errorf("%v, want loss, which both blocks set; tau still counts in the second", got)
	}
}

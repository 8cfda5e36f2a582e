package engine_test

import (
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
)

// degenerate are settings that are allowed and end in no result, with what is said of it.
var degenerate = []struct {
	settings map[string]any
	want     []string
}{
	{map[string]any{"loss": "post-hoc-la", "tau": 1000}, []string{"has collapsed: it takes all 24 images for class-"}},
	{map[string]any{"loss": "ce", "lr": 1e-30, "scale": 1}, []string{"the loss never fell"}},
}

// A run that ends in no result says so wherever its numbers are read.
func TestRunWithoutResultSaysSo(t *testing.T) {
	o := job(t)
	for _, c := range degenerate {
		d := elsewhere(t, o)
		set(t, d.Fields(), c.settings)
		r := finetune(t, d)
		for _, want := range c.want {
			for what, said := range map[string]string{
				"metrics.json": strings.Join(read(t, r.Run, run.MetricsFile).Warnings, "\n"),
				"warnings.txt": content(t, r.Run, run.WarningsFile),
				"report.html":  content(t, r.Run, run.ReportFile),
				"README.md":    content(t, r.Run, run.CardFile),
				"the summary":  r.Metrics.Text(),
			} {
				if !strings.Contains(said, want) {
					t.Errorf("%v: %s does not say %q", c.settings, what, want)
				}
			}
		}
		if m := evaluate(t, evaluation(r.Run, d)).Metrics; slices.Contains(c.want, "has collapsed") &&
			!strings.Contains(m.Text(), "has collapsed") {
			t.Errorf("%v: evaluate says %q", c.settings, m.Text())
		}
	}
}

func TestSweepWithoutResultSaysSo(t *testing.T) {
	x, _ := sweepJob(t, "grid: [{loss: [ce, la]}, {loss: post-hoc-la, tau: 1000}, {loss: ce, lr: 1e-30, scale: 1}]\n"+
		"seeds: [0, 1]")
	var warned []string
	ev := event.Events{}.Recording(&warned)
	s := runSweep(t, x, ev)
	for what, said := range map[string]string{
		"heads.csv":   strings.Join(table(t, x.Out, run.HeadsFile)["warnings"], "\n"),
		"summary.md":  content(t, x.Out, run.SummaryTextFile),
		"report.html": content(t, x.Out, run.ReportFile),
		"the summary": s.Text(),
		"the log":     strings.Join(warned, "\n"),
		"the lines":   fmt.Sprint(s.Configurations[2].Warnings, s.Configurations[3].Warnings),
	} {
		if !strings.Contains(said, "the loss never fell") || !strings.Contains(said, "has collapsed") {
			t.Errorf("%s does not say it: %q", what, said)
		}
	}
	for _, l := range s.Configurations[:2] {
		if l.Warnings != nil {
			t.Errorf("%s: %q", l.Configuration, l.Warnings)
		}
	}
	// Heads that were kept keep their warnings.
	if again := runSweep(t, x, event.Events{}); !slices.Equal(again.Configurations[2].Warnings,
		s.Configurations[2].Warnings) {
		t.Errorf("again: %q", again.Configurations[2].Warnings)
	}
}

// No loss at its defaults, and no estimator of κ, gives such a warning, on drawn pictures and on real photos.
func TestSoundRunsGiveNoWarning(t *testing.T) {
	quiet := func(t *testing.T, o engine.SweepOptions) {
		o.Experiment = parse(t, "grid: [{loss: ["+strings.Join(head.Losses(), ", ")+"]}, "+
			`{loss: cvs, switch: [0, 1, 0.8], kappa: [slope, vit, ddc, "slope:by=label", none]}]`)
		o.Out = filepath.Join(t.TempDir(), "sweep")
		for _, l := range runSweep(t, o, event.Events{}).Configurations {
			if l.Failed > 0 || l.Warnings != nil {
				t.Errorf("%s: %d failed, %q", l.Configuration, l.Failed, l.Warnings)
			}
		}
	}
	t.Run("pictures", func(t *testing.T) {
		o := job(t)
		quiet(t, engine.SweepOptions{Data: o.Data, Device: o.Device, Features: o.Features})
	})
	t.Run("photos", func(t *testing.T) {
		if testing.Short() {
			t.Skip("encodes 200 photos")
		}
		o := realJob(t, testkit.Unpacked(t, "caltech101", "train"), testkit.Unpacked(t, "caltech101", "test"), 10,
			func(k int) int { return max(2, 30>>k) }, 12)
		quiet(t, engine.SweepOptions{Data: o.Data, Device: o.Device, Features: o.Features, Backbone: o.Backbone})
	})
}

// The embedded backbone on photos is a warning that says what to take instead; on pictures of its own size it is none.
func TestTinyBackboneOnPhotos(t *testing.T) {
	o := job(t)
	warnings := func() string {
		var said []string
		o.DryRun = true
		if _, err := engine.Finetune(t.Context(), o, event.Events{}.Recording(&said)); err != nil {
			t.Fatal(err)
		}
		return strings.Join(said, "\n")
	}
	if said := warnings(); strings.Contains(said, "tiny pictures") {
		t.Error(said)
	}
	dir := t.TempDir()
	for i := range 6 {
		photo := image.NewGray(image.Rect(0, 0, 300, 200+i))
		testkit.WriteFile(t, filepath.Join(dir, fmt.Sprintf("class-%d", i%2), fmt.Sprintf("%d.png", i)),
			testkit.PNG(t, photo))
	}
	o.Data.Train, o.Data.Test = dir, ""
	for _, want := range []string{"tiny pictures", "28×28 pixels", "203 pixels a side",
		"vitft models pull dinov2-small"} {
		if said := warnings(); !strings.Contains(said, want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
}

// A feature of fewer numbers than there are classes is said, with the tensor that it is.
func TestFewerNumbersThanClasses(t *testing.T) {
	o := job(t)
	e := engine.EncodeOptions{Device: o.Device, Features: o.Features}
	e.Backbone.Name = filepath.Join("..", "onnx", "vision", "testdata", "clip.onnx")
	for _, classes := range []int{6, 7} {
		e.Data.Train = testkit.Folder(t, 3, slices.Repeat([]int{1}, classes)...)
		var warned []string
		_, err := engine.Encode(t.Context(), e, event.Events{Note: func(l event.Level, message string, kv ...any) {
			if l == event.Warning && strings.Contains(message, "fewer numbers") {
				warned = append(warned, fmt.Sprint(kv...))
			}
		}})
		if err != nil || len(warned) != classes-6 || classes == 7 && !strings.Contains(warned[0], "image_embeds") {
			t.Errorf("%d classes, 6 numbers: %q, %v", classes, warned, err)
		}
	}
}

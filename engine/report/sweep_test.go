package report_test

import (
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/internal/vec"
)

// sweepFixture describes the folder of a sweep to draw up, whose tables the package sweep makes of random predictions.
type sweepFixture struct {
	experiment string
	shared     string                              // more keys of sweep.yaml
	quality    func(s sweep.Settings) float64      // of a configuration's heads, about 1
	failed     func(name string, seed uint64) bool // nil: none
	warned     func(name string, seed uint64) bool // nil: none
	calibrated bool
}

const ablation = `{name: Ablation <of> parts, grid: [{loss: [ce, la]}, {loss: cvs, gamma: [0.05, 0.1, 0.2], kappa: [slope, none]}, {loss: cvs, lr: [0.0001, 0.001, 0.01]}], seeds: [0, 1], baseline: {loss: la}, selection: cv, select-by: [loss]}`

func (f sweepFixture) write(t testing.TB) (string, *sweep.Summary) {
	t.Helper()
	x, _, err := sweep.Parse([]byte(f.experiment), nil, []string{"loss", "gamma", "tau", "kappa", "lr", "switch",
		"epochs"})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := x.Plan(func(point map[string]any) (sweep.Settings, error) {
		s := sweep.Settings{"gamma": 0.15, "tau": 1.0, "kappa": "slope", "lr": 0.03, "switch": 0.2, "seed": uint64(0)}
		maps.Copy(s, point)
		return s, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const classes, perClass = 12, 10
	names, counts, labels := make([]string, classes), make([]int, classes), make([]int, classes*perClass)
	for k := range names {
		names[k], counts[k] = fmt.Sprint("class ", k), 300/(1+3*k)
	}
	for i := range labels {
		labels[i] = i % classes
	}
	head := func(i int, seed uint64) sweep.Head {
		c := plan.Configurations[i]
		h := sweep.Head{ID: fmt.Sprint(i, "-", seed), Settings: c.Settings, Seed: seed,
			Seconds: sweep.Seconds{Train: 1.5}}
		if f.failed != nil && f.failed(c.Name, seed) {
			h.Error = "training diverged, in epoch 3"
			return h
		}
		r := rand.New(rand.NewPCG(seed, 5)) // the same images are hard for all
		quality := 1.0
		if f.quality != nil {
			quality = f.quality(c.Settings)
		}
		logits := make([]float32, len(labels)*classes)
		for j := range logits {
			logits[j] = float32(r.NormFloat64())
		}
		for j, y := range labels {
			logits[j*classes+y] += float32(2 * quality)
			h.Predicted = append(h.Predicted, vec.Argmax(logits[j*classes:(j+1)*classes]))
		}
		m := metric.Measure(logits, nil, labels, names, counts)
		if f.warned != nil && f.warned(c.Name, seed) {
			m.Warnings = []string{"it takes all for <one>", "and more"}
		}
		if f.calibrated {
			m.Calibration = &metric.Calibration{Method: "temperature", Temperature: []float64{1.5},
				Before: metric.Uncalibrated{Scores: metric.Scores{ECE: 0.25, NLL: 2}, Groups: m.Groups}}
		}
		h.Metrics = &m
		if x.Selection != sweep.SelectNone {
			h.Selection = new(float64(m.BalancedAccuracy) - 0.01)
		}
		return h
	}
	s := sweep.Summarize(x, plan, head, labels, classes)
	dir := t.TempDir()
	put(t, dir, "heads.csv", csvOf(t, s.HeadsCSV()))
	put(t, dir, "summary.csv", csvOf(t, s.CSV()))
	put(t, dir, "sweep.yaml", "{train: /data/cifar/train, test: /data/cifar/test, backbone: /models/vit.onnx, "+
		"feature: auto, views: 2, tta: 1, folds: 5, "+f.shared+f.experiment[1:])
	return dir, s
}

func writeSweep(t testing.TB, dir string) string {
	t.Helper()
	s, err := report.LoadSweep(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSweepTable(t *testing.T) {
	dir, s := sweepFixture{experiment: ablation, calibrated: true, shared: "calibration: temperature, ",
		quality: func(s sweep.Settings) float64 {
			if s["loss"] == "ce" {
				return 0.5
			}
			return 1 + s["gamma"].(float64)
		},
		failed: func(name string, seed uint64) bool {
			return name == "cvs lr=0.01" || name == "cvs gamma=0.2 kappa=none" && seed == 1
		},
		warned: func(name string, seed uint64) bool { return name == "ce" && seed == 1 }}.write(t)
	page := parse(t, writeSweep(t, dir))
	if title := page.named("h1")[0].content; title != "Ablation <of> parts" {
		t.Errorf("title %q", title)
	}
	var titles []string
	for _, th := range page.section(t, "results").named("thead")[0].named("th") {
		titles = append(titles, th.content)
	}
	for _, want := range []string{"ECE before", "ECE few before", "Score", "Difference [95 %]"} {
		if !slices.Contains(titles, want) {
			t.Errorf("no column %q among %q", want, titles)
		}
	}
	column := func(title string) int { return slices.Index(titles, title) }
	rows := page.section(t, "results").rows()
	if len(rows) != len(s.Configurations) {
		t.Fatalf("%d rows of %d configurations", len(rows), len(s.Configurations))
	}
	elements := page.section(t, "results").named("tbody")[0].named("tr")
	for i, c := range s.Configurations {
		row := rows[i]
		if !strings.HasPrefix(row[0], c.Configuration) || strings.Contains(row[0], "baseline") != c.Baseline ||
			strings.Contains(row[0], "*") != c.Selected {
			t.Errorf("row %d is %q, want that of %+v", i, row[0], c)
		}
		if class := elements[i].attr["class"]; (class == "selected") != c.Selected ||
			(class == "baseline") != (c.Baseline && !c.Selected) {
			t.Errorf("%s is marked %q", c.Configuration, class)
		}
		for title, name := range map[string]string{"Balanced accuracy": "balanced_accuracy", "Many": "many",
			"Few": "few", "ECE": "ece", "ECE few": "ece_few", "ECE before": "ece_before", "NLL": "nll"} {
			want := ""
			if v := c.Metrics[name]; !math.IsNaN(v.Mean) {
				want = fmt.Sprintf("%.4f", v.Mean)
				if !math.IsNaN(v.Std) {
					want += fmt.Sprintf(" ±%.4f", v.Std)
				}
			}
			if got := row[column(title)]; got != want {
				t.Errorf("%s: %s is %q, want %q", c.Configuration, title, got, want)
			}
		}
		if c.Failed > 0 && !strings.Contains(row[0], fmt.Sprintf("%d of 2 failed", c.Failed)) {
			t.Errorf("%q does not say that %d heads failed", row[0], c.Failed)
		}
		want := ""
		if d := c.Difference; d != nil {
			want = strings.NewReplacer("-0.0000", "0.0000", "+0.0000", "0.0000").Replace(fmt.Sprintf("%+.4f",
				d.Difference))
			want += strings.NewReplacer("-0.0000", "0.0000").Replace(fmt.Sprintf(" [%.4f, %.4f]", d.Low, d.High))
			want = strings.ReplaceAll(want, "-", "−")
		}
		if got := row[column("Difference [95 %]")]; got != want {
			t.Errorf("%s: difference %q, want %q", c.Configuration, got, want)
		}
	}
	if text := page.section(t, "failures").content; strings.Count(text, "training diverged, in epoch 3") != 3 {
		t.Errorf("failures: %q", text)
	}
	warned := page.section(t, "warnings").content
	if want := "ce, seed 1: it takes all for <one>; and more"; strings.Count(warned, "seed") != 1 ||
		!strings.Contains(warned, want) {
		t.Errorf("warnings: %q, want %q", warned, want)
	}
	ran := page.section(t, "run").content
	for _, want := range []string{"cifar/train", "cifar/test", "models/vit.onnx",
		"training on 2 views of each image; judged as they are",
		"temperature, fitted on out-of-fold logits of the training images, 5 folds",
		"22 of 11 configurations, 3 failed", "0, 1", "ce, la, cvs", "slope, none",
		"out-of-fold predictions on the training images, the best of each loss", "{loss: [ce, la]}"} {
		if !strings.Contains(ran, want) {
			t.Errorf("what was run does not say %q: %q", want, ran)
		}
	}
}

// What sorts the table by a heading is the number as it was, whatever is shown.
func TestSweepTableSortsByNumbers(t *testing.T) {
	dir, s := sweepFixture{experiment: ablation}.write(t)
	for i, tr := range parse(t, writeSweep(t, dir)).section(t, "results").named("tbody")[0].named("tr") {
		want := s.Configurations[i].Metrics["balanced_accuracy"].Mean
		if v, err := strconv.ParseFloat(tr.children[1].attr["data-value"], 64); err != nil || v != want {
			t.Errorf("row %d sorts by %q, want %v", i, tr.children[1].attr["data-value"], want)
		}
	}
}

func TestSweepCharts(t *testing.T) {
	dir, _ := sweepFixture{experiment: ablation}.write(t)
	text := writeSweep(t, dir)
	page := parse(t, text)
	for id, plots := range map[string]int{"comparison": 1, "groups": 1, "curves": 3} {
		if got := len(page.section(t, id).named("svg")); got != plots {
			t.Errorf("section %s has %d plots, want %d", id, got, plots)
		}
	}
	// gamma varies with each kappa, the learning rate once; kappa is no number.
	var captions []string
	for _, c := range page.section(t, "curves").named("figcaption") {
		captions = append(captions, c.content)
	}
	if want := []string{"gamma of cvs kappa=slope", "gamma of cvs kappa=none",
		"lr of cvs"}; !slices.Equal(slices.Sorted(slices.Values(captions)), slices.Sorted(slices.Values(want))) {
		t.Errorf("curves %q, want %q", captions, want)
	}
	for _, svg := range page.named("svg") {
		if svg.attr["role"] != "group" || svg.attr["aria-label"] == "" || svg.attr["viewBox"] == "" {
			t.Errorf("a plot has attributes %v", svg.attr)
		}
	}
	if found := regexp.MustCompile(`(?i)(#[0-9a-f]{6}|font-family|NaN|Inf)[^<]*</?(path|text|g)`).FindString(text); found != "" {
		t.Errorf("a plot has %q", found)
	}
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") || strings.Count(text, "<script") != 1 {
		t.Error("the page is not self-contained")
	}
	for _, link := range page.named("a") {
		page.section(t, strings.TrimPrefix(link.attr["href"], "#"))
	}
}

// A switch is a fraction of the epochs or an epoch; on an axis they are one.
func TestSweepCurveOfTheSwitch(t *testing.T) {
	dir, _ := sweepFixture{experiment: `{grid: [{loss: cvs, switch: [0, 0.2, 0.5, 20]}]}`,
		shared: "epochs: 20, "}.write(t)
	page := parse(t, writeSweep(t, dir))
	var texts []string
	for _, e := range page.section(t, "curves").named("text") {
		texts = append(texts, e.content)
	}
	if !slices.Contains(texts, "switch (fraction of the epochs)") || !slices.Contains(texts, "1") ||
		slices.Contains(texts, "20") || slices.Contains(texts, "-0") {
		t.Errorf("the axis of the switch says %q", texts)
	}
}

func TestSweepWithoutBaseline(t *testing.T) {
	dir, _ := sweepFixture{experiment: `{grid: [{loss: [ce, la]}]}`}.write(t)
	text := writeSweep(t, dir)
	page := parse(t, text)
	if got := page.named("h1")[0].content; got != "Sweep "+filepath.Base(dir) {
		t.Errorf("title %q", got)
	}
	if strings.Contains(page.section(t, "comparison").content, "difference") ||
		strings.Contains(page.section(t, "results").content, "Difference") {
		t.Error("without a baseline there is a difference")
	}
	if strings.Contains(text, `id="curves"`) || strings.Contains(text, `id="failures"`) ||
		strings.Contains(text, `id="warnings"`) {
		t.Error("a sweep without curves, failures and warnings has a section for them")
	}
}

func TestSweepOfManyConfigurations(t *testing.T) {
	var values []string
	for i := range 220 {
		values = append(values, strconv.FormatFloat(float64(i)/220, 'g', 4, 64))
	}
	dir, _ := sweepFixture{experiment: `{grid: [{loss: ce}, {loss: la, tau: [` + strings.Join(values, ", ") +
		`]}], baseline: {loss: ce}}`,
		quality: func(s sweep.Settings) float64 {
			if s["loss"] == "ce" {
				return 0.2 // ranks last, and is shown
			}
			tau, err := strconv.ParseFloat(sweep.Format(s["tau"]), 64)
			if err != nil {
				t.Fatal(err)
			}
			return 0.8 + tau/3
		}}.write(t)
	text := writeSweep(t, dir)
	page := parse(t, text)
	if rows := len(page.section(t, "results").rows()); rows != 221 {
		t.Errorf("%d rows", rows)
	}
	comparison := page.section(t, "comparison")
	if len(comparison.named("svg")) != 4 || len(comparison.named("details")) != 3 ||
		!strings.Contains(comparison.content, "Of 221 configurations 151 are drawn") {
		t.Errorf("%d plots: %q", len(comparison.named("svg")), comparison.content[:400])
	}
	if !slices.ContainsFunc(comparison.named("text"), func(e *element) bool { return e.content == "ce (baseline)" }) {
		t.Error("the baseline is not drawn")
	}
	if len(text) > 3<<20 {
		t.Errorf("%d bytes", len(text))
	}
}

func TestSweepOfNothingButFailures(t *testing.T) {
	dir, _ := sweepFixture{experiment: ablation, failed: func(string, uint64) bool { return true }}.write(t)
	page := parse(t, writeSweep(t, dir))
	if text := page.section(t, "comparison").content; !strings.Contains(text, "No head was trained") {
		t.Errorf("%q", text)
	}
	for _, row := range page.section(t, "results").rows() {
		if row[1] != "2" { // of the columns only those of seeds and seconds are left
			t.Errorf("row %q", row)
		}
	}
}

func TestSaveSweep(t *testing.T) {
	dir, _ := sweepFixture{experiment: ablation}.write(t)
	for range 2 {
		if _, err := report.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, run.ReportFile.Name)); err != nil ||
		string(got) != writeSweep(t, dir) {
		t.Errorf("%s is another page (%v)", run.ReportFile.Name, err)
	}
}

func TestUnfinishedAndDamagedSweeps(t *testing.T) {
	for _, name := range []string{"sweep.yaml", "summary.csv", "heads.csv"} {
		dir, _ := sweepFixture{experiment: ablation}.write(t)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := report.LoadSweep(dir); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	edit := func(from, to string) func(string) string {
		return func(text string) string { return strings.Replace(text, from, to, 1) }
	}
	whole := func(text string) func(string) string { return func(string) string { return text } }
	for _, x := range []struct {
		file  string
		edit  func(string) string
		names string
	}{
		{"sweep.yaml", whole("- a\n"), "keys and values"},
		{"sweep.yaml", whole(""), "empty"},
		{"summary.csv", whole(""), "empty"},
		{"summary.csv", whole("a,b\n"), "header"},
		{"summary.csv", edit("difference_low", "low"), "header"},
		{"summary.csv", edit(",seconds", ",time"), "has no seconds"},
		{"summary.csv", edit(",ece_few,", ",ece,"), "has ece twice"},
		{"summary.csv", func(text string) string { return text[:strings.Index(text, "\n")+1] }, "no configurations"},
		{"summary.csv", func(text string) string { return text + strings.Split(text, "\n")[1] + "\n" }, "twice"},
		{"summary.csv", edit("\nce,", "\nce,,"), "record on line 2"},
		{"summary.csv", edit(",2,0,yes", ",two,0,yes"), "line 3: seeds"},
		{"summary.csv", func(text string) string {
			return regexp.MustCompile(`0\.\d{4,}`).ReplaceAllString(text, "much")
		}, "is no number"},
		{"heads.csv", edit("id,configuration", "id,name"), "has no configuration"},
		{"heads.csv", edit(",la,", ",lala,"), "no configuration of summary.csv"},
		{"heads.csv", edit("status", "seed"), "header"},
	} {
		dir, _ := sweepFixture{experiment: ablation}.write(t)
		text, err := os.ReadFile(filepath.Join(dir, x.file))
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, x.file, x.edit(string(text)))
		if _, err := report.LoadSweep(dir); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), x.names) || !strings.Contains(err.Error(), x.file) {
			t.Errorf("%s: %v, want it to name %q", x.file, err, x.names)
		}
	}
}

// FuzzSweep: whatever LoadSweep takes, Write can show.
func FuzzSweep(f *testing.F) {
	dir, _ := sweepFixture{experiment: ablation}.write(f)
	var files [3][]byte
	for i, name := range []string{"sweep.yaml", "summary.csv", "heads.csv"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		files[i] = text
	}
	f.Add(files[0], files[1], files[2])
	f.Add([]byte("a: &a [{b: *a}]\nseeds: [{"), files[1], files[2])
	f.Add([]byte("grid: [[1], {x: [y, {z: 1}]}]\nepochs: 0\n"), []byte(strings.ReplaceAll(string(files[1]), "0.",
		"1e8")), files[2])
	f.Fuzz(func(t *testing.T, config, summary, heads []byte) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"sweep.yaml": config, "summary.csv": summary, "heads.csv": heads} {
			put(t, dir, name, string(text))
		}
		s, err := report.LoadSweep(dir)
		loadsAndWrites(t, s, err)
	})
}

// loadsAndWrites expects a page that can be written, or its files refused as bad data.
func loadsAndWrites(t *testing.T, page interface{ Write(io.Writer) error }, err error) {
	t.Helper()
	if err != nil {
		if fault.Of(err) != fault.Data {
			t.Errorf("loading: %v, want it to wrap ErrData", err)
		}
		return
	}
	if err := page.Write(io.Discard); err != nil {
		t.Errorf("Write: %v", err)
	}
}

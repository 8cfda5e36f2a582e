package sweep

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/metric"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

func TestCompareAgainstNumpy(t *testing.T) {
	text, err := os.ReadFile("testdata/compare.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Labels                []int
		A, B                  [][]int
		Difference, Low, High float64
		SeedStd               float64 `json:"seed_std"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got := Compare(want.A, want.B, want.Labels, 5)
	if !near(got.Difference, want.Difference) || !near(got.Low, want.Low) || !near(got.High, want.High) ||
		!near(got.SeedStd, want.SeedStd) || got.Seeds != 3 {
		t.Errorf("got %+v, numpy says %+v", got, want)
	}
	swapped := Compare(want.B, want.A, want.Labels, 5)
	if !near(swapped.Difference, -got.Difference) || !near(swapped.Low, -got.High) {
		t.Errorf("turned round: %+v", swapped)
	}
}

// By hand: class 0 has d = 1, 0 (mean 1/2, variance 1/2), class 1 the single image d = −1 with the pooled variance 1/2,
// class 2 no image.
func TestCompareByHand(t *testing.T) {
	labels := []int{0, 0, 1}
	got := Compare([][]int{{0, 0, 2}}, [][]int{{1, 0, 1}}, labels, 3)
	se := math.Sqrt(0.5/2+0.5) / 2
	if !near(got.Difference, (0.5-1)/2) || !near(got.High-got.Low, 2*1.96*se) || !math.IsNaN(got.SeedStd) {
		t.Errorf("%+v, want difference −0.25 and standard error %v", got, se)
	}
	if got := Compare([][]int{{0, 1}}, [][]int{{0, 0}}, []int{0, 1}, 2); !near(got.Difference, 0.5) ||
		!math.IsNaN(got.Low) {
		t.Errorf("one image a class: %+v, want a difference without an interval", got)
	}
}

// The 95 % interval holds the true difference in 95 % of draws of a test set.
func TestCompareCovers(t *testing.T) {
	const draws, classes = 2000, 12
	rng := rand.New(rand.NewPCG(1, 2))
	var both, onlyA, onlyB [classes]float64 // joint probabilities of being right
	truth := 0.0
	for k := range classes {
		both[k], onlyA[k], onlyB[k] = 0.3+0.4*rng.Float64(), 0.15*rng.Float64(), 0.15*rng.Float64()
		truth += (onlyA[k] - onlyB[k]) / classes
	}
	var labels []int
	for k := range classes {
		labels = append(labels, slices.Repeat([]int{k}, 15+7*k)...)
	}
	covered := 0
	for range draws {
		a, b := make([]int, len(labels)), make([]int, len(labels))
		for i, y := range labels {
			a[i], b[i] = y, y
			switch u := rng.Float64(); {
			case u < both[y]:
			case u < both[y]+onlyA[y]:
				b[i] = -1
			case u < both[y]+onlyA[y]+onlyB[y]:
				a[i] = -1
			default:
				a[i], b[i] = -1, -1
			}
		}
		if c := Compare([][]int{a}, [][]int{b}, labels, classes); c.Low <= truth && truth <= c.High {
			covered++
		}
	}
	// Three binomial standard deviations of 2000 draws are 1.5 %.
	if rate := float64(covered) / draws; rate < 0.935 || rate > 0.965 {
		t.Errorf("the interval holds the truth in %.1f %% of draws, want 95 %%", 100*rate)
	}
}

// trained makes heads of a plan over two classes of two images: right[name][seed] is how many of the four images are
// right, −1 a failure.
func trained(p *Plan, right map[string][]int, score map[string]float64) (func(int, uint64) Head, []int) {
	labels := []int{0, 0, 1, 1}
	return func(i int, seed uint64) Head {
		c := p.Configurations[i]
		h := Head{ID: fmt.Sprintf("%s/%d", c.Name, seed), Settings: c.Settings, Seed: seed, Seconds: Seconds{Train: 1,
			Evaluate: 0.5}}
		n := right[c.Name][seed]
		if n < 0 {
			h.Error = "training diverged, in epoch 3"
			return h
		}
		for j, y := range labels {
			if j >= n {
				y = 1 - y
			}
			h.Predicted = append(h.Predicted, y)
		}
		if v, ok := score[c.Name]; ok {
			h.Selection = new(v + 0.01*float64(seed))
		}
		h.Metrics = new(metric.Metrics)
		text := fmt.Appendf(nil, `{"top1": %v, "balanced_accuracy": %[1]v, "ece": 0.1,
			"groups": {"many": {"accuracy": null}, "few": {"accuracy": %[1]v, "ece": 0.2}},
			"calibration": {"before": {"ece": 0.3, "groups": {"few": {"ece": 0.4}}}}}`, float64(n)/4)
		if err := json.Unmarshal(text, h.Metrics); err != nil {
			panic(err)
		}
		return h
	}, labels
}

const trialGrid = `{name: trial, grid: [{loss: [ce, la, cvs]}, {loss: la, tau: 2}], seeds: [0, 1], baseline: {loss: ce}, selection: cv, select-by: [loss]}`

func trial(t *testing.T) *Summary {
	t.Helper()
	p := plan(t, trialGrid)
	heads, labels := trained(p, map[string][]int{"ce": {2, 3}, "la": {3, 3}, "la tau=2": {4, 4}, "cvs": {4, -1}},
		map[string]float64{"la": 0.7, "la tau=2": 0.6, "cvs": 0.9})
	return Summarize(parse(t, trialGrid), p, heads, labels, 2)
}

func TestSummarize(t *testing.T) {
	s := trial(t)
	line := func(name string) Line {
		return s.Configurations[slices.IndexFunc(s.Configurations,
			func(l Line) bool { return l.Configuration == name })]
	}
	if got := line("ce").Metrics["balanced_accuracy"]; !near(got.Mean, 0.625) || !near(got.Std, 0.125*math.Sqrt2) {
		t.Errorf("ce: %+v, want 0.625 ± 0.1768", got)
	}
	if got := line("la").Metrics; !near(got["ece_before_few"].Mean, 0.4) || !near(got["ece_few"].Mean, 0.2) ||
		!math.IsNaN(got["many"].Mean) {
		t.Errorf("la: %+v", got)
	}
	if d := line("la").Difference; d == nil || !near(d.Difference, 0.125) || d.Seeds != 2 {
		t.Errorf("la against ce: %+v, want 0.125 over two seeds", d)
	}
	if d := line("cvs").Difference; d == nil || !near(d.Difference, 0.5) || d.Seeds != 1 {
		t.Errorf("cvs, which failed with seed 1, against ce: %+v, want 0.5 over the seed that both have", d)
	}
	if line("ce").Difference != nil || !line("ce").Baseline {
		t.Error("the baseline is compared with itself")
	}
	// The better test accuracy of la tau=2 counts for nothing; cvs failed once; ce has no score.
	for name, want := range map[string]bool{"la": true, "la tau=2": false, "cvs": false, "ce": false} {
		if got := line(name).Selected; got != want {
			t.Errorf("%s: selected %v", name, got)
		}
	}
	if s.Failed() != 1 || line("cvs").Failed != 1 || line("cvs").Seconds != 3 {
		t.Errorf("%d failures; cvs %+v", s.Failed(), line("cvs"))
	}
}

func TestTables(t *testing.T) {
	s := trial(t)
	for name, rows := range map[string][][]string{"heads.csv": s.HeadsCSV(), "summary.csv": s.CSV()} {
		for i, row := range rows {
			if len(row) != len(rows[0]) {
				t.Errorf("%s: line %d has %d cells, the header %d", name, i, len(row), len(rows[0]))
			}
			for j, cell := range row {
				if strings.Contains(cell, "NaN") {
					t.Errorf("%s: line %d: %s is %q", name, i, rows[0][j], cell)
				}
			}
		}
	}
	cell := func(rows [][]string, configuration, column string) string {
		at := slices.Index(rows[0], column)
		for _, row := range rows {
			if slices.Contains(row[:2], configuration) {
				return row[at]
			}
		}
		return "no such line"
	}
	for _, c := range []struct{ table, configuration, column, want string }{
		{"heads", "ce", "balanced_accuracy", "0.5"},
		{"heads", "ce", "many", ""},
		{"heads", "cvs/1", "status", "failed"},
		{"heads", "cvs/1", "balanced_accuracy", ""},
		{"heads", "cvs/1", "error", "training diverged, in epoch 3"},
		{"heads", "la tau=2", "tau", "2"},
		{"heads", "la tau=2", "ece_before_few", "0.4"},
		{"summary", "la", "selected", "yes"},
		{"summary", "la", "selection", "0.705"},
		{"summary", "cvs", "failed", "1"},
		{"summary", "cvs", "balanced_accuracy_std", ""},
		{"summary", "ce", "baseline", "yes"},
		{"summary", "ce", "difference", ""},
		{"summary", "la", "difference", "0.125"},
	} {
		rows := map[string][][]string{"heads": s.HeadsCSV(), "summary": s.CSV()}[c.table]
		if got := cell(rows, c.configuration, c.column); got != c.want {
			t.Errorf("%s, %s, %s: %q, want %q", c.table, c.configuration, c.column, got, c.want)
		}
	}
	markdown := s.Markdown()
	for _, want := range []string{"# trial\n", "| la * | 0.7500 ± 0.0000 | +0.1250 [",
		"| ce (baseline) | 0.6250 ± 0.1768 |", "1 of 2", "ECE before", "out-of-fold"} {
		if !strings.Contains(markdown, want) {
			t.Errorf("summary.md lacks %q:\n%s", want, markdown)
		}
	}
	if strings.Contains(markdown, "many") {
		t.Error("summary.md has a column that nothing fills")
	}
	if text := s.Text(); strings.Count(text, "\n") < 6 || !strings.Contains(text, "cvs") {
		t.Errorf("text:\n%s", text)
	}
	if text, err := json.Marshal(s); err != nil || !strings.Contains(string(text), `"std":null`) {
		t.Errorf("JSON: %v\n%s", err, text)
	}
}

// Without spreads, baseline, or selection there is still a table.
func TestTablesOfOneSeed(t *testing.T) {
	const grid = `{grid: [{loss: [ce, la]}]}`
	p := plan(t, grid)
	heads, labels := trained(p, map[string][]int{"ce": {2}, "la": {3}}, nil)
	s := Summarize(parse(t, grid), p, heads, labels, 2)
	if got := s.Markdown(); strings.Contains(got, "difference") || strings.Contains(got, "selected") ||
		!strings.Contains(got, "| la | 0.7500 | ") {
		t.Errorf("summary.md:\n%s", got)
	}
}

package sweep

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/metric"
)

func csvOf(t testing.TB, rows [][]string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What the tables say comes back from them.
func TestTablesReadBack(t *testing.T) {
	s := trial(t)
	back, err := ReadCSV(csvOf(t, s.CSV()))
	if err != nil {
		t.Fatal(err)
	}
	if back.Heads, err = ReadHeads(csvOf(t, s.HeadsCSV())); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(back.CSV()), fmt.Sprint(s.CSV()); got != want {
		t.Errorf("summary.csv came back as\n%s\nwant\n%s", got, want)
	}
	if len(back.Heads) != len(s.Heads) || back.Failed() != 1 {
		t.Errorf("%d heads, %d failed", len(back.Heads), back.Failed())
	}
	for i, h := range back.Heads {
		want := s.Heads[i]
		if h.ID != want.ID || h.Seed != want.Seed || h.Error != want.Error || h.Configuration != want.Configuration ||
			(h.Head.Selection == nil) != (want.Head.Selection == nil) ||
			fmt.Sprint(h.Scores) != fmt.Sprint(want.Scores) {
			t.Errorf("head %d came back as %+v, want %+v", i, h, want)
		}
	}
	back.Name, back.Selection = s.Name, s.Selection
	if back.Markdown() != s.Markdown() || back.Text() != s.Text() {
		t.Error("read back it prints otherwise")
	}
}

// Tables of a program that knew fewer metrics are read all the same.
func TestTableWithoutAMetric(t *testing.T) {
	rows := trial(t).CSV()
	at := slices.Index(rows[0], "ece_few")
	for i := range rows {
		rows[i] = slices.Delete(rows[i], at, at+2)
	}
	s, err := ReadCSV(csvOf(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Configurations[0].Metrics; v["ece_few"].Mean == v["ece_few"].Mean || v["ece"].Mean != 0.1 {
		t.Errorf("%+v, want NaN for ece_few alone", v)
	}
}

func TestDamagedTables(t *testing.T) {
	set := func(rows [][]string, column, value string) [][]string {
		rows[1][slices.Index(rows[0], column)] = value
		return rows
	}
	lines, heads := trial(t).CSV, trial(t).HeadsCSV
	for _, x := range []struct {
		rows  [][]string
		names string
	}{
		{nil, "empty"}, {[][]string{{"a"}}, "no configuration"}, {lines()[:1], "no configurations"}, {append(lines(),
			lines()[1]), "is there twice"},
		{[][]string{{"configuration", "seconds", "seeds"}}, "header is not configuration"},
		{[][]string{{"configuration", "configuration"}}, "has configuration twice"},
		{set(lines(), "seeds", "two"), `line 2: seeds "two" is no whole number`}, {set(lines(), "ece", "much"),
			`line 2: ece "much" is no number`},
	} {
		if _, err := ReadCSV(csvOf(t, x.rows)); err == nil || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%v: %v, want %q", x.rows, err, x.names)
		}
	}
	for _, x := range []struct {
		rows  [][]string
		names string
	}{
		{nil, "empty"}, {[][]string{{"id"}}, "no configuration"}, {set(heads(), "seed", "-1"), `line 2: seed "-1"`},
		{set(heads(), "selection", "good"), `selection "good" is no number`},
	} {
		if _, err := ReadHeads(csvOf(t, x.rows)); err == nil || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%v: %v, want %q", x.rows, err, x.names)
		}
	}
	read, err := ReadHeads(csvOf(t, set(heads()[:2], "nll", "+Inf")))
	if err != nil || read[0].Scores["nll"] == read[0].Scores["nll"] {
		t.Errorf("an infinite value: %v, want NaN", err)
	}
}

// A metric more has its columns in every table.
func TestOneMetricMore(t *testing.T) {
	rows := metric.Rows
	defer func() { metric.Rows = rows }()
	metric.Rows = append(slices.Clone(rows), metric.Row{
		Key: "surprise", Title: "Surprise", Short: "surprise", Tables: metric.Terminal,
		Field: func(*metric.Scores) *metric.Number { return new(metric.Number(0.5)) },
	})
	s := trial(t)
	if !slices.Contains(s.CSV()[0], "surprise_std") || !slices.Contains(s.HeadsCSV()[0], "surprise") {
		t.Errorf("columns %v and %v", s.CSV()[0], s.HeadsCSV()[0])
	}
	if !strings.Contains(s.Markdown(), "| surprise |") || !strings.Contains(s.Text(), "surprise") {
		t.Errorf("%s\n%s", s.Markdown(), s.Text())
	}
	if back, err := ReadCSV(csvOf(t, s.CSV())); err != nil ||
		back.Configurations[0].Metrics["surprise"] != s.Configurations[0].Metrics["surprise"] {
		t.Errorf("it does not come back: %v", err)
	}
}

// From an experiment file to its tables, with heads that are made up.
func Example() {
	x, _, err := Parse([]byte("grid: [{loss: [ce, la]}]\nseeds: [0, 1]\nbaseline: {loss: ce}"), nil, []string{"loss"})
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := x.Plan(func(point map[string]any) (Settings, error) {
		return Settings{"loss": point["loss"], "seed": uint64(0)}, nil // with defaults, in earnest
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	labels := []int{0, 0, 1, 1} // of the test images
	s := Summarize(x, plan, func(i int, seed uint64) Head {
		logits := []float32{2, 0, 2, 0, 1, 0, float32(i), 1.5}
		m := metric.Measure(logits, nil, labels, []string{"cat", "axolotl"}, []int{200, 5})
		return Head{ID: fmt.Sprint(i, seed), Seed: seed, Metrics: &m, Predicted: Classes{0, 0, 0, 1 - i*int(seed)}}
	}, labels, 2)
	fmt.Print(s.Text())
	text, _ := json.Marshal(s.Configurations[1].Difference)
	fmt.Println(string(text))
	// Output:
	// configuration         balanced           difference [95 %]  ± seeds    many     few     ECE  ECE many  ECE few
	// ce (baseline)  0.7500 ± 0.0000                                       1.0000  0.5000  0.2880    0.1192   0.4567
	// la             0.7500 ± 0.0000  -0.1250 [-0.3700, +0.1200]   0.1768  1.0000  0.5000  0.3368    0.1192   0.5543
	//
	// Test set; mean ± standard deviation (n − 1) over seeds.
	// difference: of balanced accuracy from the baseline, paired by image; the interval is for the test images drawn, ± seeds is over the seeds.
	// {"difference":-0.125,"high":0.12,"low":-0.37,"seed_std":0.1767766952966369,"seeds":2}
}

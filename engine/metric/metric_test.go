package metric_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/internal/testkit"
)

// Three classes, of which the rare one is taken for another once.
func ExampleMeasure() {
	logits := []float32{
		4, 0, 0,
		3, 1, 0,
		0, 5, 0,
		0, 2, 3,
		2, 0, 1,
	}
	m := metric.Measure(logits, nil, []int{0, 0, 1, 2, 2}, []string{"cat", "dog", "axolotl"}, []int{300, 50, 5})
	m.Split = "test"
	fmt.Print(m.Text())
	// Output: test: 5 samples, top-1 0.8000, top-5 1.0000, macro-F1 0.8222, NLL 0.3952
	//
	// group     classes  accuracy      ECE
	// all             3    0.8333   0.2329
	// many            1    1.0000   0.0958
	// medium          1    1.0000   0.0133
	// few             1    0.5000   0.4799
	// worst           1    0.5000        –
}

// fixture is a case that testdata/metrics.py made with scikit-learn and numpy.
type fixture struct {
	Logits      []float32
	Labels      []int
	TrainCounts []int          `json:"train_counts"`
	Metrics     map[string]any `json:"metrics"`
}

func read(t testing.TB) (f fixture, classes []string) {
	t.Helper()
	if err := json.Unmarshal(testkit.ReadFile(t, "testdata", "metrics.json"), &f); err != nil {
		t.Fatal(err)
	}
	for k := range f.TrainCounts {
		classes = append(classes, fmt.Sprintf("c%d", k))
	}
	return f, classes
}

func jsonOf(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func TestMeasureAgainstScikitLearn(t *testing.T) {
	f, classes := read(t)
	var got map[string]any
	if err := json.Unmarshal(jsonOf(t, metric.Measure(f.Logits, nil, f.Labels, classes, f.TrainCounts)),
		&got); err != nil {
		t.Fatal(err)
	}
	near(t, "metrics", got, f.Metrics)
}

// near compares JSON values, numbers to 1e-6; got may have more keys.
func near(t *testing.T, path string, got, want any) {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for key := range w {
			near(t, path+"."+key, g[key], w[key])
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			t.Errorf("%s has %d elements, want %d", path, len(g), len(w))
			return
		}
		for i := range w {
			near(t, fmt.Sprintf("%s[%d]", path, i), g[i], w[i])
		}
	case float64:
		if g, ok := got.(float64); !ok || math.Abs(g-w) > 1e-6 {
			t.Errorf("%s is %v, want %v", path, got, w)
		}
	default:
		if got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

// calibrated measures the fixture as the program before this package did when it wrote testdata/golden.json.
func calibrated(t testing.TB) metric.Metrics {
	t.Helper()
	f, classes := read(t)
	for k := range classes {
		classes[k] += ` "groups": <`
	}
	s := calib.Scaling{Temperature: []float64{0.75}}
	p := make([]float32, len(f.Logits))
	s.Probabilities(f.Logits, len(classes), p)
	m := metric.Measure(f.Logits, p, f.Labels, classes, f.TrainCounts)
	b := metric.Measure(f.Logits, nil, f.Labels, classes, f.TrainCounts)
	m.Calibration = &metric.Calibration{Method: "classwise", FittedOn: "val", Temperature: s.Temperature,
		Before: b.Uncalibrated()}
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = `te,"groups":{st`, "cvs", 30, 6, 1<<63
	m.Seconds = metric.Seconds{Encode: metric.Number(math.NaN()), Train: 1.5, Evaluate: 1e-9}
	return m
}

// Keys, their order, indentation and every bit of every value are a contract with programs outside.
func TestJSONIsAsItWas(t *testing.T) {
	want := testkit.ReadFile(t, "testdata", "golden.json")
	if got := jsonOf(t, calibrated(t)); !bytes.Equal(got, want) {
		t.Errorf("metrics.json is now\n%s", got)
	}
	var back metric.Metrics
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if got := jsonOf(t, back); !bytes.Equal(got, want) {
		t.Errorf("read and written again it is\n%s", got)
	}
	if top := back.Calibration.Before.Top1; !math.IsNaN(float64(top)) {
		t.Errorf("calibration does not change top-1, but before it is %v", top)
	}
}

func TestDamagedJSON(t *testing.T) {
	for text, names := range map[string]string{
		`{"top1": "much"}`: "top1", `{"samples": "x"}`: "samples", `[]`: "array", `{"groups": [1]}`: "array",
		`{"calibration": {"before": {"ece": {}}}}`: "ece", `{"calibration": {"before": 3}}`: "number",
	} {
		if err := json.Unmarshal([]byte(text), new(metric.Metrics)); err == nil ||
			!strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v, want it to say %q", text, err, names)
		}
	}
	var m metric.Metrics
	if err := json.Unmarshal([]byte(`{"split":"test","top1":0.5}`), &m); err != nil || m.Top1 != 0.5 ||
		!math.IsNaN(float64(m.Brier)) {
		t.Errorf("of a metrics.json without brier: %+v (%v), want NaN", m, err)
	}
}

func TestMeasureOfNothing(t *testing.T) {
	m := metric.Measure(nil, nil, nil, []string{"a", "b"}, []int{3, 200})
	for _, r := range metric.Rows {
		if v := *r.Field(&m.Scores); !math.IsNaN(float64(v)) {
			t.Errorf("%s of no samples is %v, want NaN", r.Key, v)
		}
	}
	if g := m.Groups[calib.Many]; g.Classes != 1 || !math.IsNaN(float64(g.Accuracy)) {
		t.Errorf("%+v", g)
	}
	if text := m.Text(); strings.Contains(text, "NaN") || !strings.Contains(text, "top-1 –") {
		t.Errorf("as a table:\n%s", text)
	}
}

// Columns are names that scripts outside read.
func TestColumns(t *testing.T) {
	m := calibrated(t)
	var keys, before []string
	values := map[string]float64{}
	for _, c := range metric.Columns() {
		keys = append(keys, c.Key)
		values[c.Key] = c.Of(&m)
		if c.After != "" {
			before = append(before, c.Key)
			if v := c.Of(new(metric.Metrics)); !math.IsNaN(v) {
				t.Errorf("%s without calibration is %v", c.Key, v)
			}
		}
	}
	if got, want := strings.Join(keys, " "),
		"top1 balanced_accuracy many medium few worst_class ece ece_many ece_medium ece_few nll ece_before "+
			"ece_before_many ece_before_medium ece_before_few nll_before"; got != want {
		t.Errorf("columns %s, want %s", got, want)
	}
	if !slices.Equal(before, keys[11:]) {
		t.Errorf("before calibration are %v", before)
	}
	b := m.Calibration.Before
	for key, want := range map[string]metric.Number{
		"top1": m.Top1, "few": m.Groups[calib.Few].Accuracy, "ece_medium": m.Groups[calib.Medium].ECE, "nll": m.NLL,
		"ece_before": b.ECE, "ece_before_many": b.Groups[calib.Many].ECE, "nll_before": b.NLL,
	} {
		if values[key] != float64(want) {
			t.Errorf("%s is %v, want %v", key, values[key], want)
		}
	}
}

// A row more is all that it takes: its value is measured, in JSON both ways, in the terminal's table and in columns.
func TestOneRowMore(t *testing.T) {
	var kept metric.Number
	rows := metric.Rows
	defer func() { metric.Rows = rows }()
	metric.Rows = append(slices.Clone(rows), metric.Row{
		Key: "surprise", Title: "Surprise", Short: "surprise", Help: "classes", Tables: metric.Page, Brief: true,
		Calibrated: true,
		Field:      func(*metric.Scores) *metric.Number { return &kept },
		Of:         func(s *metric.Sample) float64 { return float64(len(s.Count)) },
	})
	m := calibrated(t)
	text := string(jsonOf(t, m))
	if !strings.Contains(text, "\"surprise\": 7,\n  \"groups\"") || strings.Count(text, "surprise") != 2 {
		t.Errorf("metrics.json:\n%s", text)
	}
	kept = 0
	if err := json.Unmarshal([]byte(text), &m); err != nil || kept != 7 {
		t.Errorf("read back it is %v (%v)", kept, err)
	}
	if line, _, _ := strings.Cut(m.Text(), "\n"); !strings.HasSuffix(line, ", surprise 7.0000") {
		t.Errorf("the table says %q", line)
	}
	var keys []string
	for _, c := range metric.Columns() {
		keys = append(keys, c.Key)
	}
	if !slices.Contains(keys, "surprise") || !slices.Contains(keys, "surprise_before") {
		t.Errorf("columns %v", keys)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{metric.Share.Text(0.1234), "12.3 %"}, {metric.Decimal.Text(0.1236), "0.124"},
		{metric.Share.Text(metric.Number(math.NaN())), "–"}, {metric.Number(math.Inf(1)).Text(2), "–"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// What shows that nothing was learned is said; what may happen to a sound head is not.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		labels, predicted []int
		want              string
	}{
		{[]int{0, 0, 1, 2}, []int{0, 0, 1, 2}, ""},
		{[]int{0, 0, 1, 2}, []int{1, 1, 1, 1}, "the head has collapsed: it takes all 4 images for dog"},
		{[]int{0, 0, 0, 1}, []int{0, 0, 0, 0}, "the head has collapsed: it takes all 4 images for cat"},
		{[]int{0, 0, 1, 1}, []int{0, 1, 0, 1},
			"the head has learned nothing: its balanced accuracy is 0.5000, and that of one answer to all images"},
		{[]int{0, 1, 2}, []int{1, 2, 0}, "the head has learned nothing: its balanced accuracy is 0.0000"},
		{[]int{0, 0, 0, 0, 0, 1}, []int{0, 0, 0, 0, 1, 1}, ""}, // less accurate than cat for all, and better balanced
		{[]int{0, 0, 1, 1, 1}, []int{2, 0, 1, 1, 0}, ""},
		{[]int{0, 0}, []int{0, 0}, ""}, // of one class there is only one answer
		{[]int{0, 0}, []int{1, 1}, ""},
		{[]int{0}, []int{0}, ""},
	} {
		logits := make([]float32, 3*len(c.labels))
		for i, k := range c.predicted {
			logits[3*i+k] = 1
		}
		m := metric.Measure(logits, nil, c.labels, []string{"cat", "dog", "axolotl"}, []int{300, 50, 5})
		got := strings.Join(m.Warnings, "; ")
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%v for %v: %q, want %q", c.predicted, c.labels, got, c.want)
		}
		if text := m.Text(); strings.Contains(text, "warning: ") != (c.want != "") || !strings.Contains(text, got) {
			t.Errorf("%v for %v: the text is %q", c.predicted, c.labels, text)
		}
	}
}

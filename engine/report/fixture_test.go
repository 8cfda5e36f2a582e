package report_test

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
)

// fixture describes a run folder to draw up; its metrics are measured on random logits.
type fixture struct {
	classes   int
	perClass  int // samples; 4 by default
	epochs    int // 6 by default
	plain     bool
	name      func(k int) string // of a class
	path      func(dir string, i int) string
	validated bool

	temperature []float64 // the probabilities are calibrated by; none by default
}

// write makes the folder and returns it with its metrics.
func (f fixture) write(t testing.TB) (string, metric.Metrics) {
	t.Helper()
	dir := t.TempDir()
	perClass, epochs := cmp.Or(f.perClass, 4), cmp.Or(f.epochs, 6)
	if f.name == nil {
		f.name = func(k int) string { return fmt.Sprintf("class %d", k) }
	}
	if f.path == nil {
		f.path = func(dir string, i int) string { return filepath.Join(dir, "photos", strconv.Itoa(i)+".png") }
	}
	r := rand.New(rand.NewPCG(1, uint64(f.classes)))
	names, counts := make([]string, f.classes), make([]int, f.classes)
	for k := range names {
		names[k] = f.name(k)
		counts[k] = max(1, int(500*math.Pow(0.01, float64(k)/float64(max(1, f.classes-1)))))
	}
	n := f.classes * perClass
	labels, logits := make([]int, n), make([]float32, n*f.classes)
	for i := range labels {
		labels[i] = i % f.classes
		row := logits[i*f.classes : (i+1)*f.classes]
		for k := range row {
			row[k] = float32(r.NormFloat64())
		}
		row[labels[i]] += 0.5 + 2*r.Float32() + 0.35*float32(math.Log(float64(f.classes)))
	}
	scaling := calib.Scaling{Temperature: f.temperature}
	probabilities := make([]float32, len(logits))
	scaling.Probabilities(logits, f.classes, probabilities)
	m := metric.Measure(logits, probabilities, labels, names, counts)
	if f.temperature != nil {
		before := metric.Measure(logits, nil, labels, names, counts)
		m.Calibration = &metric.Calibration{Method: "classwise", FittedOn: "out-of-fold", Temperature: f.temperature,
			Before: before.Uncalibrated()}
	}
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = "test", "cvs", epochs, 3, 7
	m.Seconds = metric.Seconds{Encode: 12.25, Train: 3.5, Evaluate: 0.5}

	var paths []string
	for i := range labels {
		paths = append(paths, f.path(dir, i))
	}
	var history []head.Epoch
	for n := 1; n <= epochs; n++ {
		e := head.Epoch{Number: n, Phase: "mla", Loss: 2 / float64(n), LR: 0.03 / float64(n), Seconds: 0.1,
			Train: head.Accuracy{Top1: new(0.8), Balanced: new(0.5 + 0.05*float64(min(n, 9))), Many: new(0.9),
				Medium: new(0.7)}}
		if n > 3 {
			e.Phase = "cla"
		}
		if f.plain {
			e.Phase = "ce"
		} else {
			for k := range names {
				e.Kappa = append(e.Kappa, calib.Kappa{Value: 1 + 0.3*r.NormFloat64(), StdErr: []float64{math.NaN(),
					0.05, 0.25}[k%3],
					Samples: 9, Bins: 4, Skipped: k%7 == 0, Shrunk: k%2 == 0})
			}
		}
		if f.validated {
			e.Val = &head.Accuracy{Top1: new(0.5), Balanced: new(0.4), Many: new(0.6), Medium: new(0.4)}
		}
		history = append(history, e)
	}
	d := run.Folder(dir)
	if err := errors.Join(d.BeginHistory(names, history...), run.MetricsFile.Write(d, m),
		run.PredictionsFile.Write(d, run.Predict(paths, labels, logits, names, scaling))); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "config.yaml", "train: /photos/train\nloss: cvs\nhead: cosine\noptimizer: sgd\nlr: 0.03\nkappa: "+
		"slope\nseed: 7\nviews: 4\ntta: 2\nfolds: 5\n")
	put(t, dir, "environment.json",
		`{"vitft":"v1.2.3","go":"go1.26","os":"linux","arch":"amd64","cores":2,"runtime_library":{"version":"1.30.0"},
		"provider":{"asked":"auto","ran":"cpu","note":"cuda not used: no GPU"},
		"backbone":{"name":"/models/vit.onnx","sha256":"abc123","feature":{"tensor":"embedding","pooling":"cls","dim":192},"preprocess":{"width":224,"height":224,"resize":"shortest","interpolation":"bicubic"}}}`)
	return dir, m
}

// draw makes the pictures that write names by default.
func draw(t testing.TB, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 40+i%9, 30))
		for p := range img.Pix {
			img.Pix[p] = byte(p * (i + 3))
		}
		img.Set(0, 0, color.RGBA{byte(i), 0, 0, 255})
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		put(t, dir, filepath.Join("photos", strconv.Itoa(i)+".png"), b.String())
	}
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func csvOf(t testing.TB, rows [][]string) string {
	t.Helper()
	var b strings.Builder
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, dir string) string {
	t.Helper()
	r, err := report.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// element is a node of a page; a text is in the content of its parent.
type element struct {
	name     string
	attr     map[string]string
	content  string // the text in it and in its children
	children []*element
	text     strings.Builder // of which the content is made
}

// parse reads a page, whose elements are all closed as in XML.
func parse(t testing.TB, page string) *element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict = false
	root := &element{}
	stack := []*element{root}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		top := stack[len(stack)-1]
		switch v := token.(type) {
		case xml.StartElement:
			e := &element{name: v.Name.Local, attr: map[string]string{}}
			for _, a := range v.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			top.children = append(top.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			if v.Name.Local != top.name {
				t.Fatalf("line %d: </%s> closes <%s>", lineOf(d), v.Name.Local, top.name)
			}
			stack = stack[:len(stack)-1]
			top.content = top.text.String()
			stack[len(stack)-1].text.WriteString(top.content)
		case xml.CharData:
			top.text.Write(v)
		}
	}
	if len(stack) != 1 {
		t.Fatalf("<%s> is not closed", stack[len(stack)-1].name)
	}
	root.content = root.text.String()
	return root
}

func lineOf(d *xml.Decoder) int {
	line, _ := d.InputPos()
	return line
}

// all are the elements below e that match.
func (e *element) all(match func(*element) bool) []*element {
	var list []*element
	for _, c := range e.children {
		if match(c) {
			list = append(list, c)
		}
		list = append(list, c.all(match)...)
	}
	return list
}

func (e *element) named(name string) []*element {
	return e.all(func(e *element) bool { return e.name == name })
}

// section is the part of the page with an id.
func (e *element) section(t testing.TB, id string) *element {
	t.Helper()
	found := e.all(func(e *element) bool { return e.attr["id"] == id })
	if len(found) != 1 {
		t.Fatalf("%d elements have the id %q", len(found), id)
	}
	return found[0]
}

// rows are the texts of the cells of the body of e's table.
func (e *element) rows() [][]string {
	var rows [][]string
	for _, body := range e.named("tbody") {
		for _, tr := range body.named("tr") {
			var row []string
			for _, cell := range tr.children {
				row = append(row, strings.TrimSpace(cell.content))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

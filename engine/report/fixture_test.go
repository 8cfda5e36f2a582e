package report_test

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/report"
)

// fixture describes a run folder to draw up; its metrics are measured by the
// engine on random logits.
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
func (f fixture) write(t testing.TB) (string, engine.Metrics) {
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
	m := engine.Measure(logits, labels, names, counts)
	before := make([]float32, len(logits))
	calib.Softmax(logits, f.classes, 1, before)
	probabilities := before
	if f.temperature != nil {
		b := m
		// What is right does not change with temperatures, so metrics of scaled logits are those of scaled probabilities.
		scaled := slices.Clone(logits)
		for i := range labels {
			row := scaled[i*f.classes : (i+1)*f.classes]
			t := f.temperature[argmax(row)%len(f.temperature)]
			for k := range row {
				row[k] /= float32(t)
			}
		}
		m = engine.Measure(scaled, labels, names, counts)
		m.Calibration = &engine.Calibration{Method: "classwise", FittedOn: "out-of-fold", Temperature: f.temperature,
			Before: engine.Uncalibrated{ECE: b.ECE, MCE: b.MCE, ClasswiseECE: b.ClasswiseECE, NLL: b.NLL, Brier: b.Brier, Groups: b.Groups}}
		probabilities = make([]float32, len(logits))
		calib.Softmax(scaled, f.classes, 1, probabilities)
	}
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = "test", "cvs", epochs, 3, 7
	m.Seconds = engine.Seconds{Encode: 12.25, Train: 3.5, Evaluate: 0.5}

	predictions := [][]string{{"path", "label", "predicted", "confidence"}}
	if f.temperature != nil {
		predictions[0] = append(predictions[0], "confidence_before")
	}
	for i, y := range labels {
		best := argmax(logits[i*f.classes : (i+1)*f.classes])
		row := []string{f.path(dir, i), names[y], names[best], confidence(probabilities[i*f.classes+best])}
		if f.temperature != nil {
			row = append(row, confidence(before[i*f.classes+best]))
		}
		predictions = append(predictions, row)
	}
	kappa := [][]string{{"epoch", "phase", "class", "kappa", "std_err", "samples", "bins", "skipped", "shrunk"}}
	var history strings.Builder
	for e := 1; e <= epochs; e++ {
		phase := "mla"
		if e > 3 {
			phase = "cla"
		}
		if f.plain {
			phase = "ce"
		} else {
			for k, name := range names {
				kappa = append(kappa, []string{strconv.Itoa(e), phase, name, fmt.Sprint(1 + 0.3*r.NormFloat64()), []string{"", "0.05", "0.25"}[k%3], "9", "4", strconv.FormatBool(k%7 == 0), strconv.FormatBool(k%2 == 0)})
			}
		}
		val := ""
		if f.validated {
			val = `,"val":{"top1":0.5,"balanced_accuracy":0.4,"many":0.6,"medium":0.4,"few":null}`
		}
		fmt.Fprintf(&history, `{"epoch":%d,"phase":%q,"loss":%g,"lr":%g,"seconds":0.1,"train":{"top1":0.8,"balanced_accuracy":%g,"many":0.9,"medium":0.7,"few":null}%s}`+"\n",
			e, phase, 2/float64(e), 0.03/float64(e), 0.5+0.05*float64(min(e, 9)), val)
	}
	put(t, dir, "config.yaml", "train: /photos/train\nloss: cvs\nhead: cosine\noptimizer: sgd\nlr: 0.03\nkappa: slope\nseed: 7\nviews: 4\ntta: 2\nfolds: 5\n")
	put(t, dir, "environment.json", `{"vitft":"v1.2.3","go":"go1.26","os":"linux","arch":"amd64","cores":2,"runtime_library":{"version":"1.30.0"},
		"provider":{"asked":"auto","ran":"cpu","note":"cuda not used: no GPU"},
		"backbone":{"name":"/models/vit.onnx","sha256":"abc123","feature":{"tensor":"embedding","pooling":"cls","dim":192},"preprocess":{"width":224,"height":224,"resize":"shortest","interpolation":"bicubic"}}}`)
	put(t, dir, "history.jsonl", history.String())
	put(t, dir, "kappa.csv", csvOf(t, kappa))
	put(t, dir, "predictions.csv", csvOf(t, predictions))
	put(t, dir, "metrics.json", jsonOf(t, m))
	return dir, m
}

func argmax(row []float32) int {
	best := 0
	for k, v := range row {
		if v > row[best] {
			best = k
		}
	}
	return best
}

func confidence(p float32) string { return strconv.FormatFloat(float64(p), 'g', -1, 32) }

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
		case xml.CharData:
			for _, e := range stack {
				e.content += string(v)
			}
		}
	}
	if len(stack) != 1 {
		t.Fatalf("<%s> is not closed", stack[len(stack)-1].name)
	}
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

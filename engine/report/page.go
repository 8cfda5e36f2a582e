package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // the templates, style and script
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
)

const (
	tableClasses = 1000 // rows of the table of classes
	worstPairs   = 20
	worstImages  = 24
	shownNotes   = 50 // warnings and skipped images
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed sweep.html
	sweepHTML string
	//go:embed style.css
	styleCSS template.CSS
	//go:embed page.js
	pageJS template.JS

	functions = template.FuncMap{"thousands": thousands, "percent": percent, "source": source,
		"seconds": seconds, "count": count, "calibrated": calibrationText, "headline": headline, "unread": unread,
		"security":     func() string { return security(pageJS) },
		"liveSecurity": func() string { return security(pageJS+liveJS) + "; connect-src 'self'" },
		"live":         func() template.JS { return pageJS + liveJS },
		"short":        func(text string) string { return shorten(text, 20) },
		"interval":     func() string { return metric.IntervalMethod },
		"style":        func() template.CSS { return styleCSS },
		"script":       func() template.JS { return pageJS },
	}
	document      = template.Must(template.New(run.ReportFile.Name).Funcs(functions).Parse(pageHTML))
	sweepDocument = template.Must(template.Must(document.Clone()).New("sweep").Parse(sweepHTML))
)

// page is what page.html is filled with. Plots and lists are its methods.
type page struct {
	*Run
	*metric.Metrics
	Title                string
	Config               run.Config
	Environment          *run.Environment
	Images, Fewest, Most int                  // training images, and of classes
	Switch               int                  // the last epoch of the first phase; 0 where there is one only
	Before               *metric.Uncalibrated // nil where there is no calibration
	Aggregated           int                  // classes, if the plot shows runs of them
	Warnings             part[string]
	Skipped              part[run.Skipped]

	names   names
	photos  map[[2]string]run.Photo // by set and path
	ids     map[string]string       // of the classes' parts of the page, by label
	worst   []run.Prediction
	byClass map[string][]run.Prediction // some of a class's mistakes
	wrong   map[[2]string]int           // mistakes by label and prediction
	right   map[string]int              // by label
	frozen  map[string]*metric.Number   // accuracies of a head alone, by class; none where only that was trained
}

type metricGroup struct {
	Name string
	Rows []metric.Row
}

func (r *Run) page() *page {
	m := &r.metrics
	p := &page{
		Run: r, Metrics: m, Title: fmt.Sprintf("%s on %s", m.Loss, source(cmp.Or(r.config.Text("train"), m.Split))),
		Config: r.config, Environment: &r.environment, Fewest: math.MaxInt, Switch: int(r.switchEpoch()),
		Warnings: cut(r.warnings, shownNotes), Skipped: cut(r.skipped, shownNotes), names: namesOf(r.config),
		photos: map[[2]string]run.Photo{}, ids: map[string]string{},
		wrong: map[[2]string]int{}, right: map[string]int{},
	}
	labels := make([]string, len(m.PerClass))
	for i, c := range m.PerClass {
		labels[i], p.ids[c.Label] = c.Label, fmt.Sprint("c", i)
	}
	for _, photo := range r.pictures.Photos {
		p.photos[[2]string{photo.Set, photo.Path}] = photo
	}
	for _, x := range r.predictions {
		if x.Label == x.Predicted {
			p.right[x.Label]++
		} else {
			p.wrong[[2]string{x.Label, x.Predicted}]++
		}
	}
	p.worst, p.byClass = mistakesOf(r.predictions, labels)
	if m.Calibration != nil {
		p.Before = &m.Calibration.Before
	}
	if m.Inside != nil && m.Frozen != nil {
		p.frozen = map[string]*metric.Number{}
		for i, c := range m.PerClass {
			p.frozen[c.Label] = &m.Frozen.Accuracy[i]
		}
	}
	for _, c := range m.PerClass {
		p.Images, p.Fewest, p.Most = p.Images+c.TrainCount, min(p.Fewest, c.TrainCount), max(p.Most, c.TrainCount)
	}
	if len(m.PerClass) > singleMarks {
		p.Aggregated = (len(m.PerClass) + singleMarks/2 - 1) / (singleMarks / 2)
	}
	return p
}

// Phases says what the line named switch parts.
func (r *page) Phases() string {
	if r.Switch == 0 {
		return ""
	}
	return fmt.Sprintf("%s before it, %s after", r.history[0].Phase, r.history[len(r.history)-1].Phase)
}

// part is the beginning of a list.
type part[T any] struct {
	Shown []T
	More  int // that are left out
}

func cut[T any](list []T, most int) part[T] {
	most = min(most, len(list))
	return part[T]{list[:most], len(list) - most}
}

// security lets a page use its own style and script and pictures within it, and nothing from elsewhere.
func security(script template.JS) string {
	hash := sha256.Sum256([]byte(script))
	return "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-" +
		base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// headline are all metrics, accuracies apart from errors.
func headline() []metricGroup {
	groups := []metricGroup{metric.Higher: {Name: "Accuracy"}, metric.Lower: {Name: "Calibration: lower is better"}}
	for _, row := range metric.Headline() {
		groups[row.Better].Rows = append(groups[row.Better].Rows, row)
	}
	return groups
}

func calibrationText(c *metric.Calibration, folds string) string {
	if c == nil {
		return "none: probabilities are the softmax of the logits"
	}
	temperature := "no temperature"
	switch t := c.Temperature; {
	case len(t) == 1:
		temperature = fmt.Sprintf("temperature %.3f", t[0])
	case len(t) > 1:
		temperature = fmt.Sprintf("temperatures %.3f to %.3f by predicted class", slices.Min(t), slices.Max(t))
	}
	on := cmp.Or(c.FittedOn, "an unnamed set")
	if on == "out-of-fold" && folds != "" {
		on = "out-of-fold logits of the training images, " + folds + " folds"
	}
	return fmt.Sprintf("%s: %s, fitted on %s", c.Method, temperature, on)
}

// Shots are the groups that have classes.
func (r *page) Shots() []calib.Shot {
	return slices.DeleteFunc(calib.Shots(), func(g calib.Shot) bool { return r.Groups[g].Classes == 0 })
}

// Settings are those of the run as they are shown.
func (r *page) Settings() run.Config { return r.names.settings(r.Config) }

// Note is a text of the run as it is shown.
func (r *page) Note(text string) string { return r.names.in(text) }

// Classes are the rows of the table: all classes or, of very many, the least accurate, those with most training images
// first.
func (r *page) Classes() []metric.ClassMetrics {
	list := r.byFrequency()
	if len(list) > tableClasses {
		slices.SortStableFunc(list, func(a, b metric.ClassMetrics) int {
			return cmp.Compare(-b.Accuracy, -a.Accuracy) // classes without samples, of NaN, last
		})
		list = list[:tableClasses]
		slices.SortStableFunc(list, moreFrequent)
	}
	return list
}

// percent is for the length of a bar.
func percent(n metric.Number) float64 {
	if math.IsNaN(float64(n)) {
		return 0
	}
	return math.Round(1000*min(1, max(0, float64(n)))) / 10
}

func seconds(n metric.Number) string {
	if s := n.Text(1); s != "–" {
		return s + " s"
	}
	return "–"
}

// thousands writes 10847 as 10,847.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + several
}

func shorten(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

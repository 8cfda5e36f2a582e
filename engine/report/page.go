package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's template, style and script
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	//go:embed style.css
	styleCSS string
	//go:embed sort.js
	sortJS string

	//go:embed sweep.html
	sweepHTML string

	functions = template.FuncMap{"thousands": thousands, "percent": percent, "shots": calib.Shots,
		"source": source, "seconds": seconds, "count": count, "calibrated": calibrationText}
	document      = template.Must(template.New(run.ReportFile.Name).Funcs(functions).Parse(pageHTML))
	sweepDocument = template.Must(template.Must(document.Clone()).New("sweep").Parse(sweepHTML))
)

// frame is what every page has.
type frame struct {
	Title    string
	Style    template.CSS
	Script   template.JS
	Security string // content security policy
	Config   run.Config
}

func newFrame(title string, config run.Config) frame {
	return frame{title, template.CSS(styleCSS), template.JS(sortJS), security(), config}
}

// page is what page.html is filled with.
type page struct {
	frame
	*metric.Metrics
	Environment          *run.Environment
	Images, Fewest, Most int // training images, and of classes
	Switch               int // the last epoch of the first phase; 0 where there is one only

	Before   *metric.Uncalibrated // nil where there is no calibration
	Headline []metricGroup

	GroupPlot, ClassPlot template.HTML
	Aggregated           int // classes, if the plot shows runs of them

	Reliability []reliabilities

	KappaPlot template.HTML
	Kappa     []kappaEpoch // the last of each phase

	LossPlot, AccuracyPlot, RatePlot template.HTML
	AccuracyOn                       string
	Phases                           string // what the line named switch parts

	Pairs     []pair
	Wrong     int
	Classes   []metric.ClassMetrics // of PerClass
	Mistakes  []mistake
	Unread    int // of Mistakes, without a picture
	UnreadWhy string

	Warnings     []string
	MoreWarnings int
	Skipped      []run.Skipped
	MoreSkipped  int
}

type metricGroup struct {
	Name string
	Rows []metric.Row
}

// pair is a class that is taken for another.
type pair struct {
	Label, Predicted metric.ClassMetrics
	Count            int
	Share            metric.Number // of the class's samples
}

func (r *Run) page() *page {
	m := &r.metrics
	title := fmt.Sprintf("%s on %s", m.Loss, source(cmp.Or(r.config.Text("train"), m.Split)))
	p := &page{
		frame: newFrame(title, r.config), Metrics: m, Environment: &r.environment, Headline: headline(),
		GroupPlot: r.groupChart(), ClassPlot: r.classChart(), Reliability: r.reliability(), KappaPlot: r.kappaChart(),
		Switch: int(r.switchEpoch()), Classes: r.classes(), Mistakes: r.mistakes(),
	}
	if m.Calibration != nil {
		p.Before = &m.Calibration.Before
	}
	p.Fewest = math.MaxInt
	for _, c := range m.PerClass {
		p.Images, p.Fewest, p.Most = p.Images+c.TrainCount, min(p.Fewest, c.TrainCount), max(p.Most, c.TrainCount)
	}
	if len(m.PerClass) > singleMarks {
		p.Aggregated = (len(m.PerClass) + singleMarks/2 - 1) / (singleMarks / 2)
	}
	for i, e := range r.kappa {
		if i+1 == len(r.kappa) || r.kappa[i+1].Phase != e.Phase {
			p.Kappa = append(p.Kappa, e)
		}
	}
	if len(r.history) > 0 {
		p.LossPlot, p.AccuracyPlot, p.RatePlot = r.lossChart(), r.accuracyChart(), r.rateChart()
		p.AccuracyOn = "training"
		if r.validated() {
			p.AccuracyOn = "validation"
		}
		if p.Switch > 0 {
			p.Phases = fmt.Sprintf("%s before it, %s after", r.history[0].Phase, r.history[len(r.history)-1].Phase)
		}
	}
	p.Pairs, p.Wrong = r.pairs()
	p.Warnings, p.MoreWarnings = cut(r.warnings, shownNotes)
	p.Skipped, p.MoreSkipped = cut(r.skipped, shownNotes)
	for _, x := range p.Mistakes {
		if x.Image == "" {
			p.Unread++
			p.UnreadWhy = cmp.Or(p.UnreadWhy, x.Why)
		}
	}
	return p
}

// cut is the head of a list, and how many there are beyond.
func cut[T any](list []T, most int) (head []T, more int) {
	most = min(most, len(list))
	return list[:most], len(list) - most
}

// security lets the page use its own style and script and pictures within it, and nothing from elsewhere.
func security() string {
	hash := sha256.Sum256([]byte(sortJS))
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

// calibrationText says how probabilities were made.
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

// pairs are the classes most often taken for a certain other one, and the number of all mistakes.
func (r *Run) pairs() ([]pair, int) {
	times := map[[2]int]int{}
	wrong := 0
	for _, p := range r.predictions {
		if p.label != p.predicted {
			times[[2]int{p.label, p.predicted}]++
			wrong++
		}
	}
	var list []pair
	for k, n := range times {
		label := r.metrics.PerClass[k[0]]
		share := float64(n) / float64(max(1, label.Samples))
		list = append(list, pair{label, r.metrics.PerClass[k[1]], n, metric.Number(share)})
	}
	slices.SortFunc(list, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(percent(b.Share), percent(a.Share)),
			strings.Compare(a.Label.Label, b.Label.Label), strings.Compare(a.Predicted.Label, b.Predicted.Label))
	})
	list, _ = cut(list, worstPairs)
	return list, wrong
}

// classes are the rows of the table: all classes or, of very many, the least accurate, those with most training images
// first.
func (r *Run) classes() []metric.ClassMetrics {
	list := r.byFrequency()
	if len(list) > tableClasses {
		slices.SortStableFunc(list, func(a, b metric.ClassMetrics) int {
			return cmp.Compare(sortable(a.Accuracy), sortable(b.Accuracy))
		})
		list = list[:tableClasses]
		slices.SortStableFunc(list, moreFrequent)
	}
	return list
}

// sortable puts classes without samples last.
func sortable(n metric.Number) float64 {
	if math.IsNaN(float64(n)) {
		return math.Inf(1)
	}
	return float64(n)
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

// count is a number of things.
func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + several
}

// source is the last two elements of a path: what tells data sets apart.
func source(path string) string {
	path = filepath.ToSlash(path)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 2 {
		parts = parts[len(parts)-2:]
	}
	return strings.Join(parts, "/")
}

// shorten cuts a text to n characters.
func shorten(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

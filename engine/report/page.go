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

	functions     = template.FuncMap{"thousands": thousands, "percent": percent, "shots": calib.Shots}
	document      = template.Must(template.New(run.ReportFile.Name).Funcs(functions).Parse(pageHTML))
	sweepDocument = template.Must(template.Must(document.Clone()).New("sweep").Parse(sweepHTML))
)

// frame is what every page has.
type frame struct {
	Title    string
	Style    template.CSS
	Script   template.JS
	Security string // content security policy
	Ran      []run.Entry
	Config   run.Config
}

func newFrame(title string, ran []run.Entry, config run.Config) frame {
	return frame{title, template.CSS(styleCSS), template.JS(sortJS), security(), ran, config}
}

// page is what page.html is filled with.
type page struct {
	frame
	*metric.Metrics
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
	Rows []metricRow
}

type metricRow struct{ Name, Before, Value, Means string }

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
		frame: newFrame(title, r.whatRan(), r.config), Metrics: m, Headline: r.headline(),
		GroupPlot: r.groupChart(), ClassPlot: r.classChart(), Reliability: r.reliability(), KappaPlot: r.kappaChart(),
		Classes: r.classes(), Mistakes: r.mistakes(),
	}
	if m.Calibration != nil {
		p.Before = &m.Calibration.Before
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
		if r.switchEpoch() > 0 {
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
	return "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// headline are all metrics, accuracies apart from errors.
func (r *Run) headline() []metricGroup {
	m := &r.metrics
	groups := []metricGroup{metric.Higher: {Name: "Accuracy"}, metric.Lower: {Name: "Calibration: lower is better"}}
	for _, row := range metric.Headline() {
		line := metricRow{Name: row.Title, Value: row.Field(&m.Scores).Text(4), Means: row.Says(m)}
		if c := m.Calibration; c != nil && row.Calibrated {
			line.Before = row.Field(&c.Before.Scores).Text(4)
		}
		groups[row.Better].Rows = append(groups[row.Better].Rows, line)
	}
	return groups
}

func (r *Run) whatRan() []run.Entry {
	m, env, c := &r.metrics, &r.environment, r.config
	var list []run.Entry
	add := func(key, form string, a ...any) {
		list = append(list, run.Entry{Key: key, Text: fmt.Sprintf(form, a...)})
	}
	images, most, fewest := 0, m.PerClass[0].TrainCount, m.PerClass[0].TrainCount
	for _, k := range m.PerClass {
		images, most, fewest = images+k.TrainCount, max(most, k.TrainCount), min(fewest, k.TrainCount)
	}
	add("Training images", "%s from %s: %d classes of %d to %d images", thousands(images), source(c.Text("train")), len(m.PerClass), fewest, most)
	if v := c.Text("imbalance"); v != "" {
		add("Imbalance", "%s, seed %s", v, c.Text("imbalance-seed"))
	}
	add("Measured on", "%s: %s images", m.Split, thousands(m.Samples))
	b := &env.Backbone
	add("Backbone", "%s, %s of %d values (%s), input %d×%d, %s %s", source(b.Name), b.Feature.Tensor, b.Feature.Dim, b.Feature.Pooling,
		b.Preprocess.Width, b.Preprocess.Height, b.Preprocess.Resize, b.Preprocess.Interpolation)
	add("Backbone’s SHA-256", "%s", b.SHA256)
	if at := r.switchEpoch(); at > 0 {
		add("Loss", "%s, %d epochs, switch T0 after epoch %d", m.Loss, m.Epochs, int(at))
	} else {
		add("Loss", "%s, %d epochs", m.Loss, m.Epochs)
	}
	if len(r.kappa) > 0 {
		add("κ estimator", "%s", c.Text("kappa"))
	}
	if v, tta := c.Text("views"), c.Text("tta"); v != "" && tta != "" {
		add("Views", "%s", views(v, tta))
	}
	add("Calibration", "%s", calibrationText(m.Calibration, c.Text("folds")))
	add("Head", "%s; %s, learning rate %s", c.Text("head"), c.Text("optimizer"), c.Text("lr"))
	add("Seed", "%d", m.Seed)
	provider := env.Provider.Ran
	if env.Provider.Asked != env.Provider.Ran {
		provider += " (asked for: " + env.Provider.Asked + ")"
	}
	if env.Provider.Note != "" {
		provider += "; " + env.Provider.Note
	}
	add("Provider", "%s", provider)
	add("Time", "encoding %s, training %s, evaluation %s", seconds(m.Seconds.Encode), seconds(m.Seconds.Train), seconds(m.Seconds.Evaluate))
	add("Versions", "vitft %s, %s, ONNX Runtime %s, %s/%s, %d cores", env.Vitft, env.Go, env.Runtime.Version, env.OS, env.Arch, env.Cores)
	return list
}

// views says how many views of each image were used, of the keys views and tta.
func views(training, judged string) string {
	of := func(n, one, several string) string {
		if n == "1" {
			return one
		}
		return fmt.Sprintf(several, n)
	}
	return of(training, "training on images as they are", "training on %s views of each image") + "; " +
		of(judged, "judged as they are", "judged by the mean feature of %s views")
}

// calibrationText says how probabilities were made.
func calibrationText(c *metric.Calibration, folds string) string {
	if c == nil {
		return "none: probabilities are the softmax of the logits"
	}
	temperature := "no temperature"
	switch t := c.Temperature; {
	case len(t) == 1:
		temperature = "temperature " + metric.Number(t[0]).Text(3)
	case len(t) > 1:
		temperature = fmt.Sprintf("temperatures %s to %s by predicted class", metric.Number(slices.Min(t)).Text(3), metric.Number(slices.Max(t)).Text(3))
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
		slices.SortStableFunc(list, func(a, b metric.ClassMetrics) int { return cmp.Compare(sortable(a.Accuracy), sortable(b.Accuracy)) })
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

package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
)

const (
	levelNames   = 8   // up to so many classes their names on the axis of a plot need no turning
	namedClasses = 40  // up to so many the plot by class has names on its axis
	singleMarks  = 200 // up to so many it has a mark for each class
)

// within is an interval as the texts of marks have it.
func within(i metric.Interval) string {
	if text := i.Text(3); text != "" {
		return " (95 %: " + text + ")"
	}
	return ""
}

// GroupPlot shows the groups' accuracies as bars with their intervals, and the balanced accuracy.
func (r *page) GroupPlot() template.HTML {
	p := newPlot("", "accuracy")
	limit(&p.Y, 0, 1)
	right := float64(len(r.Shots())) - 0.5
	limit(&p.X, -0.5, right)
	var ticks plot.ConstantTicks
	var bars spots
	for i, g := range r.Shots() {
		m, at := r.metrics.Groups[g], float64(i)
		label := g.String() + ": " + m.Accuracy.Text(3) + "\n" + count(m.Classes, "class", "classes")
		ticks = append(ticks, plot.Tick{Value: at, Label: label})
		if a := float64(m.Accuracy); drawable(a) {
			p.Add(boxes{{at - 0.32, at + 0.32, 0, a, groupRoles[g]}}, whiskerOf(at, m.Interval))
			bars = append(bars, spot{x0: at - 0.32, x1: at + 0.32, y1: a, text: fmt.Sprintf("%v: accuracy %s%s, %s", g,
				m.Accuracy.Text(3), within(m.Interval), count(m.Classes, "class", "classes"))})
		}
	}
	p.X.Tick.Marker = ticks
	p.X.Tick.Length = 0
	if b := float64(r.metrics.BalancedAccuracy); drawable(b) {
		p.Add(segment(-0.5, b, right, b, dashed(ink)))
	}
	p.Add(bars)
	return render("Bars: accuracy of the groups of classes by their number of training images", 380, panel{p, 230})
}

// whiskerOf is the line of an interval.
func whiskerOf(x float64, i metric.Interval) polyline {
	return segment(x, float64(i[0]), x, float64(i[1]), line(ink, 1.2, nil))
}

// byFrequency are the classes, those with most training images first.
func (r *Run) byFrequency() []metric.ClassMetrics {
	list := slices.Clone(r.metrics.PerClass)
	slices.SortStableFunc(list, moreFrequent)
	return list
}

func moreFrequent(a, b metric.ClassMetrics) int { return cmp.Compare(b.TrainCount, a.TrainCount) }

// ClassPlot shows each class's accuracy under its number of training images, classes sorted by that number.
func (r *page) ClassPlot() template.HTML {
	order := r.byFrequency()
	classes := len(order)
	above, below := stacked("class, by number of training images", "training images", "accuracy", 0.3,
		float64(classes)+0.7)
	limit(&below.Y, 0, 1)

	runs := min(classes, singleMarks)
	if classes > singleMarks {
		runs = singleMarks / 2
	}
	var columns, stems boxes
	var dots marks
	var about spots
	most := 1.0
	for i := range runs {
		from, to := i*classes/runs, (i+1)*classes/runs
		middle := float64(from+1+to) / 2 // ranks count from 1
		half := 0.4 * float64(to-from)
		group := order[(from+to)/2].Shot()
		var sum, images, n float64
		low, high := math.Inf(1), 0.0
		for _, c := range order[from:to] {
			images += float64(c.TrainCount)
			if a := float64(c.Accuracy); drawable(a) {
				sum, n, low, high = sum+a, n+1, min(low, a), max(high, a)
			}
		}
		images /= float64(to - from)
		most = max(most, images)
		soft := groupRoles[group].soft()
		columns = append(columns, box{middle - half, middle + half, 0, math.Log10(max(1, images)), soft})
		about = append(about, spot{x0: middle - half, x1: middle + half, y1: 1, text: aboutRun(order[from:to], sum/n),
			to: r.ids[order[from].Label]})
		if n == 0 {
			continue
		}
		if classes <= singleMarks {
			low = 0
		}
		stems = append(stems, box{middle - half, middle + half, low, high, soft})
		dots = append(dots, mark{x: middle, y: sum / n, style: dot(groupRoles[group], 2.2)})
	}
	above.Add(columns)
	below.Add(stems)
	group := 0.5 // where the next begins
	for _, g := range r.metrics.Groups {
		if a := float64(g.Accuracy); drawable(a) && g.Classes > 0 {
			below.Add(segment(group, a, group+float64(g.Classes), a, dashed(ink)))
		}
		group += float64(g.Classes)
	}
	below.Add(dots, about)

	limit(&above.Y, 0, math.Log10(most)*1.05)
	var powers plot.ConstantTicks
	for v := 1.0; v <= most; v *= 10 {
		powers = append(powers, plot.Tick{Value: math.Log10(v), Label: strconv.FormatFloat(v, 'f', -1, 64)})
	}
	above.Y.Tick.Marker = powers
	height := vg.Length(230)
	if classes <= namedClasses {
		longest := 20 // characters
		if classes <= levelNames {
			longest = 150 / classes
		}
		names := axisNames{turned: classes > levelNames}
		for i, c := range order {
			names.names, names.at = append(names.names, shorten(c.Label, longest)), append(names.at, float64(i+1))
		}
		room := vg.Length(18)
		if names.turned {
			room = 112
			height += 100
		}
		names.reserve(&below.X, room)
		below.Add(names)
	}
	return render("Number of training images and accuracy of each class, classes with most training images first", 900,
		panel{above, 115}, panel{below, height})
}

// aboutRun says what a mark of classes is.
func aboutRun(classes []metric.ClassMetrics, mean float64) string {
	c := classes[0]
	if len(classes) > 1 {
		return fmt.Sprintf("%s to %s, %d classes: mean accuracy %s", c.Label, classes[len(classes)-1].Label,
			len(classes), metric.Number(mean).Text(3))
	}
	return fmt.Sprintf("%s: accuracy %s%s, %s", c.Label, c.Accuracy.Text(3), within(c.Interval),
		count(c.TrainCount, "training image", "training images"))
}

// reliabilities are the diagrams of one kind of confidence.
type reliabilities struct {
	When     string // "" where there is one kind only
	Diagrams []reliability
}

type reliability struct {
	Name    string
	Samples int
	ECE     string
	Plot    template.HTML
}

func confidence(p run.Prediction) float64       { return float64(p.Confidence) }
func confidenceBefore(p run.Prediction) float64 { return float64(p.Before) }

// Reliability is the diagrams of all samples and of the groups by true class, in the bins that the ECE of metrics.json
// is computed in; before calibration too where there was one.
func (r *page) Reliability() []reliabilities {
	after := r.diagrams(r.metrics.Uncalibrated(), "", confidence)
	if r.Before == nil {
		return []reliabilities{{"", after}}
	}
	before := r.diagrams(*r.Before, " before calibration", confidenceBefore)
	return []reliabilities{{"Before calibration", before}, {"After calibration", after}}
}

func (r *page) diagrams(u metric.Uncalibrated, when string, of func(run.Prediction) float64) []reliability {
	list := []reliability{diagram("all classes", when, u.ECE, ink, r.bins(of, calib.Shots()...))}
	for _, g := range r.Shots() {
		list = append(list, diagram(g.String(), when, u.Groups[g].ECE, groupRoles[g], r.bins(of, g)))
	}
	return list
}

// bins are those of the samples whose true class is in one of the groups.
func (r *Run) bins(of func(run.Prediction) float64, groups ...calib.Shot) []calib.Bin {
	var confidence []float64
	var hit []bool
	for _, p := range r.predictions {
		if slices.Contains(groups, r.classes[p.Label].Shot()) {
			confidence, hit = append(confidence, of(p)), append(hit, p.Label == p.Predicted)
		}
	}
	return calib.EqualWidth(confidence, hit, metric.Bins, 0, 1)
}

func diagram(name, when string, ece metric.Number, colour role, bins []calib.Bin) reliability {
	d := reliability{Name: name, ECE: ece.Text(4)}
	most := 0
	for _, b := range bins {
		d.Samples += b.Count
		most = max(most, b.Count)
	}
	if d.Samples == 0 {
		return d
	}
	above, below := stacked("confidence", "accuracy", "share", 0, 1)
	limit(&above.Y, 0, 1)
	top := float64(most) / float64(d.Samples)
	limit(&below.Y, 0, top)
	below.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: top, Label: fmt.Sprintf("%.2f", top)}}

	soft, fill := muted, rule
	if colour != ink {
		soft, fill = colour, colour.soft()
	}
	var bars, counts boxes
	var dots marks
	var about spots
	for _, b := range bins {
		gap := 0.06 * (b.High - b.Low)
		counts = append(counts, box{b.Low + gap, b.High - gap, 0, float64(b.Count) / float64(d.Samples), soft})
		if b.Count > 0 {
			bars = append(bars, box{b.Low + gap, b.High - gap, 0, b.Accuracy, fill})
			dots = append(dots, mark{x: b.Confidence, y: b.Accuracy, style: dot(colour, 2.4)})
			about = append(about, spot{x0: b.Low, x1: b.High, y1: 1, text: fmt.Sprintf("confidence %.2f to %.2f, mean "+
				"%.3f: accuracy %.3f of %s", b.Low, b.High, b.Confidence, b.Accuracy,
				count(b.Count, "image", "images"))})
		}
	}
	above.Add(bars, segment(0, 0, 1, 1, dashed(muted)), dots, about)
	below.Add(counts)
	d.Plot = render("Reliability of "+name+when+": accuracy against confidence, and the share of samples by confidence",
		205, panel{above, 170}, panel{below, 85})
	return d
}

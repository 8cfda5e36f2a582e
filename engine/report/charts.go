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
	"gonum.org/v1/plot/vg/draw"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
)

const (
	levelNames   = 8   // up to so many classes their names on the axis of a plot need no turning
	namedClasses = 40  // up to so many the plot by class has names on its axis
	singleMarks  = 200 // up to so many it has a mark for each class
)

// groupChart shows the groups' accuracies as bars, with the balanced accuracy.
func (r *Run) groupChart() template.HTML {
	p := newPlot("", "accuracy")
	limit(&p.Y, 0, 1)
	limit(&p.X, -0.5, 2.5)
	var ticks plot.ConstantTicks
	for g, m := range r.metrics.Groups {
		at := float64(g)
		label := calib.Shot(g).String() + ": " + m.Accuracy.Text(3) + "\n" + count(m.Classes, "class", "classes")
		ticks = append(ticks, plot.Tick{Value: at, Label: label})
		if drawable(float64(m.Accuracy)) {
			p.Add(boxes{{at - 0.32, at + 0.32, 0, float64(m.Accuracy), groupRoles[g]}})
		}
	}
	p.X.Tick.Marker = ticks
	p.X.Tick.Length = 0
	if b := float64(r.metrics.BalancedAccuracy); drawable(b) {
		p.Add(segment(-0.5, b, 2.5, b, dashed(ink)))
	}
	return render("Bars: accuracy of the classes with many, medium and few training images", 380, panel{p, 230})
}

// byFrequency are the classes, those with most training images first.
func (r *Run) byFrequency() []metric.ClassMetrics {
	list := slices.Clone(r.metrics.PerClass)
	slices.SortStableFunc(list, moreFrequent)
	return list
}

func moreFrequent(a, b metric.ClassMetrics) int { return cmp.Compare(b.TrainCount, a.TrainCount) }

// classChart shows each class's accuracy under its number of training images, classes sorted by that number.
func (r *Run) classChart() template.HTML {
	order := r.byFrequency()
	classes := len(order)
	above, below := newPlot("", "training images"), newPlot("class, by number of training images", "accuracy")
	limit(&below.Y, 0, 1)

	runs := min(classes, singleMarks)
	if classes > singleMarks {
		runs = singleMarks / 2
	}
	var columns, stems boxes
	var dots marks
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
	r.addGroupMeans(below)
	below.Add(dots)

	limit(&above.Y, 0, math.Log10(most)*1.05)
	above.Y.Tick.Marker = powers(most)
	for _, p := range []*plot.Plot{above, below} {
		limit(&p.X, 0.3, float64(classes)+0.7)
	}
	above.X.Tick.Marker = plot.ConstantTicks{}
	height := vg.Length(230)
	if classes <= namedClasses {
		longest := 24 // characters
		if classes <= levelNames {
			longest = 150 / classes
		}
		var names plot.ConstantTicks
		for i, c := range order {
			names = append(names, plot.Tick{Value: float64(i + 1), Label: shorten(c.Label, longest)})
		}
		below.X.Tick.Marker = names
		if classes > levelNames {
			below.X.Tick.Label.Rotation = math.Pi / 2
			below.X.Tick.Label.XAlign, below.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
			height += 90
		}
	}
	return render("Number of training images and accuracy of each class, classes with most training images first", 900,
		panel{above, 115}, panel{below, height})
}

// addGroupMeans draws each group's accuracy over its classes.
func (r *Run) addGroupMeans(p *plot.Plot) {
	from := 0
	for _, g := range r.metrics.Groups {
		to := from + g.Classes
		if a := float64(g.Accuracy); drawable(a) && g.Classes > 0 {
			p.Add(segment(float64(from)+0.5, a, float64(to)+0.5, a, dashed(ink)))
		}
		from = to
	}
}

// powers marks 1, 10, 100, … up to most on an axis of logarithms; a narrow range gets its top too.
func powers(most float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for v := 1.0; v <= most; v *= 10 {
		ticks = append(ticks, plot.Tick{Value: math.Log10(v), Label: strconv.FormatFloat(v, 'f', -1, 64)})
	}
	return ticks
}

// reliabilities are the diagrams of one kind of confidence.
type reliabilities struct {
	When     string // "" where there is one kind only
	Diagrams []reliability
}

// reliability is one reliability diagram.
type reliability struct {
	Name    string
	Samples int
	ECE     string
	Plot    template.HTML
}

// confidence and confidenceBefore are the two kinds of confidence of a prediction.
func confidence(p prediction) float64       { return float64(p.Confidence) }
func confidenceBefore(p prediction) float64 { return float64(p.Before) }

// reliability is the diagrams of all samples and of the groups by true class, in the bins that the ECE of metrics.json
// is computed in; before calibration too where there was one.
func (r *Run) reliability() []reliabilities {
	m := &r.metrics
	after := reliabilities{Diagrams: r.diagrams(m.ECE, m.Groups, "", confidence)}
	c := m.Calibration
	if c == nil {
		return []reliabilities{after}
	}
	after.When = "After calibration"
	before := r.diagrams(c.Before.ECE, c.Before.Groups, " before calibration", confidenceBefore)
	return []reliabilities{{"Before calibration", before}, after}
}

func (r *Run) diagrams(ece metric.Number, groups metric.Groups, when string,
	of func(prediction) float64) []reliability {
	list := []reliability{r.diagram("all classes", when, ece, ink, r.bins(of, calib.Shots()...))}
	for _, g := range calib.Shots() {
		list = append(list, r.diagram(g.String(), when, groups[g].ECE, groupRoles[g], r.bins(of, g)))
	}
	return list
}

// bins are those of the samples whose true class is in one of the groups.
func (r *Run) bins(of func(prediction) float64, groups ...calib.Shot) []calib.Bin {
	var confidence []float64
	var hit []bool
	for _, p := range r.predictions {
		if slices.Contains(groups, r.metrics.PerClass[p.label].Shot()) {
			confidence, hit = append(confidence, of(p)), append(hit, p.label == p.predicted)
		}
	}
	return calib.EqualWidth(confidence, hit, metric.Bins, 0, 1)
}

func (r *Run) diagram(name, when string, ece metric.Number, colour role, bins []calib.Bin) reliability {
	d := reliability{Name: name, ECE: ece.Text(4)}
	most := 0
	for _, b := range bins {
		d.Samples += b.Count
		most = max(most, b.Count)
	}
	if d.Samples == 0 {
		return d
	}
	above, below := newPlot("", "accuracy"), newPlot("confidence", "share")
	limit(&above.Y, 0, 1)
	limit(&above.X, 0, 1)
	limit(&below.X, 0, 1)
	above.X.Tick.Marker = plot.ConstantTicks{}
	top := float64(most) / float64(d.Samples)
	limit(&below.Y, 0, top)
	below.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: top, Label: fmt.Sprintf("%.2f", top)}}

	soft, fill := muted, rule
	if colour != ink {
		soft, fill = colour, colour.soft()
	}
	var bars, counts boxes
	var dots marks
	for _, b := range bins {
		gap := 0.06 * (b.High - b.Low)
		counts = append(counts, box{b.Low + gap, b.High - gap, 0, float64(b.Count) / float64(d.Samples), soft})
		if b.Count > 0 {
			bars = append(bars, box{b.Low + gap, b.High - gap, 0, b.Accuracy, fill})
			dots = append(dots, mark{x: b.Confidence, y: b.Accuracy, style: dot(colour, 2.4)})
		}
	}
	above.Add(bars, segment(0, 0, 1, 1, dashed(muted)), dots)
	below.Add(counts)
	d.Plot = render("Reliability of "+name+when+": accuracy against confidence, and the share of samples by confidence",
		205, panel{above, 170}, panel{below, 85})
	return d
}

package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/vitft/vitft/calib"
)

const (
	chartRows   = 50  // configurations in one figure, so that it fits on a page
	mostRows    = 150 // in all figures
	nameLength  = 44  // characters of a configuration's name in a figure
	nameWidth   = 5.8 // of a character, about
	fewToFence  = 8   // so many configurations make an outlier
	rowHeight   = 13
	chartHeight = 48 // of a figure without rows
)

// groupShapes tell the groups apart where colour does not.
var groupShapes = [3]draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}

type comparison struct {
	From, To            int // ranks, from 1
	Difference, Details template.HTML
}

// ranked are the most accurate configurations, up to a number, the best first, with the baseline and the selected ones
// whatever their rank. Those of which no head was trained come last.
func (s *Sweep) ranked(most int) []*configuration {
	list := slices.Clone(s.configurations)
	slices.SortStableFunc(list, func(a, b *configuration) int {
		return cmp.Compare(b.balanced().Mean, a.balanced().Mean)
	})
	kept := list[:0]
	for i, c := range list {
		if i < most || c.Baseline || c.Selected {
			kept = append(kept, c)
		}
	}
	return kept
}

// comparisons are the figures of the configurations of which a head was trained.
func (s *Sweep) comparisons() []comparison {
	rows := slices.DeleteFunc(s.ranked(mostRows), func(c *configuration) bool { return !drawable(c.balanced().Mean) })
	var list []comparison
	figures := (len(rows) + chartRows - 1) / chartRows
	for i := range figures {
		from, to := i*len(rows)/figures, (i+1)*len(rows)/figures
		part := rows[from:to]
		list = append(list, comparison{from + 1, to, s.differenceChart(part, rows), s.detailChart(part, rows)})
	}
	return list
}

// rowPlot is a plot with a configuration a row, named or not.
func rowPlot(x string, rows []*configuration, named bool) *plot.Plot {
	p := newPlot(x, "")
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = rule, nil
	p.Add(grid)
	limit(&p.Y, 0.3, float64(len(rows))+0.7)
	names, longest := axisNames{beside: true}, 0
	var ticks plot.ConstantTicks
	for i, c := range rows {
		name := shorten(c.Configuration, nameLength) + c.Marks()
		names.names, names.at = append(names.names, name), append(names.at, rowAt(i, rows))
		longest = max(longest, len([]rune(name)))
		ticks = append(ticks, plot.Tick{Value: rowAt(i, rows), Label: " "}) // one without a label gets no rule
	}
	p.Y.Tick.Marker, p.Y.Tick.Length = ticks, 0
	if named {
		p.Y.Padding = nameWidth * vg.Length(longest)
		p.Add(names)
	}
	return p
}

// rowAt is where row i is: the first is at the top.
func rowAt(i int, rows []*configuration) float64 { return float64(len(rows) - i) }

// glyph marks the baseline and what was selected by its shape.
func (c *configuration) glyph() draw.GlyphStyle {
	g := dot(ink, 2.8)
	switch {
	case c.Baseline:
		g.Shape = draw.RingGlyph{}
	case c.Selected:
		g.Shape = draw.BoxGlyph{}
	}
	return g
}

// differenceChart is a forest plot: each configuration's difference from the baseline with its interval, where there is
// one, and beside it the balanced accuracy of each seed with mean and deviation. The axes fit all rows, of which part
// is drawn.
func (s *Sweep) differenceChart(part, rows []*configuration) template.HTML {
	differences := rowPlot("difference of balanced accuracy", part, true)
	accuracies := rowPlot("balanced accuracy", part, s.base == nil)
	var allDifferences, allAccuracies [][3]float64
	for _, c := range rows {
		d := c.Compared()
		allDifferences = append(allDifferences, [3]float64{d.Low, d.Difference, d.High})
		low, high := c.within()
		allAccuracies = append(allAccuracies, [3]float64{low, c.balanced().Mean, high})
	}
	fence(&differences.X, allDifferences, 0)
	fence(&accuracies.X, allAccuracies)

	var forest, means, seeds marks
	for i, c := range part {
		at := rowAt(i, part)
		if d := c.Compared(); drawable(d.Difference) {
			forest = append(forest, mark{d.Difference, at, c.glyph(), d.Low, d.High})
		} else if c.Baseline {
			forest = append(forest, mark{x: 0, y: at, style: c.glyph()})
		}
		low, high := c.within()
		means = append(means, mark{c.balanced().Mean, at, c.glyph(), low, high})
		for _, v := range c.accuracies {
			if v >= accuracies.X.Min && v <= accuracies.X.Max {
				seeds = append(seeds, mark{x: v, y: at, style: dot(muted, 1.3)})
			}
		}
	}
	height := chartHeight + rowHeight*vg.Length(len(part))
	accuracies.Add(seeds, means, aboutRows(accuracies, part, func(c *configuration) string {
		text := c.Configuration + ": balanced accuracy " + spreadCell(c.balanced()).Text
		if around := spreadCell(c.balanced()).Around; around != "" {
			text += " " + around
		}
		return text
	}))
	if s.base == nil {
		return beside("Balanced accuracy of each configuration, with that of each seed", 900, height, accuracies)
	}
	differences.Add(vertical(differences, 0), forest, aboutRows(differences, part, func(c *configuration) string {
		d := c.differenceCell()
		if d.Text == "" {
			return c.Configuration + c.Marks()
		}
		return c.Configuration + ": " + d.Text + " " + d.Around
	}))
	accuracies.Add(vertical(accuracies, s.base.balanced().Mean))
	return beside("Difference of each configuration’s balanced accuracy from the baseline with its 95 % interval, "+
		"and balanced accuracy of each seed", 900, height, differences, accuracies)
}

// detailChart is the groups' accuracies and errors of calibration. The axes fit all rows, of which part is drawn.
func (s *Sweep) detailChart(part, rows []*configuration) template.HTML {
	accuracies, errors := rowPlot("accuracy", part, true), rowPlot("ECE", part, false)
	var ofAccuracy, ofError []series
	for _, g := range calib.Shots() {
		glyph := draw.GlyphStyle{Color: groupRoles[g], Radius: 2.6, Shape: groupShapes[g]}
		ofAccuracy = append(ofAccuracy, series{g.String(), glyph})
		ofError = append(ofError, series{"ece_" + g.String(), glyph})
	}
	all := draw.GlyphStyle{Color: ink, Radius: 3, Shape: draw.CrossGlyph{}}
	before := draw.GlyphStyle{Color: ink, Radius: 2.6, Shape: draw.RingGlyph{}}
	addSeries(accuracies, part, rows, append(ofAccuracy, series{balanced, all}))
	addSeries(errors, part, rows, append(ofError, series{"ece_before", before}, series{"ece", all}))
	return beside("Accuracy and calibration error of each configuration, overall and for the classes with many, "+
		"medium and few training images", 900, chartHeight+rowHeight*vg.Length(len(part)), accuracies, errors)
}

type series struct {
	metric string
	glyph  draw.GlyphStyle
}

func addSeries(p *plot.Plot, part, rows []*configuration, list []series) {
	all := extentOf()
	for _, x := range list {
		for _, c := range rows {
			all.add(c.Metrics[x.metric].Mean)
		}
		var dots marks
		for i, c := range part {
			if v := c.Metrics[x.metric].Mean; drawable(v) {
				dots = append(dots, mark{x: v, y: rowAt(i, part), style: x.glyph})
			}
		}
		p.Add(dots)
	}
	all.axis(&p.X, 0.03)
	p.Add(aboutRows(p, part, func(c *configuration) string {
		text := c.Configuration + ":"
		for _, x := range list {
			if v := valueCell(c.Metrics[x.metric].Mean, 4).Text; v != "" {
				text += " " + strings.ReplaceAll(x.metric, "_", " ") + " " + v
			}
		}
		return text
	}))
}

// aboutRows say what the marks of a row are.
func aboutRows(p *plot.Plot, rows []*configuration, text func(*configuration) string) spots {
	var list spots
	for i, c := range rows {
		at := rowAt(i, rows)
		list = append(list, spot{x0: p.X.Min, x1: p.X.Max, y0: at - 0.5, y1: at + 0.5, text: text(c)})
	}
	return list
}

func vertical(p *plot.Plot, x float64) polyline {
	if !(x >= p.X.Min && x <= p.X.Max) {
		return polyline{}
	}
	return segment(x, p.Y.Min, x, p.Y.Max, dashed(muted))
}

// fence sets an axis to the values (low, value, high) that are no outliers, and to those of with: an outlier is further
// than three times the quartiles' distance from them (Tukey's outer fence). A failed configuration shall not press all
// others together.
func fence(a *plot.Axis, values [][3]float64, with ...float64) {
	values = slices.DeleteFunc(values, func(v [3]float64) bool { return !drawable(v[1]) })
	slices.SortFunc(values, func(a, b [3]float64) int { return cmp.Compare(a[1], b[1]) })
	least, most := math.Inf(-1), math.Inf(1)
	if n := len(values); n >= fewToFence {
		first, third := values[n/4][1], values[n-1-n/4][1]
		if reach := 3 * (third - first); reach > 0 {
			least, most = first-reach, third+reach
		}
	}
	all := extentOf(with...)
	for _, v := range values {
		if v[1] >= least && v[1] <= most {
			all.add(v[:]...)
		}
	}
	all.axis(a, 0.04)
}

// signed writes a number with the sign that is read as one.
func signed(v float64) string {
	text := fmt.Sprintf("%.4f", math.Abs(v))
	if v < 0 && text != "0.0000" {
		return "−" + text
	}
	return text
}

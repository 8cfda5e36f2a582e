package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/plaintext"
)

const (
	curveBins   = 8    // neighbours that a point of the curve by photos is the mean of: an eighth of the classes
	leastBin    = 3    // classes
	colours     = 8    // classes that the map tells apart by colour
	mostScatter = 1000 // classes with a dot of their own
)

// PhotoPlot is the classes' accuracies against their numbers of training images, with the mean of classes that have
// about as many.
func (r *page) PhotoPlot() template.HTML {
	order := slices.DeleteFunc(r.byFrequency(), func(c metric.ClassMetrics) bool {
		return !drawable(float64(c.Accuracy))
	})
	if len(order) == 0 {
		return ""
	}
	slices.Reverse(order)
	at := func(n int) float64 { return math.Log10(float64(max(1, n))) }
	p := newPlot("training images of the class", "accuracy")
	least := 1.0
	for _, c := range order {
		least = min(least, float64(c.Accuracy))
	}
	limit(&p.Y, math.Floor(max(0, least-0.04)*10)/10, 1)
	low, high := at(order[0].TrainCount), at(order[len(order)-1].TrainCount)
	margin := max(0.06, 0.03*(high-low))
	limit(&p.X, low-margin, high+margin)
	p.X.Tick.Marker = photoTicks(order[0].TrainCount, order[len(order)-1].TrainCount)
	n := min(len(order), mostScatter)
	dots := make(spots, n)
	for i := range dots {
		c := order[i*len(order)/n]
		dots[i] = spot{x0: at(c.TrainCount), y0: float64(c.Accuracy), radius: 3, look: "dot " + c.Shot().String(),
			text: aboutRun([]metric.ClassMetrics{c}, 0), to: r.ids[c.Label]}
	}
	var curve polyline
	var whiskers []plot.Plotter
	if bins := min(curveBins, len(order)/leastBin); bins > 1 {
		curve.style = line(ink, 1.6, nil)
		for b := range bins {
			some := order[b*len(order)/bins : (b+1)*len(order)/bins]
			x, y := 0.0, 0.0
			for _, c := range some {
				x, y = x+at(c.TrainCount)/float64(len(some)), y+float64(c.Accuracy)/float64(len(some))
			}
			curve.XYs = append(curve.XYs, plotter.XY{X: x, Y: y})
			whiskers = append(whiskers, whiskerOf(x, metric.MeanInterval(some)))
		}
	}
	p.Add(dots, curve)
	p.Add(whiskers...)
	return render("Accuracy of each class against its number of training images", 900, panel{p, 300})
}

// photoTicks are 1, 2 and 5 times powers of ten.
func photoTicks(low, high int) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for power := 1; power <= 1_000_000_000; power *= 10 {
		for _, step := range []int{1, 2, 5} {
			if v := power * step; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: math.Log10(float64(v)), Label: thousands(v)})
			}
		}
	}
	if ticks == nil {
		ticks = plot.ConstantTicks{{Value: math.Log10(float64(max(1, low))), Label: thousands(low)}}
	}
	return ticks
}

// featureMap is the map of the images' features.
type featureMap struct {
	run.Map
	Plot    template.HTML
	Classes []metric.ClassMetrics // that have points
	Colours bool                  // are those of classes, in their order; else of groups
}

// Map is where the images lie by their features; nil if the run has none.
func (r *page) Map() *featureMap {
	of := map[string]run.Prediction{}
	for _, x := range r.predictions {
		of[plaintext.Valid(x.Path)] = x
	}
	m := featureMap{Map: r.pictures.Map}
	p := newPlot("", "")
	x, y := extentOf(), extentOf()
	type place struct {
		run.Point
		run.Prediction
	}
	var places []place
	for _, v := range m.Points[:min(len(m.Points), mapPoints)] {
		if is, known := of[v.Path]; known && drawable(float64(v.X)) && drawable(float64(v.Y)) {
			places = append(places, place{v, is})
			x.add(float64(v.X))
			y.add(float64(v.Y))
		}
	}
	if len(places) < leastMap || x.low == x.high || y.low == y.high {
		return nil
	}
	x.axis(&p.X, 0.03)
	y.axis(&p.Y, 0.03)
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks{}, plot.ConstantTicks{}
	p.X.Label.Text = fmt.Sprintf("first component, %.0f %% of the variance", 100*m.Variance[0])
	p.Y.Label.Text = fmt.Sprintf("second, %.0f %%", 100*m.Variance[1])
	slices.SortStableFunc(places, func(a, b place) int { // mistakes on top
		return cmp.Compare(mistaken(a.Prediction), mistaken(b.Prediction))
	})
	colour := map[string]string{}
	has := map[string]bool{}
	for _, v := range places {
		has[v.Label] = true
	}
	m.Classes = slices.DeleteFunc(r.byFrequency(), func(c metric.ClassMetrics) bool { return !has[c.Label] })
	m.Colours = len(m.Classes) <= colours
	for i, c := range m.Classes {
		colour[c.Label] = c.Shot().String()
		if m.Colours {
			colour[c.Label] = fmt.Sprint("k", i)
		}
	}
	var dots spots
	for _, v := range places {
		s := spot{x0: float64(v.X), y0: float64(v.Y), radius: 2.2, look: "dot " + colour[v.Label], text: v.Label,
			to: r.ids[v.Label]}
		if mistaken(v.Prediction) > 0 {
			s.radius, s.look, s.text = 3.2, "ring "+colour[v.Label], v.Label+" taken for "+v.Predicted
		}
		dots = append(dots, s)
	}
	p.Add(dots)
	m.Plot = render("Map of the images by the two directions in which their features differ most", 900, panel{p, 480})
	return &m
}

func mistaken(p run.Prediction) int {
	if p.Label == p.Predicted {
		return 0
	}
	return 1
}

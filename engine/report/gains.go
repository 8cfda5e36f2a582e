package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"

	"gonum.org/v1/plot"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
)

// gain is an accuracy of a head on the backbone as it was, and with what was learnt inside the backbone.
type gain struct {
	Name                      string
	Classes                   int
	Before, After             metric.Number
	BeforeWithin, AfterWithin metric.Interval
	shot                      calib.Shot
}

// Change is what was gained, with its sign.
func (g gain) Change() string {
	if d := float64(g.After - g.Before); drawable(d) {
		return fmt.Sprintf("%+.4f", d)
	}
	return metric.Number(math.NaN()).Text(4)
}

// Gains are those of all classes and of the groups.
func (r *page) Gains() []gain {
	before := r.Inside.Frozen
	was := slices.Clone(r.PerClass)
	for i := range was {
		was[i].Accuracy = before.Accuracy[i]
	}
	of := func(g ...calib.Shot) metric.Interval {
		return metric.MeanInterval(slices.DeleteFunc(slices.Clone(was), func(c metric.ClassMetrics) bool {
			return !slices.Contains(g, c.Shot())
		}))
	}
	list := []gain{{"all classes", len(r.PerClass), before.BalancedAccuracy, r.BalancedAccuracy,
		of(calib.Shots()...), metric.MeanInterval(r.PerClass), 0}}
	for _, g := range r.Shots() {
		now := r.Groups[g]
		list = append(list, gain{g.String(), now.Classes, before.Groups[g].Accuracy, now.Accuracy, of(g), now.Interval,
			g})
	}
	return list
}

// GainPlot shows the groups' accuracies as pairs of bars.
func (r *page) GainPlot() template.HTML {
	p := newPlot("", "accuracy")
	limit(&p.Y, 0, 1)
	limit(&p.X, -0.5, float64(len(r.Shots()))-0.5)
	var ticks plot.ConstantTicks
	var about spots
	for i, x := range r.Gains()[1:] {
		at := float64(i)
		ticks = append(ticks, plot.Tick{Value: at, Label: x.Name + "\n" + x.Before.Text(3) + " → " + x.After.Text(3)})
		if drawable(float64(x.Before)) && drawable(float64(x.After)) {
			p.Add(boxes{{at - 0.36, at - 0.02, 0, float64(x.Before), muted},
				{at + 0.02, at + 0.36, 0, float64(x.After), groupRoles[x.shot]}})
			about = append(about, spot{x0: at - 0.36, x1: at - 0.02, y1: float64(x.Before),
				text: x.Name + ", frozen: " + x.Before.Text(3) + within(x.BeforeWithin)})
			about = append(about, spot{x0: at + 0.02, x1: at + 0.36, y1: float64(x.After),
				text: x.Name + ", adapted: " + x.After.Text(3) + within(x.AfterWithin)})
		}
	}
	p.X.Tick.Marker = ticks
	p.X.Tick.Length = 0
	p.Add(about)
	return render("Pairs of bars: accuracy of the groups with the frozen backbone, and after learning inside it",
		380, panel{p, 230})
}

// FrozenOf is a class's accuracy with a head alone; nil where that is not known.
func (r *page) FrozenOf(label string) *metric.Number { return r.frozen[label] }

// classGains are the gains of the classes that have samples.
type classGains struct {
	Classes, Better, Worse int
	Plot                   template.HTML
}

// GainsByClass counts and draws what each class gains.
func (r *page) GainsByClass() classGains {
	var c classGains
	order := r.byFrequency()
	p := newPlot("class, by number of training images", "change of accuracy")
	limit(&p.X, 0.3, float64(len(order))+0.7)
	all := extentOf()
	all.add(0)
	var bars boxes
	var about spots
	for i, class := range order {
		d := float64(class.Accuracy - *r.FrozenOf(class.Label))
		if !drawable(d) {
			continue
		}
		c.Classes++
		if d > 0 {
			c.Better++
		} else if d < 0 {
			c.Worse++
		}
		all.add(d)
		at := float64(i + 1)
		bars = append(bars, box{at - 0.4, at + 0.4, min(d, 0), max(d, 0), groupRoles[class.Shot()]})
		if len(order) <= tableClasses {
			about = append(about, spot{x0: at - 0.5, x1: at + 0.5, to: r.ids[class.Label], text: fmt.Sprintf(
				"%s: %s → %s (%+.4f)", class.Label, r.FrozenOf(class.Label).Text(3), class.Accuracy.Text(3), d)})
		}
	}
	all.axis(&p.Y, 0.05)
	for i := range about {
		about[i].y0, about[i].y1 = p.Y.Min, p.Y.Max
	}
	p.Add(bars, segment(p.X.Min, 0, p.X.Max, 0, line(muted, 0.7, nil)), about)
	c.Plot = render("Change of each class's accuracy, classes with most training images first", 900, panel{p, 200})
	return c
}

package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
)

type kappaEpoch struct {
	Number int
	Phase  head.Phase
	Groups [calib.Few + 1]spread
}

// spread is κ of the classes of a group, and the standard errors of those that have one.
type spread struct {
	Skipped, Shrunk int
	values, errors  []float64
}

// Classes is the number of the classes.
func (s spread) Classes() int { return len(s.values) }

// Mean is that of κ.
func (s spread) Mean() metric.Number { return metric.Number(stat.Mean(s.values, nil)) }

// Deviation is the standard deviation of κ over the classes.
func (s spread) Deviation() metric.Number { return metric.Number(stat.PopStdDev(s.values, nil)) }

// StdErr is the mean standard error.
func (s spread) StdErr() metric.Number { return metric.Number(stat.Mean(s.errors, nil)) }

func (r *Run) addKappa(rows []run.KappaRow) error {
	for _, row := range rows {
		class, known := r.classes[row.Class]
		if !known {
			return fmt.Errorf("%q is no class of the metrics", row.Class)
		}
		if n := len(r.kappa); n == 0 || r.kappa[n-1].Number != row.Epoch {
			r.kappa = append(r.kappa, kappaEpoch{Number: row.Epoch, Phase: row.Phase})
		}
		s := &r.kappa[len(r.kappa)-1].Groups[class.Shot()]
		s.values = append(s.values, row.Value)
		if drawable(row.StdErr) {
			s.errors = append(s.errors, row.StdErr)
		}
		if row.Skipped {
			s.Skipped++
		}
		if row.Shrunk {
			s.Shrunk++
		}
	}
	return nil
}

// switchEpoch is between the last epoch of the first phase and the next one; 0 if the phase never changes.
func (r *Run) switchEpoch() float64 {
	for i := 1; i < len(r.history); i++ {
		if r.history[i].Phase != r.history[i-1].Phase {
			return float64(r.history[i-1].Number) + 0.5
		}
	}
	return 0
}

type curve struct {
	name   string
	style  draw.LineStyle
	parted bool // at the switch, since the value means another thing after it
	value  func(e head.Epoch) float64
}

func (r *Run) curves(description, y string, fraction bool, list ...curve) template.HTML {
	p := newPlot("epoch", y)
	all := extentOf()
	for _, c := range list {
		var l timeline
		for _, e := range r.history {
			l.add(e.Number, e.Phase, c.value(e), c.parted)
			all.add(c.value(e))
		}
		p.Add(polyline{l.points, c.style})
	}
	if all.empty() {
		return ""
	}
	r.epochAxis(p)
	if fraction {
		// Curves near 1 need room: the axis begins at the tenth below the lowest.
		limit(&p.Y, math.Floor(all.low*10)/10, 1)
	} else {
		limit(&p.Y, min(0, all.low), all.high*1.12)
	}
	p.Add(epochSpots(p, len(r.history), func(i int) (int, string) {
		e := r.history[i]
		text := fmt.Sprintf("epoch %d (%s):", e.Number, e.Phase)
		for k, c := range list {
			if v := c.value(e); drawable(v) {
				text += fmt.Sprintf("%s %s %.4g", []string{"", ","}[min(k, 1)], c.name, v)
			}
		}
		return e.Number, text
	}))
	return render(description, 440, panel{p, 240})
}

// epochSpots are bands over the epochs, some of very many.
func epochSpots(p *plot.Plot, epochs int, about func(i int) (epoch int, text string)) spots {
	const most = 200
	var list spots
	n := min(epochs, most)
	half := (p.X.Max - p.X.Min) / float64(2*max(1, n-1))
	for k := range n {
		epoch, text := about(k * epochs / n)
		at := float64(epoch)
		list = append(list, spot{x0: max(p.X.Min, at-half), x1: min(p.X.Max, at+half), y0: p.Y.Min, y1: p.Y.Max,
			text: text})
	}
	return list
}

type timeline struct {
	points plotter.XYs
	phase  head.Phase // of the last
}

// add adds an epoch's value; a line that is parted ends with a phase.
func (l *timeline) add(epoch int, phase head.Phase, value float64, parted bool) {
	at := float64(epoch)
	if parted && l.points != nil && phase != l.phase {
		l.points = append(l.points, plotter.XY{X: at, Y: math.NaN()})
	}
	l.points, l.phase = append(l.points, plotter.XY{X: at, Y: value}), phase
}

func (r *Run) epochAxis(p *plot.Plot) {
	limit(&p.X, float64(r.history[0].Number), float64(r.history[len(r.history)-1].Number))
	p.X.Tick.Marker = rounds{least: 1}
	if at := r.switchEpoch(); at > 0 {
		p.Add(upright{at, "switch"})
	}
}

// LossPlot is the loss that is trained with.
func (r *page) LossPlot() template.HTML {
	return r.curves("Training loss over the epochs", "training loss (nats)", false,
		curve{"loss", line(ink, 1.6, nil), true, func(e head.Epoch) float64 { return e.Loss }})
}

// RatePlot is the learning rate.
func (r *page) RatePlot() template.HTML {
	return r.curves("Learning rate over the epochs", "learning rate", false,
		curve{"learning rate", line(ink, 1.6, nil), true, func(e head.Epoch) float64 { return e.LR }})
}

// AccuracyPlot is balanced accuracy and the groups', on the validation set or, without one, on the training set.
func (r *page) AccuracyPlot() template.HTML {
	of := func(e head.Epoch) head.Accuracy { return e.Train }
	if r.Validated() {
		of = func(e head.Epoch) head.Accuracy { return *cmp.Or(e.Val, new(head.Accuracy)) }
	}
	nan := math.NaN()
	curveOf := func(name string, colour role, width vg.Length, dashes []vg.Length,
		value func(head.Accuracy) *float64) curve {
		at := func(e head.Epoch) float64 { return *cmp.Or(value(of(e)), &nan) }
		return curve{name, line(colour, width, dashes), false, at}
	}
	return r.curves("Accuracy over the epochs: balanced, and of the groups", "accuracy", true,
		curveOf("many", many, 1.4, groupDashes[0], func(a head.Accuracy) *float64 { return a.Many }),
		curveOf("medium", medium, 1.4, groupDashes[1], func(a head.Accuracy) *float64 { return a.Medium }),
		curveOf("few", few, 1.4, groupDashes[2], func(a head.Accuracy) *float64 { return a.Few }),
		curveOf("balanced", ink, 1.8, nil, func(a head.Accuracy) *float64 { return a.Balanced }))
}

// Validated says whether accuracy is measured on a validation set.
func (r *page) Validated() bool {
	return slices.ContainsFunc(r.history, func(e head.Epoch) bool { return e.Val != nil })
}

// Kappa is that of the last epoch of each phase.
func (r *page) Kappa() []kappaEpoch {
	var list []kappaEpoch
	for i, e := range r.kappa {
		if i+1 == len(r.kappa) || r.kappa[i+1].Phase != e.Phase {
			list = append(list, e)
		}
	}
	return list
}

// KappaPlot is the mean κ of each group over the epochs, in a band of one standard deviation over the classes.
func (r *page) KappaPlot() template.HTML {
	p := newPlot("epoch", "κ")
	all := extentOf()
	var lines []plot.Plotter
	for g := range calib.Shots() {
		var l timeline
		var bands boxes
		for _, e := range r.kappa {
			mean, sd := float64(e.Groups[g].Mean()), float64(e.Groups[g].Deviation())
			l.add(e.Number, e.Phase, mean, true)
			if at := float64(e.Number); drawable(mean) && drawable(sd) {
				all.add(mean-sd, mean+sd)
				bands = append(bands, box{at - 0.5, at + 0.5, mean - sd, mean + sd, groupRoles[g].soft()})
			}
		}
		p.Add(bands)
		lines = append(lines, polyline{l.points, line(groupRoles[g], 1.6, groupDashes[g])})
	}
	if all.empty() || len(r.history) == 0 {
		return ""
	}
	r.epochAxis(p)
	p.Add(segment(p.X.Min, 1, p.X.Max, 1, line(muted, 0.7, nil)))
	p.Add(lines...)
	all.axis(&p.Y, 0.05)
	p.Add(epochSpots(p, len(r.kappa), func(i int) (int, string) {
		e := r.kappa[i]
		text := fmt.Sprintf("epoch %d (%s):", e.Number, e.Phase)
		for _, g := range calib.Shots() {
			if s := e.Groups[g]; s.Classes() > 0 {
				text += fmt.Sprintf(" %v %s ± %s,", g, s.Mean().Text(3), s.Deviation().Text(3))
			}
		}
		return e.Number, strings.TrimRight(text, ",:")
	}))
	return render("κ over the epochs: mean and spread of each group", 900, panel{p, 260})
}

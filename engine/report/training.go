package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
)

// kappaEpoch is κ of one epoch, by group.
type kappaEpoch struct {
	Number int
	Phase  head.Phase
	Groups [calib.Few + 1]spread
}

// spread gathers the mean and the standard deviation over the classes of a group.
type spread struct {
	Classes, Skipped, Shrunk int
	sum, squares             float64
	errors                   []float64 // standard errors, of the classes that have one
}

// Mean is that of κ.
func (s spread) Mean() metric.Number { return metric.Number(s.sum / float64(s.Classes)) }

// Deviation is the standard deviation of κ.
func (s spread) Deviation() metric.Number {
	m := float64(s.Mean())
	return metric.Number(math.Sqrt(max(0, s.squares/float64(s.Classes)-m*m)))
}

// StdErr is the mean standard error.
func (s spread) StdErr() metric.Number { return metric.Number(calib.Mean(s.errors, nil)) }

func (r *Run) addKappa(rows []run.KappaRow) error {
	index := r.classIndex()
	for _, row := range rows {
		k, known := index[row.Class]
		if !known {
			return fmt.Errorf("%q is no class of the metrics", row.Class)
		}
		if n := len(r.kappa); n == 0 || r.kappa[n-1].Number != row.Epoch {
			r.kappa = append(r.kappa, kappaEpoch{Number: row.Epoch, Phase: row.Phase})
		}
		s := &r.kappa[len(r.kappa)-1].Groups[r.metrics.PerClass[k].Shot()]
		s.Classes++
		s.sum += row.Value
		s.squares += row.Value * row.Value
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

// curve is a value over the epochs of one plot.
type curve struct {
	style  draw.LineStyle
	parted bool // at the switch, since the value means another thing after it
	value  func(e head.Epoch) float64
}

// curves draws values over the epochs, with the switch.
func (r *Run) curves(description, y string, fraction bool, list ...curve) template.HTML {
	p := newPlot("epoch", y)
	all := extentOf()
	for _, c := range list {
		var points plotter.XYs
		for i, e := range r.history {
			if c.parted && i > 0 && e.Phase != r.history[i-1].Phase {
				points = append(points, plotter.XY{X: float64(e.Number), Y: math.NaN()})
			}
			points = append(points, plotter.XY{X: float64(e.Number), Y: c.value(e)})
			all.add(c.value(e))
		}
		p.Add(polyline{points, c.style})
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
	return render(description, 440, panel{p, 240})
}

// epochAxis sets the range of epochs and marks the switch.
func (r *Run) epochAxis(p *plot.Plot) {
	first, last := float64(r.history[0].Number), float64(r.history[len(r.history)-1].Number)
	limit(&p.X, first, last)
	if last-first < 5 {
		p.X.Tick.Marker = whole(first, last)
	}
	if at := r.switchEpoch(); at > 0 {
		p.Add(upright{at, "switch"})
	}
}

// whole marks every whole number.
func whole(first, last float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for i := range int(last-first) + 1 {
		v := first + float64(i)
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
	}
	return ticks
}

func valueOf(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

func (r *Run) lossChart() template.HTML {
	return r.curves("Training loss over the epochs", "training loss (nats)", false,
		curve{line(ink, 1.6, nil), true, func(e head.Epoch) float64 { return e.Loss }})
}

func (r *Run) rateChart() template.HTML {
	return r.curves("Learning rate over the epochs", "learning rate", false,
		curve{line(ink, 1.6, nil), true, func(e head.Epoch) float64 { return e.LR }})
}

// accuracyChart is balanced accuracy and the groups', on the validation set or, without one, on the training set.
func (r *Run) accuracyChart() template.HTML {
	of := func(e head.Epoch) head.Accuracy { return e.Train }
	if r.validated() {
		of = func(e head.Epoch) head.Accuracy {
			if e.Val == nil {
				return head.Accuracy{}
			}
			return *e.Val
		}
	}
	return r.curves("Accuracy over the epochs: balanced, and of the groups", "accuracy", true,
		curve{line(many, 1.4, groupDashes[0]), false, func(e head.Epoch) float64 { return valueOf(of(e).Many) }},
		curve{line(medium, 1.4, groupDashes[1]), false, func(e head.Epoch) float64 { return valueOf(of(e).Medium) }},
		curve{line(few, 1.4, groupDashes[2]), false, func(e head.Epoch) float64 { return valueOf(of(e).Few) }},
		curve{line(ink, 1.8, nil), false, func(e head.Epoch) float64 { return valueOf(of(e).Balanced) }})
}

func (r *Run) validated() bool {
	return slices.ContainsFunc(r.history, func(e head.Epoch) bool { return e.Val != nil })
}

// kappaChart is the mean κ of each group over the epochs, in a band of one standard deviation over the classes.
func (r *Run) kappaChart() template.HTML {
	if len(r.kappa) == 0 || len(r.history) == 0 {
		return ""
	}
	p := newPlot("epoch", "κ")
	all := extentOf()
	var lines []plot.Plotter
	for g := range calib.Shots() {
		var points plotter.XYs
		var bands boxes
		for i, e := range r.kappa {
			if i > 0 && e.Phase != r.kappa[i-1].Phase {
				points = append(points, plotter.XY{X: float64(e.Number), Y: math.NaN()})
			}
			s := e.Groups[g]
			if s.Classes == 0 {
				continue
			}
			at, mean, sd := float64(e.Number), float64(s.Mean()), float64(s.Deviation())
			if !drawable(mean) || !drawable(sd) {
				continue
			}
			all.add(mean-sd, mean+sd)
			points = append(points, plotter.XY{X: at, Y: mean})
			bands = append(bands, box{at - 0.5, at + 0.5, mean - sd, mean + sd, groupRoles[g].soft()})
		}
		p.Add(bands)
		lines = append(lines, polyline{points, line(groupRoles[g], 1.6, groupDashes[g])})
	}
	if all.empty() {
		return ""
	}
	r.epochAxis(p)
	p.Add(segment(p.X.Min, 1, p.X.Max, 1, line(muted, 0.7, nil)))
	p.Add(lines...)
	all.axis(&p.Y, 0.05)
	return render("κ over the epochs: mean and spread of each group", 900, panel{p, 260})
}

package report

import (
	"cmp"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/sweep"
)

const (
	leastPoints = 3  // values a setting needs for a curve
	mostCurves  = 16 // that are shown
	mostDots    = 30 // of a curve: more are no longer told apart
	wideRange   = 30 // between values of a setting, from which on their axis is one of logarithms
)

// varying is what a curve against a setting is made of: the configurations that differ in that one numeric setting
// only.
type varying struct {
	key    string
	points []point
}

type point struct {
	value float64
	*configuration
}

// varyings are the curves that a sweep has, in the order of keys and configurations.
func (s *Sweep) varyings() []varying {
	var list []varying
	for _, key := range s.summary.Keys {
		sets := map[string]int{} // index of list by the other settings
		first := len(list)
		for _, c := range s.configurations {
			value, ok := s.value(c, key)
			if !ok || !drawable(c.balanced().Mean) {
				continue
			}
			id := ""
			for _, other := range s.summary.Keys {
				if other != key {
					id += c.text(other) + "\x00"
				}
			}
			k, known := sets[id]
			if !known {
				k = len(list)
				sets[id] = k
				list = append(list, varying{key: key})
			}
			list[k].points = append(list[k].points, point{value, c})
		}
		for k := range list[first:] {
			v := &list[first+k]
			slices.SortStableFunc(v.points, func(a, b point) int { return cmp.Compare(a.value, b.value) })
			v.points = slices.CompactFunc(v.points, func(a, b point) bool { return a.value == b.value })
		}
		few := func(v varying) bool { return v.key == key && len(v.points) < leastPoints }
		list = slices.DeleteFunc(list, few)
	}
	return list
}

// value is a configuration's numeric setting. A switch at an epoch becomes a fraction of the epochs, as one below 1 is.
func (s *Sweep) value(c *configuration, key string) (float64, bool) {
	v, err := strconv.ParseFloat(c.text(key), 64)
	if key == "switch" && v >= 1 {
		epochs, fault := strconv.ParseFloat(s.setting(c, "epochs"), 64)
		v, err = v/epochs, cmp.Or(err, fault)
	}
	return v, err == nil && drawable(v)
}

// setting is a configuration's own or, where it does not vary, that of all; "" where it is a default.
func (s *Sweep) setting(c *configuration, key string) string {
	if slices.Contains(s.summary.Keys, key) {
		return c.text(key)
	}
	return s.config.Text(key)
}

func (c *configuration) text(key string) string { return sweep.Format(c.Settings[key]) }

// sweepCurve is accuracy against one setting.
type sweepCurve struct {
	Key, Of string // the setting, and what it was varied of
	Plot    template.HTML
}

// curves draws the varyings, and says how many more there are.
func (s *Sweep) curves() ([]sweepCurve, int) {
	all := s.varyings()
	shown, more := cut(all, mostCurves)
	list := make([]sweepCurve, len(shown))
	for i, v := range shown {
		alike := slices.DeleteFunc(slices.Clone(all), func(w varying) bool { return w.key != v.key })
		list[i] = sweepCurve{Key: v.key, Of: s.distinct(v, alike)}
		list[i].Plot = s.curve(v, alike, "Accuracy against "+v.key+", "+list[i].Of)
	}
	return list, more
}

// distinct names the loss of a curve and those settings that tell it from others of the same setting.
func (s *Sweep) distinct(v varying, alike []varying) string {
	var parts []string
	for _, key := range s.summary.Keys {
		own := v.points[0].text(key)
		switch {
		case key == v.key || own == "":
		case key == "loss":
			parts = append(parts, own)
		case slices.ContainsFunc(alike, func(w varying) bool { return w.points[0].text(key) != own }):
			parts = append(parts, key+"="+own)
		}
	}
	return strings.Join(parts, " ")
}

// curve draws balanced accuracy with its deviation over seeds, and the groups' accuracies below, in ranges that all
// curves alike share.
func (s *Sweep) curve(v varying, alike []varying, description string) template.HTML {
	label := v.key
	if label == "switch" {
		label = "switch (fraction of the epochs)"
	}
	above, below := newPlot("", "balanced"), newPlot(label, "accuracy")
	at := s.settingAxis(v, alike, above, below)

	all, groups := extentOf(), extentOf()
	for _, w := range alike {
		for _, p := range w.points {
			b := p.balanced()
			all.add(b.Mean-orZero(b.Std), b.Mean+orZero(b.Std))
			for _, g := range calib.Shots() {
				groups.add(p.Metrics[g.String()].Mean)
			}
		}
	}
	all.axis(&above.Y, 0.05)
	groups.axis(&below.Y, 0.05)
	var points plotter.XYs
	var dots marks
	for _, p := range v.points {
		b := p.balanced()
		x, sd := at(p.value), orZero(b.Std)
		points = append(points, plotter.XY{X: x, Y: b.Mean})
		if len(v.points) <= mostDots {
			dots = append(dots, mark{x: x, y: b.Mean, style: dot(ink, 2.4)})
		}
		above.Add(segment(x, b.Mean-sd, x, b.Mean+sd, line(ink, 1, nil)))
	}
	if b := s.baseline(); b != nil {
		if y := b.balanced().Mean; y >= above.Y.Min && y <= above.Y.Max {
			above.Add(segment(above.X.Min, y, above.X.Max, y, dashed(muted)))
		}
	}
	above.Add(polyline{points, line(ink, 1.6, nil)}, dots)

	for _, g := range calib.Shots() {
		var points plotter.XYs
		for _, p := range v.points {
			points = append(points, plotter.XY{X: at(p.value), Y: p.Metrics[g.String()].Mean})
		}
		below.Add(polyline{points, line(groupRoles[g], 1.6, groupDashes[g])})
	}
	return render(description, 440, panel{above, 150}, panel{below, 170})
}

// settingAxis sets the horizontal axis, which all curves alike share, and returns where a value is on it.
func (s *Sweep) settingAxis(v varying, alike []varying, above, below *plot.Plot) func(float64) float64 {
	all := extentOf()
	for _, w := range alike {
		all.add(w.points[0].value, w.points[len(w.points)-1].value)
	}
	at := func(v float64) float64 { return v }
	wide := all.low > 0 && all.high/all.low >= wideRange
	if wide {
		at = math.Log10
	}
	extentOf(at(all.low), at(all.high)).axis(&above.X, 0.03)
	extentOf(at(all.low), at(all.high)).axis(&below.X, 0.03)
	above.X.Tick.Marker = plot.ConstantTicks{}
	if wide {
		var ticks plot.ConstantTicks
		for _, p := range v.points {
			ticks = append(ticks, plot.Tick{Value: at(p.value), Label: strconv.FormatFloat(p.value, 'g', 3, 64)})
		}
		below.X.Tick.Marker = ticks
	}
	return at
}

func orZero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

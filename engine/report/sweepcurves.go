package report

import (
	"cmp"
	"fmt"
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
		var ids []string
		alike := map[string][]point{} // in the other settings
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
			if alike[id] == nil {
				ids = append(ids, id)
			}
			alike[id] = append(alike[id], point{value, c})
		}
		for _, id := range ids {
			points := alike[id]
			slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.value, b.value) })
			points = slices.CompactFunc(points, func(a, b point) bool { return a.value == b.value })
			if len(points) >= leastPoints {
				list = append(list, varying{key, points})
			}
		}
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

type sweepCurve struct {
	Key, Of string // the setting, and what it was varied of
	Plot    template.HTML
}

func (s *Sweep) curves() part[sweepCurve] {
	all := s.varyings()
	few := cut(all, mostCurves)
	list := make([]sweepCurve, len(few.Shown))
	for i, v := range few.Shown {
		alike := slices.DeleteFunc(slices.Clone(all), func(w varying) bool { return w.key != v.key })
		list[i] = sweepCurve{Key: v.key, Of: s.distinct(v, alike)}
		list[i].Plot = s.curve(v, alike, "Accuracy against "+v.key+", "+list[i].Of)
	}
	return part[sweepCurve]{list, few.More}
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
	values, all, groups := extentOf(), extentOf(), extentOf()
	for _, w := range alike {
		for _, p := range w.points {
			values.add(p.value)
			low, high := p.within()
			all.add(low, high)
			for _, g := range calib.Shots() {
				groups.add(p.Metrics[g.String()].Mean)
			}
		}
	}
	at := func(v float64) float64 { return v }
	wide := values.low > 0 && values.high/values.low >= wideRange
	if wide {
		at = math.Log10
	}
	margin := 0.03 * (at(values.high) - at(values.low))
	above, below := stacked(label, "balanced", "accuracy", at(values.low)-margin, at(values.high)+margin)
	if wide {
		var ticks plot.ConstantTicks
		for _, p := range v.points {
			ticks = append(ticks, plot.Tick{Value: at(p.value), Label: strconv.FormatFloat(p.value, 'g', 3, 64)})
		}
		below.X.Tick.Marker = ticks
	}
	all.axis(&above.Y, 0.05)
	groups.axis(&below.Y, 0.05)
	var dots marks
	var about [2]spots // above, below
	means, ofGroups := polyline{style: line(ink, 1.6, nil)}, make([]polyline, len(calib.Shots()))
	for _, p := range v.points {
		x, mean := at(p.value), p.balanced().Mean
		low, high := p.within()
		above.Add(segment(x, low, x, high, line(ink, 1, nil)))
		means.XYs = append(means.XYs, plotter.XY{X: x, Y: mean})
		if len(v.points) <= mostDots {
			dots = append(dots, mark{x: x, y: mean, style: dot(ink, 2.4)})
		}
		for _, g := range calib.Shots() {
			ofGroups[g].style = line(groupRoles[g], 1.6, groupDashes[g])
			ofGroups[g].XYs = append(ofGroups[g].XYs, plotter.XY{X: x, Y: p.Metrics[g.String()].Mean})
		}
		if len(about[0]) < mostDots {
			text := fmt.Sprintf("%s %s: balanced %s", v.key, p.text(v.key), valueCell(mean, 4).Text)
			about[0] = append(about[0], spot{x0: x, y0: mean, radius: 6, text: text})
			for _, g := range calib.Shots() {
				if a := p.Metrics[g.String()].Mean; drawable(a) {
					text := fmt.Sprintf("%s %s: %v %s", v.key, p.text(v.key), g, valueCell(a, 4).Text)
					about[1] = append(about[1], spot{x0: x, y0: a, radius: 6, text: text})
				}
			}
		}
	}
	if s.base != nil {
		if y := s.base.balanced().Mean; y >= above.Y.Min && y <= above.Y.Max {
			above.Add(segment(above.X.Min, y, above.X.Max, y, dashed(muted)))
		}
	}
	above.Add(means, dots, about[0])
	for _, l := range ofGroups {
		below.Add(l)
	}
	below.Add(about[1])
	return render(description, 440, panel{above, 150}, panel{below, 170})
}

func orZero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

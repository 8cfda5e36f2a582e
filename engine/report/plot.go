package report

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A role is what a colour in a plot is for. Plots are drawn in stand-in colours, and the finished SVG names the style
// sheet's variable of the role instead, so that the page's light and dark rules decide.
type role uint8

const (
	ink role = iota
	muted
	rule
	many
	medium
	few
	manySoft
	mediumSoft
	fewSoft
	roleCount
)

var variables = [roleCount]string{
	"ink", "muted", "rule", "many", "medium", "few", "many-soft", "medium-soft", "few-soft",
}

// RGBA is the stand-in; equal channels survive the way through 16 bits unrounded.
func (r role) RGBA() (red, green, blue, alpha uint32) {
	return color.RGBA{R: 255, G: uint8(r), B: 255, A: 255}.RGBA()
}

func (r role) soft() role { return r - many + manySoft }

// groupRoles and groupDashes tell the groups apart by colour and, for those who cannot see that, by dashes.
var (
	groupRoles  = [3]role{many, medium, few}
	groupDashes = [3][]vg.Length{nil, {6, 3}, {2, 2}}
)

func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// newPlot is an empty plot in the page's manner: no background, quiet axes, horizontal rules.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color = sans(10), muted
		axis.Label.Padding = 4
		axis.Tick.Label.Font, axis.Tick.Label.Color = sans(9), muted
		axis.Tick.LineStyle.Color, axis.Tick.Length = rule, 3
		axis.LineStyle.Color, axis.Padding = rule, 0
		axis.Tick.Marker = rounds{}
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Y.Tick.LineStyle.Width, p.Y.LineStyle.Width = 0, 0
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = rule
	p.Add(grid)
	return p
}

// stacked are two plots over one horizontal axis, which the lower one names.
func stacked(x, yAbove, yBelow string, low, high float64) (above, below *plot.Plot) {
	above, below = newPlot("", yAbove), newPlot(x, yBelow)
	limit(&above.X, low, high)
	limit(&below.X, low, high)
	above.X.Tick.Marker = plot.ConstantTicks{}
	return above, below
}

// limit sets the range of an axis, which is never empty.
func limit(a *plot.Axis, low, high float64) {
	low, high = min(low, high), max(low, high)
	if !(high-low > 1e-9*max(1, math.Abs(high))) {
		margin := 0.1 * max(1, math.Abs(high))
		low, high = low-margin, high+margin
	}
	a.Min, a.Max = low, high
}

// rounds marks round values some step apart: 1, 2 or 5 times a power of ten.
type rounds struct{ least float64 } // step

func (r rounds) Ticks(low, high float64) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, factor := range []float64{2, 2.5, 2} { // to 2, 5 and 10 times the power
		if (high-low)/step > 8.5 {
			step *= factor
		}
	}
	step = max(step, r.least)
	for i := math.Ceil(low/step) + 0; /* not −0 */ i*step <= high+step/100 && len(ticks) < 20; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 4, 64)})
	}
	return ticks
}

// drawable says whether a value can be put on an axis. gonum/plot is not made for ranges that leave no room for ticks.
func drawable(v float64) bool { return math.Abs(v) < 1e9 } // false for NaN

type extent struct{ low, high float64 }

func extentOf(values ...float64) extent {
	e := extent{math.Inf(1), math.Inf(-1)}
	e.add(values...)
	return e
}

func (e *extent) add(values ...float64) {
	for _, v := range values {
		if drawable(v) {
			e.low, e.high = min(e.low, v), max(e.high, v)
		}
	}
}

func (e extent) empty() bool { return e.low > e.high }

// axis sets an axis to the extent and a share of its length on either side; to 0 to 1 if it is empty.
func (e extent) axis(a *plot.Axis, margin float64) {
	if e.empty() {
		e = extent{0, 1}
	}
	margin *= e.high - e.low
	limit(a, e.low-margin, e.high+margin)
}

type box struct {
	x0, x1, y0, y1 float64
	colour         color.Color
}

type boxes []box

func (b boxes) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, r := range b {
		left, right, bottom, top := x(r.x0), x(r.x1), y(r.y0), y(r.y1)
		corners := []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}}
		c.FillPolygon(r.colour, c.ClipPolygonXY(corners))
	}
}

// polyline is a line in data coordinates, parted where a value is not drawable.
type polyline struct {
	plotter.XYs
	style draw.LineStyle
}

func (l polyline) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var part []vg.Point
	flush := func() {
		switch len(part) {
		case 0:
		case 1: // one epoch alone still shows
			c.DrawGlyph(draw.GlyphStyle{Color: l.style.Color, Radius: 2, Shape: draw.CircleGlyph{}}, part[0])
		default:
			c.StrokeLines(l.style, c.ClipLinesXY(part)...)
		}
		part = nil
	}
	for _, v := range l.XYs {
		if drawable(v.Y) {
			part = append(part, vg.Point{X: x(v.X), Y: y(v.Y)})
		} else {
			flush()
		}
	}
	flush()
}

func segment(x0, y0, x1, y1 float64, style draw.LineStyle) polyline {
	return polyline{plotter.XYs{{X: x0, Y: y0}, {X: x1, Y: y1}}, style}
}

func line(colour role, width vg.Length, dashes []vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: colour, Width: width, Dashes: dashes}
}

func dashed(colour role) draw.LineStyle { return line(colour, 1, []vg.Length{4, 3}) }

func dot(colour role, radius vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: colour, Radius: radius, Shape: draw.CircleGlyph{}}
}

// mark is a symbol in data coordinates, with an interval of x where low < high. A value beyond the axis of x is written
// at its edge.
type mark struct {
	x, y      float64
	style     draw.GlyphStyle
	low, high float64
}

type marks []mark

func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, v := range m {
		at := vg.Point{Y: y(v.y)}
		text := p.X.Tick.Label
		text.Color, text.YAlign = muted, draw.YCenter
		switch {
		case v.x < p.X.Min:
			text.XAlign = draw.XLeft
			c.FillText(text, vg.Point{X: c.Min.X + 2, Y: at.Y}, "← "+signed(v.x))
		case v.x > p.X.Max:
			text.XAlign = draw.XRight
			c.FillText(text, vg.Point{X: c.Max.X - 2, Y: at.Y}, signed(v.x)+" →")
		default:
			if from, to := max(v.low, p.X.Min), min(v.high, p.X.Max); from < to {
				c.StrokeLine2(draw.LineStyle{Color: v.style.Color, Width: 1.1}, x(from), at.Y, x(to), at.Y)
			}
			at.X = x(v.x)
			c.DrawGlyphNoClip(v.style, at)
		}
	}
}

// upright is a dashed vertical line over the whole height, with its name.
type upright struct {
	x    float64
	name string
}

func (u upright) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	at := x(u.x)
	c.StrokeLine2(line(muted, 1, []vg.Length{3, 3}), at, c.Min.Y, at, c.Max.Y)
	style := p.X.Tick.Label
	style.Color, style.YAlign, style.XAlign = muted, draw.YTop, draw.XLeft
	if at > (c.Min.X+c.Max.X)/2 {
		style.XAlign = draw.XRight
		at -= 8
	}
	c.FillText(style, vg.Point{X: at + 4, Y: c.Max.Y}, u.name)
}

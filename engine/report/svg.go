package report

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

type panel struct {
	*plot.Plot
	height vg.Length
}

// canvas is the drawing, with the spots on it and the names beside it.
type canvas struct {
	*vgsvg.Canvas
	spots  []placed
	labels []string // elements
}

// of is the canvas that a part of it is cut from; nil where a plot is measured only.
func of(c draw.Canvas) *canvas {
	for {
		switch inner := c.Canvas.(type) {
		case *canvas:
			return inner
		case draw.Canvas:
			c = inner
		default:
			return nil
		}
	}
}

// spot is a place in data coordinates that says what is there when it is pointed at or moved to by keyboard, and leads
// to a class where it is about one. It is a box or, with a radius, a circle around its first corner.
type spot struct {
	x0, y0, x1, y1 float64
	radius         vg.Length
	look           string // its class in the style sheet; "" where what it is about is drawn already
	text           string
	to             string // the id of an element; "" for none
}

type placed struct {
	spot
	low, high vg.Point // its corners in the drawing
}

type spots []spot

func (s spots) Plot(c draw.Canvas, p *plot.Plot) {
	on := of(c)
	if on == nil {
		return
	}
	x, y := p.Transforms(&c)
	for _, v := range s {
		low, high := vg.Point{X: x(v.x0), Y: y(v.y0)}, vg.Point{X: x(v.x1), Y: y(v.y1)}
		on.spots = append(on.spots, placed{v, low, high})
	}
}

// names are classes' names below or beside a plot. Only the browser knows how long they are, in its font and in any
// script, so that it is told where they end rather than where they begin.
type axisNames struct {
	names  []string
	at     []float64
	beside bool // else below
	turned bool
}

func (n axisNames) Plot(c draw.Canvas, p *plot.Plot) {
	on := of(c)
	if on == nil {
		return
	}
	_, height := on.Size()
	x, y := p.Transforms(&c)
	for i, name := range n.names {
		left, top, how := x(n.at[i]), height-c.Min.Y+12, `text-anchor="middle"`
		switch {
		case n.beside:
			left, top, how = c.Min.X-5, height-y(n.at[i])+3, `text-anchor="end"`
		case n.turned:
			left, top = left+3, top-7
			how = fmt.Sprintf(`text-anchor="end" transform="rotate(-90 %.1f %.1f)"`, left.Points(), top.Points())
		}
		on.labels = append(on.labels, fmt.Sprintf(`<text class="name" x="%.1f" y="%.1f" %s>%s</text>`, left.Points(),
			top.Points(), how, template.HTMLEscapeString(name)))
	}
}

// reserve leaves room for names between an axis and what it is called.
func (n axisNames) reserve(a *plot.Axis, room vg.Length) {
	a.Tick.Marker, a.Label.Padding = plot.ConstantTicks{}, room
}

// render draws panels above each other, their data areas aligned, as inline SVG that is described to those who cannot
// see it.
func render(description string, width vg.Length, panels ...panel) template.HTML {
	var height vg.Length
	for _, p := range panels {
		height += p.height
	}
	canvas := &canvas{Canvas: vgsvg.New(width, height)}
	page := draw.New(canvas)
	places := make([]draw.Canvas, len(panels))
	var left, right vg.Length
	bottom := height
	for i, p := range panels {
		bottom -= p.height
		place := page
		place.Min.Y, place.Max.Y = bottom, bottom+p.height
		places[i] = draw.Crop(place, 0, -4, 0, -8)
		data := p.DataCanvas(places[i])
		left, right = max(left, data.Min.X-places[i].Min.X), max(right, places[i].Max.X-data.Max.X)
	}
	for i, p := range panels {
		data := p.DataCanvas(places[i])
		p.Draw(draw.Crop(places[i], left-(data.Min.X-places[i].Min.X), places[i].Max.X-data.Max.X-right, 0, 0))
	}
	return inline(canvas, description)
}

// beside draws plots next to each other in a figure, their data areas equally wide. Their horizontal axes have to be
// equally high.
func beside(description string, width, height vg.Length, plots ...*plot.Plot) template.HTML {
	const between = 18
	canvas := &canvas{Canvas: vgsvg.New(width, height)}
	page := draw.Crop(draw.New(canvas), 0, -4, 0, -8)
	room := page.Max.X - page.Min.X - between*vg.Length(len(plots)-1)
	margins := make([]vg.Length, len(plots))
	for i, p := range plots {
		data := p.DataCanvas(page)
		margins[i] = (data.Min.X - page.Min.X) + (page.Max.X - data.Max.X)
		room -= margins[i]
	}
	at := page.Min.X
	for i, p := range plots {
		place := page
		place.Min.X, place.Max.X = at, at+margins[i]+room/vg.Length(len(plots))
		p.Draw(place)
		at = place.Max.X + between
	}
	return inline(canvas, description)
}

func inline(c *canvas, description string) template.HTML {
	width, height := c.Size()
	var svg bytes.Buffer
	c.WriteTo(&svg) // a buffer takes everything
	_, drawing, _ := strings.Cut(svg.String(), "<g ")
	drawing, _, _ = strings.Cut(drawing, "</svg>")
	role := "img"
	if c.spots != nil {
		role = "group"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.4g %.4[2]g" style="--width:%.4[1]gpx" role="%[3]s" aria-label="%[4]s">`+"\n<g %[5]s",
		width.Points(), height.Points(), role, template.HTMLEscapeString(description), themed.Replace(drawing))
	for _, l := range c.labels {
		b.WriteString(l + "\n")
	}
	for i, s := range c.spots {
		s.write(&b, height, i == 0)
	}
	b.WriteString("</svg>\n")
	return template.HTML(b.String())
}

// write writes a spot. Only the first of a figure is a stop of the tab key; the script moves on from there with the
// arrow keys.
func (s placed) write(b *strings.Builder, height vg.Length, stop bool) {
	element, link, tab := "g", "", -1
	if s.to != "" {
		element, link = "a", fmt.Sprintf(` href="#%s"`, s.to)
	} else {
		link = ` role="img"`
	}
	if stop {
		tab = 0
	}
	fmt.Fprintf(b, `<%s%s class="spot" tabindex="%d"><title>%s</title>`, element, link, tab,
		template.HTMLEscapeString(s.text))
	look := ""
	if s.look != "" {
		look = fmt.Sprintf(` class="%s"`, s.look)
	}
	if s.radius > 0 {
		fmt.Fprintf(b, `<circle%s cx="%.1f" cy="%.1f" r="%.3g" />`, look, s.low.X.Points(),
			(height - s.low.Y).Points(), s.radius.Points())
	} else {
		fmt.Fprintf(b, `<rect%s x="%.1f" y="%.1f" width="%.1f" height="%.1f" />`, look, s.low.X.Points(),
			(height - s.high.Y).Points(), (s.high.X - s.low.X).Points(), (s.high.Y - s.low.Y).Points())
	}
	fmt.Fprintf(b, "</%s>\n", element)
}

// themed turns stand-in colours into variables and leaves the font to the style sheet, which names those with the
// metrics of the font that gonum measures with.
var themed = func() *strings.Replacer {
	pairs := []string{"font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;", ""}
	for r := range roleCount {
		pairs = append(pairs, fmt.Sprintf("#FF%02XFF", uint8(r)), "var(--"+variables[r]+")")
	}
	return strings.NewReplacer(pairs...)
}()

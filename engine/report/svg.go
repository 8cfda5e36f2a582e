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

// panel is a plot and its height in a figure.
type panel struct {
	*plot.Plot
	height vg.Length
}

// render draws panels above each other, their data areas aligned, as inline SVG that is described to those who cannot
// see it.
func render(description string, width vg.Length, panels ...panel) template.HTML {
	var height vg.Length
	for _, p := range panels {
		height += p.height
	}
	canvas := vgsvg.New(width, height)
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
	canvas := vgsvg.New(width, height)
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

// inline makes a drawing part of a page.
func inline(canvas *vgsvg.Canvas, description string) template.HTML {
	width, height := canvas.Size()
	var svg bytes.Buffer
	canvas.WriteTo(&svg) // a buffer takes everything
	_, drawing, _ := strings.Cut(svg.String(), "<g ")
	return template.HTML(fmt.Sprintf(
		`<svg viewBox="0 0 %.4g %.4[2]g" style="--width:%.4[1]gpx" role="img" aria-label="%[3]s">`+"\n<g %[4]s",
		width.Points(), height.Points(), template.HTMLEscapeString(description), themed.Replace(drawing)))
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

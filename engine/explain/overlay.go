package explain

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// leastSide is how many pixels an overlay has at least on a side: the embedded model sees 28.
const leastSide = 224

// The tints, told apart by those who cannot tell red from green.
var (
	speaksFor     = color.RGBA{R: 0xff, G: 0x8c, B: 0x00, A: 0xff}
	speaksAgainst = color.RGBA{R: 0x00, G: 0x50, B: 0xff, A: 0xff}
)

// Overlay is a PNG of the photo as the model sees it, in grey, its patches tinted: orange what speaks for the class,
// blue what speaks against it, the stronger the more.
func (x *Explanation) Overlay() ([]byte, error) {
	most := 0.0
	for _, row := range x.Grid {
		for _, v := range row {
			most = max(most, math.Abs(v))
		}
	}
	scale := max(1, (leastSide+min(x.Width, x.Height)-1)/min(x.Width, x.Height))
	img := image.NewRGBA(image.Rect(0, 0, x.Width*scale, x.Height*scale))
	for py := range img.Rect.Dy() {
		for px := range img.Rect.Dx() {
			r, g, b := x.seen(px/scale, py/scale)
			grey := 0.1 + 0.8*(0.299*r+0.587*g+0.114*b) // colour belongs to the tints
			share := 0.0
			if most > 0 {
				share = x.Grid[py/scale/x.Patch][px/scale/x.Patch] / most
			}
			tint := speaksFor
			if share < 0 {
				tint = speaksAgainst
			}
			opacity := 0.8 * math.Abs(share)
			mix := func(tint uint8) uint8 { return uint8(255*((1-opacity)*grey+opacity*float64(tint)/255) + 0.5) }
			img.SetRGBA(px, py, color.RGBA{mix(tint.R), mix(tint.G), mix(tint.B), 255})
		}
	}
	var out bytes.Buffer
	err := png.Encode(&out, img)
	return out.Bytes(), err
}

// seen is a pixel as the model sees it, in [0, 1].
func (x *Explanation) seen(column, row int) (r, g, b float64) {
	plane := x.Width * x.Height
	value := func(c int) float64 {
		v := x.pixels[c*plane+row*x.Width+column]*x.preprocess.Std[c] + x.preprocess.Mean[c]
		return min(1, max(0, float64(v)))
	}
	return value(0), value(1), value(2)
}

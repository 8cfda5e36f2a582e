package vit

import (
	"image"
	"image/color"
	"image/draw"
	"slices"
	"testing"
)

// opaqueKind hides an image's type.
type opaqueKind struct{ image.Image }

// FromImage gives every kind of image the colours that its At gives, less the alpha.
func TestFromImage(t *testing.T) {
	r := image.Rect(-3, 5, 30, 28)
	source := image.NewNRGBA(r)
	for i, v := range noise(r.Dx(), r.Dy()).Pix {
		source.Pix[i/3*4+i%3] = v
	}
	for i := 3; i < len(source.Pix); i += 4 {
		source.Pix[i] = 255
	}
	palette := color.Palette{color.Black, color.White, color.NRGBA{200, 3, 7, 90}}
	for name, m := range map[string]draw.Image{
		"Gray": image.NewGray(r), "Gray16": image.NewGray16(r), "NRGBA": image.NewNRGBA(r),
		"NRGBA64": image.NewNRGBA64(r),
		"RGBA":    image.NewRGBA(r), "RGBA64": image.NewRGBA64(r), "Paletted": image.NewPaletted(r, palette),
		"CMYK": image.NewCMYK(r),
	} {
		draw.Draw(m, r, source, r.Min, draw.Src)
		part := m.(interface {
			SubImage(image.Rectangle) image.Image
		}).SubImage(image.Rect(1, 6, 20, 25))
		for kind, m := range map[string]image.Image{"whole": m, "part": part} {
			want := FromImage(opaqueKind{m})
			tolerance := 0
			if name == "CMYK" {
				tolerance = 1 // Pillow's rounding is not Go's
			}
			if d := maxDifference(t, FromImage(m), want); d > tolerance {
				t.Errorf("%s of %s differs by %d", kind, name, d)
			}
		}
	}
}

func TestFromImageDropsAlpha(t *testing.T) {
	r := image.Rect(0, 0, 2, 1)
	nrgba := &image.NRGBA{Pix: []byte{200, 100, 50, 0, 10, 20, 30, 51}, Stride: 8, Rect: r}
	if got := FromImage(nrgba).Pix; !slices.Equal(got, []byte{200, 100, 50, 10, 20, 30}) {
		t.Errorf("NRGBA: %v", got)
	}
	rgba := &image.RGBA{Pix: []byte{0, 0, 0, 0, 10, 20, 30, 51}, Stride: 8, Rect: r}
	if got := FromImage(rgba).Pix; !slices.Equal(got, []byte{0, 0, 0, 50, 100, 150}) {
		t.Errorf("RGBA: %v", got)
	}
	y := image.NewNYCbCrA(r, image.YCbCrSubsampleRatio444)
	copy(y.Y, []byte{7, 9})
	copy(y.Cb, []byte{128, 128})
	copy(y.Cr, []byte{128, 128})
	if got := FromImage(y).Pix; !slices.Equal(got, []byte{7, 7, 7, 9, 9, 9}) {
		t.Errorf("NYCbCrA: %v", got)
	}
}

func TestTurn(t *testing.T) {
	img := noise(5, 3)
	for o, back := range map[int]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6} {
		var turned, again RGB
		img.turn(o, &turned)
		turned.turn(back, &again)
		if maxDifference(t, &again, img) != 0 {
			t.Errorf("orientation %d is not undone by %d", o, back)
		}
	}
}

package vit

import (
	"image"
	"image/color"

	"github.com/vitft/vitft/vit/jpeg"
)

// RGB is an 8-bit image: three interleaved bytes per pixel, rows without padding.
type RGB struct {
	Pix           []byte // len 3·Width·Height; pixel (x, y) starts at 3·(y·Width+x)
	Width, Height int

	// Orientation is the EXIF orientation, 1 to 8, that the file asked for; 0 means 1 (upright). The pixels are as
	// stored; Preprocess turns them if its Orientation is set.
	Orientation int
}

// FromImage copies an image. Alpha is dropped: a pixel keeps the colour it has before premultiplication. An
// *image.YCbCr is taken for a JPEG's planes and gets Decode's chroma upsampling.
func FromImage(m image.Image) *RGB {
	img := new(RGB)
	img.fromImage(m)
	return img
}

// resize makes room for width×height pixels, whose content is then undefined.
func (img *RGB) resize(width, height int) {
	n := 3 * width * height
	if cap(img.Pix) < n {
		img.Pix = make([]byte, n)
	}
	img.Pix, img.Width, img.Height = img.Pix[:n], width, height
}

// row is the bytes of row y.
func (img *RGB) row(y int) []byte {
	return img.Pix[3*y*img.Width : 3*(y+1)*img.Width]
}

// take is fromImage of an image that nobody else has: one of four bytes whose colour needs no alpha becomes RGB in
// place.
func (img *RGB) take(m image.Image) {
	switch m := m.(type) {
	case *image.NRGBA:
		img.Pix = m.Pix
	case *image.RGBA:
		if m.Opaque() {
			img.Pix = m.Pix
		}
	}
	img.fromImage(m)
}

func (img *RGB) fromImage(m image.Image) {
	b := m.Bounds()
	img.Orientation = 1
	img.resize(b.Dx(), b.Dy())
	if len(img.Pix) == 0 {
		return
	}
	switch m := m.(type) {
	case *image.YCbCr:
		jpeg.ConvertYCbCr(img.Pix, m)
	case *image.NYCbCrA:
		jpeg.ConvertYCbCr(img.Pix, &m.YCbCr)
	case *image.Gray:
		for y := range img.Height {
			src := m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):]
			dst := img.row(y)
			for i, v := range src[:img.Width] {
				d := dst[3*i : 3*i+3 : 3*i+3]
				d[0], d[1], d[2] = v, v, v
			}
		}
	case *image.Gray16:
		img.fromSamples(m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride, 2, 0, 0, 0)
	case *image.NRGBA:
		img.fromSamples(m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride, 4, 0, 1, 2)
	case *image.NRGBA64:
		img.fromSamples(m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride, 8, 0, 2, 4)
	case *image.RGBA:
		src, opaque := m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Opaque()
		img.fromSamples(src, m.Stride, 4, 0, 1, 2)
		if !opaque {
			img.unpremultiply(src, m.Stride, 4, 3)
		}
	case *image.RGBA64:
		src := m.Pix[m.PixOffset(b.Min.X, b.Min.Y):]
		img.fromSamples(src, m.Stride, 8, 0, 2, 4)
		if !m.Opaque() {
			img.unpremultiply(src, m.Stride, 8, 6)
		}
	case *image.Paletted:
		img.fromPaletted(m)
	case *image.CMYK:
		for y := range img.Height {
			src := m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):]
			jpeg.ConvertCMYK(img.row(y), src[:4*img.Width])
		}
	default:
		i := 0
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				img.Pix[i], img.Pix[i+1], img.Pix[i+2] = rgb(m.At(x, y))
				i += 3
			}
		}
	}
}

// fromSamples copies pixels of size bytes, of which those at r, g and b count.
func (img *RGB) fromSamples(src []byte, stride, size, r, g, b int) {
	for y := range img.Height {
		s := src[y*stride:]
		dst := img.row(y)
		for len(dst) >= 3 {
			dst[0], dst[1], dst[2] = s[r], s[g], s[b]
			dst, s = dst[3:], s[min(size, len(s)):]
		}
	}
}

// unpremultiply divides by the alpha samples at a.
func (img *RGB) unpremultiply(src []byte, stride, size, a int) {
	for y := range img.Height {
		dst := img.row(y)
		for x := range img.Width {
			alpha := src[y*stride+x*size+a]
			for i := 3 * x; i < 3*x+3; i++ {
				dst[i] = unpremultiplied(dst[i], alpha)
			}
		}
	}
}

func (img *RGB) fromPaletted(m *image.Paletted) {
	var palette [256][3]byte
	for i, c := range m.Palette[:min(256, len(m.Palette))] {
		palette[i][0], palette[i][1], palette[i][2] = rgb(c)
	}
	for y := range img.Height {
		src := m.Pix[m.PixOffset(m.Rect.Min.X, m.Rect.Min.Y+y):]
		dst := img.row(y)
		for i, v := range src[:img.Width] {
			*(*[3]byte)(dst[3*i:]) = palette[v]
		}
	}
}

// rgb is a colour without its alpha.
func rgb(c color.Color) (r, g, b byte) {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return n.R, n.G, n.B
}

// extend puts the image at (x, y) of a larger canvas of one colour.
func (img *RGB) extend(width, height, x, y int, colour [3]byte) {
	var canvas RGB
	canvas.resize(width, height)
	for i := 0; i < len(canvas.Pix); i += 3 {
		*(*[3]byte)(canvas.Pix[i:]) = colour
	}
	for i := range img.Height {
		copy(canvas.row(y + i)[3*x:], img.row(i))
	}
	canvas.Orientation = img.Orientation
	*img = canvas
}

// turn writes the image, as EXIF orientation o (1 to 8) shows it, to dst.
func (img *RGB) turn(o int, dst *RGB) {
	w, h := img.Width, img.Height
	// Walking the stored rows, a pixel moves on by step in dst and a row by line, from start.
	var start, step, line int
	switch o {
	case 2: // mirrored
		start, step, line = w-1, -1, w
	case 3: // half a turn
		start, step, line = w*h-1, -1, -w
	case 4: // upside down, mirrored
		start, step, line = w*(h-1), 1, -w
	case 5: // transposed
		start, step, line = 0, h, 1
	case 6: // to be turned right
		start, step, line = h-1, h, -1
	case 7: // transposed along the other diagonal
		start, step, line = w*h-1, -h, -1
	case 8: // to be turned left
		start, step, line = h*(w-1), -h, 1
	default:
		start, step, line = 0, 1, w
	}
	if o >= 5 {
		dst.resize(h, w)
	} else {
		dst.resize(w, h)
	}
	dst.Orientation = 1
	for y := range h {
		row := img.row(y)
		to := 3 * (start + y*line)
		for x := range w {
			*(*[3]byte)(dst.Pix[to:]) = [3]byte(row[3*x:])
			to += 3 * step
		}
	}
}

// unpremultiplied divides a colour by the alpha that it was multiplied by, as Pillow turns RGBa into RGBA.
func unpremultiplied(v, alpha byte) byte {
	if alpha == 0 || alpha == 255 {
		return v
	}
	return byte(min(255, int(v)*255/int(alpha)))
}

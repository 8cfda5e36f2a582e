package jpeg

import (
	"image"
	"math/bits"
)

// finish makes the pixels that are not made yet.
func (d *decoder) finish() error {
	if d.scans == 0 {
		return FormatError("no picture")
	}
	if !d.buffered {
		return nil
	}
	if err := d.checkComplete(); err != nil {
		return err
	}
	for my := range d.mcusY {
		for i := range d.config.Components {
			c := &d.components[i]
			for y := my * c.v; y < my*c.v+c.v; y++ {
				for x := range c.blocksX {
					b, nonzero := c.stored(x, y)
					changed, sum := b.dequantise(*nonzero, &c.quant)
					b.inverse(changed, sum, c.plane.block(x, y), c.plane.stride)
				}
			}
		}
		d.emit(my)
	}
	return nil
}

// dequantise multiplies the coefficients that may be other than zero, given in zigzag order, by the quantisation steps.
// It returns what sequentialBlock does.
func (b *block) dequantise(candidates uint64, steps *[64]uint16) (nonzero uint64, sum int32) {
	for ; candidates != 0; candidates &= candidates - 1 {
		at := naturalOrder[bits.TrailingZeros64(candidates)] & 63
		if b[at] != 0 {
			b[at] = int16(int32(b[at]) * int32(steps[at]))
			nonzero |= 1 << at
			sum += abs(int32(b[at]))
		}
	}
	return nonzero, sum
}

// emit makes pixels of the planes' rows, once those of MCU row my are there. Where upsampling looks at the next row,
// the last row of pixels waits for it.
func (d *decoder) emit(my int) {
	from, to := 8*d.maxV*my, 8*d.maxV*(my+1)
	if d.context {
		from, to = from-1, to-1
	}
	if my == d.mcusY-1 {
		to = d.config.Height
	}
	width := d.config.Width
	for y := max(from, 0); y < to; y++ {
		var rows [4][]byte
		for i := range d.config.Components {
			rows[i] = d.components[i].plane.upsampled(y, d.rows[i])[:width]
		}
		d.space.convert(d.pix[3*width*y:][:3*width], &rows)
	}
	for i := range d.config.Components {
		c := &d.components[i]
		c.plane.next(8 * c.v)
	}
}

// convert makes a row of RGB pixels of a row of each component.
func (s colourSpace) convert(dst []byte, in *[4][]byte) {
	switch s {
	case spaceGrey:
		for i, v := range in[0] {
			*(*[3]byte)(dst[3*i:]) = [3]byte{v, v, v}
		}
	case spaceRGB:
		r, g, b := in[0], in[1][:len(in[0])], in[2][:len(in[0])]
		for i := range r {
			*(*[3]byte)(dst[3*i:]) = [3]byte{r[i], g[i], b[i]}
		}
	case spaceYCbCr:
		convertYCbCr(dst, in[0], in[1], in[2])
	case spaceCMYK:
		for i, k := range in[3] {
			*(*[3]byte)(dst[3*i:]) = inks(255-in[0][i], 255-in[1][i], 255-in[2][i], 255-k)
		}
	case spaceYCCK:
		// YCbCr gives light; its inverse are inks in the file's sense, which is inverted once more.
		convertYCbCr(dst, in[0], in[1], in[2])
		for i, k := range in[3] {
			p := (*[3]byte)(dst[3*i:])
			*p = inks(p[0], p[1], p[2], 255-k)
		}
	}
}

// What chroma adds to red, green and blue (jdcolor.c): 16-bit fixed point, red and blue rounded at once, green after
// its two parts are added.
var redCr, blueCb, greenCb, greenCr = func() (r, b, gcb, gcr [256]int32) {
	const half = 1 << 15
	for i := range int32(256) {
		x := i - 128
		r[i] = (91881*x + half) >> 16  // 1.40200
		b[i] = (116130*x + half) >> 16 // 1.77200
		gcb[i] = -22554*x + half       // 0.34414
		gcr[i] = -46802 * x            // 0.71414
	}
	return
}()

func convertYCbCr(dst, luma, cb, cr []byte) {
	cb, cr, dst = cb[:len(luma)], cr[:len(luma)], dst[:3*len(luma)]
	for i, v := range luma {
		y, b, r := int32(v), cb[i], cr[i]
		d := dst[3*i : 3*i+3 : 3*i+3]
		d[0] = clamp(y + redCr[r])
		d[1] = clamp(y + (greenCb[b]+greenCr[r])>>16)
		d[2] = clamp(y + blueCb[b])
	}
}

// inks is Pillow's colour of ink amounts, 255 the fullest: light = paper − ink·paper, rounded.
func inks(c, m, y, k byte) [3]byte {
	paper := 255 - int(k)
	return [3]byte{light(c, paper), light(m, paper), light(y, paper)}
}

func light(ink byte, paper int) byte {
	t := int(ink)*paper + 128
	return byte(max(0, paper-(t>>8+t)>>8))
}

// ConvertCMYK converts pixels of four bytes, each the amount of an ink, to RGB by Pillow's formula.
func ConvertCMYK(dst, src []byte) {
	for len(src) >= 4 {
		*(*[3]byte)(dst) = inks(src[0], src[1], src[2], src[3])
		dst, src = dst[3:], src[4:]
	}
}

// ConvertYCbCr upsamples and converts the planes of a picture, such as image/jpeg decodes, as Decode does. Where the
// picture begins within a chroma sample, chroma is repeated. dst has 3 bytes a pixel.
func ConvertYCbCr(dst []byte, m *image.YCbCr) {
	width, height := m.Rect.Dx(), m.Rect.Dy()
	if m.Rect.Empty() {
		return
	}
	across, down := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		across = 2
	case image.YCbCrSubsampleRatio420:
		across, down = 2, 2
	case image.YCbCrSubsampleRatio440:
		down = 2
	case image.YCbCrSubsampleRatio411:
		across = 4
	case image.YCbCrSubsampleRatio410:
		across, down = 4, 2
	}
	// The picture begins x0, y0 pixels within its first chroma sample.
	x0, y0 := m.Rect.Min.X&(across-1), m.Rect.Min.Y&(down-1)
	var chroma plane
	chroma.layOut(x0+width, y0+height, 1, 1, across, down)
	chroma.top, chroma.stride = 0, m.CStride
	if x0 != 0 || y0 != 0 {
		chroma.kind = upsampleBox
	}
	cb, cr := chroma, chroma
	at := m.COffset(m.Rect.Min.X, m.Rect.Min.Y)
	cb.pix, cr.pix = m.Cb[at:], m.Cr[at:]
	buf := make([]byte, 2*chroma.width*across)
	cbBuf, crBuf := buf[:len(buf)/2], buf[len(buf)/2:]
	for y := range height {
		at := m.YOffset(m.Rect.Min.X, m.Rect.Min.Y+y)
		convertYCbCr(dst[3*width*y:][:3*width], m.Y[at:at+width],
			cb.upsampled(y0+y, cbBuf)[x0:], cr.upsampled(y0+y, crBuf)[x0:])
	}
}

package vit

import "image"

// fromYCbCr converts a JPEG's planes as libjpeg does: full range, chroma upsampled by its triangle
// filter ("fancy upsampling") where it has one, by repetition elsewhere.
func (img *RGB) fromYCbCr(m *image.YCbCr) {
	w, h := img.Width, img.Height
	x0, y0 := m.Rect.Min.X, m.Rect.Min.Y
	var across, down int // luma samples per chroma sample
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		across, down = 2, 1
	case image.YCbCrSubsampleRatio420:
		across, down = 2, 2
	case image.YCbCrSubsampleRatio440:
		across, down = 1, 2
	case image.YCbCrSubsampleRatio411:
		across, down = 4, 1
	case image.YCbCrSubsampleRatio410:
		across, down = 4, 2
	default:
		across, down = 1, 1
	}
	cw, ch := (x0%across+w+across-1)/across, (y0%down+h+down-1)/down
	// A picture that starts within a chroma sample, or has too few of them for libjpeg's filter.
	plain := x0%across != 0 || y0%down != 0 || across == 4 || across == 2 && cw <= 2

	buf := make([]byte, 2*(2*cw+2)+2*w)
	cbRow, crRow := buf[:2*cw+2], buf[2*cw+2:2*(2*cw+2)]
	for y := range h {
		yi := m.YOffset(x0, y0+y)
		luma := m.Y[yi : yi+w]
		cb, cr := cbRow, crRow
		ci := m.COffset(x0, y0+y)
		switch {
		case plain:
			if across > 1 {
				cb, cr = buf[len(buf)-2*w:len(buf)-w], buf[len(buf)-w:]
				for x := range w {
					i := ci + (x0%across+x)/across
					cb[x], cr[x] = m.Cb[i], m.Cr[i]
				}
				break
			}
			fallthrough
		case across == 1 && down == 1:
			cb, cr = m.Cb[ci:ci+w], m.Cr[ci:ci+w]
		case across == 2 && down == 1:
			upsampleH2V1(cb, m.Cb[ci:ci+cw])
			upsampleH2V1(cr, m.Cr[ci:ci+cw])
		default: // rows in between take 3/4 of the near chroma row and 1/4 of the far one
			far := y/2 - 1 + 2*(y%2)
			fi := ci + (min(max(far, 0), ch-1)-y/2)*m.CStride
			if across == 2 {
				upsampleH2V2(cb, m.Cb[ci:ci+cw], m.Cb[fi:fi+cw])
				upsampleH2V2(cr, m.Cr[ci:ci+cw], m.Cr[fi:fi+cw])
			} else {
				upsampleH1V2(cb, m.Cb[ci:ci+cw], m.Cb[fi:fi+cw], 1+y%2)
				upsampleH1V2(cr, m.Cr[ci:ci+cw], m.Cr[fi:fi+cw], 1+y%2)
			}
		}
		convertJPEG(img.row(y), luma, cb, cr)
	}
}

// The three upsamplers are libjpeg-turbo's (jdsample.c): a triangle filter in integers, with
// roundings that alternate so as not to bias the picture. in has at least 3 samples, or 1 for
// upsampleH1V2; out has room for two per sample.

func upsampleH2V1(out, in []byte) {
	n := len(in)
	out = out[:2*n]
	out[0] = in[0]
	out[1] = byte((3*int(in[0]) + int(in[1]) + 2) >> 2)
	left, this := int(in[0]), int(in[1])
	for i, v := range in[2:] {
		right := int(v)
		pair := out[2*i+2 : 2*i+4 : 2*i+4]
		pair[0] = byte((3*this + left + 1) >> 2)
		pair[1] = byte((3*this + right + 2) >> 2)
		left, this = this, right
	}
	out[2*n-2] = byte((3*this + left + 1) >> 2)
	out[2*n-1] = in[n-1]
}

func upsampleH2V2(out, near, far []byte) {
	n := len(near)
	far, out = far[:n], out[:2*n]
	left := 3*int(near[0]) + int(far[0])
	this := 3*int(near[1]) + int(far[1])
	out[0] = byte((4*left + 8) >> 4)
	out[1] = byte((3*left + this + 7) >> 4)
	near, far = near[2:], far[2:]
	for i, v := range near {
		right := 3*int(v) + int(far[i])
		pair := out[2*i+2 : 2*i+4 : 2*i+4]
		pair[0] = byte((3*this + left + 8) >> 4)
		pair[1] = byte((3*this + right + 7) >> 4)
		left, this = this, right
	}
	out[2*n-2] = byte((3*this + left + 8) >> 4)
	out[2*n-1] = byte((4*this + 7) >> 4)
}

func upsampleH1V2(out, near, far []byte, bias int) {
	far, out = far[:len(near)], out[:len(near)]
	for i, v := range near {
		out[i] = byte((3*int(v) + int(far[i]) + bias) >> 2)
	}
}

// Chroma's part in red, green and blue, as libjpeg tabulates it (jdcolor.c): 16-bit fixed point,
// red and blue rounded at once, green after the two parts are added.
var jpegRed, jpegBlue, jpegGreenCb, jpegGreenCr = func() (r, b, gcb, gcr [256]int32) {
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

func convertJPEG(dst, luma, cb, cr []byte) {
	cb, cr, dst = cb[:len(luma)], cr[:len(luma)], dst[:3*len(luma)]
	for i, v := range luma {
		y, b, r := int32(v), cb[i], cr[i]
		d := dst[3*i : 3*i+3 : 3*i+3]
		d[0] = clamp(y + jpegRed[r])
		d[1] = clamp(y + (jpegGreenCb[b]+jpegGreenCr[r])>>16)
		d[2] = clamp(y + jpegBlue[b])
	}
}

func clamp(v int32) byte {
	if uint32(v) > 255 {
		return byte(^v >> 31) // 255 above, 0 below
	}
	return byte(v)
}

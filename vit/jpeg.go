package vit

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
)

func jpegConfig(data []byte) (int, int, error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return 0, 0, err
	}
	// A scan spends at least one bit on each 8×8 block. A short file that promises more is cut off,
	// and finding that out now saves the memory for its pixels and coefficients.
	if c.Width*c.Height/64 > 8*len(data) {
		return 0, 0, fmt.Errorf("%d bytes cannot hold %d×%d pixels: %w", len(data), c.Width, c.Height, errTruncated)
	}
	return c.Width, c.Height, nil
}

func readJPEG(data []byte, img *RGB) error {
	if k := jpegInks(data); k.four {
		if err := img.readInks(data, k); err != nil {
			return err
		}
	} else {
		m, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return err
		}
		img.fromImage(m)
	}
	img.Orientation = jpegOrientation(data)
	return nil
}

// inks is what a JPEG header says about its components beyond what package jpeg tells.
type inks struct {
	four   bool // there are four components
	halved bool // the first is sampled at twice the rate of the second, both ways
	adobe  int  // place of the Adobe marker's transform byte; 0 if there is no such marker
}

func jpegInks(data []byte) (k inks) {
	for marker, body := range jpegSegments(data) {
		switch {
		case marker >= 0xc0 && marker <= 0xc2 && len(body) >= 8:
			k.four, k.halved = body[5] == 4, body[7] == 0x22
		case marker == 0xee && len(body) >= 12 && bytes.HasPrefix(body, []byte("Adobe")):
			// body is a slice of data, so the difference of their capacities is its place.
			k.adobe = cap(data) - cap(body) + 11
		}
	}
	return k
}

// readInks reads a CMYK or YCCK JPEG. Package jpeg converts YCCK with plain chroma repetition and
// refuses files without Adobe marker. So it is shown a copy that claims CMYK: it then hands over the
// components as they are, inverted, halved ones repeated 2×2, and the rest is done as libjpeg does.
func (img *RGB) readInks(data []byte, k inks) error {
	ycck := k.adobe != 0 && data[k.adobe] != 0
	if k.adobe != 0 {
		data = bytes.Clone(data)
		data[k.adobe] = 0
	} else {
		data = append([]byte("\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"), data[2:]...)
	}
	decoded, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	m, ok := decoded.(*image.CMYK)
	if !ok {
		return errors.New("four components announced, others found")
	}
	if ycck {
		img.fromImage(inkPlanes(m, k.halved))
		// The RGB of YCCK is light, the inverse of ink; Adobe's files are inverted once more.
		for y := range img.Height {
			row, inks := img.row(y), m.Pix[y*m.Stride:]
			for x := range img.Width {
				copy(inks[4*x:4*x+3], row[3*x:3*x+3])
			}
		}
	}
	img.fromImage(m)
	return nil
}

// inkPlanes takes the first three components of a YCCK JPEG, read as CMYK, apart again.
func inkPlanes(m *image.CMYK, halved bool) *image.YCbCr {
	ratio, step := image.YCbCrSubsampleRatio444, 1
	if halved {
		ratio, step = image.YCbCrSubsampleRatio420, 2
	}
	p := image.NewYCbCr(m.Rect, ratio)
	for y := range m.Rect.Dy() {
		src := m.Pix[y*m.Stride:]
		for x := range m.Rect.Dx() {
			p.Y[y*p.YStride+x] = 255 - src[4*x]
			if x%step == 0 && y%step == 0 {
				i := y/step*p.CStride + x/step
				p.Cb[i], p.Cr[i] = 255-src[4*x+1], 255-src[4*x+2]
			}
		}
	}
	return p
}

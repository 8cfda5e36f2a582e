package vit

import (
	"fmt"
	"math"
)

// pnmHeader is the head of a binary PGM or PPM.
type pnmHeader struct {
	channels      int // 1 (P5) or 3 (P6)
	width, height int
	max           int    // the sample that means full light, 1 to 65535
	samples       []byte // one byte each, two (big-endian) if max > 255
}

// parsePNM reads "P5" or "P6", width, height and maximum, with comments between, then one byte of space.
func parsePNM(data []byte) (h pnmHeader, err error) {
	h.channels = 1
	if data[1] == '6' {
		h.channels = 3
	}
	i := 2
	number := func() int {
		for i < len(data) {
			if c := data[i]; c == '#' {
				for i < len(data) && data[i] != '\n' && data[i] != '\r' {
					i++
				}
			} else if c != ' ' && (c < '\t' || c > '\r') {
				break
			}
			i++
		}
		start, v := i, 0
		for ; i < len(data) && data[i]-'0' <= 9; i++ {
			v = min(10*v+int(data[i]-'0'), math.MaxInt32)
		}
		if err == nil && i >= len(data) {
			err = fmt.Errorf("header: %w", errTruncated)
		} else if err == nil && i == start {
			err = fmt.Errorf("header holds %q where a number is due", data[i])
		}
		return v
	}
	h.width, h.height, h.max = number(), number(), number()
	if err != nil {
		return h, err
	}
	if h.max < 1 || h.max > 65535 {
		return h, fmt.Errorf("maximum sample %d is not in [1, 65535]", h.max)
	}
	h.samples = data[i+1:]
	return h, nil
}

func pnmConfig(data []byte) (int, int, error) {
	h, err := parsePNM(data)
	return h.width, h.height, err
}

// readPNM scales samples to 8 bits, rounded half to even and cut at full light. (Pillow does the same, except for
// 16-bit grey, where its conversion to RGB whites out.)
func readPNM(data []byte, img *RGB) error {
	h, err := parsePNM(data)
	if err != nil {
		return err
	}
	n, size := h.width*h.height*h.channels, 1
	if h.max > 255 {
		size = 2
	}
	if len(h.samples) < n*size {
		return fmt.Errorf("%d of %d sample bytes: %w", len(h.samples), n*size, errTruncated)
	}
	samples := h.samples[:n*size]
	if h.max != 255 {
		scaled := make([]byte, n)
		for i := range scaled {
			v := int(samples[size*i])
			if size == 2 {
				v = v<<8 | int(samples[2*i+1])
			}
			scaled[i] = byte(min(255, math.RoundToEven(float64(v)/float64(h.max)*255)))
		}
		samples = scaled
	}
	img.resize(h.width, h.height)
	if h.channels == 3 {
		copy(img.Pix, samples)
		return nil
	}
	for i, v := range samples {
		d := img.Pix[3*i : 3*i+3 : 3*i+3]
		d[0], d[1], d[2] = v, v, v
	}
	return nil
}

package vit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// pnmHeader is the head of a portable bitmap, greymap, pixmap or floatmap.
type pnmHeader struct {
	kind          byte // '1' to '3' with samples as text, '4' to '6' as bytes; 'f' as floats
	channels      int  // 1 or 3
	width, height int
	max           int // the sample that means full light, 1 to 65535; 1 of a bitmap
	order         binary.ByteOrder
	samples       []byte // of bytes: one each, two (big-endian) if max > 255; of a bitmap, bits in rows of whole bytes
}

// parsePNM reads what it is, width, height and, but for a bitmap, the maximum, with comments between, then one byte of
// space.
func parsePNM(data []byte) (h pnmHeader, err error) {
	h.kind, h.channels = data[1], 1
	if h.kind == '3' || h.kind == '6' {
		h.channels = 3
	}
	i := 2
	word := func() string {
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
		i = min(i, len(data))
		start := i
		for i < len(data) && data[i] > ' ' && data[i] != '#' {
			i++
		}
		return string(data[start:i])
	}
	number := func() int {
		v, start := 0, 0
		w := word()
		for ; start < len(w) && w[start]-'0' <= 9; start++ {
			v = min(10*v+int(w[start]-'0'), math.MaxInt32)
		}
		if err == nil && i >= len(data) {
			err = fmt.Errorf("header: %w", errTruncated)
		} else if err == nil && start < len(w) {
			err = fmt.Errorf("header holds %q where a number is due", w[start])
		}
		return v
	}
	h.width, h.height, h.max = number(), number(), 1
	switch h.kind {
	case '1', '4':
	case 'f':
		scale, parseErr := strconv.ParseFloat(word(), 64)
		if err == nil && (parseErr != nil || scale == 0) {
			err = errors.New("the scale of samples is no number or 0")
		}
		if h.order = binary.BigEndian; scale < 0 {
			h.order = binary.LittleEndian
		}
	default:
		h.max = number()
	}
	if err != nil {
		return h, err
	}
	if h.max < 1 || h.max > 65535 {
		return h, fmt.Errorf("maximum sample %d is not in [1, 65535]", h.max)
	}
	h.samples = data[min(i+1, len(data)):]
	return h, nil
}

func pnmConfig(data []byte) (int, int, error) {
	h, err := parsePNM(data)
	return h.width, h.height, err
}

// readPNM scales samples to 8 bits, rounded half to even and cut at full light. (Pillow does the same, except for
// 16-bit grey, where its conversion to RGB whites out.) Floats are cut to whole numbers from 0 to 255.
func readPNM(data []byte, img *RGB) error {
	h, err := parsePNM(data)
	if err != nil {
		return err
	}
	img.resize(h.width, h.height)
	n, size := h.width*h.channels, 1 // samples of a row, and bytes of each
	next := func(row []byte) error { return nil }
	switch {
	case h.kind == '1':
		next = h.bitsAsText()
	case h.kind <= '3':
		next = h.samplesAsText()
	case h.kind == 'f':
		size = 4
	case h.max > 255:
		size = 2
	}
	row, stride := make([]byte, n), n*size
	if h.kind == '4' {
		stride = (n + 7) / 8
	}
	if all := stride * h.height; h.kind > '3' && len(h.samples) < all {
		return fmt.Errorf("%d of %d sample bytes: %w", len(h.samples), all, errTruncated)
	}
	for y := range h.height {
		to := y
		if h.kind <= '3' {
			if err := next(row); err != nil {
				return err
			}
		} else {
			h.row(row, h.samples[y*stride:])
			if h.kind == 'f' { // from the bottom
				to = h.height - 1 - y
			}
		}
		dst := img.row(to)
		if h.channels == 3 {
			copy(dst, row)
			continue
		}
		for i, v := range row {
			d := dst[3*i : 3*i+3 : 3*i+3]
			d[0], d[1], d[2] = v, v, v
		}
	}
	return nil
}

// row makes bytes of a row of samples.
func (h *pnmHeader) row(dst, src []byte) {
	switch {
	case h.kind == '4':
		for i := range dst {
			dst[i] = src[i/8]<<(i%8)>>7 - 1 // 1 is black
		}
	case h.kind == 'f':
		for i := range dst {
			dst[i] = wholeByte(math.Float32frombits(h.order.Uint32(src[4*i:])))
		}
	case h.max == 255:
		copy(dst, src)
	case h.max < 255:
		for i := range dst {
			dst[i] = h.scaled(int(src[i]))
		}
	default:
		for i := range dst {
			dst[i] = h.scaled(int(src[2*i])<<8 | int(src[2*i+1]))
		}
	}
}

func (h *pnmHeader) scaled(v int) byte {
	return byte(min(255, math.RoundToEven(float64(v)/float64(h.max)*255)))
}

// wholeByte is what Pillow's conversion makes of a float.
func wholeByte(v float32) byte {
	if v >= 255 {
		return 255
	}
	if v > 0 {
		return byte(v)
	}
	return 0
}

// text yields the samples' text without comments.
func (h *pnmHeader) text() func() (byte, bool) {
	at := 0
	return func() (byte, bool) {
		for at < len(h.samples) && h.samples[at] == '#' {
			for at < len(h.samples) && h.samples[at] != '\n' && h.samples[at] != '\r' {
				at++
			}
			at++
		}
		if at >= len(h.samples) {
			return 0, false
		}
		at++
		return h.samples[at-1], true
	}
}

// bitsAsText fills rows with bits that need no space between.
func (h *pnmHeader) bitsAsText() func(row []byte) error {
	text := h.text()
	return func(row []byte) error {
		for i := range row {
			c, ok := text()
			for ok && strings.IndexByte(" \t\n\v\f\r", c) >= 0 {
				c, ok = text()
			}
			switch {
			case !ok:
				return fmt.Errorf("samples: %w", errTruncated)
			case c != '0' && c != '1':
				return fmt.Errorf("samples hold %q where a bit is due", c)
			}
			row[i] = c - '1' // 1 is black
		}
		return nil
	}
}

// samplesAsText fills rows with numbers.
func (h *pnmHeader) samplesAsText() func(row []byte) error {
	text := h.text()
	return func(row []byte) error {
		for i := range row {
			v, digits := 0, 0
			for {
				c, ok := text()
				space := ok && strings.IndexByte(" \t\n\v\f\r", c) >= 0
				switch {
				case ok && c-'0' <= 9:
					if v, digits = min(10*v+int(c-'0'), math.MaxInt32), digits+1; v > h.max {
						return fmt.Errorf("a sample of %d or more is above the maximum, %d", v, h.max)
					}
					continue
				case ok && !space:
					return fmt.Errorf("samples hold %q where a number is due", c)
				case space && digits == 0:
					continue
				case digits == 0:
					return fmt.Errorf("samples: %w", errTruncated)
				}
				break
			}
			row[i] = h.scaled(v)
		}
		return nil
	}
}

package jpeg

import (
	"fmt"
	"slices"
)

// quantTable holds quantisation steps in the order of a block's rows.
type quantTable struct {
	steps   [64]uint16
	defined bool
}

// naturalOrder is the place, in rows, of the coefficient at each zigzag position. As in libjpeg, runs that lead past
// the last one end on it.
var naturalOrder = func() (order [128]uint8) {
	i := 0
	for diagonal := range 15 {
		for step := range diagonal + 1 {
			x, y := step, diagonal-step
			if diagonal%2 == 1 {
				x, y = y, x
			}
			if x < 8 && y < 8 {
				order[i] = uint8(8*y + x)
				i++
			}
		}
	}
	for ; i < len(order); i++ {
		order[i] = 63
	}
	return order
}()

func (d *decoder) readQuantisation(body []byte) error {
	for len(body) > 0 {
		number, wide := body[0]&15, body[0]>>4 != 0
		size := 1 + 64
		if wide {
			size = 1 + 2*64
		}
		if number > 3 || len(body) < size {
			return FormatError("bad DQT segment")
		}
		q := &d.quant[number]
		q.defined = true
		for i := range 64 {
			if wide {
				q.steps[naturalOrder[i]] = uint16(body[1+2*i])<<8 | uint16(body[2+2*i])
			} else {
				q.steps[naturalOrder[i]] = uint16(body[1+i])
			}
		}
		body = body[size:]
	}
	return nil
}

// frameKind names the frames, and the markers among theirs, that are not read.
func frameKind(marker byte) string {
	switch {
	case marker == 0xc3:
		return "lossless coding"
	case marker > 0xc8:
		return "arithmetic coding"
	}
	return fmt.Sprintf("frame type %#02x (hierarchical or reserved)", marker)
}

func (d *decoder) readFrame(marker byte, body []byte) error {
	if d.config.Components != 0 {
		return FormatError("second frame header")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return FormatError("bad length of the frame header")
	}
	if body[0] != 8 {
		return UnsupportedError(fmt.Sprintf("a precision of %d bits", body[0]))
	}
	n := int(body[5])
	if n != 1 && n != 3 && n != 4 {
		return UnsupportedError(fmt.Sprintf("a picture of %d components", n))
	}
	d.maxH, d.maxV = 1, 1
	for i := range n {
		spec, c := body[6+3*i:], &d.components[i]
		c.id, c.h, c.v, c.table = spec[0], int(spec[1]>>4), int(spec[1]&15), spec[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return FormatError(fmt.Sprintf("sampling factors %d×%d", c.h, c.v))
		}
		if n == 1 {
			c.h, c.v = 1, 1 // without others to compare with, they mean nothing
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	d.config = Config{
		Width: int(body[3])<<8 | int(body[4]), Height: int(body[1])<<8 | int(body[2]),
		Components: n, Progressive: marker == markerSOF2,
	}
	for _, c := range d.components[:n] {
		d.config.PerPixel += float64(c.h*c.v) / float64(d.maxH*d.maxV)
	}
	return nil
}

// prepare lays out the frame's components and makes room for the picture.
func (d *decoder) prepare() error {
	width, height := d.config.Width, d.config.Height
	if width == 0 || height == 0 {
		return FormatError(fmt.Sprintf("picture of %d×%d pixels", width, height))
	}
	d.mcusX, d.mcusY = ceilDiv(width, 8*d.maxH), ceilDiv(height, 8*d.maxV)
	blocks := 0
	d.context = false
	for i := range d.config.Components {
		c := &d.components[i]
		c.scanned = false
		c.plane.layOut(width, height, c.h, c.v, d.maxH, d.maxV)
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return UnsupportedError(fmt.Sprintf("upsampling %d×%d to %d×%d", c.h, c.v, d.maxH, d.maxV))
		}
		d.context = d.context || c.plane.kind == upsampleH2V2 || c.plane.kind == upsampleH1V2
		c.blocksX, c.blocksY = ceilDiv(c.plane.width, 8), ceilDiv(c.plane.height, 8)
		c.strideX = d.mcusX * c.h
		blocks += c.blocksX * c.blocksY
	}
	// Each block costs a bit at least. A short file that promises more is cut off, and finding that out now saves the
	// memory for its pixels and coefficients.
	if blocks > 8*len(d.data) {
		return truncated(fmt.Sprintf("%d bytes cannot hold %d×%d pixels", len(d.data), width, height))
	}
	for i := range d.config.Components {
		c := &d.components[i]
		c.plane.stride = 8 * c.strideX
		c.plane.pix = resized(c.plane.pix, (8*c.v+1)*c.plane.stride)
		d.rows[i] = resized(d.rows[i], c.plane.width*c.plane.across)
	}
	d.pix = resized(d.pix, 3*width*height)
	return nil
}

// colourSpace is what the components stand for.
type colourSpace uint8

const (
	spaceGrey colourSpace = iota
	spaceYCbCr
	spaceRGB
	spaceCMYK
	spaceYCCK
)

// chooseSpace guesses as libjpeg does: from the JFIF and Adobe markers, then from the components' names.
func (d *decoder) chooseSpace() colourSpace {
	c := &d.components
	switch d.config.Components {
	case 1:
		return spaceGrey
	case 3:
		switch {
		case d.jfif:
		case d.adobe && d.adobeTransform == 0, !d.adobe && c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B':
			return spaceRGB
		}
		return spaceYCbCr
	}
	if d.adobe && d.adobeTransform != 0 {
		return spaceYCCK
	}
	return spaceCMYK
}

// maxScans is enough for each coefficient of three components in a scan of its own. Without a limit, a small file could
// have a large picture gone through very often.
const maxScans = 200

func (d *decoder) readScan(body []byte) error {
	s, err := d.readScanHeader(body)
	if err != nil {
		return err
	}
	if d.scans++; d.scans > maxScans {
		return UnsupportedError(fmt.Sprintf("a file of more than %d scans", maxScans))
	}
	if d.scans == 1 {
		d.space = d.chooseSpace()
		d.buffered = d.config.Progressive || len(s.components) < d.config.Components
		if d.buffered {
			d.makeCoefficients()
		}
	} else if !d.buffered {
		return FormatError("a scan after the picture is complete")
	}
	for _, c := range s.components {
		if c.scanned {
			continue
		}
		if c.table > 3 || !d.quant[c.table].defined {
			return FormatError(fmt.Sprintf("quantisation table %d is missing", c.table))
		}
		c.quant, c.scanned = d.quant[c.table].steps, true // later definitions are for others
		for i := range c.bitsLeft {
			c.bitsLeft[i] = -1
		}
	}
	if d.config.Progressive {
		return d.progressiveScan(s)
	}
	return d.sequentialScan(s)
}

func (d *decoder) readScanHeader(body []byte) (s scan, err error) {
	n := 0
	if len(body) > 0 {
		n = int(body[0])
	}
	if n < 1 || n > 4 || len(body) != 4+2*n {
		return s, FormatError("bad length of a scan header")
	}
	if d.config.Components == 0 {
		return s, FormatError("scan before the frame header")
	}
	blocks := 0
	for i := range n {
		c := d.scanComponent(body[1+2*i], s.components)
		if c == nil {
			return s, FormatError(fmt.Sprintf("scan of unknown component %d", body[1+2*i]))
		}
		c.dcCode, c.acCode = body[2+2*i]>>4, body[2+2*i]&15
		s.components = append(s.components, c)
		blocks += c.h * c.v
	}
	if n > 1 && blocks > 10 {
		return s, FormatError(fmt.Sprintf("%d blocks in an MCU", blocks))
	}
	body = body[1+2*n:]
	s.first, s.last, s.high, s.low = int(body[0]), int(body[1]), int(body[2]>>4), int(body[2]&15)
	return s, nil
}

// scanComponent finds a component by its name; if several have it, the first that is not taken yet.
func (d *decoder) scanComponent(id byte, taken []*component) *component {
	for i := range d.config.Components {
		if c := &d.components[i]; c.id == id && !slices.Contains(taken, c) {
			return c
		}
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// resized is a slice of n elements, s if it has the room. Its content is undefined.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

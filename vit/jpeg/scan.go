package jpeg

import (
	"encoding/binary"
	"fmt"
	"math"
)

// scan is one pass over the coefficients of some components.
type scan struct {
	components  []*component
	first, last int // coefficients, in zigzag order
	high, low   int // lowest bit read by earlier scans, and by this one
}

// eachBlock calls visit for the blocks of a scan in the order in which they are coded, and endRow after each row of
// MCUs. An MCU is one block of each component, or as many as its sampling factors say if there are several components.
//
// Where a stretch of data ends too early, zeros complete the MCU, and the rest of the stretch is starved: blocks that
// are kept stay as they are, the others become grey. (libjpeg does so.)
func (d *decoder) eachBlock(s scan, visit func(c *component, x, y int), endRow func(row int)) error {
	mcusX, mcusY := d.mcusX, d.mcusY
	alone := len(s.components) == 1
	if alone {
		mcusX, mcusY = s.components[0].blocksX, s.components[0].blocksY
	}
	d.starved = false
	d.startStretch(s)
	restart, left := 0, d.interval
	for my := range mcusY {
		for mx := range mcusX {
			if d.interval > 0 {
				if left == 0 {
					if err := d.readRestart(restart % 8); err != nil {
						return err
					}
					d.startStretch(s)
					restart, left = restart+1, d.interval
				}
				left--
			}
			if d.starved && d.buffered {
				continue
			}
			for _, c := range s.components {
				h, v := c.h, c.v
				if alone {
					h, v = 1, 1
				}
				for y := my * v; y < my*v+v; y++ {
					for x := mx * h; x < mx*h+h; x++ {
						visit(c, x, y)
					}
				}
			}
			if !d.starved && d.bits.overrun() {
				if d.starved = true; d.atEnd() {
					return truncated(fmt.Sprintf("scan %d ends after %d of %d MCUs", d.scans, my*mcusX+mx, mcusX*mcusY))
				}
			}
		}
		endRow(my)
	}
	d.spare = d.bits.spare()
	return nil
}

// startStretch begins to read entropy-coded data. There are none before a marker that is still to be read.
func (d *decoder) startStretch(s scan) {
	if d.unread == 0 {
		d.pos += d.bits.load(d.data[d.pos:])
	} else {
		d.bits.load(nil)
	}
	d.eobRun = 0
	for _, c := range s.components {
		c.predictor = 0
	}
}

// atEnd says whether no marker follows.
func (d *decoder) atEnd() bool {
	for _, v := range d.data[d.pos:] {
		if v != 0xff {
			return false
		}
	}
	return d.unread == 0
}

// readRestart looks for the restart marker of a number. If it meets another marker, it decides as libjpeg does whether
// to take that for the one that is due, to go on to the next marker, or to leave the stretch without data.
func (d *decoder) readRestart(number int) error {
	marker, err := d.nextMarker()
	for err == nil {
		n := int(marker) - markerRST0
		switch ahead := (n - number) & 7; {
		case marker < markerSOF0: // none that means anything
		case n < 0 || n > 7, ahead == 1 || ahead == 2: // another one, or one of the next
			d.unread = marker
			return nil
		case ahead == 6 || ahead == 7: // one of the last
		default: // the right one, or too far away to tell
			d.starved = false
			return nil
		}
		marker, err = d.nextMarker()
	}
	return err
}

// makeCoefficients gives every component zeros for coefficients.
func (d *decoder) makeCoefficients() {
	for i := range d.config.Components {
		c := &d.components[i]
		c.coefficients = resized(c.coefficients, 64*c.strideX*d.mcusY*c.v)
		clear(c.coefficients)
		c.nonzero = resized(c.nonzero, c.strideX*d.mcusY*c.v)
		clear(c.nonzero)
	}
}

// stored is a block of coefficients that is kept, and which of them are other than zero.
func (c *component) stored(x, y int) (b *block, nonzero *uint64) {
	i := y*c.strideX + x
	return (*block)(c.coefficients[64*i:]), &c.nonzero[i]
}

// unquantised are the quantisation steps for coefficients that are kept as they are.
var unquantised = func() (q [64]uint16) {
	for i := range q {
		q[i] = 1
	}
	return q
}()

// sequentialScan reads all coefficients of its components. If these are all components, it is the only scan, and its
// pixels are made at once.
func (d *decoder) sequentialScan(s scan) (err error) {
	for _, c := range s.components {
		if c.dc, err = d.table(0, c.dcCode); err != nil {
			return err
		}
		if c.ac, err = d.table(1, c.acCode); err != nil {
			return err
		}
	}
	if d.buffered {
		return d.eachBlock(s, func(c *component, x, y int) {
			b, nonzero := c.stored(x, y)
			*nonzero = math.MaxUint64
			d.sequentialBlock(c, b, &unquantised)
		}, func(int) {})
	}
	return d.eachBlock(s, func(c *component, x, y int) {
		nonzero, sum := uint64(1), int32(0)
		if !d.starved {
			nonzero, sum = d.sequentialBlock(c, &d.block, &c.quant)
		}
		if x < c.blocksX {
			d.block.inverse(nonzero, sum, c.plane.block(x, y), c.plane.stride)
		}
		if nonzero != 1 || d.bits.overrun() {
			d.block = block{}
		}
	}, d.emit)
}

// sequentialBlock reads a block, multiplied by the quantisation steps. It tells which coefficients changed, as bits,
// and the sum of their magnitudes.
func (d *decoder) sequentialBlock(c *component, b *block, steps *[64]uint16) (nonzero uint64, sum int32) {
	_, value := d.bits.next(c.dc)
	c.predictor += value
	b[0] = int16(c.predictor * int32(steps[0]))
	nonzero, sum = 1, abs(int32(b[0]))

	// The reader's state in variables of its own, for speed.
	t, data, pos, acc, n := c.ac, d.bits.data, d.bits.pos, d.bits.acc, d.bits.n
	for k := 1; k < 64; k++ {
		if n < 32 { // as many as a code and a number take
			if pos+8 > len(data) {
				d.bits.pos, d.bits.acc, d.bits.n = pos, acc, n
				d.bits.fillLast()
				pos, acc, n = d.bits.pos, d.bits.acc, d.bits.n
			} else {
				acc |= binary.BigEndian.Uint64(data[pos:]) >> (n & 63)
				pos += int((63 - n) >> 3)
				n |= 56
			}
		}
		e := t.fast[acc>>(64-lookahead)]
		value := e.value()
		if value == 0 {
			if e == 0 {
				e = t.long(acc)
			}
			size := uint(e.size())
			if size == 0 {
				acc <<= e.length() & 63
				n -= uint(e.length())
				if e.run() != 15 {
					break // end of block
				}
				k += 15
				continue
			}
			value = extend(acc<<(e.length()&63), size)
			acc <<= size & 63
			n -= size
		}
		acc <<= e.length() & 63
		n -= uint(e.length())
		k += e.run()
		at := naturalOrder[k&127] & 63
		v := int16(value * int32(steps[at]))
		b[at] = v
		nonzero |= 1 << at
		sum += abs(int32(v))
	}
	d.bits.pos, d.bits.acc, d.bits.n = pos, acc, n
	return nonzero, sum
}

func abs(v int32) int32 { return max(v, -v) }

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
func (d *decoder) eachBlock(s scan, visit func(c *component, x, y int) error, endRow func(row int)) error {
	mcusX, mcusY := d.mcusX, d.mcusY
	alone := len(s.components) == 1
	if alone {
		mcusX, mcusY = s.components[0].blocksX, s.components[0].blocksY
	}
	d.startStretch(s)
	restart, left := 0, d.interval
	for my := range mcusY {
		for mx := range mcusX {
			if d.interval > 0 {
				if left == 0 {
					if err := d.readRestart(restart); err != nil {
						return err
					}
					d.startStretch(s)
					restart, left = restart+1, d.interval
				}
				left--
			}
			for _, c := range s.components {
				h, v := c.h, c.v
				if alone {
					h, v = 1, 1
				}
				for y := my * v; y < my*v+v; y++ {
					for x := mx * h; x < mx*h+h; x++ {
						if err := visit(c, x, y); err != nil {
							if d.bits.overrun() {
								return d.shortScan(my*mcusX+mx, mcusX*mcusY)
							}
							return err
						}
					}
				}
			}
			if d.bits.overrun() {
				return d.shortScan(my*mcusX+mx, mcusX*mcusY)
			}
		}
		endRow(my)
	}
	return nil
}

// startStretch begins to read entropy-coded data.
func (d *decoder) startStretch(s scan) {
	d.pos += d.bits.load(d.data[d.pos:])
	d.eobRun = 0
	for _, c := range s.components {
		c.predictor = 0
	}
}

func (d *decoder) readRestart(number int) error {
	marker, err := d.nextMarker()
	if err != nil {
		return err
	}
	if want := byte(markerRST0 + number%8); marker != want {
		return FormatError(fmt.Sprintf("marker %#02x where restart marker %#02x is due", marker, want))
	}
	return nil
}

func (d *decoder) shortScan(done, all int) error {
	return truncated(fmt.Sprintf("scan %d ends after %d of %d MCUs", d.scans, done, all))
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
		return d.eachBlock(s, func(c *component, x, y int) error {
			b, nonzero := c.stored(x, y)
			*nonzero = math.MaxUint64
			_, _, err := d.sequentialBlock(c, b, &unquantised)
			return err
		}, func(int) {})
	}
	return d.eachBlock(s, func(c *component, x, y int) error {
		nonzero, sum, err := d.sequentialBlock(c, &d.block, &c.quant)
		if err != nil {
			return err
		}
		if x < c.blocksX {
			d.block.inverse(nonzero, sum, c.plane.block(x, y), c.plane.stride)
		}
		if nonzero != 1 {
			d.block = block{}
		}
		return nil
	}, d.emit)
}

var errCode = FormatError("bad Huffman code")

// sequentialBlock reads a block, multiplied by the quantisation steps. It tells which coefficients changed, as bits,
// and the sum of their magnitudes.
func (d *decoder) sequentialBlock(c *component, b *block, steps *[64]uint16) (nonzero uint64, sum int32, err error) {
	symbol, value := d.bits.next(c.dc)
	if symbol < 0 {
		return 0, 0, errCode
	}
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
				if e = t.long(acc); e == 0 {
					err = errCode
					break
				}
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
	return nonzero, sum, err
}

func abs(v int32) int32 { return max(v, -v) }

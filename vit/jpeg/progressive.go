package jpeg

import (
	"fmt"
	"math/bits"
)

// progressiveScan reads some bits of some coefficients.
func (d *decoder) progressiveScan(s scan) (err error) {
	if err := s.validate(); err != nil {
		return err
	}
	for _, c := range s.components {
		switch {
		case s.first > 0:
			c.ac, err = d.table(1, c.acCode)
		case s.high == 0:
			c.dc, err = d.table(0, c.dcCode)
		}
		if err != nil {
			return err
		}
		for k := s.first; k <= s.last; k++ {
			c.bitsLeft[k] = int8(s.low)
		}
	}
	read := (*decoder).refineAC
	switch {
	case s.first == 0 && s.high == 0:
		read = (*decoder).firstDC
	case s.first == 0:
		read = (*decoder).refineDC
	case s.high == 0:
		read = (*decoder).firstAC
	}
	return d.eachBlock(s, func(c *component, x, y int) {
		b, nonzero := c.stored(x, y)
		read(d, &s, c, b, nonzero)
	}, func(int) {})
}

func (s *scan) validate() error {
	switch {
	case s.first == 0 && s.last != 0, s.first > s.last, s.last > 63,
		s.first > 0 && len(s.components) > 1,
		s.high != 0 && s.low != s.high-1, s.low > 13:
		return FormatError(fmt.Sprintf("progressive scan of %d components, coefficients %d to %d, bits %d to %d",
			len(s.components), s.first, s.last, s.high, s.low))
	}
	return nil
}

func (d *decoder) firstDC(s *scan, c *component, b *block, nonzero *uint64) {
	_, value := d.bits.next(c.dc)
	c.predictor += value
	b[0] = int16(c.predictor << s.low)
	*nonzero |= 1
}

func (d *decoder) refineDC(s *scan, _ *component, b *block, nonzero *uint64) {
	if d.bits.bit() {
		b[0] |= 1 << s.low
		*nonzero |= 1
	}
}

func (d *decoder) firstAC(s *scan, c *component, b *block, nonzero *uint64) {
	if d.eobRun > 0 {
		d.eobRun--
		return
	}
	for k := s.first; k <= s.last; k++ {
		symbol, value := d.bits.next(c.ac)
		run := symbol >> 4
		switch {
		case value != 0:
			k += run
			b.set(k, int16(value<<s.low), nonzero)
		case run == 15:
			k += 15
		default:
			d.startRun(run)
			d.eobRun--
			return
		}
	}
}

// set gives the coefficient at zigzag position k a value.
func (b *block) set(k int, v int16, nonzero *uint64) {
	b[naturalOrder[k]] = v
	bit := uint64(1) << min(k, 63)
	if v != 0 { // which is certain but for absurd values
		*nonzero |= bit
	} else {
		*nonzero &^= bit
	}
}

// startRun reads for how many blocks, this one included, nothing new comes.
func (d *decoder) startRun(run int) {
	d.eobRun = 1<<run + d.bits.number(uint(run))
}

// refineAC reads another bit of the coefficients that are not zero, and new ones among those that are.
func (d *decoder) refineAC(s *scan, c *component, b *block, nonzero *uint64) {
	k := s.first
	for ; k <= s.last && d.eobRun == 0; k++ {
		symbol := d.bits.symbol(c.ac)
		run, fresh := symbol>>4, symbol&15 != 0 // a coefficient that was 0 becomes one of one bit
		value := int16(-1)
		if fresh && d.bits.bit() {
			value = 1
		}
		if !fresh && run != 15 {
			d.startRun(run)
			break
		}
		k = d.refine(s, b, *nonzero, k, run)
		if fresh {
			b.set(k, value<<s.low, nonzero)
		}
	}
	if d.eobRun > 0 {
		d.refine(s, b, *nonzero, k, 64)
		d.eobRun--
	}
}

// refine reads a bit of each coefficient from k on that is not zero, and stops on the zero after as many as to skip, or
// after the scan's last coefficient. It returns where.
func (d *decoder) refine(s *scan, b *block, nonzero uint64, k, skip int) int {
	for k <= s.last {
		zeros := bits.TrailingZeros64(nonzero >> k)
		if zeros > skip {
			return min(k+skip, s.last+1)
		}
		skip -= zeros
		k += zeros
		if k > s.last {
			break
		}
		v := &b[naturalOrder[k]]
		if d.bits.bit() && *v>>s.low&1 == 0 {
			if *v >= 0 {
				*v += 1 << s.low
			} else {
				*v -= 1 << s.low
			}
		}
		k++
	}
	return s.last + 1
}

// smoothed is how many coefficients, in zigzag order, libjpeg looks at: while one of them but the first lacks bits, it
// guesses what is missing.
const smoothed = 10

// checkComplete reports scans that never came.
func (d *decoder) checkComplete() error {
	for i := range d.config.Components {
		c := &d.components[i]
		if !c.scanned {
			return truncated(fmt.Sprintf("no scan of component %d", c.id))
		}
		for k := 0; d.config.Progressive && k < smoothed; k++ {
			if left := c.bitsLeft[k]; left < 0 || left > 0 && k > 0 {
				return truncated(fmt.Sprintf("the scans of component %d leave coefficient %d incomplete", c.id, k))
			}
		}
	}
	return nil
}

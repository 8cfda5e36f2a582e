package jpeg

import (
	"bytes"
	"encoding/binary"
)

// bitReader reads the bits of one stretch of entropy-coded data: a scan, or what lies between two restart markers.
// After the last bit come zeros; overrun tells whether any was used.
type bitReader struct {
	data []byte // without stuffing
	pos  int    // of the next byte to put into acc
	acc  uint64 // the next bits, from the top
	n    uint   // how many of acc are meant
}

// load takes the data up to the next marker out of src and returns where that marker is.
func (b *bitReader) load(src []byte) int {
	b.data, b.pos, b.acc, b.n = b.data[:0], 0, 0, 0
	for start := 0; ; {
		i := bytes.IndexByte(src[start:], 0xff)
		if i < 0 {
			b.data = append(b.data, src[start:]...)
			return len(src)
		}
		end := start + i
		next := end + 1
		for next < len(src) && src[next] == 0xff {
			next++
		}
		if next == len(src) || src[next] != 0 {
			b.data = append(b.data, src[start:end]...)
			return end
		}
		b.data = append(b.data, src[start:end+1]...)
		start = next + 1 // a zero after 0xff is stuffing
	}
}

// fill brings n to at least 56.
func (b *bitReader) fill() {
	if b.pos+8 <= len(b.data) {
		b.acc |= binary.BigEndian.Uint64(b.data[b.pos:]) >> (b.n & 63)
		b.pos += int((63 - b.n) >> 3)
		b.n |= 56
	} else {
		b.fillLast()
	}
}

func (b *bitReader) fillLast() {
	var last [8]byte
	if b.pos < len(b.data) {
		copy(last[:], b.data[b.pos:])
	}
	b.acc |= binary.BigEndian.Uint64(last[:]) >> (b.n & 63)
	b.pos += int((63 - b.n) >> 3)
	b.n |= 56
}

func (b *bitReader) overrun() bool {
	return 8*b.pos-int(b.n) > 8*len(b.data)
}

// skip drops bits; there are at least as many.
func (b *bitReader) skip(n uint) {
	b.acc <<= n & 63
	b.n -= n
}

// bit reads one bit.
func (b *bitReader) bit() bool {
	if b.n == 0 {
		b.fill()
	}
	v := int64(b.acc) < 0
	b.skip(1)
	return v
}

// number reads n bits, up to 16, as an unsigned number.
func (b *bitReader) number(n uint) int {
	if b.n < n {
		b.fill()
	}
	v := b.acc >> 1 >> ((63 - n) & 63)
	b.skip(n)
	return int(v)
}

// spare is how many bits of the data are left.
func (b *bitReader) spare() int {
	return 8*len(b.data) - (8*b.pos - int(b.n))
}

// next reads a code and, if the symbol's low four bits, the size, are not zero, the signed number of that many bits
// that follows.
func (b *bitReader) next(t *huffmanTable) (symbol int, value int32) {
	if b.n < 32 {
		b.fill()
	}
	e := t.fast[b.acc>>(64-lookahead)]
	if e == 0 {
		e = t.long(b.acc)
	}
	b.skip(uint(e.length()))
	value = e.value()
	if size := uint(e.size()); value == 0 && size != 0 {
		value = extend(b.acc, size)
		b.skip(size)
	}
	return e.symbol(), value
}

// symbol reads a code alone.
func (b *bitReader) symbol(t *huffmanTable) int {
	if b.n < 32 {
		b.fill()
	}
	e := t.fast[b.acc>>(64-lookahead)]
	if e == 0 {
		e = t.long(b.acc)
	}
	length := uint(e.length())
	if e.value() != 0 {
		length -= uint(e.size())
	}
	b.skip(length)
	return e.symbol()
}

// extend is the signed number in the top size bits of acc: with a leading 0 it is negative, and one less than its bits
// complemented say.
func extend(acc uint64, size uint) int32 {
	v := int32(acc >> 1 >> ((63 - size) & 63))
	if int64(acc) >= 0 {
		v -= 1<<(size&31) - 1
	}
	return v
}

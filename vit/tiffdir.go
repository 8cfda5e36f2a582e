package vit

import (
	"bytes"
	"encoding/binary"
)

// Tags of TIFF files, and of EXIF data, which are such.
const (
	tagNewSubfileType  = 254
	tagWidth           = 256
	tagHeight          = 257
	tagBits            = 258
	tagCompression     = 259
	tagPhotometric     = 262
	tagFillOrder       = 266
	tagStripOffsets    = 273
	tagOrientation     = 274
	tagSamples         = 277
	tagRowsPerStrip    = 278
	tagStripByteCounts = 279
	tagPlanar          = 284
	tagFaxOptions      = 292
	tagPredictor       = 317
	tagColourMap       = 320
	tagTileWidth       = 322
	tagTileHeight      = 323
	tagTileOffsets     = 324
	tagTileByteCounts  = 325
	tagSubDirectories  = 330
	tagExtraSamples    = 338
	tagSampleFormat    = 339
	tagJPEGTables      = 347
	tagChromaSampling  = 530
	tagXMP             = 700
	tagDNGVersion      = 50706
)

// tiffDirectory is the first directory of a TIFF or BigTIFF file.
type tiffDirectory struct {
	data    []byte
	order   binary.ByteOrder
	entries []byte // of entry bytes each
	entry   int
}

// tiffHeads are the beginnings of files, as far as Pillow reads them: the version is 42 or, of BigTIFF, 43, and by
// mistake 42 in the other order.
var tiffHeads = []struct {
	prefix string
	order  binary.ByteOrder
	big    bool
}{
	{"II*\x00", binary.LittleEndian, false}, {"MM\x00*", binary.BigEndian, false},
	{"II\x00*", binary.LittleEndian, false}, {"MM*\x00", binary.BigEndian, false},
	{"II+\x00", binary.LittleEndian, true}, {"MM\x00+", binary.BigEndian, true},
}

func isTIFF(data []byte) bool {
	for _, h := range tiffHeads {
		if bytes.HasPrefix(data, []byte(h.prefix)) {
			return true
		}
	}
	return false
}

// readTIFF finds the directory, which is empty where there is none, and holds what is there of one that is cut off.
func readTIFFDirectory(data []byte) (d tiffDirectory) {
	for _, h := range tiffHeads {
		if !bytes.HasPrefix(data, []byte(h.prefix)) {
			continue
		}
		d.data, d.order, d.entry = data, h.order, 12
		size := uint64(len(data))
		var at, n uint64
		switch {
		case !h.big && size >= 8:
			if at = uint64(d.order.Uint32(data[4:])); at+2 > size {
				return d
			}
			n, at = uint64(d.order.Uint16(data[at:])), at+2
		case h.big && size >= 16:
			d.entry = 20
			if at = d.order.Uint64(data[8:]); at > size || size-at < 8 {
				return d
			}
			n, at = d.order.Uint64(data[at:]), at+8
		default:
			return d
		}
		n = min(n, (size-at)/uint64(d.entry))
		d.entries = data[at : at+n*uint64(d.entry)]
		return d
	}
	return d
}

// value is the type, number and bytes of what a tag holds; the last entry of several counts. It is not there if the
// file ends before it does.
func (d *tiffDirectory) value(tag uint16) (kind uint16, count int, body []byte, ok bool) {
	for e := d.entries; len(e) >= d.entry && d.entry > 0; e = e[d.entry:] {
		if d.order.Uint16(e) != tag {
			continue
		}
		k := d.order.Uint16(e[2:])
		n, inside := uint64(d.order.Uint32(e[4:])), e[8:12]
		if d.entry == 20 {
			n, inside = d.order.Uint64(e[4:]), e[12:20]
		}
		size, all := uint64(tiffSize(k)), uint64(len(d.data))
		if size == 0 || n > all {
			continue
		}
		b := inside
		if n*size > uint64(len(inside)) {
			at := uint64(d.order.Uint32(inside))
			if d.entry == 20 {
				at = d.order.Uint64(inside)
			}
			if at > all || n*size > all-at {
				continue
			}
			b = d.data[at:]
		}
		kind, count, body, ok = k, int(n), b[:n*size], true
	}
	return kind, count, body, ok
}

// tiffSize is how many bytes a value of a type takes, 0 for a type that there is not.
func tiffSize(kind uint16) int {
	switch kind {
	case 1, 2, 6, 7: // bytes, text, signed bytes, anything
		return 1
	case 3, 8: // 16 bits
		return 2
	case 4, 9, 11, 13: // 32 bits, the third a float
		return 4
	case 5, 10, 12, 16, 17, 18: // rationals, a float, 64 bits
		return 8
	}
	return 0
}

// length is how many integers a tag has, 0 if it has something else.
func (d *tiffDirectory) length(tag uint16) int {
	kind, n, _, _ := d.value(tag)
	switch kind {
	case 1, 3, 4, 6, 8, 9, 13, 16, 17, 18:
		return n
	}
	return 0
}

// numbers are the integers of a tag. What is negative is very large.
func (d *tiffDirectory) numbers(tag uint16) []uint64 {
	n := d.length(tag)
	if n == 0 {
		return nil
	}
	all := make([]uint64, n)
	for i := range all {
		all[i], _ = d.number(tag, i)
	}
	return all
}

// number is integer i of a tag.
func (d *tiffDirectory) number(tag uint16, i int) (uint64, bool) {
	kind, n, b, _ := d.value(tag)
	if i >= n {
		return 0, false
	}
	switch kind {
	case 1, 6:
		return uint64(b[i]), true
	case 3, 8:
		return uint64(d.order.Uint16(b[2*i:])), true
	case 4, 9, 13:
		return uint64(d.order.Uint32(b[4*i:])), true
	case 16, 17, 18:
		return d.order.Uint64(b[8*i:]), true
	}
	return 0, false
}

// first is the first integer of a tag, or what it is by default.
func (d *tiffDirectory) first(tag uint16, otherwise uint64) uint64 {
	if v, ok := d.number(tag, 0); ok {
		return v
	}
	return otherwise
}

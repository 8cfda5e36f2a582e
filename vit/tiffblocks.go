package vit

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"github.com/vitft/vitft/vit/jpeg"
)

// tiffBlock is a strip or tile, of all samples or of one.
type tiffBlock struct {
	data       []byte // compressed
	plane      int
	x, y       int // where it lies
	cols, rows int // of it that are picture
	stored     int // columns that it has
}

// blocks calls visit with all strips or tiles, in their order, those of planes that are looked at.
func (t *tiffImage) blocks(visit func(tiffBlock) error) error {
	at, size := uint16(tagStripOffsets), uint16(tagStripByteCounts)
	if t.tiled {
		at, size = tagTileOffsets, tagTileByteCounts
	}
	offsets, sizes := t.dir.numbers(at), t.dir.numbers(size)
	planes := 1
	if t.separate {
		planes = t.kept()
	}
	all := uint64(len(t.dir.data))
	i := 0
	for plane := range planes {
		for y := 0; y < t.height; y += t.blockH {
			for x := 0; x < t.width; x += t.blockW {
				if i >= len(offsets) || offsets[i] > all {
					return fmt.Errorf("strip or tile %d: %w", i, errTruncated)
				}
				b := tiffBlock{
					data: t.dir.data[offsets[i]:], plane: plane, x: x, y: y, stored: t.blockW,
					cols: min(t.blockW, t.width-x), rows: min(t.blockH, t.height-y),
				}
				if i < len(sizes) && sizes[i] < uint64(len(b.data)) && t.compression != tiffRaw {
					b.data = b.data[:sizes[i]]
				}
				if err := visit(b); err != nil {
					return fmt.Errorf("strip or tile %d: %w", i, err)
				}
				i++
			}
		}
	}
	return nil
}

// readBlocks reads the picture row by row. Planes of samples are brought together first.
func (t *tiffImage) readBlocks(img *RGB) error {
	kept, inBlock := t.kept(), t.samples
	var together []byte
	if t.separate {
		together, inBlock = make([]byte, t.width*t.height*kept), 1
	}
	raw := make([]byte, (t.blockW*inBlock*t.bits+7)/8)
	samples := make([]byte, t.blockW*kept)
	var u unpacker
	err := t.blocks(func(b tiffBlock) error {
		r, err := u.open(t, b)
		if err != nil {
			return err
		}
		for y := range b.rows {
			if _, err := io.ReadFull(r, raw); err != nil {
				if err == io.EOF {
					err = errTruncated
				}
				return fmt.Errorf("row %d: %w", y, err)
			}
			if t.reversed && t.compression == tiffRaw {
				reverse(raw)
			}
			t.unpredict(raw, inBlock)
			if t.separate {
				t.bytes(together[((b.y+y)*t.width+b.x)*kept+b.plane:], raw, b.cols, kept, 1, 1)
				continue
			}
			t.bytes(samples, raw, b.cols, kept, kept, inBlock)
			t.pixels(img.row(b.y + y)[3*b.x:3*(b.x+b.cols)], samples)
		}
		return nil
	})
	if err != nil || !t.separate {
		return err
	}
	for y := range t.height {
		t.pixels(img.row(y), together[y*t.width*kept:])
	}
	return nil
}

// unpacker opens one block after another with the same reader of zlib's.
type unpacker struct{ zlib io.ReadCloser }

func (u *unpacker) open(t *tiffImage, b tiffBlock) (io.Reader, error) {
	if t.reversed && (t.compression == tiffLZW || t.compression == tiffDeflate || t.compression == tiffOldDeflate ||
		t.compression == tiffPackBits) {
		b.data = bytes.Clone(b.data)
		reverse(b.data)
	}
	data := bytes.NewReader(b.data)
	switch t.compression {
	case tiffLZW:
		return lzw.NewReader(data, lzw.MSB, 8), nil
	case tiffDeflate, tiffOldDeflate:
		if u.zlib != nil {
			return u.zlib, u.zlib.(zlib.Resetter).Reset(data, nil)
		}
		r, err := zlib.NewReader(data)
		u.zlib = r
		return r, err
	case tiffPackBits:
		return &packBits{data: b.data}, nil
	case tiffGroup3, tiffGroup4:
		order, group := ccitt.MSB, ccitt.Group4
		if t.reversed {
			order = ccitt.LSB
		}
		if t.compression == tiffGroup3 {
			if group = ccitt.Group3; t.dir.first(tagFaxOptions, 0)&1 != 0 {
				return nil, fmt.Errorf("a fax coded in two dimensions by group 3: %w", errUnsupported)
			}
		}
		return ccitt.NewReader(data, order, group, b.stored, b.rows, &ccitt.Options{Invert: true}), nil
	}
	return data, nil
}

// reverse turns the bits of each byte around.
func reverse(b []byte) {
	for i, v := range b {
		b[i] = bits.Reverse8(v)
	}
}

// packBits reads runs and copies: a byte n from 0 means that n+1 bytes follow as they are, one from -127 that the next
// comes 1-n times.
type packBits struct {
	data []byte
	copy int
	run  int
}

func (p *packBits) Read(out []byte) (n int, err error) {
	for n < len(out) {
		switch {
		case p.copy > 0 && len(p.data) > 0:
			k := copy(out[n:], p.data[:min(p.copy, len(p.data))])
			p.data, p.copy, n = p.data[k:], p.copy-k, n+k
		case p.run > 0 && len(p.data) > 0:
			out[n] = p.data[0]
			if n, p.run = n+1, p.run-1; p.run == 0 {
				p.data = p.data[1:]
			}
		case len(p.data) == 0:
			return n, errTruncated
		default:
			switch c := int8(p.data[0]); {
			case c >= 0:
				p.copy = int(c) + 1
			case c > -128:
				p.run = 1 - int(c)
			}
			p.data = p.data[1:]
		}
	}
	return n, nil
}

// unpredict adds up what a row holds of differences. Raw data and runs have none, whatever the predictor says.
func (t *tiffImage) unpredict(row []byte, samples int) {
	switch t.compression {
	case tiffLZW, tiffDeflate, tiffOldDeflate:
	default:
		return
	}
	switch {
	case t.predictor == 3: // bytes of floats, those of each place together, from the highest
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
		size := t.bits / 8
		n, planes := len(row)/size, bytes.Clone(row)
		for i := range n {
			for b := range size {
				to := size - 1 - b
				if t.dir.order == binary.BigEndian {
					to = b
				}
				row[i*size+to] = planes[b*n+i]
			}
		}
	case t.predictor != 2:
	case t.bits == 8:
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
	case t.bits == 16:
		for i := 2 * samples; i+1 < len(row); i += 2 {
			t.dir.order.PutUint16(row[i:], t.dir.order.Uint16(row[i:])+t.dir.order.Uint16(row[i-2*samples:]))
		}
	case t.bits == 32:
		for i := 4 * samples; i+3 < len(row); i += 4 {
			t.dir.order.PutUint32(row[i:], t.dir.order.Uint32(row[i:])+t.dir.order.Uint32(row[i-4*samples:]))
		}
	}
}

// bytes makes a byte of each sample of so many pixels that counts: the first ones of those that a pixel has in src, at
// a distance of step in dst. Of 16 bits it takes the high ones; what has a sign and floats are cut, as Pillow does.
func (t *tiffImage) bytes(dst, src []byte, pixels, step, count, has int) {
	invert := byte(0)
	if t.photometric == tiffWhiteIsZero && t.format == 1 && t.bits < 32 {
		invert = 0xff
	}
	order := t.dir.order
	for i := range pixels {
		for c := range count {
			at, v := i*has+c, byte(0)
			switch {
			case t.bits == 8:
				v = src[at]
			case t.bits < 8:
				bit := at * t.bits
				v = src[bit/8] >> (8 - t.bits - bit%8) & (1<<t.bits - 1)
				if t.palette == nil {
					v *= 255 / (1<<t.bits - 1)
				}
			case t.bits == 16 && t.format == 1:
				v = byte(order.Uint16(src[2*at:]) >> 8)
			case t.bits == 16:
				v = byte(min(max(0, int16(order.Uint16(src[2*at:]))), 255))
			case t.format == 3:
				v = wholeByte(math.Float32frombits(order.Uint32(src[4*at:])))
			default:
				v = byte(min(max(0, int32(order.Uint32(src[4*at:]))), 255))
			}
			if c == 0 || t.used > 1 {
				v ^= invert
			}
			dst[i*step+c] = v
		}
	}
}

// readJPEGs decodes blocks that are JPEG files each, whose tables may stand apart. A marker tells the decoder what
// their colours are, since the TIFF knows and the JPEG does not.
func (t *tiffImage) readJPEGs(img *RGB) error {
	_, _, tables, _ := t.dir.value(tagJPEGTables)
	transform := byte(0)
	if t.photometric == tiffYCbCr {
		transform = 1
	}
	head := append([]byte("\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"), transform)
	if tables = bytes.TrimSuffix(bytes.TrimPrefix(tables, []byte("\xff\xd8")), []byte("\xff\xd9")); len(tables) > 0 {
		head = append(head, tables...)
	}
	var pix []byte
	return t.blocks(func(b tiffBlock) error {
		body, ok := bytes.CutPrefix(b.data, []byte("\xff\xd8"))
		if !ok {
			return errors.New("no JPEG")
		}
		file := append(head[:len(head):len(head)], body...)
		c, err := jpeg.DecodeConfig(file)
		if err != nil {
			return err
		}
		if c.Width < b.cols || c.Height < b.rows || c.Width > b.stored || c.Height > t.blockH ||
			c.Components != t.used {
			return fmt.Errorf("a JPEG of %d×%d pixels and %d components for %d×%d and %d", c.Width, c.Height,
				c.Components, b.cols, b.rows, t.used)
		}
		if pix, _, err = jpeg.Decode(pix, file); err != nil {
			return err
		}
		for y := range b.rows {
			copy(img.row(b.y + y)[3*b.x:3*(b.x+b.cols)], pix[3*y*c.Width:])
		}
		return nil
	})
}

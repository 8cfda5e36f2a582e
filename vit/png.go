package vit

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"image/png"
	"io"
	"runtime"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// pngChunks yields kind and body of a PNG's chunks up to its end; one that is cut off is none.
func pngChunks(data []byte) func(yield func(kind string, body []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for i := len(pngSignature); i+8 <= len(data); {
			n := int(binary.BigEndian.Uint32(data[i:]))
			if n > len(data)-i-8 || !yield(string(data[i+4:i+8]), data[i+8:i+8+n]) {
				return
			}
			i += 12 + n
		}
	}
}

// pngHeader is what the first chunk of a PNG says.
type pngHeader struct {
	width, height int
	depth, colour int
	interlaced    bool
}

// pngColours is how many samples a pixel of each colour type has.
var pngColours = map[int]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

func parsePNG(data []byte) (h pngHeader, err error) {
	if len(data) < 33 {
		return h, fmt.Errorf("header: %w", errTruncated)
	}
	head := data[8:29]
	if n := binary.BigEndian.Uint32(head); n < 13 || string(head[4:8]) != "IHDR" {
		return h, errors.New("no header chunk")
	} else if n == 13 && crc32.ChecksumIEEE(head[4:]) != binary.BigEndian.Uint32(data[29:]) {
		return h, errors.New("wrong checksum of the header chunk")
	}
	h.width, h.height = int(binary.BigEndian.Uint32(head[8:])), int(binary.BigEndian.Uint32(head[12:]))
	h.depth, h.colour, h.interlaced = int(head[16]), int(head[17]), head[20] != 0
	switch d := h.depth; h.colour {
	case 0:
		if d != 1 && d != 2 && d != 4 && d != 8 && d != 16 {
			return h, fmt.Errorf("%d bits of colour type 0: %w", d, errUnsupported)
		}
	case 3:
		if d != 1 && d != 2 && d != 4 && d != 8 {
			return h, fmt.Errorf("%d bits of colour type 3: %w", d, errUnsupported)
		}
	case 2, 4, 6:
		if d != 8 && d != 16 {
			return h, fmt.Errorf("%d bits of colour type %d: %w", d, h.colour, errUnsupported)
		}
	default:
		return h, fmt.Errorf("colour type %d: %w", h.colour, errUnsupported)
	}
	if head[19] != 0 {
		return h, fmt.Errorf("filter method %d: %w", head[19], errUnsupported)
	}
	return h, nil
}

func pngConfig(data []byte) (int, int, error) {
	h, err := parsePNG(data)
	return h.width, h.height, err
}

// readPNG decodes with package png what that takes as it is. What it refuses and Pillow reads is put in order for it.
func readPNG(data []byte, img *RGB) error {
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		h, parseErr := parsePNG(data)
		if parseErr != nil {
			return parseErr
		}
		if int64(h.width)*int64(h.height)*4 > maxDecode/8 {
			runtime.GC() // of two pictures, the first is no longer needed
		}
		r := newPNGMender(data, h)
		mended, mendedErr := png.Decode(r)
		if mendedErr != nil {
			if r.err != nil && r.err != io.EOF {
				return r.err
			}
			return err
		}
		m = mended
	}
	img.take(m)
	img.Orientation = pngOrientation(data)
	return nil
}

// pngMender reads as a PNG without a fault: the header, as much of the palette as the depth allows, exactly the pixels
// that are due, in blocks that are not compressed, and an end. As in Pillow, nothing else matters that stands beside
// the pixels, such as what follows them, their checksums, transparency, or the order of chunks; but checksums of chunks
// before the pixels do. Rows that the file leaves out are black.
type pngMender struct {
	header     pngHeader
	palette    []byte
	compressed *bufio.Reader
	pixels     io.Reader
	left       int64 // bytes of pixels and filters still to come
	inRow      int64 // of the current row
	rows       []pngRows
	out        bytes.Buffer
	block      []byte
	sum        hash.Hash32
	over       bool // no more pixels come
	err        error
}

// pngRows are rows of one pass that each have a filter and so many bytes.
type pngRows struct{ n, size int64 }

func newPNGMender(data []byte, h pngHeader) *pngMender {
	r := &pngMender{header: h, sum: adler32.New()}
	var parts []io.Reader
	at := len(pngSignature)
	for kind, body := range pngChunks(data) {
		end := at + 8 + len(body)
		if kind == "IDAT" {
			parts = append(parts, bytes.NewReader(body))
		} else if parts != nil {
			break
		} else if len(data) < end+4 || crc32.ChecksumIEEE(data[at+4:end]) != binary.BigEndian.Uint32(data[end:]) {
			r.err = fmt.Errorf("wrong checksum of chunk %q", kind)
			return r
		} else if kind == "PLTE" {
			r.palette = body[:len(body)/3*3]
		}
		at = end + 4
	}
	if at < len(data) && len(data)-at >= 8 && string(data[at+4:at+8]) == "IDAT" { // cut off
		parts = append(parts, bytes.NewReader(data[at+8:]))
	}
	r.compressed = bufio.NewReader(io.MultiReader(parts...))
	var head [2]byte
	if _, err := io.ReadFull(r.compressed, head[:]); err != nil {
		r.err = fmt.Errorf("pixels: %w", errTruncated)
		return r
	}
	if head[0]&15 != 8 || head[1]&0x20 != 0 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		r.err = errors.New("pixels are not compressed by zlib")
		return r
	}
	r.pixels = flate.NewReader(r.compressed)
	r.lay()
	r.begin()
	return r
}

// lay finds how many rows of which size there are.
func (r *pngMender) lay() {
	h, bits := r.header, pngColours[r.header.colour]*r.header.depth
	pass := func(x0, y0, dx, dy int) {
		w, n := (h.width-x0+dx-1)/dx, (h.height-y0+dy-1)/dy
		if w <= 0 || n <= 0 {
			return
		}
		rows := pngRows{int64(n), 1 + (int64(w)*int64(bits)+7)/8}
		r.rows = append(r.rows, rows)
		r.left += rows.n * rows.size
	}
	if !h.interlaced {
		pass(0, 0, 1, 1)
		return
	}
	for _, p := range [][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2},
		{0, 1, 1, 2}} {
		pass(p[0], p[1], p[2], p[3])
	}
}

// begin writes all that stands before the pixels.
func (r *pngMender) begin() {
	r.out.WriteString(pngSignature)
	h := r.header
	head := binary.BigEndian.AppendUint32(nil, uint32(h.width))
	head = binary.BigEndian.AppendUint32(head, uint32(h.height))
	head = append(head, byte(h.depth), byte(h.colour), 0, 0, 0)
	if h.interlaced {
		head[12] = 1
	}
	r.chunk("IHDR", head)
	if h.colour == 3 {
		palette := make([]byte, 3<<h.depth) // what it lacks is black
		copy(palette, r.palette)
		r.chunk("PLTE", palette)
	}
	r.chunk("IDAT", []byte{0x78, 0x01})
}

func (r *pngMender) chunk(kind string, body ...[]byte) {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	r.out.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	sum := crc32.NewIEEE()
	w := io.MultiWriter(&r.out, sum)
	io.WriteString(w, kind)
	for _, b := range body {
		w.Write(b)
	}
	r.out.Write(sum.Sum(nil))
}

func (r *pngMender) Read(p []byte) (int, error) {
	for r.out.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.more()
	}
	return r.out.Read(p)
}

// more writes one block of pixels, as large as blocks that are not compressed may be, or the end.
func (r *pngMender) more() {
	const largest = 1<<16 - 1
	if r.block == nil {
		r.block = make([]byte, largest)
	}
	block := r.block[:min(r.left, largest)]
	if len(block) == 0 {
		if r.fill(make([]byte, 1)); r.err == nil { // nothing or more than is due comes
			r.chunk("IDAT", []byte{1, 0, 0, 0xff, 0xff}, r.sum.Sum(nil))
			r.chunk("IEND")
			r.err = io.EOF
		}
		return
	}
	n := r.fill(block)
	if r.err != nil {
		return
	}
	clear(block[n:])
	r.left -= int64(len(block))
	r.sum.Write(block[n:])
	length := uint16(len(block))
	head := []byte{0, byte(length), byte(length >> 8), byte(^length), byte(^length >> 8)}
	r.chunk("IDAT", head, block)
}

// fill reads pixels until the block is full or, behind a whole row, they are over. Then their checksum, if it is not
// cut off, has to be right.
func (r *pngMender) fill(block []byte) (n int) {
	for n < len(block) && !r.over && r.err == nil {
		got, err := r.pixels.Read(block[n:])
		if r.left > 0 {
			r.pass(int64(got))
			r.sum.Write(block[n : n+got])
		}
		n += got
		switch {
		case n > 0 && r.left == 0: // more than is due: what follows is not looked at
		case err == io.EOF && r.inRow == 0:
			r.over = true
			var sum [4]byte
			if _, err := io.ReadFull(r.compressed, sum[:]); err != nil && len(r.rows) > 0 {
				r.err = fmt.Errorf("pixels: %w", errTruncated)
			} else if err == nil && !bytes.Equal(sum[:], r.sum.Sum(nil)) {
				r.err = errors.New("wrong checksum of the pixels")
			}
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if r.left > 0 {
				r.err = fmt.Errorf("pixels: %w", errTruncated)
			}
			return n
		case err != nil && r.left > 0:
			r.err = err
		case err != nil:
			return n
		}
	}
	return n
}

// pass counts bytes of rows.
func (r *pngMender) pass(n int64) {
	for n > 0 {
		rows := &r.rows[0]
		step := min(n, rows.size-r.inRow)
		n -= step
		if r.inRow += step; r.inRow == rows.size {
			r.inRow = 0
			if rows.n--; rows.n == 0 {
				r.rows = r.rows[1:]
			}
		}
	}
}

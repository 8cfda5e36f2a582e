package vit

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// bmpHeader is what stands before the pixels of a Windows or OS/2 bitmap.
type bmpHeader struct {
	width, height int
	topDown       bool
	bits          int // of a pixel: 1, 4, 8, 16, 24 or 32
	compression   uint32
	palette       [][3]byte
	masks         [4]uint32 // of red, green, blue and alpha, with bmpFields
	pixels        int       // where they begin
}

// What compression may be.
const (
	bmpRaw = iota
	bmpRLE8
	bmpRLE4
	bmpFields
)

// bmpSizes are the lengths of the headers that there are: OS/2 1 and 2, and Windows' with ever more fields.
var bmpSizes = []uint32{12, 40, 52, 56, 64, 108, 124}

// isDIB says whether data are a bitmap without the header of a file.
func isDIB(data []byte) bool {
	if len(data) < 16 || !slices.Contains(bmpSizes, binary.LittleEndian.Uint32(data)) {
		return false
	}
	at := 12
	if data[0] == 12 {
		at = 8
	}
	return binary.LittleEndian.Uint16(data[at:]) == 1 // planes
}

func parseBMP(data []byte) (h bmpHeader, err error) {
	short := fmt.Errorf("header: %w", errTruncated)
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	start := 0
	if data[0] == 'B' {
		start = 14
	}
	if len(data) < start+12 {
		return h, short
	}
	size := u32(data[start:])
	if !slices.Contains(bmpSizes, size) {
		return h, fmt.Errorf("a header of %d bytes: %w", size, errUnsupported)
	}
	end := start + int(size)
	if len(data) < end {
		return h, short
	}
	head, colours, entry := data[start:end], 0, 4
	if size == 12 {
		h.width, h.height, h.bits, entry = int(u16(head[4:])), int(u16(head[6:])), int(u16(head[10:])), 3
	} else {
		h.width, h.height, h.bits = int(u32(head[4:])), int(u32(head[8:])), int(u16(head[14:]))
		if h.topDown = head[11] == 0xff; h.topDown { // a negative height
			h.height = 1<<32 - h.height
		}
		h.compression, colours = u32(head[16:]), int(u32(head[32:]))
	}
	if !slices.Contains([]int{1, 4, 8, 16, 24, 32}, h.bits) {
		return h, fmt.Errorf("%d bits a pixel: %w", h.bits, errUnsupported)
	}
	at := end
	if h.compression == bmpFields {
		masks := head[min(40, len(head)):]
		if size == 40 {
			at += 12
			masks = data[min(end, len(data)):min(at, len(data))]
		}
		if len(masks) < 12 {
			return h, short
		}
		for i := range h.masks[:min(4, len(masks)/4)] {
			h.masks[i] = u32(masks[4*i:])
		}
	}
	if start > 0 {
		h.pixels = int(u32(data[10:]))
	}
	if colours == 0 {
		colours = 1 << h.bits
	}
	if h.bits <= 8 {
		if colours > 1<<16 {
			return h, fmt.Errorf("a palette of %d colours: %w", colours, errUnsupported)
		}
		if h.pixels == end { // pixels that begin where the palette does begin behind it
			h.pixels += entry * colours
		}
		for range colours {
			if at+entry > len(data) {
				break
			}
			h.palette = append(h.palette, [3]byte{data[at+2], data[at+1], data[at]})
			at += entry
		}
	}
	if h.pixels == 0 {
		h.pixels = at
	}
	return h, h.check()
}

// bmpMasks are the layouts that Pillow reads, and where red, green and blue are.
var bmpMasks = map[int]map[[4]uint32][3]int{
	32: {
		{0xff0000, 0xff00, 0xff, 0}: {2, 1, 0}, {0xff000000, 0xff0000, 0xff00, 0}: {3, 2, 1},
		{0xff000000, 0xff00, 0xff, 0}: {3, 1, 0}, {0xff000000, 0xff0000, 0xff00, 0xff}: {3, 2, 1},
		{0xff, 0xff00, 0xff0000, 0xff000000}: {0, 1, 2}, {0xff0000, 0xff00, 0xff, 0xff000000}: {2, 1, 0},
		{0xff000000, 0xff00, 0xff, 0xff0000}: {3, 1, 0}, {}: {2, 1, 0},
	},
	24: {{0xff0000, 0xff00, 0xff}: {2, 1, 0}},
	16: {{0xf800, 0x7e0, 0x1f}: {}, {0x7c00, 0x3e0, 0x1f}: {}},
}

// check refuses the layouts that there is no reading.
func (h *bmpHeader) check() error {
	switch h.compression {
	case bmpRaw:
		return nil
	case bmpRLE8, bmpRLE4:
		if h.bits == 8 && h.compression == bmpRLE8 || h.bits == 4 && h.compression == bmpRLE4 {
			return nil
		}
	case bmpFields:
		if h.bits < 32 {
			h.masks[3] = 0
		}
		if _, ok := bmpMasks[h.bits][h.masks]; ok {
			return nil
		}
		return fmt.Errorf("bit fields %#x of %d bits: %w", h.masks, h.bits, errUnsupported)
	}
	return fmt.Errorf("compression %d of %d bits: %w", h.compression, h.bits, errUnsupported)
}

func bmpConfig(data []byte) (int, int, error) {
	h, err := parseBMP(data)
	return h.width, h.height, err
}

func readBMP(data []byte, img *RGB) error {
	h, err := parseBMP(data)
	if err != nil {
		return err
	}
	img.resize(h.width, h.height)
	if h.compression == bmpRLE8 || h.compression == bmpRLE4 {
		return h.unpack(data, img)
	}
	stride := (h.width*h.bits + 31) / 32 * 4
	for i := range h.height {
		at := h.pixels + i*stride
		size := (h.width*h.bits + 7) / 8
		if at+size > len(data) {
			return fmt.Errorf("row %d of %d: %w", i, h.height, errTruncated)
		}
		h.row(img.row(h.place(i)), data[at:at+size])
	}
	return nil
}

// place is the row, from the top, of row i of the file.
func (h *bmpHeader) place(i int) int {
	if h.topDown {
		return i
	}
	return h.height - 1 - i
}

// row makes pixels of the bytes of a row.
func (h *bmpHeader) row(dst, src []byte) {
	order, size := [3]int{2, 1, 0}, h.bits/8
	if h.compression == bmpFields {
		order = bmpMasks[h.bits][h.masks]
	}
	switch {
	case h.bits <= 8:
		var colours [256][3]byte
		copy(colours[:], h.palette)
		for i := range len(dst) / 3 {
			shift := 8 - h.bits - i*h.bits%8
			*(*[3]byte)(dst[3*i:]) = colours[src[i*h.bits/8]>>shift&(1<<h.bits-1)]
		}
	case h.bits == 16:
		greens := 5
		if h.masks[1] == 0x7e0 {
			greens = 6
		}
		for i := range len(dst) / 3 {
			v, most := int(binary.LittleEndian.Uint16(src[2*i:])), 1<<greens-1
			*(*[3]byte)(dst[3*i:]) = [3]byte{byte(v >> (5 + greens) & 31 * 255 / 31), byte(v >> 5 & most * 255 / most),
				byte(v & 31 * 255 / 31)}
		}
	default:
		for len(dst) >= 3 {
			dst[0], dst[1], dst[2] = src[order[0]], src[order[1]], src[order[2]]
			dst, src = dst[3:], src[size:]
		}
	}
}

// unpack reads run-length encoded pixels. As in Pillow, the end of a row fills it up, unless nothing of it came; what
// goes beyond a row is dropped; and a picture that ends early is an error.
func (h *bmpHeader) unpack(data []byte, img *RGB) error {
	var colours [256][3]byte
	copy(colours[:], h.palette)
	at, done, all, x := min(h.pixels, len(data)), 0, h.width*h.height, 0
	put := func(v byte) {
		if done < all {
			*(*[3]byte)(img.Pix[3*(h.place(done/h.width)*h.width+done%h.width):]) = colours[v]
			done++
		}
	}
	// pixel is pixel i of bytes.
	pixel := func(b []byte, i int) byte {
		if h.compression == bmpRLE8 {
			return b[i]
		}
		return b[i/2] >> (4 - i%2*4) & 15
	}
	for done < all && at+2 <= len(data) {
		n, v := int(data[at]), data[at+1]
		pair := []byte{v, v}
		at += 2
		switch {
		case n > 0:
			n = min(n, max(0, h.width-x))
			for i := range n {
				put(pixel(pair, i%2))
			}
			x += n
		case v == 0: // end of a row
			for done%h.width != 0 {
				put(0)
			}
			x = 0
		case v == 1: // end of the picture
			at = len(data)
		case v == 2: // go on elsewhere
			if at+2 > len(data) {
				at = len(data)
				break
			}
			skip := min(all-done, int(data[at])+int(data[at+1])*h.width)
			for range skip {
				put(0)
			}
			at += 2
			x = done % h.width
		default: // so many pixels as they are
			n := min(all-done, int(v))
			size := n
			if h.compression == bmpRLE4 {
				size = (n + 1) / 2
			}
			if at+size > len(data) {
				return fmt.Errorf("pixels: %w", errTruncated)
			}
			for i := range n {
				put(pixel(data[at:], i))
			}
			at += size
			at += at % 2
			x += int(v)
		}
	}
	if done < all {
		return fmt.Errorf("%d of %d pixels: %w", done, all, errTruncated)
	}
	return nil
}

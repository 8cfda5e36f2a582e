package vit

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// gifFrame is the first frame of a GIF and the canvas that it lies on, which grows with a frame that is larger.
type gifFrame struct {
	width, height       int // of the canvas
	x0, y0, x1, y1      int
	interlaced          bool
	free                byte   // the colour of what the frame leaves free: the transparent one or the first
	palette             []byte // of three bytes a colour; nil means that indices are shades of grey
	literalBits, pixels int    // of the compressed data: bits of a plain pixel, and where they begin
}

var errNoGIFImage = errors.New("no image")

// parseGIF goes through the blocks up to the first frame's pixels. Bytes that are no block are passed over, as Pillow
// does.
func parseGIF(data []byte) (f gifFrame, err error) {
	short := fmt.Errorf("header: %w", errTruncated)
	if len(data) < 13 {
		return f, short
	}
	f.width, f.height = int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:]))
	at := 13
	if data[10]&0x80 != 0 {
		f.palette, at = gifPalette(data, at, data[10])
	}
	for at < len(data) {
		switch data[at] {
		case '!': // an extension
			if at+6 < len(data) && data[at+1] == 0xf9 && data[at+2] >= 4 && data[at+3]&1 != 0 {
				f.free = data[at+6]
			}
			for at += 2; at < len(data) && data[at] != 0; {
				at += 1 + int(data[at])
			}
		case ';':
			return f, errNoGIFImage
		case ',':
			if len(data) < at+11 {
				return f, short
			}
			word := func(i int) int { return int(binary.LittleEndian.Uint16(data[at+i:])) }
			f.x0, f.y0 = word(1), word(3)
			f.x1, f.y1 = f.x0+word(5), f.y0+word(7)
			f.width, f.height = max(f.width, f.x1), max(f.height, f.y1)
			flags := data[at+9]
			f.interlaced = flags&0x40 != 0
			at += 10
			if flags&0x80 != 0 {
				local, end := gifPalette(data, at, flags)
				if at = end; local != nil { // as in Pillow, to which shades of grey are no palette here either
					f.palette = local
				}
			}
			if at >= len(data) {
				return f, short
			}
			f.literalBits, f.pixels = int(data[at]), at+1
			return f, nil
		}
		at++
	}
	return f, short
}

// gifPalette is the palette at a place, and where it ends. One of all shades of grey in turn is none.
func gifPalette(data []byte, at int, flags byte) (palette []byte, end int) {
	end = min(at+3<<(1+flags&7), len(data))
	palette = data[at:end]
	for i, v := range palette {
		if int(v) != i/3 {
			return palette, end
		}
	}
	return nil, end
}

func gifConfig(data []byte) (int, int, error) {
	f, err := parseGIF(data)
	return f.width, f.height, err
}

// readGIF reads the first frame onto the canvas. Transparency is not looked at: convert("RGB") keeps the colour.
func readGIF(data []byte, img *RGB) error {
	f, err := parseGIF(data)
	if err != nil {
		return err
	}
	if f.literalBits < 2 || f.literalBits > 8 {
		return fmt.Errorf("pixels of %d bits", f.literalBits)
	}
	var colours [256][3]byte
	for i := range colours {
		switch {
		case f.palette == nil:
			colours[i] = [3]byte{byte(i), byte(i), byte(i)}
		case 3*i+3 <= len(f.palette):
			colours[i] = [3]byte(f.palette[3*i:])
		}
	}
	img.resize(f.width, f.height)
	w, h := f.x1-f.x0, f.y1-f.y0
	if w != f.width || h != f.height {
		for i := 0; i < len(img.Pix); i += 3 {
			*(*[3]byte)(img.Pix[i:]) = colours[f.free]
		}
	}
	pixels := lzw.NewReader(&gifBlocks{data: data[f.pixels:]}, lzw.LSB, f.literalBits)
	defer pixels.Close()
	row := make([]byte, w)
	line := func(y int) error {
		if _, err := io.ReadFull(pixels, row); err != nil {
			return fmt.Errorf("pixels: %w", err)
		}
		to := img.row(f.y0 + y)[3*f.x0:]
		for i, v := range row {
			*(*[3]byte)(to[3*i:]) = colours[v]
		}
		return nil
	}
	passes := [][2]int{{0, 1}}
	if f.interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	for _, p := range passes {
		for y := p[0]; y < h; y += p[1] {
			if err := line(y); err != nil {
				return err
			}
		}
	}
	return nil
}

// gifBlocks reads what is in blocks that begin with their length, up to one of none.
type gifBlocks struct {
	data  []byte
	block bytes.Reader
}

func (b *gifBlocks) ReadByte() (byte, error) {
	if b.block.Len() == 0 {
		if len(b.data) == 0 {
			return 0, errTruncated
		}
		n := int(b.data[0])
		if n == 0 {
			return 0, io.EOF
		}
		end := min(1+n, len(b.data))
		if b.block.Reset(b.data[1:end]); end == 1 {
			return 0, errTruncated
		}
		b.data = b.data[end:]
	}
	return b.block.ReadByte()
}

func (b *gifBlocks) Read(p []byte) (int, error) { // for lzw.NewReader, which reads bytes
	c, err := b.ReadByte()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

package vit

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"io"
	"maps"
	"slices"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/vitft/vitft/internal/testkit"
)

// hollow are files of side×side pixels of one colour, which take the least room for the most pixels, in every way of
// storing them that takes memory of its own.
func hollow(t *testing.T, side int) map[string]func() []byte {
	r := image.Rect(0, 0, side, side)
	paletted := image.NewPaletted(r, color.Palette{color.Black, color.White})
	encoded := func(encode func(io.Writer) error) []byte {
		var b bytes.Buffer
		if err := encode(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	asGIF := func() []byte {
		return encoded(func(w io.Writer) error { return gif.Encode(w, paletted, nil) })
	}
	onCanvas := func() []byte { // which is wider by a column
		b := asGIF()
		binary.LittleEndian.PutUint16(b[6:], uint16(side+1))
		return b
	}
	asBMP := func(m image.Image) func() []byte {
		return func() []byte { return encoded(func(w io.Writer) error { return bmp.Encode(w, m) }) }
	}
	turned := pngChunk("eXIf", []byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"+
		"\x00\x00\x00\x00"))
	asPNG := func(depth, colour, channels int, extra ...byte) func() []byte {
		return func() []byte { return hollowPNG(side, depth, colour, channels, [][4]int{{0, 0, 1, 1}}, extra) }
	}
	interlaced := func(depth int) func() []byte {
		return func() []byte {
			return hollowPNG(side, depth, 6, 4, [][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
				{0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}, nil)
		}
	}
	pnm := func(most, size int) func() []byte {
		return func() []byte {
			return append(fmt.Appendf(nil, "P6 %d %d %d\n", side, side, most), make([]byte, 3*size*side*side)...)
		}
	}
	asJPEG := func(frame, sampling byte) func() []byte {
		return func() []byte { return hollowJPEG(uint16(side), frame, sampling) }
	}
	files := map[string]func() []byte{
		"png 1 palette": asPNG(1, 3, 1), "png 8 grey": asPNG(8, 0, 1), "png 16 grey": asPNG(16, 0, 1),
		"png 8 rgb": asPNG(8, 2, 3), "png 8 rgba": asPNG(8, 6, 4), "png 8 grey alpha": asPNG(8, 4, 2),
		"png 16 rgb": asPNG(16, 2, 3), "png 16 rgba": asPNG(16, 6, 4), "png 16 grey alpha": asPNG(16, 4, 2),
		"png 8 rgb turned": asPNG(8, 2, 3, turned...), "png 16 rgba turned": asPNG(16, 6, 4, turned...),
		"png 8 interlaced": interlaced(8), "png 16 interlaced": interlaced(16),
		"gif": asGIF, "gif on a canvas": onCanvas,
		"gif on a canvas interlaced": func() []byte {
			b := onCanvas()
			b[bytes.IndexByte(b[13:], ',')+13+9] |= 0x40
			return b
		},
		"bmp 8": asBMP(paletted), "bmp 24": asBMP(image.NewGray(r)), "bmp 32": asBMP(image.NewNRGBA(r)),
		"pnm 8": pnm(255, 1), "pnm 16": pnm(65535, 2),
		"jpeg": asJPEG(0xc0, 0x11), "jpeg halved": asJPEG(0xc0, 0x22),
		"jpeg progressive": asJPEG(0xc2, 0x11), "jpeg progressive halved": asJPEG(0xc2, 0x22),
		"jpeg in three scans": func() []byte {
			b, _, _ := bytes.Cut(hollowJPEG(uint16(side), 0xc0, 0x11), []byte{0xff, 0xda})
			return jpegScans(b, side, 0)
		},
		"jpeg cmyk": func() []byte {
			b := hollowJPEG(uint16(side), 0xc0, 0x11)
			b[5], b[11] = 20, 4
			b = slices.Insert(b, 21, 4, 0x11, 0)
			at := bytes.Index(b, []byte{0xff, 0xda})
			b[at+3], b[at+4] = 14, 4
			return slices.Insert(b, at+11, 4, 0)
		},
		"webp lossy":                    func() []byte { return hollowVP8(side) },
		"webp lossless":                 func() []byte { return hollowVP8L(side, 0, 0) },
		"webp lossless, green taken in": func() []byte { return hollowVP8L(side, 0b101, 3) }, // a transform of type 2
	}
	for name, m := range map[string]image.Image{"8 rgba": image.NewNRGBA(r), "8 premultiplied": image.NewRGBA(r),
		"8 grey": image.NewGray(r), "16 grey": image.NewGray16(r), "16 rgba": image.NewNRGBA64(r)} {
		for kind, o := range map[string]*tiff.Options{"": nil, " deflate": {Compression: tiff.Deflate}} {
			files["tiff "+name+kind] = func() []byte {
				return encoded(func(w io.Writer) error { return tiff.Encode(w, m, o) })
			}
		}
	}
	files["avif"] = func() []byte { // side is that of testdata/make_variants.py
		return testkit.ReadFile(t, "testdata", "flat-2600x2600.avif")
	}
	files["bmp run-length"] = func() []byte {
		b := files["bmp 8"]()
		binary.LittleEndian.PutUint32(b[30:], bmpRLE8)
		row := append(bytes.Repeat([]byte{255, 1}, side/255+1), 0, 0)
		return append(b[:binary.LittleEndian.Uint32(b[10:])], bytes.Repeat(row, side)...)
	}
	files["pnm as text"] = func() []byte {
		return append(fmt.Appendf(nil, "P3 %d %d 1\n", side, side), bytes.Repeat([]byte("0\n"), 3*side*side)...)
	}
	for name, tags := range map[string][][2]uint32{
		"rgb in planes": {{tagPhotometric, tiffRGB}, {tagSamples, 3}}, "cmyk in planes": {{tagPhotometric, tiffCMYK},
			{tagSamples, 4}},
		"cmyk": {{tagPhotometric, tiffCMYK}, {tagSamples, 4}, {tagPlanar, 1}},
	} {
		files["tiff "+name] = func() []byte { return hollowTIFF(side, tags) }
	}
	// Its one strip unpacks to 8 bytes a pixel, where one is due.
	files["tiff 8 grey, a strip too large"] = func() []byte {
		b, strip := files["tiff 8 grey deflate"](), zeros(8*side*side)
		b = append(b, strip...)
		const stripOffsets, stripByteCounts = 273, 279
		entry := func(tag uint16) []byte {
			for e := b[binary.LittleEndian.Uint32(b[4:])+2:]; ; e = e[12:] {
				if binary.LittleEndian.Uint16(e) == tag {
					return e[8:]
				}
			}
		}
		binary.LittleEndian.PutUint32(entry(stripOffsets), uint32(len(b)-len(strip)))
		binary.LittleEndian.PutUint32(entry(stripByteCounts), uint32(len(strip)))
		return b
	}
	return files
}

// hollowTIFF is packed by zlib, in strips of 16 rows and planes of their own unless the tags say other.
func hollowTIFF(side int, tags [][2]uint32) []byte {
	values := map[uint16]uint32{tagWidth: uint32(side), tagHeight: uint32(side), tagBits: 8,
		tagCompression: tiffDeflate, tagRowsPerStrip: 16, tagPlanar: 2}
	for _, t := range tags {
		values[uint16(t[0])] = t[1]
	}
	samples, planes := int(values[tagSamples]), int(values[tagSamples])
	if values[tagPlanar] == 1 {
		planes = 1
	}
	strip := zeros(side * 16 * samples / planes)
	n := (side + 15) / 16 * planes
	b := append([]byte("II*\x00"), make([]byte, 4)...)
	at := len(b)
	b = append(b, strip...)
	offsets := len(b)
	for range n {
		b = binary.LittleEndian.AppendUint32(b, uint32(at))
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(values)+1))
	entry := func(tag uint16, count, value uint32) {
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, tag), 4)
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, count), value)
	}
	for _, tag := range slices.Sorted(maps.Keys(values)) {
		entry(tag, 1, values[tag])
	}
	entry(tagStripOffsets, uint32(n), uint32(offsets))
	return append(b, 0, 0, 0, 0)
}

// zeros is so many zero bytes as zlib has them.
func zeros(n int) []byte {
	var b bytes.Buffer
	z, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	for piece := make([]byte, 1<<20); n > 0; n -= len(piece) {
		z.Write(piece[:min(n, len(piece))])
	}
	z.Close()
	return b.Bytes()
}

func pngChunk(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, kind...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// pngHead is a PNG up to its first data.
func pngHead(side, depth, colour, interlace int) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(side)), uint32(side))
	head = append(head, byte(depth), byte(colour), 0, 0, byte(interlace))
	return append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", head)...)
}

// hollowPNG has passes of every fourth number of columns and rows from the first two; one of all is no interlacing.
func hollowPNG(side, depth, colour, channels int, passes [][4]int, extra []byte) []byte {
	b := append(pngHead(side, depth, colour, min(1, len(passes)-1)), extra...)
	if colour == 3 {
		b = append(b, pngChunk("PLTE", make([]byte, 6))...)
	}
	n := 0
	for _, p := range passes {
		columns, rows := (side-p[0]+p[2]-1)/p[2], (side-p[1]+p[3]-1)/p[3]
		n += rows * (1 + (columns*channels*depth+7)/8)
	}
	b = append(b, pngChunk("IDAT", zeros(n))...)
	return append(b, pngChunk("IEND", nil)...)
}

// jpegHead is a JPEG up to its frame header, of three components of which the first is sampled as said.
func jpegHead(side uint16, frame, sampling byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, frame, 0, 17, 8}, side)
	b = binary.BigEndian.AppendUint16(b, side)
	return append(b, 3, 1, sampling, 0, 2, 0x11, 0, 3, 0x11, 0)
}

// hollowJPEG has coefficients that are all 0.
func hollowJPEG(side uint16, frame, sampling byte) []byte {
	b := append(jpegHead(side, frame, sampling), 0xff, 0xdb, 0, 67, 0)
	b = append(b, bytes.Repeat([]byte{1}, 64)...)
	for _, class := range []byte{0x00, 0x10} { // one code, for 0
		b = append(b, 0xff, 0xc4, 0, 20, class, 1)
		b = append(b, make([]byte, 16)...)
	}
	last := byte(63)
	if frame == 0xc2 {
		last = 0
	}
	b = append(b, 0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, last, 0)
	b = append(b, make([]byte, int(side)*int(side)/64)...) // more than enough
	if frame == 0xc2 {
		return jpegScans(b, int(side), 1)
	}
	return append(b, 0xff, 0xd9)
}

// jpegScans adds a scan for each component, of its coefficients from first, and the end.
func jpegScans(b []byte, side int, first byte) []byte {
	for id := range byte(3) {
		b = append(b, 0xff, 0xda, 0, 8, 1, id+1, 0, first, 63, 0)
		b = append(b, make([]byte, side*side/64)...)
	}
	return append(b, 0xff, 0xd9)
}

func riff(kind string, body []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)+12)), "WEBP"+kind...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(body))), body...)
}

// hollowVP8L is a lossless WebP with those bits before that of no further transform.
func hollowVP8L(side int, transforms uint64, bits int) []byte {
	var out []byte
	n := 0
	put := func(v uint64, bits int) {
		for i := range bits {
			if n%8 == 0 {
				out = append(out, 0)
			}
			out[n/8] |= byte(v>>i&1) << (n % 8)
			n++
		}
	}
	put(0x2f, 8)
	put(uint64(side-1), 14)
	put(uint64(side-1), 14)
	put(0, 4) // no alpha, version 0
	put(transforms, bits)
	put(0, 3) // no further transform, no colour cache, one group
	for range 5 {
		put(1, 4) // a simple code of one symbol, 0
	}
	put(0, 63)
	return riff("VP8L", append(out, make([]byte, len(out)%2)...))
}

// hollowVP8 is a lossy WebP of nothing but zero bits.
func hollowVP8(side int) []byte {
	const first = 1 << 18 // bytes of the first partition
	tag := uint32(1<<4 | first<<5)
	b := []byte{byte(tag), byte(tag >> 8), byte(tag >> 16), 0x9d, 1, 0x2a}
	b = binary.LittleEndian.AppendUint16(b, uint16(side))
	b = binary.LittleEndian.AppendUint16(b, uint16(side))
	return riff("VP8 ", append(b, make([]byte, 8*side*side/256+8<<20)...))
}

package vit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
)

// webpFile is the first frame of a WebP file. Alpha is left aside: convert("RGB") drops it.
type webpFile struct {
	width, height int    // of the canvas
	x, y          int    // where the frame lies on it
	lossy         []byte // VP8 data, or
	lossless      []byte // VP8L data
	exif, xmp     []byte // may be nil
}

var errNoWebPImage = errors.New("no image chunk")

// parseWebP finds the chunks that matter. A frame of an animation is a chunk with chunks inside.
func parseWebP(data []byte) (f webpFile, err error) {
	var flags byte
	chunks(data[12:], func(id string, body []byte) {
		switch id {
		case "VP8X":
			if len(body) >= 10 && f.width == 0 {
				flags = body[0]
				f.width, f.height = 1+uint24(body[4:]), 1+uint24(body[7:])
			}
		case "ANMF":
			if len(body) < 16 || f.lossy != nil || f.lossless != nil {
				return
			}
			f.x, f.y = 2*uint24(body), 2*uint24(body[3:])
			chunks(body[16:], f.image)
		case "EXIF": // which there is only if the head says so
			if flags&8 != 0 {
				f.exif = body
			}
		case "XMP ":
			if flags&4 != 0 {
				f.xmp = body
			}
		default:
			f.image(id, body)
		}
	})
	var w, h int
	switch {
	case f.lossy != nil:
		var header vp8.FrameHeader
		header, err = vp8Header(f.lossy)
		w, h = header.Width, header.Height
	case f.lossless != nil:
		var c image.Config
		c, err = vp8l.DecodeConfig(bytes.NewReader(f.lossless))
		w, h = c.Width, c.Height
	default:
		err = errNoWebPImage
	}
	if err != nil {
		return f, err
	}
	if f.width == 0 {
		f.width, f.height = w, h
	}
	if f.x+w > f.width || f.y+h > f.height {
		return f, fmt.Errorf("frame of %d×%d pixels at (%d, %d) leaves the canvas of %d×%d", w, h, f.x, f.y, f.width,
			f.height)
	}
	return f, nil
}

// image takes the first image chunk.
func (f *webpFile) image(id string, body []byte) {
	switch {
	case f.lossy != nil || f.lossless != nil:
	case id == "VP8 ":
		f.lossy = body
	case id == "VP8L":
		f.lossless = body
	}
}

// chunks calls found with each RIFF chunk in data; one that is cut off ends at the end of the data.
func chunks(data []byte, found func(id string, body []byte)) {
	for len(data) >= 8 {
		n := int(binary.LittleEndian.Uint32(data[4:]))
		body := data[8:min(len(data), 8+n)]
		found(string(data[:4]), body)
		data = data[min(len(data), 8+n+n&1):]
	}
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func vp8Header(data []byte) (vp8.FrameHeader, error) {
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(data), len(data))
	return d.DecodeFrameHeader()
}

func webpConfig(data []byte) (int, int, error) {
	f, err := parseWebP(data)
	return f.width, f.height, err
}

func readWebP(data []byte, img *RGB) error {
	f, err := parseWebP(data)
	if err != nil {
		return err
	}
	if f.lossy != nil {
		d := vp8.NewDecoder()
		d.Init(bytes.NewReader(f.lossy), len(f.lossy))
		if _, err := d.DecodeFrameHeader(); err != nil {
			return err
		}
		m, err := d.DecodeFrame()
		if err != nil {
			return err
		}
		img.fromVP8(m)
	} else {
		m, err := vp8l.Decode(bytes.NewReader(f.lossless))
		if err != nil {
			return err
		}
		img.take(m)
	}
	if img.Width != f.width || img.Height != f.height {
		img.extend(f.width, f.height, f.x, f.y, [3]byte{})
	}
	img.Orientation = f.orientation()
	return nil
}

// orientation is what EXIF data or XMP say.
func (f webpFile) orientation() int {
	return tags{exif: f.exif, xmp: f.xmp}.orientation()
}

// fromVP8 converts a lossy WebP's planes as libwebp does: limited range, and chroma upsampled by a filter of its own.
// (Package vp8 returns an *image.YCbCr, whose colours are full range by definition.)
func (img *RGB) fromVP8(m *image.YCbCr) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	img.resize(w, h)
	cw, ch := (w+1)/2, (h+1)/2
	buf := make([]byte, 4*cw+4)
	cb, cr := buf[:2*cw+2], buf[2*cw+2:]
	for y := range h {
		// A luma row lies between two chroma rows, the first and the last one next to the same twice.
		near, far := y/2, y/2-1+2*(y%2)
		ni, fi := near*m.CStride, min(max(far, 0), ch-1)*m.CStride
		upsampleVP8(cb, m.Cb[ni:ni+cw], m.Cb[fi:fi+cw])
		upsampleVP8(cr, m.Cr[ni:ni+cw], m.Cr[fi:fi+cw])
		convertVP8(img.row(y), m.Y[y*m.YStride:y*m.YStride+w], cb, cr)
	}
}

// upsampleVP8 is libwebp's fancy upsampler (upsampling.c): weights 9:3:3:1, rounded in two steps.
func upsampleVP8(out, near, far []byte) {
	n := len(near)
	far, out = far[:n], out[:2*n]
	n0, f0 := int(near[0]), int(far[0])
	out[0] = byte((3*n0 + f0 + 2) >> 2)
	for i := 1; i < n; i++ {
		n1, f1 := int(near[i]), int(far[i])
		sum := n0 + n1 + f0 + f1 + 8
		out[2*i-1] = byte(((sum+2*(n1+f0))>>3 + n0) >> 1)
		out[2*i] = byte(((sum+2*(n0+f1))>>3 + n1) >> 1)
		n0, f0 = n1, f1
	}
	out[2*n-1] = byte((3*n0 + f0 + 2) >> 2)
}

// convertVP8 is libwebp's fixed-point conversion (yuv.h).
func convertVP8(dst, luma, cb, cr []byte) {
	cb, cr, dst = cb[:len(luma)], cr[:len(luma)], dst[:3*len(luma)]
	for i, v := range luma {
		y, u, v := int32(v)*19077>>8, int32(cb[i]), int32(cr[i])
		d := dst[3*i : 3*i+3 : 3*i+3]
		d[0] = clamp((y + v*26149>>8 - 14234) >> 6)
		d[1] = clamp((y - u*6419>>8 - v*13320>>8 + 8708) >> 6)
		d[2] = clamp((y + u*33050>>8 - 17685) >> 6)
	}
}

func clamp(v int32) byte {
	if uint32(v) > 255 {
		return byte(^v >> 31) // 255 above, 0 below
	}
	return byte(v)
}

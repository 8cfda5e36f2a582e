package jpeg

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Config is what the header of a file tells.
type Config struct {
	Width, Height int     // in pixels; a file may announce 0
	Components    int     // 1 (grey), 3 (YCbCr or RGB) or 4 (CMYK or YCCK)
	Progressive   bool    // in several scans of growing quality
	PerPixel      float64 // samples of all components; 1.5 if YCbCr has its chroma halved both ways
}

// A FormatError says how data break the rules of JPEG.
type FormatError string

func (e FormatError) Error() string { return "jpeg: " + string(e) }

// An UnsupportedError names a valid feature that this package does not read.
type UnsupportedError string

func (e UnsupportedError) Error() string { return "jpeg: " + string(e) + " is not supported" }

// DecodeConfig reads a file's header. Errors are those of Decode.
func DecodeConfig(data []byte) (Config, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.reset(data)
	err := d.read(true)
	return d.config, err
}

// Decode reads a file into RGB pixels, three bytes each, rows from the top without padding. They are in dst if its
// capacity suffices, else in a new slice. An error is, or wraps, a FormatError, an UnsupportedError or, where the data
// end too early, io.ErrUnexpectedEOF. It is safe for concurrent use.
func Decode(dst, data []byte) (pix []byte, c Config, err error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.reset(data)
	d.pix = dst
	if err := d.read(false); err != nil {
		return nil, d.config, err
	}
	return d.pix, d.config, nil
}

// decoder reads one file after another, keeping buffers and Huffman tables.
type decoder struct {
	data []byte
	pos  int
	pix  []byte

	config       Config
	components   [4]component
	maxH, maxV   int // the largest sampling factors
	mcusX, mcusY int // MCUs of an interleaved scan
	space        colourSpace
	context      bool // some plane's rows depend on the samples above and below
	buffered     bool // coefficients are kept until the end of the file
	scans        int

	quant          [4]quantTable
	codes          [2][4]huffmanCode // of DC and AC, as defined
	huffman        [2][4]huffmanTable
	interval       int // MCUs between restart markers; 0: there are none
	jfif, adobe    bool
	adobeTransform byte

	unread  byte // a marker that was met too early, to be read again
	starved bool // the stretch has no more data
	spare   int  // bits that followed on the last ones of the last scan
	bits    bitReader
	eobRun  int // blocks that a progressive scan still leaves as they are
	block   block
	rows    [4][]byte // an upsampled row of each component
}

// component is one colour channel.
type component struct {
	id, table        byte // table is the number of its quantisation table
	h, v             int  // sampling factors
	blocksX, blocksY int  // blocks that hold some of the picture
	strideX          int  // blocks in a row, including those that only fill up an MCU
	plane            plane
	scanned          bool
	quant            [64]uint16

	dcCode, acCode byte // numbers of the Huffman tables of the current scan
	dc, ac         *huffmanTable
	predictor      int32

	// Of a buffered picture: blocks in rows of strideX, and for each a bit, in zigzag order, for every coefficient
	// other than zero. (A sequential scan sets all bits.)
	coefficients []int16
	nonzero      []uint64
	bitsLeft     [64]int8 // of a progressive one, in zigzag order: bits still to come; -1: all
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// keepBytes is the most that a decoder keeps of each of its buffers.
const keepBytes = 1 << 22

// release gives d back to be used again.
func (d *decoder) release() {
	d.data, d.pix = nil, nil
	if cap(d.bits.data) > keepBytes {
		d.bits.data = nil
	}
	for i := range d.components {
		c := &d.components[i]
		if 2*cap(c.coefficients) > keepBytes {
			c.coefficients, c.nonzero = nil, nil
		}
		if cap(c.plane.pix) > keepBytes {
			c.plane.pix = nil
		}
	}
	decoders.Put(d)
}

func (d *decoder) reset(data []byte) {
	d.data, d.pos = data, 0
	d.config = Config{}
	d.quant = [4]quantTable{}
	d.codes = [2][4]huffmanCode{}
	d.interval, d.scans, d.spare, d.unread = 0, 0, 0, 0
	d.jfif, d.adobe = false, false
	d.buffered = false
	d.block = block{} // an error may have left coefficients
}

// Markers, by the names of ITU T.81.
const (
	markerSOF0  = 0xc0
	markerSOF1  = 0xc1
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerDAC   = 0xcc
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDNL   = 0xdc
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
	markerTEM   = 0x01
)

// read goes through the file's segments, up to the frame header or to the end.
func (d *decoder) read(headerOnly bool) error {
	if len(d.data) < 2 {
		return truncated("no SOI marker")
	}
	if d.data[0] != 0xff || d.data[1] != markerSOI {
		return FormatError("no SOI marker at the start")
	}
	d.pos = 2
	for {
		marker, err := d.nextMarker()
		if err != nil {
			return d.unfinished(err)
		}
		switch {
		case marker == markerEOI:
			return d.finish()
		case marker == markerTEM, marker >= markerRST0 && marker <= markerRST7: // they stand alone
			continue
		case marker == markerSOI:
			return FormatError("second SOI marker")
		}
		body, err := d.segment(marker)
		if err != nil {
			return d.unfinished(err)
		}
		switch marker {
		case markerSOF0, markerSOF1, markerSOF2:
			err = d.readFrame(marker, body)
			if headerOnly {
				return err
			}
			if err == nil {
				err = d.prepare()
			}
		case markerDHT:
			err = d.readHuffman(body)
		case markerDQT:
			err = d.readQuantisation(body)
		case markerDRI:
			if len(body) != 2 {
				return FormatError("DRI segment of another length than 2")
			}
			d.interval = int(body[0])<<8 | int(body[1])
		case markerSOS:
			err = d.readScan(body)
		case markerAPP0:
			d.jfif = d.jfif || len(body) >= 14 && string(body[:5]) == "JFIF\x00"
		case markerAPP14:
			if len(body) >= 12 && string(body[:5]) == "Adobe" {
				d.adobe, d.adobeTransform = true, body[11]
			}
		case markerDAC, markerDNL, markerCOM:
		default:
			switch {
			case marker > markerAPP0 && marker <= markerAPP15:
			case marker >= markerSOF0 && marker < markerRST0:
				err = UnsupportedError(frameKind(marker))
			default:
				err = FormatError(fmt.Sprintf("unknown marker %#02x", marker))
			}
		}
		if err != nil {
			return err
		}
	}
}

// lookedAt is how many bits after the last ones libjpeg wants to see at most.
const lookedAt = 64

// unfinished is the error of a file that ends too early, unless all pixels are there and the end marker alone is not:
// libjpeg does not miss that if something stands in its place.
func (d *decoder) unfinished(err error) error {
	if d.scans == 1 && !d.buffered && d.spare >= lookedAt && errors.Is(err, io.ErrUnexpectedEOF) {
		return d.finish()
	}
	return err
}

// nextMarker skips to the next marker and past it.
func (d *decoder) nextMarker() (byte, error) {
	if marker := d.unread; marker != 0 {
		d.unread = 0
		return marker, nil
	}
	for d.pos < len(d.data) {
		if d.data[d.pos] != 0xff {
			d.pos++ // a stray byte
			continue
		}
		for d.pos < len(d.data) && d.data[d.pos] == 0xff {
			d.pos++ // markers may be preceded by more of these
		}
		if d.pos < len(d.data) && d.data[d.pos] != 0 {
			d.pos++
			return d.data[d.pos-1], nil
		}
	}
	return 0, truncated("no EOI marker")
}

// segment is the body of the segment whose marker was just read. Its length counts itself.
func (d *decoder) segment(marker byte) ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, truncated(fmt.Sprintf("segment %#02x", marker))
	}
	n := int(rest[0])<<8 | int(rest[1])
	if n < 2 {
		return nil, FormatError(fmt.Sprintf("segment %#02x of length %d", marker, n))
	}
	if n > len(rest) {
		return nil, truncated(fmt.Sprintf("segment %#02x", marker))
	}
	d.pos += n
	return rest[2:n], nil
}

// truncated says what was met, or missed, where the data end too early.
func truncated(what string) error {
	return fmt.Errorf("jpeg: %s: %w", what, io.ErrUnexpectedEOF)
}

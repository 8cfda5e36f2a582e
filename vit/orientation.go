package vit

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"regexp"
	"strings"
)

// tags is what a file says of its orientation, in the places that Pillow's ImageOps.exif_transpose looks at.
type tags struct {
	exif []byte // a TIFF file, perhaps with "Exif\0\0" before it
	raw  string // hexadecimal EXIF data as ImageMagick writes them into a PNG
	xmp  []byte
}

// tiff is the EXIF data, from the head that a TIFF has.
func (t tags) tiff() []byte {
	exif := t.exif
	if exif == nil && t.raw != "" {
		// Three lines (nothing, what it is, how long) stand before the digits.
		if lines := strings.SplitN(t.raw, "\n", 4); len(lines) == 4 {
			exif, _ = hex.DecodeString(strings.Join(strings.Fields(lines[3]), ""))
		}
	}
	for range 2 {
		exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	}
	return exif
}

// orientation is 1 to 8. EXIF data that have the tag win, whatever it says; without it XMP is asked.
func (t tags) orientation() int {
	d := readTIFFDirectory(t.tiff())
	if kind, n, _, ok := d.value(tagOrientation); ok {
		if o, ok := d.number(tagOrientation, 0); ok && n == 1 && kind != 1 { // bytes are no number to Pillow
			return validOrientation(o)
		}
		return 1
	}
	return xmpOrientation(t.xmp)
}

func validOrientation(o uint64) int {
	if 1 <= o && o <= 8 {
		return int(o)
	}
	return 1
}

// xmpOrientations is where Pillow finds an orientation in XMP, as an attribute and as an element.
var xmpOrientations = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

func xmpOrientation(xmp []byte) int {
	if m := xmpOrientations.FindSubmatch(xmp); m != nil {
		return validOrientation(uint64(m[1][0] - '0'))
	}
	return 1
}

// jpegOrientation is that of a JPEG. EXIF data too long for one segment go on in the next.
func jpegOrientation(data []byte) int {
	var t tags
	for marker, body := range jpegSegments(data) {
		if marker != 0xe1 {
			continue
		}
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok {
			if t.exif == nil {
				t.exif = exif[:len(exif):len(exif)]
			} else {
				t.exif = append(t.exif, exif...)
			}
		} else if xmp, ok := bytes.CutPrefix(body, []byte("http://ns.adobe.com/xap/1.0/\x00")); ok {
			t.xmp = xmp
		}
	}
	return t.orientation()
}

// jpegScanned is the number of components in a JPEG's first scan, 0 if there is none.
func jpegScanned(data []byte) int {
	for marker, body := range jpegSegments(data) {
		if marker == startOfScan && len(body) > 0 {
			return int(body[0])
		}
	}
	return 0
}

const startOfScan = 0xda

// jpegSegments yields marker and body of the segments up to the header of the first scan.
func jpegSegments(data []byte) func(yield func(marker byte, body []byte) bool) {
	return func(yield func(byte, []byte) bool) {
		for i := 2; i+4 <= len(data); {
			marker := data[i+1]
			switch {
			case data[i] != 0xff || marker == 0xff || marker == 0: // stray byte or filler
				i++
				continue
			case marker == 0x01, marker >= 0xd0 && marker <= 0xd7: // they stand alone
				i += 2
				continue
			}
			n := int(binary.BigEndian.Uint16(data[i+2:]))
			if n < 2 || i+2+n > len(data) {
				return
			}
			if !yield(marker, data[i+4:i+2+n]) || marker == startOfScan {
				return
			}
			i += 2 + n
		}
	}
}

// What chunks of text are called that may hold an orientation.
const (
	pngRawProfile = "Raw profile type exif\x00"
	pngXMP        = "XML:com.adobe.xmp\x00"
)

// pngOrientation is that of a PNG, whose chunks of text may hold EXIF data and XMP, too. Of several the last counts,
// and no other is unpacked.
func pngOrientation(data []byte) int {
	var t tags
	var raw, xmp struct {
		kind string
		body []byte
	}
	for kind, body := range pngChunks(data) {
		switch kind {
		case "eXIf":
			t.exif = body
		case "tEXt", "zTXt", "iTXt":
			if rest, ok := bytes.CutPrefix(body, []byte(pngRawProfile)); ok {
				raw.kind, raw.body = kind, rest
			} else if rest, ok := bytes.CutPrefix(body, []byte(pngXMP)); ok {
				xmp.kind, xmp.body = kind, rest
			}
		}
	}
	t.raw, t.xmp = string(pngText(raw.kind, raw.body)), pngText(xmp.kind, xmp.body)
	return t.orientation()
}

// maxText is the most that a compressed text may unpack to; Pillow refuses more.
const maxText = 1 << 20

// pngText is the content of a chunk of text, from behind its key.
func pngText(kind string, text []byte) []byte {
	packed := false
	switch kind {
	case "zTXt":
		if len(text) == 0 {
			return nil
		}
		packed, text = true, text[1:]
	case "iTXt": // flag, method, language, translated key
		if len(text) < 2 {
			return nil
		}
		parts := bytes.SplitN(text[2:], []byte{0}, 3)
		if len(parts) < 3 {
			return nil
		}
		packed, text = text[0] != 0, parts[2]
	}
	if !packed {
		return text
	}
	r, err := zlib.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil
	}
	text, err = io.ReadAll(io.LimitReader(r, maxText+1)) // as much as is there of one that is cut off
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || len(text) > maxText {
		return nil
	}
	return text
}

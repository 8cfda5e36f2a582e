package vit

import (
	"bytes"
	"encoding/binary"
)

// jpegOrientation is the EXIF orientation of a JPEG, 1 if it names none.
func jpegOrientation(data []byte) int {
	for marker, body := range jpegSegments(data) {
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && marker == 0xe1 {
			return tiffOrientation(exif)
		}
	}
	return 1
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

// pngOrientation is the orientation in a PNG's eXIf chunk, 1 if it has none.
func pngOrientation(data []byte) int {
	for i := 8; i+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[i:]))
		if n > len(data)-i-12 {
			break
		}
		if string(data[i+4:i+8]) == "eXIf" {
			return tiffOrientation(data[i+8 : i+8+n])
		}
		i += 12 + n
	}
	return 1
}

// tiffOrientation is the orientation of a TIFF file, which is also what an EXIF block is; 1 if it names none.
func tiffOrientation(data []byte) int {
	if o := tiffTag(data, 0x0112); 1 <= o && o <= 8 {
		return int(o)
	}
	return 1
}

// tiffTag is the value of a tag with one integer in the first directory of a TIFF file, 0 if there is none.
func tiffTag(data []byte, tag uint16) uint32 {
	if len(data) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(data[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return 0
	}
	entries := int(order.Uint16(data[at:]))
	for entry := data[at+2:]; entries > 0 && len(entry) >= 12; entries, entry = entries-1, entry[12:] {
		if order.Uint16(entry) != tag {
			continue
		}
		const typeShort, typeLong = 3, 4
		switch order.Uint16(entry[2:]) {
		case typeShort:
			return uint32(order.Uint16(entry[8:]))
		case typeLong:
			return order.Uint32(entry[8:])
		}
		return 0
	}
	return 0
}

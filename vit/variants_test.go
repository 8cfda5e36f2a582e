package vit

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"
)

// variant is a file and what Pillow sees in it; testdata/make_variants.py explains.
type variant struct {
	data          []byte
	loads         bool
	width, height int
	digest        string
}

func variants(t testing.TB) map[string]variant {
	t.Helper()
	f, err := os.Open("testdata/variants.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string][2]any
	if err := json.NewDecoder(r).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	all := map[string]variant{}
	for name, entry := range raw {
		var v variant
		if v.data, err = base64.StdEncoding.DecodeString(entry[0].(string)); err != nil {
			t.Fatal(name, err)
		}
		if seen, ok := entry[1].([]any); ok {
			v.loads, v.width, v.height = true, int(seen[0].(float64)), int(seen[1].(float64))
			v.digest = seen[2].(string)
		}
		all[name] = v
	}
	return all
}

// Files as people have them, broken ones too, give Pillow's pixels; those that Pillow does not load are refused.
func TestVariantsEqualPillow(t *testing.T) {
	all := variants(t)
	if len(all) < 450 {
		t.Fatalf("%d variants", len(all))
	}
	for name, v := range all {
		img, err := Decode(v.data)
		if !v.loads {
			if !errors.As(err, new(*ImageError)) {
				t.Errorf("%s: %v, in place of a refusal", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		img = upright(img)
		sum := sha256.Sum256(img.Pix)
		if got := hex.EncodeToString(sum[:8]); img.Width != v.width || img.Height != v.height || got != v.digest {
			t.Errorf("%s: %d×%d pixels %s, want %d×%d %s", name, img.Width, img.Height, got, v.width, v.height,
				v.digest)
		}
	}
}

// What is no image that is read is named, with what helps.
func TestForeignFiles(t *testing.T) {
	box := func(brands string) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(8+len(brands)))
		return append(b, "ftyp"+brands+"\x00\x00\x00\x08mdat"...)
	}
	tiff := func(entries ...[3]uint32) []byte { // tag, type, value
		b := []byte("II*\x00\x10\x00\x00\x00________")
		b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)))
		for _, e := range entries {
			b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(e[0])), uint16(e[1]))
			b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, 1), e[2])
		}
		return append(b, 0, 0, 0, 0)
	}
	cr2 := tiff([3]uint32{tagWidth, 3, 5472})
	copy(cr2[8:], "CR\x02\x00")
	for _, c := range []struct {
		data   []byte
		reason Reason
		words  string
	}{
		{box("heic\x00\x00\x00\x00mif1heic"), ReasonUnknown, "HEIC|iPhone|convert it to JPEG"},
		{box("mif1\x00\x00\x00\x00mif1heic"), ReasonUnknown, "HEIC"},
		{box("mif1\x00\x00\x00\x00mif1miaf"), ReasonUnknown, "HEIF|convert"},
		{box("isom\x00\x00\x02\x00isomiso2avc1mp41"), ReasonUnknown, "video (MP4)|frames"},
		{box("qt  \x00\x00\x00\x00qt  "), ReasonUnknown, "MOV"},
		{box("crx \x00\x00\x00\x01crx isom"), ReasonUnknown, "CR3|export"},
		{[]byte("\x00\x00\x00\x0cJXL \r\n\x87\n____"), ReasonUnknown, "JPEG XL|convert"},
		{[]byte("\xff\x0a\xfa\x7f\x01\x90"), ReasonUnknown, "JPEG XL"},
		{[]byte("\x00\x00\x00\x0cjP  \r\n\x87\n____"), ReasonUnknown, "JPEG 2000|convert"},
		{[]byte("\xff\x4f\xff\x51\x00\x2f"), ReasonUnknown, "JPEG 2000"},
		{[]byte("<!DOCTYPE html>\n<html><body>404"), ReasonUnknown, "web page|fetch the file again"},
		{[]byte("\xef\xbb\xbf\r\n  <HTML>"), ReasonUnknown, "web page"},
		{[]byte("<?xml version=\"1.0\"?>\n<!-- x --><svg xmlns=\"…\"/>"), ReasonUnknown, "SVG|render"},
		{[]byte("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), ReasonUnknown, "SVG"},
		{[]byte("<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>"), ReasonUnknown, "XML"},
		{[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), ReasonUnknown,
			"Git LFS|git lfs pull"},
		{[]byte("%PDF-1.7\n%"), ReasonUnknown, "PDF|render"}, {[]byte("8BPS\x00\x01"), ReasonUnknown, "PSD|export"},
		{[]byte("PK\x03\x04\x14\x00"), ReasonUnknown, "zip|unpack"},
		{[]byte("\x00\x00\x01\x00\x01\x00"), ReasonUnknown, "ICO"},
		{[]byte("\x1a\x45\xdf\xa3\x01"), ReasonUnknown, "video"},
		{[]byte("RIFF\x00\x00\x00\x00AVI LIST"), ReasonUnknown, "AVI"},
		{[]byte("\x00\x00\x02\x00\x01\x00\x20\x20"), ReasonUnknown, "CUR"},
		{[]byte("\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"), ReasonUnknown, "TGA|convert"},
		{[]byte("\x0a\x05\x01\x08"), ReasonUnknown, "PCX|convert"},
		{[]byte("P7\nWIDTH 1\n"), ReasonUnknown, "PAM|convert"},
		{make([]byte, 100), ReasonUnknown, "zero bytes|again"},
		{[]byte(`{"error": "rate limit"}`), ReasonUnknown, "JSON"},
		{[]byte("path,label\na.jpg,cat\n"), ReasonUnknown, "text"},
		{[]byte("data:image/png;base64,iVBOR"), ReasonUnknown, "data URL"},
		{[]byte("\x00\x05\x16\x07\x00\x02"), ReasonUnknown, "AppleDouble|remove"},
		{[]byte("\x08\x07\x12\x07pytorch\x1a\x00"), ReasonUnknown, "starts with 08 07"},
		{[]byte("\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x10\x01\x01\x11\x00"), ReasonUnsupported, "DNL"},
		{[]byte("\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x10\x00\x10\x01\x01\x11\x00"), ReasonUnsupported, "12 bits"},
		{[]byte("\xff\xd8\xff\xc9\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00"), ReasonUnsupported, "arithmetic"},
		{cr2, ReasonUnsupported, "CR2|export"},
		{tiff([3]uint32{tagWidth, 3, 100}, [3]uint32{tagDNGVersion, 4, 0x401}), ReasonUnsupported, "DNG|export"},
		{tiff([3]uint32{tagNewSubfileType, 4, 1}, [3]uint32{tagWidth, 3, 160}, [3]uint32{tagSubDirectories, 4, 99}),
			ReasonUnsupported, "raw photo|NEF"},
		{tiff([3]uint32{tagPhotometric, 3, tiffCFA}), ReasonUnsupported, "raw photo"},
		{tiff([3]uint32{tagWidth, 3, 8}, [3]uint32{tagHeight, 3, 8}, [3]uint32{tagBits, 3, 8},
			[3]uint32{tagPhotometric, 3, 1}, [3]uint32{tagCompression, 3, 50000}), ReasonUnsupported,
			"Zstandard|convert it to JPEG"},
	} {
		_, err := Decode(c.data)
		var bad *ImageError
		if !errors.As(err, &bad) || bad.Reason != c.reason {
			t.Errorf("%.20q: %v, want %s", c.data, err, c.reason)
			continue
		}
		for word := range strings.SplitSeq(c.words, "|") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%.20q: %v does not say %q", c.data, err, word)
			}
		}
	}
}

// Of rows that are all there, one byte more is no matter, and neither is what follows that: their checksum.
func TestOneByteMoreThanRows(t *testing.T) {
	var rows bytes.Buffer
	w := zlib.NewWriter(&rows)
	w.Write(make([]byte, 4*5+1)) // four rows of a filter and four pixels, and one byte
	w.Close()
	body := rows.Bytes()
	body[len(body)-1] ^= 1
	data := append(pngHead(4, 8, 0, 0), pngChunk("IDAT", body)...)
	if img, err := Decode(data); err != nil || img.Height != 4 {
		t.Errorf("%v", err)
	}
}

// A small file that promises a huge picture is refused, or found to be cut off, before there is memory for it.
func TestPromises(t *testing.T) {
	avif := func(w, h uint32) []byte {
		data := slices.Clone(variants(t)["avif-420-full"].data)
		at := bytes.Index(data, []byte("ispe")) + 8
		binary.BigEndian.PutUint32(data[at:], w)
		binary.BigEndian.PutUint32(data[at+4:], h)
		return data
	}
	bmp := slices.Clone(variants(t)["bmp-rle8-plain"].data)
	binary.LittleEndian.PutUint32(bmp[18:], 13000)
	binary.LittleEndian.PutUint32(bmp[22:], 13000)
	tiff := slices.Clone(variants(t)["tiff-classic-le-zlib-4-grey"].data)
	d := readTIFFDirectory(tiff)
	for e := d.entries; len(e) >= 12; e = e[12:] {
		if tag := binary.LittleEndian.Uint16(e); tag == tagWidth || tag == tagHeight {
			binary.LittleEndian.PutUint16(e[2:], 4)
			binary.LittleEndian.PutUint32(e[8:], 13000)
		}
	}
	png := append(pngHead(13000, 8, 2, 0), pngChunk("IDAT", zeros(1000))...)
	for name, data := range map[string][]byte{
		"avif of more than there is": avif(4000, 4000), "avif": avif(1<<20, 1<<10),
		"avif without end": avif(1<<31, 1<<31), "bmp": bmp, "tiff": tiff, "png": png,
		"ascii": []byte("P3 13000 13000 255 1 2 3"), "pfm": []byte("Pf 13000 13000 -1\n"),
		"gif": []byte("GIF89a\x41\x34\x41\x34\x00\x00\x00,\x00\x00\x00\x00\x41\x34\x41\x34\x00\x08\x01\x00\x00"),
	} {
		if _, err := Decode(data); !errors.As(err, new(*ImageError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Text in a PNG that unpacks without end costs no more than Pillow allows it.
func TestTextBomb(t *testing.T) {
	data := pngHead(1, 8, 2, 0)
	for range 20 {
		body := append([]byte("Raw profile type exif\x00\x00"), zeros(64<<20)...)
		data = append(data, pngChunk("zTXt", body)...)
	}
	data = append(data, pngChunk("IDAT", zeros(4))...)
	img, err := Decode(append(data, pngChunk("IEND", nil)...))
	if err != nil || img.Orientation != 1 {
		t.Errorf("%+v, %v", img, err)
	}
}

// Decoding of AVIF, which takes the most time, ends with its context.
func TestAVIFEndsWithContext(t *testing.T) {
	data := variants(t)["avif-444-full"].data
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := decode(ctx, data, new(RGB), MaxPixels, done); !errors.Is(err, context.Canceled) {
		t.Errorf("in time: %v", err)
	}
	if err := readAVIF(ctx, data, new(RGB)); !errors.Is(err, context.Canceled) {
		t.Errorf("while it decodes: %v", err)
	}
}

// FuzzTIFF: directories stay within the data.
func FuzzTIFF(f *testing.F) {
	for name, v := range variants(f) {
		if strings.HasPrefix(name, "tiff-") {
			f.Add(v.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := readTIFFDirectory(data)
		if len(d.entries) > len(data) {
			t.Fatalf("%d bytes of entries in %d", len(d.entries), len(data))
		}
		for tag := range uint16(700) {
			if _, n, b, ok := d.value(tag); ok && (len(b) > len(data) || n < 0 || len(d.numbers(tag)) > n) {
				t.Fatalf("tag %d: %d values in %d bytes", tag, n, len(b))
			}
		}
	})
}

// FuzzVariants: any bytes give a whole image or an *ImageError, from files that broken ones were made of.
func FuzzVariants(f *testing.F) {
	for _, v := range variants(f) {
		f.Add(v.data)
	}
	const limit = 1 << 12
	f.Fuzz(func(t *testing.T, data []byte) {
		// Chunks of a PNG whose checksums fit get further.
		if bytes.HasPrefix(data, []byte(pngSignature)) {
			data = slices.Clone(data)
			at := len(pngSignature)
			for kind, body := range pngChunks(data) {
				if end := at + 8 + len(body); end+4 <= len(data) && kind != "IDAT" {
					binary.BigEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[at+4:end]))
				}
				at += 12 + len(body)
			}
		}
		var img RGB
		if err := decode(t.Context(), data, &img, limit, done); err != nil {
			if !errors.As(err, new(*ImageError)) {
				t.Fatalf("%v is no *ImageError", err)
			}
			return
		}
		if img.Width < 1 || img.Height < 1 || img.Width*img.Height > limit || len(img.Pix) != 3*img.Width*img.Height ||
			img.Orientation < 1 || img.Orientation > 8 {
			t.Fatalf("%d×%d pixels in %d bytes, orientation %d", img.Width, img.Height, len(img.Pix), img.Orientation)
		}
	})
}

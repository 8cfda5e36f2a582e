package vit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// fixture reads an image file of testdata and what Pillow sees in it.
func fixture(t testing.TB, name string) (data []byte, want *RGB) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/images", name))
	if err != nil {
		t.Fatal(err)
	}
	expected, err := os.ReadFile(filepath.Join("testdata/expected", name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(expected))
	if err != nil {
		t.Fatal(err)
	}
	return data, FromImage(m)
}

// upright is img as its orientation says.
func upright(img *RGB) *RGB {
	if img.Orientation <= 1 {
		return img
	}
	turned := new(RGB)
	img.turn(img.Orientation, turned)
	return turned
}

func maxDifference(t testing.TB, got, want *RGB) int {
	t.Helper()
	if got.Width != want.Width || got.Height != want.Height {
		t.Fatalf("got %d×%d pixels, want %d×%d", got.Width, got.Height, want.Width, want.Height)
	}
	most := 0
	for i, v := range got.Pix {
		most = max(most, int(v)-int(want.Pix[i]), int(want.Pix[i])-int(v))
	}
	return most
}

func TestDecodeEqualsPillow(t *testing.T) {
	files, err := os.ReadDir("testdata/images")
	if err != nil || len(files) < 90 {
		t.Fatalf("%d fixtures: %v", len(files), err)
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			data, want := fixture(t, f.Name())
			img, err := Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if d := maxDifference(t, upright(img), want); d > 0 {
				t.Errorf("differs from Pillow by up to %d levels", d)
			}
		})
	}
}

func TestOrientation(t *testing.T) {
	for name, want := range map[string]int{
		"orientation-1.jpg": 1, "orientation-6.jpg": 6, "orientation-8.jpg": 8, "420-27x19.jpg": 1,
		"orientation.png": 6, "rgb.png": 1, "orientation.webp": 6, "lossless.webp": 1,
		"orientation.tiff": 1, // already turned
	} {
		data, _ := fixture(t, name)
		img, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if img.Orientation != want {
			t.Errorf("%s: orientation %d, want %d", name, img.Orientation, want)
		}
	}
}

func TestUnusableImages(t *testing.T) {
	read := func(name string) []byte { data, _ := fixture(t, name); return data }
	half := func(name string) []byte { data := read(name); return data[:len(data)*6/10] }
	wide := func(name string, w, h uint32) []byte { // a PNG of another size
		data := bytes.Clone(read(name))
		binary.BigEndian.PutUint32(data[16:], w)
		binary.BigEndian.PutUint32(data[20:], h)
		binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
		return data
	}
	flat := bytes.Clone(read("420-27x19.jpg"))
	sof := bytes.Index(flat, []byte{0xff, 0xc0})
	copy(flat[sof+5:], []byte{0, 0, 0, 0})
	huge := bytes.Clone(read("420-27x19.jpg"))
	copy(huge[sof+5:], []byte{0x20, 0, 0x20, 0})
	arithmetic := bytes.Clone(read("420-27x19.jpg"))
	arithmetic[sof+1] = 0xc9
	scrambled := bytes.Clone(read("rgb.png"))
	scrambled[len(scrambled)/2] ^= 0x55

	for _, c := range []struct {
		name   string
		data   []byte
		reason Reason
		format string
	}{
		{"nothing", nil, ReasonEmpty, ""},
		{"text", []byte("not an image"), ReasonUnknown, ""},
		{"one byte", []byte{0xff}, ReasonUnknown, ""},
		{"svg", []byte("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), ReasonUnknown, ""},
		{"half a JPEG", half("444-64x48.jpg"), ReasonTruncated, "jpeg"},
		{"half a progressive JPEG", half("progressive-444.jpg"), ReasonTruncated, "jpeg"},
		{"half a CMYK JPEG", half("cmyk.jpg"), ReasonTruncated, "jpeg"},
		{"JPEG without end marker", read("420-64x48.jpg")[:len(read("420-64x48.jpg"))-2], ReasonTruncated, "jpeg"},
		{"JPEG head", read("420-64x48.jpg")[:4], ReasonTruncated, "jpeg"},
		{"JPEG without size", flat, ReasonZeroSize, "jpeg"},
		{"JPEG that promises too much", huge, ReasonTruncated, "jpeg"},
		{"arithmetic JPEG", arithmetic, ReasonUnsupported, "jpeg"},
		{"half a PNG", half("rgb.png"), ReasonTruncated, "png"},
		{"PNG with a flipped byte", scrambled, ReasonCorrupt, "png"},
		{"PNG over the limit", wide("rgb.png", 20000, 20000), ReasonTooLarge, "png"},
		{"PNG with too long a side", wide("rgb.png", 1<<21, 1), ReasonTooLarge, "png"},
		{"half a lossy WebP", half("lossy-64x48.webp"), ReasonTruncated, "webp"},
		{"half a lossless WebP", half("lossless.webp"), ReasonTruncated, "webp"},
		{"half a GIF", half("plain.gif"), ReasonTruncated, "gif"},
		{"half a BMP", half("rgb.bmp"), ReasonTruncated, "bmp"},
		{"half a TIFF", half("raw.tiff"), ReasonTruncated, "tiff"},
		{"half a PPM", half("rgb.ppm"), ReasonTruncated, "pnm"},
		{"PGM head", []byte("P5 3"), ReasonTruncated, "pnm"},
		{"PGM without number", []byte("P5 3 x 255\nabc"), ReasonCorrupt, "pnm"},
		{"PGM without maximum", []byte("P5 3 1 0\nabc"), ReasonCorrupt, "pnm"},
		{"PGM without size", []byte("P5 0 1 255\n"), ReasonZeroSize, "pnm"},
		{"PGM over the limit", []byte("P5 99999999999 99999999999 255\n"), ReasonTooLarge, "pnm"},
	} {
		_, err := Decode(c.data)
		var bad *ImageError
		if !errors.As(err, &bad) {
			t.Errorf("%s: error %v, want an *ImageError", c.name, err)
			continue
		}
		if bad.Reason != c.reason || bad.Format != c.format {
			t.Errorf("%s: %v; want %s (%s)", c.name, err, c.reason, c.format)
		}
	}
}

// Every prefix of a file gives an error or the whole picture, never a part of it.
func TestPrefixes(t *testing.T) {
	for _, name := range []string{"420-16x17.jpg", "ycck-420.jpg", "progressive-420.jpg", "palette4.png",
		"lossy-16x17.webp", "animated.webp", "small-frame-transparent.gif", "bilevel.bmp", "packbits.tiff",
		"max100.pgm"} {
		data, _ := fixture(t, name)
		whole, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		for n := range data {
			img, err := Decode(data[:n:n])
			if err != nil {
				if !errors.As(err, new(*ImageError)) {
					t.Fatalf("%s cut to %d bytes: %v is no *ImageError", name, n, err)
				}
				continue
			}
			if d := maxDifference(t, img, whole); d != 0 {
				t.Fatalf("%s cut to %d of %d bytes: decodes, but differs by %d", name, n, len(data), d)
			}
		}
	}
}

// A buffer that held another image makes no difference.
func TestDecodeReuse(t *testing.T) {
	files, _ := os.ReadDir("testdata/images")
	img := new(RGB)
	for _, f := range files {
		data, _ := fixture(t, f.Name())
		fresh, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(t.Context(), data, img, MaxPixels, done); err != nil {
			t.Fatal(err)
		}
		if maxDifference(t, img, fresh) != 0 || img.Orientation != fresh.Orientation {
			t.Errorf("%s: another image in a used buffer", f.Name())
		}
	}
}

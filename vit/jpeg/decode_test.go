package jpeg

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fixtures are digests of what Pillow sees in the files of testdata/images; make_fixtures.py explains.
var fixtures = func() (f struct {
	Files           map[string]string
	Sweeps, Streams map[string][]string
}) {
	if err := readJSON("pixels.json", &f); err != nil {
		panic(err)
	}
	return f
}()

func readJSON(name string, v any) error {
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/images", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func digest(pix []byte) string {
	sum := sha256.Sum256(pix)
	return hex.EncodeToString(sum[:8])
}

func mustDecode(t testing.TB, dst, data []byte) []byte {
	t.Helper()
	pix, c, err := Decode(dst, data)
	if err != nil {
		t.Fatal(err)
	}
	if len(pix) != 3*c.Width*c.Height {
		t.Fatalf("%d bytes for %d×%d pixels", len(pix), c.Width, c.Height)
	}
	return pix
}

func TestFilesEqualPillow(t *testing.T) {
	if len(fixtures.Files) < 45 {
		t.Fatalf("%d fixtures", len(fixtures.Files))
	}
	for name, want := range fixtures.Files {
		if got := digest(mustDecode(t, nil, fixture(t, name+".jpg"))); got != want {
			t.Errorf("%s: other pixels than Pillow's: digest %s, want %s", name, got, want)
		}
	}
}

// Every size from 1×1 to 40×40, with every sampling.
func TestSizesEqualPillow(t *testing.T) {
	if len(fixtures.Sweeps) < 18 {
		t.Fatalf("%d fixtures", len(fixtures.Sweeps))
	}
	for name, want := range fixtures.Sweeps {
		t.Run(name, func(t *testing.T) {
			data := fixture(t, name+".jpg")
			size := frame(data)
			width, height := binary.BigEndian.Uint16(size[2:]), binary.BigEndian.Uint16(size)
			if width != 40 || height != 40 || len(want) != 40 {
				t.Fatalf("%d×%d pixels, %d digests", width, height, len(want))
			}
			for w := range width {
				var all, pix []byte
				for h := range height {
					binary.BigEndian.PutUint16(size, h+1)
					binary.BigEndian.PutUint16(size[2:], w+1)
					pix = mustDecode(t, pix, data)
					all = append(all, pix...)
				}
				if got := digest(all); got != want[w] {
					t.Errorf("width %d: other pixels than Pillow's: digest %s, want %s", w+1, got, want[w])
				}
			}
		})
	}
}

// frame is the part of a file that begins with the height and width in its frame header.
func frame(data []byte) []byte {
	for at := 2; ; at += 2 + int(binary.BigEndian.Uint16(data[at+2:])) {
		if m := data[at+1]; m >= markerSOF0 && m <= markerSOF2 {
			return data[at+5:]
		}
	}
}

func TestQualitiesEqualPillow(t *testing.T) {
	want := fixtures.Streams["qualities"]
	files := bytes.Split(fixture(t, "qualities.mjpg"), []byte{0xff, markerEOI, 0xff, markerSOI})
	if len(want) != 100 || len(files) != 100 {
		t.Fatalf("%d files, %d digests", len(files), len(want))
	}
	for i, want := range want {
		data := slices.Concat([]byte{0xff, markerSOI}, bytes.TrimPrefix(files[i], []byte{0xff, markerSOI}),
			[]byte{0xff, markerEOI})
		if got := digest(mustDecode(t, nil, data)); got != want {
			t.Errorf("quality %d: other pixels than Pillow's: digest %s, want %s", i+1, got, want)
		}
	}
}

func TestDecodeConfig(t *testing.T) {
	for name, want := range map[string]Config{
		"photo.jpg": {97, 61, 3, false, 1.5}, "progressive-2x2.jpg": {40, 40, 3, true, 1.5},
		"grey.jpg": {40, 40, 1, false, 1}, "cmyk-progressive.jpg": {27, 19, 4, true, 4},
		"wide-tables.jpg": {27, 19, 3, false, 1.5},
	} {
		data := fixture(t, name)
		got, err := DecodeConfig(data)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
		if _, got, err := Decode(nil, data); err != nil || got != want {
			t.Errorf("%s: decoded as %+v, %v; want %+v", name, got, err, want)
		}
	}
}

// A decoder that was used before, even for a file with an error, and a buffer make no difference.
func TestReuse(t *testing.T) {
	files, err := filepath.Glob("testdata/images/*.jpg")
	if err != nil {
		t.Fatal(err)
	}
	var pix []byte
	for range 2 {
		for _, path := range files {
			data := fixture(t, filepath.Base(path))
			fresh := new(decoder)
			fresh.reset(data)
			if err := fresh.read(false); err != nil {
				t.Fatal(path, err)
			}
			d := decoders.Get().(*decoder)
			d.reset(data[:bytes.LastIndex(data, []byte{0xff, markerSOS})+6])
			if d.read(false) == nil {
				t.Fatal(path, "is read without its last scan")
			}
			d.reset(data)
			d.pix = pix
			if err := d.read(false); err != nil {
				t.Fatal(path, err)
			}
			pix = d.pix
			d.release()
			if !bytes.Equal(pix, fresh.pix) {
				t.Errorf("%s: other pixels from a used decoder", path)
			}
		}
		slices.Reverse(files)
	}
}

func TestErrors(t *testing.T) {
	photo := fixture(t, "photo.jpg")
	progressive := fixture(t, "scans-spectral.jpg")
	// patched is data with bytes written at some distance from the first place of a marker.
	patched := func(data []byte, marker byte, at int, with ...byte) []byte {
		data = bytes.Clone(data)
		copy(data[bytes.Index(data, []byte{0xff, marker})+at:], with)
		return data
	}
	inserted := func(data []byte, before byte, what ...byte) []byte {
		at := bytes.Index(data, []byte{0xff, before})
		return slices.Concat(data[:at], what, data[at:])
	}
	end := func(data []byte, scans int) []byte { // without the scans after some
		for at, n := 0, 0; ; at += 2 {
			at += bytes.Index(data[at:], []byte{0xff, markerSOS})
			if n++; n > scans {
				return append(data[:at:at], 0xff, markerEOI)
			}
		}
	}
	short := io.ErrUnexpectedEOF
	format, unsupported := FormatError(""), UnsupportedError("")
	for _, c := range []struct {
		name string
		data []byte
		want error // or one of its type
		word string
	}{
		{"nothing", nil, short, "SOI"},
		{"text", []byte("text"), format, "SOI"},
		{"SOI alone", photo[:2], short, "EOI"},
		{"SOI and EOI", []byte("\xff\xd8\xff\xd9"), format, "no picture"},
		{"half a header", photo[:30], short, "segment"},
		{"no EOI marker", photo[:len(photo)-2], short, "EOI"},
		{"half an EOI marker", photo[:len(photo)-1], short, "EOI"},
		{"half a scan", photo[:len(photo)/2], short, "scan 1 ends after"},
		{"two SOI markers", inserted(photo, markerSOS, 0xff, markerSOI), format, "second SOI"},
		{"no frame", patched(photo, markerSOF0, 1, markerCOM), format, "before the frame"},
		{"two frames", inserted(photo, markerSOS, 0xff, markerSOF0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0), format,
			"second frame"},
		{"no rows", patched(photo, markerSOF0, 5, 0, 0), format, "97×0"},
		{"many rows", patched(photo, markerSOF0, 5, 0xff, 0xff, 0xff, 0xff), short, "65535×65535"},
		{"12 bits", patched(photo, markerSOF0, 4, 12), unsupported, "12 bits"},
		{"lossless", patched(photo, markerSOF0, 1, 0xc3), unsupported, "lossless"},
		{"arithmetic", patched(photo, markerSOF0, 1, 0xc9), unsupported, "arithmetic"},
		{"hierarchical", patched(photo, markerSOF0, 1, 0xc5), unsupported, "hierarchical"},
		{"two components", patched(photo, markerSOF0, 2, 0, 14, 8, 0, 8, 0, 8, 2), unsupported, "2 components"},
		{"components missing", patched(photo, markerSOF0, 9, 4), format, "length"},
		{"sampling factor 0", patched(photo, markerSOF0, 11, 0x02), format, "0×2"},
		{"sampling factor 5", patched(photo, markerSOF0, 11, 0x25), format, "2×5"},
		{"fractional sampling", patched(photo, markerSOF0, 11, 0x32, 0, 2, 0x22), unsupported, "2×2 to 3×2"},
		{"large MCU", patched(photo, markerSOF0, 11, 0x33, 0, 2, 0x11), format, "11 blocks"},
		{"unknown component", patched(photo, markerSOS, 5, 9), format, "component 9"},
		{"component twice", patched(photo, markerSOS, 7, 1), format, "component 1"},
		{"bad scan length", patched(photo, markerSOS, 4, 2), format, "length"},
		{"no such quantisation table", patched(photo, markerSOF0, 12, 3), format, "table 3"},
		{"no such Huffman table", patched(photo, markerSOS, 6, 2), format, "Huffman table 2"},
		{"no Huffman tables in a progressive file", patched(progressive, markerDHT, 1, markerCOM), format, "missing"},
		{"Huffman table number", patched(photo, markerDHT, 4, 4), format, "DHT"},
		{"Huffman table of many codes", patched(photo, markerDHT, 5, 200, 200), format, "DHT"},
		{"Huffman codes of one bit", patched(photo, markerDHT, 5, 2, 0), format, "more codes"},
		{"short DHT", inserted(photo, markerSOS, 0xff, markerDHT, 0, 5, 0, 0, 0), format, "DHT"},
		{"DC symbol", inserted(photo, markerSOS,
			slices.Concat([]byte{0xff, markerDHT, 0, 20, 0, 1}, make([]byte, 15), []byte{16})...), format, "symbol 16"},
		{"quantisation table number", patched(photo, markerDQT, 4, 4), format, "DQT"},
		{"short DQT", inserted(photo, markerSOS, 0xff, markerDQT, 0, 5, 0, 0, 0), format, "DQT"},
		{"short DRI", inserted(photo, markerSOS, 0xff, markerDRI, 0, 3, 0), format, "DRI"},
		{"short segment", inserted(photo, markerSOS, 0xff, markerCOM, 0, 1), format, "length 1"},
		{"reserved marker", inserted(photo, markerSOS, 0xff, 0xf0, 0, 2), format, "unknown marker"},
		{"scan after the last", append(photo[:len(photo)-2:len(photo)-2],
			photo[bytes.Index(photo, []byte{0xff, markerSOS}):]...), format, "complete"},
		{"DC and AC in one scan", patched(progressive, markerSOS, 12, 5), format, "coefficients 0 to 5"},
		{"coefficient 64", patched(progressive, markerSOS, 11, 3, 64), format, "3 to 64"},
		{"bits out of turn", patched(progressive, markerSOS, 13, 0x31), format, "bits 3 to 1"},
		{"no AC scans", end(progressive, 1), short, "coefficient 1"},
		{"no last AC scans", end(progressive, 4), short, "coefficient 6"},
		{"no scan of a component", end(fixture(t, "scans-separate.jpg"), 2), short, "component 3"},
	} {
		for n, read := range map[string]func() error{
			"Decode":       func() error { _, _, err := Decode(nil, c.data); return err },
			"DecodeConfig": func() error { _, err := DecodeConfig(c.data); return err },
		} {
			err := read()
			if err == nil {
				if n == "Decode" {
					t.Errorf("%s: no error", c.name)
				}
				continue
			}
			kind := false
			switch want := c.want.(type) {
			case FormatError:
				kind = errors.As(err, &want)
			case UnsupportedError:
				kind = errors.As(err, &want)
			default:
				kind = errors.Is(err, want)
			}
			if !kind || !strings.Contains(err.Error(), c.word) {
				t.Errorf("%s: %s: %v; want a %T that says %q", c.name, n, err, c.want, c.word)
			}
		}
	}
}

// Many scans of little data are no way to keep a decoder busy.
func TestTooManyScans(t *testing.T) {
	data := fixture(t, "scans-every-coefficient.jpg")
	at := bytes.LastIndex(data, []byte{0xff, markerDHT})
	last := data[at : len(data)-2]
	data = append(data[:at:at], bytes.Repeat(last, maxScans)...)
	data = append(data, 0xff, markerEOI)
	var unsupported UnsupportedError
	if _, _, err := Decode(nil, data); !errors.As(err, &unsupported) {
		t.Errorf("error %v", err)
	}
}

// Planes that image/jpeg decoded become Decode's pixels but for the inverse DCT.
func TestConvertYCbCr(t *testing.T) {
	for _, name := range []string{"1x1", "2x1", "1x2", "2x2", "4x1", "4x2"} {
		data := fixture(t, "sampling-"+name+".jpg")
		m, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		got, want := make([]byte, 3*40*40), mustDecode(t, nil, data)
		ConvertYCbCr(got, m.(*image.YCbCr))
		for i, v := range got {
			if d := int(v) - int(want[i]); d > 4 || d < -4 {
				t.Fatalf("%s: byte %d is %d, want about %d", name, i, v, want[i])
			}
		}
	}
	ConvertYCbCr(nil, new(image.YCbCr))
}

// Parts of planes, which may begin within a chroma sample, show the part of the picture.
func TestConvertYCbCrPart(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio422,
		image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	} {
		m := image.NewYCbCr(image.Rect(0, 0, 31, 23), ratio)
		for i := range m.Y {
			m.Y[i] = byte(i * 7)
		}
		for i := range m.Cb { // one colour, so that upsampling changes nothing
			m.Cb[i], m.Cr[i] = 90, 140
		}
		whole := make([]byte, 3*31*23)
		ConvertYCbCr(whole, m)
		for _, r := range []image.Rectangle{image.Rect(3, 5, 20, 18), image.Rect(8, 4, 9, 23),
			image.Rect(1, 2, 31, 3)} {
			part := make([]byte, 3*r.Dx()*r.Dy())
			ConvertYCbCr(part, m.SubImage(r).(*image.YCbCr))
			for y := range r.Dy() {
				if !bytes.Equal(part[3*y*r.Dx():][:3*r.Dx()], whole[3*((r.Min.Y+y)*31+r.Min.X):][:3*r.Dx()]) {
					t.Fatalf("%v, %v: row %d differs", ratio, r, y)
				}
			}
		}
	}
}

func TestConvertCMYK(t *testing.T) {
	src := []byte{0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 128, 10, 20, 30, 255}
	got := make([]byte, 12)
	ConvertCMYK(got, src)
	if want := []byte{255, 255, 255, 0, 255, 255, 127, 0, 127, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for i := 0; i < len(src); i += 4 { // Go's formula rounds elsewhere
		r, g, b := color.CMYKToRGB(src[i], src[i+1], src[i+2], src[i+3])
		for j, v := range []byte{r, g, b} {
			if d := int(v) - int(got[i/4*3+j]); d > 1 || d < -1 {
				t.Errorf("%v: %d, by image/color %d", src[i:i+4], got[i/4*3+j], v)
			}
		}
	}
}

func ExampleDecode() {
	data, err := os.ReadFile("testdata/images/photo.jpg")
	if err != nil {
		panic(err)
	}
	pix, c, err := Decode(nil, data)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d×%d pixels, the first is %v\n", c.Width, c.Height, pix[:3])
	// Output: 97×61 pixels, the first is [238 26 38]
}

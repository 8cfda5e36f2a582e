package jpeg

import (
	"bytes"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecode: any bytes give all pixels or an error of the promised kind; what is accepted, package image/jpeg sees
// much the same in, where it accepts it too.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/images/*.jpg")
	if err != nil || len(files) < 60 {
		f.Fatalf("%d fixtures: %v", len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	const limit = 1 << 18
	f.Fuzz(func(t *testing.T, data []byte) {
		head, err := DecodeConfig(data)
		if err == nil && head.Width*head.Height > limit {
			return
		}
		pix, c, decodeErr := Decode(nil, data)
		for _, err := range []error{err, decodeErr} {
			if err != nil && !errors.As(err, new(FormatError)) && !errors.As(err, new(UnsupportedError)) &&
				!errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%v is none of the promised errors", err)
			}
		}
		if decodeErr != nil {
			return
		}
		if err != nil || c != head || c.Width < 1 || c.Height < 1 || len(pix) != 3*c.Width*c.Height {
			t.Fatalf("%d bytes for %+v; the header said %+v, %v", len(pix), c, head, err)
		}
		m, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		if b := m.Bounds(); b.Dx() != c.Width || b.Dy() != c.Height {
			t.Fatalf("%d×%d pixels, by image/jpeg %v", c.Width, c.Height, b)
		}
		if _, grey := m.(*image.Gray); grey != (c.Components == 1) {
			t.Fatalf("%d components, by image/jpeg a %T", c.Components, m)
		}
	})
}

package jpeg

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
)

// BenchmarkDecode decodes photos to RGB by turns with this package and with image/jpeg and ConvertYCbCr, and reports
// the images per second of both and their ratio.
func BenchmarkDecode(b *testing.B) {
	for _, kind := range []struct {
		name  string
		files func(b *testing.B) [][]byte
	}{
		{"photos-500px", sanityPhotos},
		{"small-32x32", smallPhotos},
		{"progressive-300x200", func(b *testing.B) [][]byte { return [][]byte{fixture(b, "scans-large.jpg")} }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			files := kind.files(b)
			var here, standard time.Duration
			var pix, other []byte
			var err error
			for i := 0; b.Loop(); i++ {
				data := files[i%len(files)]
				start := time.Now()
				if pix, _, err = Decode(pix, data); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if other, err = decodeStandard(other, data); err != nil {
					b.Fatal(err)
				}
				here += middle.Sub(start)
				standard += time.Since(middle)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(b.N)/here.Seconds(), "images/s")
			b.ReportMetric(float64(b.N)/standard.Seconds(), "standard-images/s")
			b.ReportMetric(float64(standard)/float64(here), "ratio")
		})
	}
}

func decodeStandard(pix, data []byte) ([]byte, error) {
	m, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if m, ok := m.(*image.YCbCr); ok {
		pix = resized(pix, 3*m.Rect.Dx()*m.Rect.Dy())
		ConvertYCbCr(pix, m)
	}
	return pix, nil
}

func sanityPhotos(b *testing.B) (files [][]byte) {
	names, err := filepath.Glob(filepath.Join(testkit.Shared(b, "data", "imagenet_sanity20"), "*.JPEG"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}

// smallPhotos are the middles of the sanity photos, made as small as CIFAR's.
func smallPhotos(b *testing.B) (files [][]byte) {
	for _, data := range sanityPhotos(b) {
		pix, c, err := Decode(nil, data)
		if err != nil {
			b.Fatal(err)
		}
		const side, step = 32, 5
		m := image.NewRGBA(image.Rect(0, 0, side, side))
		for y := range side {
			for x := range side {
				at := 3 * ((c.Height/2+(y-side/2)*step)*c.Width + c.Width/2 + (x-side/2)*step)
				copy(m.Pix[m.PixOffset(x, y):], append(pix[at:at+3:at+3], 255))
			}
		}
		var file bytes.Buffer
		if err := stdjpeg.Encode(&file, m, &stdjpeg.Options{Quality: 90}); err != nil {
			b.Fatal(err)
		}
		files = append(files, file.Bytes())
	}
	return files
}

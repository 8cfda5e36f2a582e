package vit

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"image/png"
	"testing"

	"golang.org/x/image/draw"

	"github.com/vitft/vitft/internal/testkit"
)

// benchmarkPhoto is a sanity photo as image/jpeg decodes it.
func benchmarkPhoto(b *testing.B) image.Image {
	b.Helper()
	data := testkit.ReadFile(b, testkit.Shared(b, "data", "imagenet_sanity20", "n02701002_ambulance.JPEG"))
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkPreprocess takes images of three kinds to 224×224: decode, resize, and both in one call. "draw" is resize by
// x/image/draw's bicubic with normalisation pixel by pixel, for comparison.
func BenchmarkPreprocess(b *testing.B) {
	photo := benchmarkPhoto(b)
	for _, c := range []struct {
		name          string
		width, height int
		format        string
	}{
		{"cifar-png-32x32", 32, 32, "png"},
		{"caltech-jpeg-300x200", 300, 200, "jpeg"},
		{"camera-jpeg-4000x3000", 4000, 3000, "jpeg"},
	} {
		m := image.NewRGBA(image.Rect(0, 0, c.width, c.height))
		draw.CatmullRom.Scale(m, m.Rect, photo, photo.Bounds(), draw.Src, nil)
		var file bytes.Buffer
		var err error
		if c.format == "png" {
			err = png.Encode(&file, m)
		} else {
			err = jpeg.Encode(&file, m, &jpeg.Options{Quality: 90}) // 4:2:0
		}
		if err != nil {
			b.Fatal(err)
		}
		data := file.Bytes()
		p := DefaultPreprocess(224, 224)
		dst := make([]float32, p.Size())
		img, err := Decode(data)
		if err != nil {
			b.Fatal(err)
		}

		run := func(step string, f func() error) {
			b.Run(c.name+"/"+step, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
			})
		}
		reused := new(RGB)
		run("decode", func() error { return decode(b.Context(), data, reused, MaxPixels, done) })
		run("resize", func() error { return p.Image(img, dst) })
		run("all", func() error { return p.Bytes(data, dst) })
		run("draw", func() error { drawReference(p, m, dst); return nil })
	}
}

// drawReference does what Image does, by the general means there are.
func drawReference(p Preprocess, m image.Image, dst []float32) {
	w, h := p.resized(m.Bounds().Dx(), m.Bounds().Dy())
	x, y := p.margin(w-p.Width), p.margin(h-p.Height)
	out := image.NewRGBA(image.Rect(x, y, x+p.Width, y+p.Height))
	draw.CatmullRom.Scale(out, image.Rect(0, 0, w, h), m, m.Bounds(), draw.Src, nil)
	plane := p.Width * p.Height
	for i := range plane {
		for c := range 3 {
			dst[c*plane+i] = (float32(out.Pix[4*i+c])/255 - p.Mean[c]) / p.Std[c]
		}
	}
}

// BenchmarkEncoder is the cost of the pipeline around a model that costs nothing.
func BenchmarkEncoder(b *testing.B) {
	data, _ := fixture(b, "420-64x48.jpg")
	e := &Encoder{Model: idleModel{}, Preprocess: DefaultPreprocess(224, 224)}
	b.ReportAllocs()
	err := e.Encode(context.Background(), max(b.N, 1),
		func(int) ([]byte, error) { return data, nil },
		func(_ int, _ []float32, err error) error { return err })
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

type idleModel struct{}

func (idleModel) Dim() int                                             { return 1 }
func (idleModel) Run(context.Context, []float32, int, []float32) error { return nil }

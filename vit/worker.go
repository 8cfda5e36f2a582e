package vit

import (
	"context"
	"fmt"
	"sync"
)

// worker holds what preprocessing one image after another needs: tables for the current Preprocess and buffers. It
// serves one goroutine at a time.
type worker struct {
	preprocess Preprocess // resolved and valid, what tables is for
	tables     [3][1024]float32

	decoded, turned RGB
	cropped         RGB // see Augment
	x, y            axis
	flat            RGB     // after a vertical pass that comes first
	narrow          []byte  // rows after the horizontal pass, each of three channels
	sums            []int32 // one row of the vertical pass
}

var workers = sync.Pool{New: func() any { return new(worker) }}

// keepBytes is the largest pixel buffer that a worker keeps for the next image.
const keepBytes = 64 << 20

// set makes p current.
func (w *worker) set(p Preprocess) error {
	p = p.Resolved()
	if p == w.preprocess {
		return nil
	}
	if err := p.Validate(); err != nil {
		return err
	}
	w.preprocess = p
	for c := range w.tables {
		for i := range w.tables[c] {
			w.tables[c][i] = (float32(clipped(i))/255 - p.Mean[c]) / p.Std[c]
		}
	}
	return nil
}

func (w *worker) bytes(ctx context.Context, p Preprocess, maxPixels int, data []byte, dst []float32) error {
	return decode(ctx, data, &w.decoded, min(maxPixels, MaxPixels),
		func() error { return w.image(p, &w.decoded, dst) })
}

func (w *worker) image(p Preprocess, img *RGB, dst []float32) error {
	if err := w.set(p); err != nil {
		return err
	}
	if len(dst) != p.Size() {
		return fmt.Errorf("preprocess: destination has %d elements; 3×%d×%d pixels need %d", len(dst), p.Height,
			p.Width, p.Size())
	}
	if img.Width < 1 || img.Height < 1 {
		return &ImageError{Reason: ReasonZeroSize, Err: fmt.Errorf("%d×%d pixels", img.Width, img.Height)}
	}
	if len(img.Pix) != 3*img.Width*img.Height {
		return fmt.Errorf("preprocess: image of %d×%d pixels has %d bytes", img.Width, img.Height, len(img.Pix))
	}
	w.resample(w.upright(p, img), dst)
	for _, buffer := range []*RGB{&w.decoded, &w.turned, &w.cropped, &w.flat} {
		if cap(buffer.Pix) > keepBytes {
			buffer.Pix = nil
		}
	}
	return nil
}

// upright is img turned as its EXIF data say, if p wants that.
func (w *worker) upright(p Preprocess, img *RGB) *RGB {
	if !p.Orientation || img.Orientation <= 1 {
		return img
	}
	img.turn(img.Orientation, &w.turned)
	return &w.turned
}

// resample computes only what lies within the crop.
func (w *worker) resample(img *RGB, dst []float32) {
	p := w.preprocess
	width, height := p.resized(img.Width, img.Height)
	w.x.prepare(axisSpec{p.Interpolation, img.Width, width, p.margin(width - p.Width), p.Width})
	w.y.prepare(axisSpec{p.Interpolation, img.Height, height, p.margin(height - p.Height), p.Height})
	w.sums = resized(w.sums, max(p.Width, 3*img.Width))
	if verticalComesFirst(img.Width, img.Height, width, height) {
		verticalFirst(&w.flat, img, &w.y, w.sums)
		w.narrow = resized(w.narrow, p.Size())
		horizontal(w.narrow, &w.flat, &w.x, 0, p.Height)
		w.normalise(dst)
		return
	}
	lo, hi := w.y.reads()
	w.narrow = resized(w.narrow, 3*p.Width*(hi-lo))
	horizontal(w.narrow, img, &w.x, lo, hi)
	vertical(dst, w.narrow, lo, p.Width, &w.y, &w.tables, w.sums)
}

// normalise puts finished rows in narrow, each of three channels, in their place.
func (w *worker) normalise(dst []float32) {
	width, plane := w.preprocess.Width, w.preprocess.Width*w.preprocess.Height
	for i := 0; i < len(w.narrow); i += width {
		y, c := i/width/3, i/width%3
		table := &w.tables[c]
		out := dst[c*plane+y*width:][:width]
		for x, v := range w.narrow[i : i+width] {
			out[x] = table[v]
		}
	}
}

// verticalComesFirst is Pillow's choice of the first pass, since version 13, for a resize from w×h to width×height. The
// order shows in the last bit.
func verticalComesFirst(w, h, width, height int) bool {
	return h > height && h-height > 2*(w-width)
}

// resized is the size of a w×h image before the crop.
func (p Preprocess) resized(w, h int) (width, height int) {
	switch {
	case p.Resize == "exact" && p.ResizeTo == 0:
		return p.Width, p.Height
	case p.Resize == "exact":
		return p.ResizeTo, p.ResizeTo
	case w <= h:
		return p.ResizeTo, p.ResizeTo * h / w
	default:
		return p.ResizeTo * w / h, p.ResizeTo
	}
}

// cropDown is the Crop that rounds down.
const cropDown = "down"

// margin is what lies before the crop, of d pixels in all: half of them, rounded to even as in torchvision's
// int(round((size-crop)/2.0)), or down.
func (p Preprocess) margin(d int) int {
	if p.Crop == cropDown {
		return d / 2
	}
	return d/2 + d/2&1&d
}

// halves reports whether both ways to round half of d agree.
func (p Preprocess) halves(d int) bool { return d/2&1&d == 0 }

package vit

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// Augment says how images are shown to a model in training, other each time. The zero value shows them as they are.
type Augment struct {
	// Crop is torchvision's RandomResizedCrop: a window of random area, shape and place, resized to the model's input.
	Crop bool
	// Square makes the window a square, as LIFT+ (Shi et al., 2025) has it.
	Square bool
	// Area is the least share of the image that the window has, or of the largest square in it; 1 is the largest.
	Area float64
	// Flip mirrors every other image.
	Flip bool
}

// window is a part of an image.
type window struct{ x, y, width, height int }

// Bytes decodes an image and writes it to dst as p says, but for what Augment shows of it: that is a function of the
// random numbers. It is safe for concurrent use.
func (a Augment) Bytes(ctx context.Context, p Preprocess, rng *rand.Rand, data []byte, dst []float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	return decode(ctx, data, &w.decoded, MaxPixels, func() error { return w.augmented(a, p, rng, dst) })
}

// augmented writes the decoded image.
func (w *worker) augmented(a Augment, p Preprocess, rng *rand.Rand, dst []float32) error {
	if a.Crop && w.decoded.Width > 0 && w.decoded.Height > 0 {
		img := w.upright(p, &w.decoded)
		w.cropped.cut(img, a.window(rng, img.Width, img.Height))
		p.Resize, p.ResizeTo = "exact", 0
		if err := w.image(p, &w.cropped, dst); err != nil {
			return err
		}
	} else if err := w.image(p, &w.decoded, dst); err != nil {
		return err
	}
	if a.Flip && rng.Uint64()&1 == 1 {
		for row := range slices.Chunk(dst, p.Width) {
			slices.Reverse(row)
		}
	}
	return nil
}

// Shapes of RandomResizedCrop: the width of a window over its height.
const (
	narrowest = 3.0 / 4
	widest    = 4.0 / 3
)

// window draws a part of an image as torchvision does: what does not fit in ten tries is the middle.
func (a Augment) window(rng *rand.Rand, width, height int) window {
	w, h := float64(width), float64(height)
	between := func(low, high float64) float64 { return low + rng.Float64()*(high-low) }
	round := func(v float64) int { return int(math.RoundToEven(v)) }
	place := func(wide, high int) window {
		return window{rng.IntN(width - wide + 1), rng.IntN(height - high + 1), wide, high}
	}
	if a.Square {
		most := min(w, h) * min(w, h)
		side := max(1, round(math.Sqrt(between(min(a.Area*w*h, most), most))))
		return place(side, side)
	}
	for range 10 {
		area, shape := w*h*between(a.Area, 1), math.Exp(between(math.Log(narrowest), math.Log(widest)))
		wide, high := round(math.Sqrt(area*shape)), round(math.Sqrt(area/shape))
		if wide > 0 && wide <= width && high > 0 && high <= height {
			return place(wide, high)
		}
	}
	wide, high := width, height
	switch shape := w / h; {
	case shape < narrowest:
		high = round(w / narrowest)
	case shape > widest:
		wide = round(h * widest)
	}
	return window{(width - wide) / 2, (height - high) / 2, wide, high}
}

// cut makes img the window of another image.
func (img *RGB) cut(of *RGB, at window) {
	img.Orientation = 1
	img.resize(at.width, at.height)
	for y := range at.height {
		copy(img.row(y), of.row(at.y + y)[3*at.x:])
	}
}

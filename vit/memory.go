package vit

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"runtime"
	"runtime/debug"

	"golang.org/x/image/tiff"
	"golang.org/x/sync/semaphore"

	"github.com/vitft/vitft/vit/jpeg"
)

// maxDecode is the most bytes that decoding one image and turning it upright may take, its file aside. memory is what
// all decodings share: as much, and from five processors on 256 MiB for each.
const maxDecode = 1 << 30

var (
	shared = max(maxDecode, 256<<20*int64(runtime.GOMAXPROCS(0)))
	memory = semaphore.NewWeighted(shared)
)

// within runs f once size bytes of the memory for decoding are free, in turn, so that large images are not overtaken
// for ever. After a large image its memory is given back to the system: else the next one would come on top of it.
func within(ctx context.Context, size int64, f func() error) error {
	if err := memory.Acquire(ctx, size); err != nil {
		return err
	}
	defer memory.Release(size)
	if size > maxDecode/8 {
		defer debug.FreeOSMemory()
	}
	return f()
}

// checkMemory refuses an image that takes too much memory to decode.
func checkMemory(format string, w, h int, size int64) error {
	if size <= maxDecode {
		return nil
	}
	return &ImageError{Reason: ReasonTooLarge, Format: format, Err: fmt.Errorf("%d×%d pixels of this kind take %d MiB "+
		"to decode; the limit is %d MiB: store it smaller, or with 8 bits and neither interlaced nor in one strip",
		w, h, size>>20, maxDecode>>20)}
}

// memoryOf is how many bytes decoding an image of w×h pixels takes at most, as its header tells: the picture as the
// format's package has it, what that needs besides, RGB, and RGB once more where the picture is put on a canvas or
// turned. Pictures of 4 bytes a pixel become RGB in place. What is garbage by then counts too.
func memoryOf(format string, data []byte, w, h int) int64 {
	const rgb = 3
	perPixel, turned := 2*rgb, false
	more := int64(0)
	switch format {
	case "jpeg":
		c, _ := jpeg.DecodeConfig(data)
		perPixel, turned = rgb, jpegOrientation(data) > 1
		if c.Progressive || jpegScanned(data) != c.Components { // coefficients of two bytes, some more than pixels
			more = int64(2.2 * c.PerPixel * float64(w*h))
		}
	case "png":
		depth, interlaced := data[24], data[28] != 0
		picture := 4
		if perPixel = picture; depth == 16 {
			picture = 8
			perPixel = picture + rgb
		}
		if turned = pngOrientation(data) > 1; interlaced { // its passes are pictures, too
			perPixel += picture
		}
	case "webp":
		f, _ := parseWebP(data)
		perPixel, turned = 2+2*rgb, f.orientation() > 1 // planes, and perhaps a canvas
		if f.lossless != nil {                          // before and after a transform, and Huffman trees
			perPixel, more = 2*4+rgb, min(144<<20, 512*int64(len(f.lossless)))
		}
	case "gif": // indices before and after they are put in order, RGB, and on its canvas
		perPixel, more = 1+1+2*rgb, int64(len(data))
	case "bmp":
		perPixel = 4
	case "pnm":
		if p, _ := parsePNM(data); p.max == 255 {
			perPixel = rgb
		}
	case "tiff":
		perPixel, turned = 4, tiffOrientation(data) > 1
		switch c, _ := tiff.DecodeConfig(bytes.NewReader(data)); c.ColorModel {
		case color.RGBA64Model, color.NRGBA64Model:
			perPixel = 8
		}
		perPixel += rgb
		// A strip or tile may have 8 bytes a pixel, whatever it is to have, in a buffer that grew to that.
		const compression = 259
		if more = 28 * tiffBlock(data, w, h); tiffTag(data, compression) <= 1 {
			more = min(more, 4*int64(len(data)))
		}
	}
	if turned {
		perPixel += rgb
	}
	return int64(w)*int64(h)*int64(perPixel) + more
}

// tiffBlock is the number of pixels of a strip or tile of a TIFF.
func tiffBlock(data []byte, w, h int) int64 {
	const rows, tileWidth, tileHeight = 278, 322, 323
	if width := tiffTag(data, tileWidth); width > 0 {
		return int64(min(width, 1<<20)) * int64(min(tiffTag(data, tileHeight), 1<<20))
	}
	if n := tiffTag(data, rows); n > 0 {
		h = min(h, int(n))
	}
	return int64(w) * int64(h)
}

package vit

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sync/semaphore"

	"github.com/vitft/vitft/vit/avif"
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
	case "avif":
		c, _ := avif.DecodeConfig(data)
		perPixel, turned, more = rgb, avifOrientation(c) > 1, c.Memory()
	case "gif", "bmp", "pnm":
		perPixel = rgb
	case "tiff":
		t, _ := parseTIFF(data)
		perPixel, turned = rgb+t.planes(), t.orientation() > 1
		if t.compression == tiffJPEG { // a strip or tile as RGB, and its coefficients if it is progressive
			more = int64(10 * float64(t.blockW) * float64(t.blockH))
		}
	}
	if turned {
		perPixel += rgb
	}
	return int64(w)*int64(h)*int64(perPixel) + more
}

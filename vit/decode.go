package vit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"strings"

	"github.com/vitft/vitft/vit/avif"
	"github.com/vitft/vitft/vit/jpeg"
)

// DecoderID names the way from file bytes to pixels. It changes whenever the same bytes could give other pixels.
const DecoderID = "vitft-image-3"

// MaxPixels is the largest image that Decode accepts, in pixels. It is the size at which Pillow refuses an image as a
// decompression bomb. It is checked before pixels are allocated.
const MaxPixels = 178956970

// maxSide is the longest side that decode accepts. A strip of one by many million pixels is within MaxPixels, but the
// filter weights to shrink it are not small.
const maxSide = 1 << 20

// Reason says in which way an image is unusable.
type Reason string

const (
	ReasonUnreadable  Reason = "unreadable"     // the bytes could not be loaded
	ReasonEmpty       Reason = "empty file"     // no bytes at all
	ReasonUnknown     Reason = "unknown format" // none of the supported formats
	ReasonTruncated   Reason = "truncated"      // the data end too early
	ReasonCorrupt     Reason = "corrupt"        // the data break the format's rules
	ReasonUnsupported Reason = "unsupported"    // a valid variant that is not supported
	ReasonTooLarge    Reason = "too large"      // more than MaxPixels pixels, or too much memory to decode
	ReasonZeroSize    Reason = "zero size"      // no columns or no rows
)

// ImageError reports an image that gives no pixels.
type ImageError struct {
	Reason Reason
	Format string // "jpeg", "png", …; empty if not known
	Err    error  // what the decoder or loader said; may be nil
}

func (e *ImageError) Error() string {
	s := "image is unusable: " + string(e.Reason)
	if e.Format != "" {
		s += " (" + e.Format + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ImageError) Unwrap() error { return e.Err }

// Kind says what a caller can do: see to the data.
func (e *ImageError) Kind() string { return "data" }

// Decode reads a JPEG, PNG, WebP, AVIF, GIF (first frame), BMP, TIFF (first page), PBM, PGM or PPM image. Its pixels
// are those of Pillow's Image.open(f).convert("RGB"), exceptions in the package comment. Every error is an *ImageError.
// Images whose decoding takes much memory wait for each other.
func Decode(data []byte) (*RGB, error) {
	img := new(RGB)
	if err := decode(context.Background(), data, img, MaxPixels, func() error { return nil }); err != nil {
		return nil, err
	}
	return img, nil
}

// format is one way to read an image. config gives the size without reading pixels; read puts the pixels and, where the
// format has one, the orientation into img, whose buffer it may reuse.
type format struct {
	name   string
	config func(data []byte) (width, height int, err error)
	read   func(ctx context.Context, data []byte, img *RGB) error
}

var (
	formatJPEG = &format{"jpeg", jpegConfig, quick(readJPEG)}
	formatPNG  = &format{"png", pngConfig, quick(readPNG)}
	formatWebP = &format{"webp", webpConfig, quick(readWebP)}
	formatAVIF = &format{"avif", avifConfig, readAVIF}
	formatGIF  = &format{"gif", gifConfig, quick(readGIF)}
	formatBMP  = &format{"bmp", bmpConfig, quick(readBMP)}
	formatTIFF = &format{"tiff", tiffConfig, quick(readTIFF)}
	formatPNM  = &format{"pnm", pnmConfig, quick(readPNM)}
)

// quick is the reader of a format that takes too little time for a context to end it.
func quick(read func(data []byte, img *RGB) error) func(context.Context, []byte, *RGB) error {
	return func(_ context.Context, data []byte, img *RGB) error { return read(data, img) }
}

// supported is what sniff tells apart, for people.
const supported = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, PBM, PGM or PPM"

// sniff tells the format from the first bytes.
func sniff(data []byte) *format {
	has := func(prefix string) bool { return bytes.HasPrefix(data, []byte(prefix)) }
	switch {
	case has("\xff\xd8"):
		return formatJPEG
	case has("\x89PNG\r\n\x1a\n"):
		return formatPNG
	case has("RIFF") && len(data) >= 12 && string(data[8:12]) == "WEBP":
		return formatWebP
	case isAVIF(data):
		return formatAVIF
	case has("GIF87a"), has("GIF89a"):
		return formatGIF
	case has("BM"), isDIB(data):
		return formatBMP
	case isTIFF(data):
		return formatTIFF
	case len(data) > 2 && data[0] == 'P' && (data[1]-'1' < 6 || data[1] == 'f') && data[2] <= ' ':
		return formatPNM
	}
	return nil
}

// decode reads data into img, reusing its buffer, and refuses images over maxPixels. It waits until there is memory for
// the image, or ctx ends; the memory counts as taken until use returns.
func decode(ctx context.Context, data []byte, img *RGB, maxPixels int, use func() error) error {
	if len(data) == 0 {
		return &ImageError{Reason: ReasonEmpty}
	}
	f := sniff(data)
	if f == nil {
		return unknown(data)
	}
	w, h, err := f.config(data)
	if err != nil {
		return imageError(f.name, err)
	}
	if w <= 0 || h <= 0 {
		return &ImageError{Reason: ReasonZeroSize, Format: f.name, Err: fmt.Errorf("%d×%d pixels", w, h)}
	}
	if w > maxPixels/h || max(w, h) > maxSide {
		return &ImageError{Reason: ReasonTooLarge, Format: f.name,
			Err: fmt.Errorf("%d×%d pixels; the limit is %d in all and %d a side", w, h, maxPixels, maxSide)}
	}
	size := memoryOf(f.name, data, w, h)
	if err := checkMemory(f.name, w, h, size); err != nil {
		return err
	}
	return within(ctx, size, func() error {
		img.Orientation = 1
		if err := f.read(ctx, data, img); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return imageError(f.name, err)
		}
		return use()
	})
}

// Errors that readers wrap to choose the Reason.
var (
	errUnsupported = errors.New("not supported")
	errTruncated   = io.ErrUnexpectedEOF
)

// cutOff is what package png says, without a type of its own, of data that end early.
const cutOff = "not enough pixel data"

// imageError gives a reader's error its Reason, and to what is not supported the cure.
func imageError(name string, err error) error {
	reason, named := ReasonCorrupt, (*ImageError)(nil)
	switch {
	case errors.As(err, &named):
		return named
	case errors.Is(err, errTruncated), errors.Is(err, io.EOF), strings.HasSuffix(err.Error(), cutOff):
		reason = ReasonTruncated
	case errors.Is(err, errUnsupported),
		errors.As(err, new(jpeg.UnsupportedError)), errors.As(err, new(png.UnsupportedError)),
		errors.As(err, new(avif.UnsupportedError)):
		reason, err = ReasonUnsupported, fmt.Errorf("%w; %s", err, toJPEG)
	}
	return &ImageError{Reason: reason, Format: name, Err: err}
}

func jpegConfig(data []byte) (int, int, error) {
	c, err := jpeg.DecodeConfig(data)
	if err == nil && c.Height == 0 && c.Width > 0 {
		err = fmt.Errorf("a height that is told behind the picture (DNL): %w", errUnsupported)
	}
	return c.Width, c.Height, err
}

func readJPEG(data []byte, img *RGB) error {
	pix, c, err := jpeg.Decode(img.Pix, data)
	if err != nil {
		return err
	}
	img.Pix, img.Width, img.Height = pix, c.Width, c.Height
	img.Orientation = jpegOrientation(data)
	return nil
}

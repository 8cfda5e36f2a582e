package vit

import (
	"fmt"
	"math"

	"github.com/vitft/vitft/vit/jpeg"
)

// tiffImage is the first picture of a TIFF: how its samples are stored, and where.
type tiffImage struct {
	dir           tiffDirectory
	width, height int
	compression   uint64
	photometric   uint64
	predictor     uint64
	bits          int  // of a sample
	format        int  // of samples: 1 without and 2 with a sign, 3 a float
	samples       int  // of a pixel
	used          int  // of these, those that make the colour
	premultiplied bool // the one behind is alpha, by which colours were multiplied
	separate      bool // each sample has a plane of its own
	tiled         bool
	blockW        int // of strips or tiles
	blockH        int
	reversed      bool // bits of each byte
	palette       [][3]byte
}

// What compression and photometric may be.
const (
	tiffRaw, tiffCCITT, tiffGroup3, tiffGroup4 = 1, 2, 3, 4
	tiffLZW, tiffOldJPEG, tiffJPEG             = 5, 6, 7
	tiffDeflate, tiffOldDeflate, tiffPackBits  = 8, 32946, 32773

	tiffWhiteIsZero, tiffBlackIsZero, tiffRGB, tiffPalette, tiffCMYK, tiffYCbCr = 0, 1, 2, 3, 5, 6
	tiffCFA, tiffLinearRaw                                                      = 32803, 34892
)

// tiffCompressions are those that are known and not read.
var tiffCompressions = map[uint64]string{
	tiffCCITT: "CCITT without ends of lines", tiffOldJPEG: "JPEG of the old style", 9: "JBIG", 10: "JBIG",
	32766: "NeXT", 32809: "ThunderScan", 33003: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv",
	34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 34925: "LZMA",
	50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
}

func parseTIFF(data []byte) (t tiffImage, err error) {
	d := readTIFFDirectory(data)
	t.dir = d
	if len(d.entries) == 0 {
		return t, fmt.Errorf("directory: %w", errTruncated)
	}
	if err := rawPhoto(data, &d); err != nil {
		return t, err
	}
	side := func(tag uint16) int { return int(min(d.first(tag, 0), math.MaxInt32)) }
	t.width, t.height = side(tagWidth), side(tagHeight)
	t.compression, t.photometric = d.first(tagCompression, tiffRaw), d.first(tagPhotometric, tiffWhiteIsZero)
	t.predictor = d.first(tagPredictor, 1)
	t.bits, t.format = int(d.first(tagBits, 1)&0xffff), int(d.first(tagSampleFormat, 1)&0xff)
	t.samples = int(min(d.first(tagSamples, 1), 1<<16))
	t.reversed = d.first(tagFillOrder, 1) == 2
	for _, b := range d.numbers(tagBits) {
		if b != uint64(t.bits) {
			return t, fmt.Errorf("samples of %d and of %d bits: %w", t.bits, b, errUnsupported)
		}
	}
	t.separate = d.first(tagPlanar, 1) == 2 && t.samples > 1
	if t.tiled = d.length(tagTileOffsets) > 0; t.tiled {
		t.blockW, t.blockH = side(tagTileWidth), side(tagTileHeight)
		if t.blockW%16 != 0 || t.blockH%16 != 0 || t.blockW == 0 || t.blockH == 0 || max(t.blockW, t.blockH) > 1<<20 {
			return t, fmt.Errorf("tiles of %d×%d pixels", t.blockW, t.blockH)
		}
	} else {
		t.blockW, t.blockH = t.width, min(t.height, side(tagRowsPerStrip))
		if t.blockH == 0 {
			t.blockH = t.height
		}
	}
	return t, t.check()
}

// check finds what pixels are made of, and refuses what is not read.
func (t *tiffImage) check() error {
	switch t.compression {
	case tiffRaw, tiffLZW, tiffJPEG, tiffDeflate, tiffOldDeflate, tiffPackBits:
	case tiffGroup3, tiffGroup4:
		if t.bits != 1 || t.samples != 1 {
			return fmt.Errorf("a fax of %d bits: %w", t.bits*t.samples, errUnsupported)
		}
	default:
		if name := tiffCompressions[t.compression]; name != "" {
			return fmt.Errorf("compression by %s: %w", name, errUnsupported)
		}
		return fmt.Errorf("compression %d: %w", t.compression, errUnsupported)
	}
	layout := fmt.Errorf("%d samples of %d bits (format %d, photometric %d): %w", t.samples, t.bits, t.format,
		t.photometric, errUnsupported)
	byBits := map[int]bool{8: true, 16: t.format == 1}
	switch t.photometric {
	case tiffWhiteIsZero, tiffBlackIsZero:
		t.used = 1
		byBits = map[int]bool{1: t.format == 1, 2: t.format == 1, 4: t.format == 1, 8: t.format <= 2,
			16: t.format <= 2, 32: t.format <= 3}
	case tiffRGB:
		t.used = 3
	case tiffPalette:
		t.used = 1
		byBits = map[int]bool{1: true, 2: true, 4: true, 8: true}
		t.readPalette()
		if len(t.palette) == 0 && t.bits <= 8 {
			return fmt.Errorf("palette: %w", errTruncated)
		}
	case tiffCMYK:
		t.used = 4
	case tiffYCbCr: // only JPEG has its own conversion
		if t.used = 3; t.compression != tiffJPEG {
			return fmt.Errorf("YCbCr without JPEG: %w", errUnsupported)
		}
	default:
		return layout
	}
	if !byBits[t.bits] || t.samples < t.used || t.samples > 64 || t.predictor < 1 || t.predictor > 3 {
		return layout
	}
	if t.predictor == 3 && t.format != 3 || t.predictor == 2 && t.bits < 8 {
		return fmt.Errorf("predictor %d with samples of %d bits (format %d): %w", t.predictor, t.bits, t.format,
			errUnsupported)
	}
	const associatedAlpha = 1
	extra, _ := t.dir.number(tagExtraSamples, 0)
	t.premultiplied = extra == associatedAlpha && t.samples > t.used && (t.used == 3 || t.used == 1) && t.palette == nil
	if t.compression == tiffJPEG && (t.bits != 8 || t.separate || t.photometric == tiffCMYK ||
		t.photometric == tiffPalette || t.samples != t.used) {
		return fmt.Errorf("JPEG of %d samples (photometric %d): %w", t.samples, t.photometric, errUnsupported)
	}
	return nil
}

// readPalette takes the high bytes of all reds, then greens, then blues.
func (t *tiffImage) readPalette() {
	kind, n, b, _ := t.dir.value(tagColourMap)
	n /= 3
	if kind != 3 || t.bits > 8 || n < 1<<t.bits {
		return
	}
	t.palette = make([][3]byte, 1<<t.bits)
	for i := range t.palette {
		for c := range 3 {
			t.palette[i][c] = byte(t.dir.order.Uint16(b[2*(c*n+i):]) >> 8)
		}
	}
}

func tiffConfig(data []byte) (int, int, error) {
	t, err := parseTIFF(data)
	return t.width, t.height, err
}

// orientation is that of a TIFF, whose XMP has a tag of its own.
func (t *tiffImage) orientation() int {
	_, _, xmp, _ := t.dir.value(tagXMP)
	return tags{exif: t.dir.data, xmp: xmp}.orientation()
}

// planes is how many bytes a pixel takes until all of its samples are there.
func (t *tiffImage) planes() int {
	if t.separate {
		return t.kept()
	}
	return 0
}

// kept is how many samples of a pixel are looked at.
func (t *tiffImage) kept() int {
	if t.premultiplied {
		return t.used + 1
	}
	return t.used
}

// readTIFF also turns the image as its orientation tag says, whatever Preprocess.Orientation is: Pillow does so when it
// loads a TIFF.
func readTIFF(data []byte, img *RGB) error {
	t, err := parseTIFF(data)
	if err != nil {
		return err
	}
	img.resize(t.width, t.height)
	if t.compression == tiffJPEG {
		err = t.readJPEGs(img)
	} else {
		err = t.readBlocks(img)
	}
	if err != nil {
		return err
	}
	if o := t.orientation(); o != 1 {
		turned := new(RGB)
		img.turn(o, turned)
		*img = *turned
	}
	return nil
}

// pixels makes RGB of a row of samples, of which each pixel has as many as are kept.
func (t *tiffImage) pixels(dst, src []byte) {
	n := t.kept()
	switch {
	case t.palette != nil:
		for i := range len(dst) / 3 {
			*(*[3]byte)(dst[3*i:]) = t.palette[src[i]]
		}
	case t.used == 1:
		for i := range len(dst) / 3 {
			v := src[n*i]
			if t.premultiplied {
				v = unpremultiplied(v, src[n*i+1])
			}
			*(*[3]byte)(dst[3*i:]) = [3]byte{v, v, v}
		}
	case t.used == 4:
		jpeg.ConvertCMYK(dst, src[:4*len(dst)/3])
	case t.premultiplied:
		for i := range len(dst) / 3 {
			for c := range 3 {
				dst[3*i+c] = unpremultiplied(src[4*i+c], src[4*i+3])
			}
		}
	default:
		copy(dst, src)
	}
}

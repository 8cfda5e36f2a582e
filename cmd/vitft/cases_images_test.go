//go:build unix

package main

import (
	"strings"
	"testing"
)

func init() {
	for _, name := range []string{"avif-named-jpg", "bmp-565", "bmp-rle8", "gif-extra-subblock", "gif-frame-larger",
		"jpeg-eoi-replaced-by-zeros", "jpeg-missing-rst", "orientation-exif-without-xmp-with",
		"orientation-png-raw-profile", "orientation-xmp-jpeg", "pgm-ascii", "png-extra-pixel-data", "png-idat-crc",
		"png-no-iend", "png-palette-too-long", "tiff-bigtiff", "tiff-cmyk", "tiff-float32", "tiff-jpeg"} {
		expected[name] = answersAlike
	}
	expected["heic-named-jpg"] = func(t *testing.T, s outcome) {
		if s.code != 3 || !strings.Contains(s.stdout, "HEIC") || !strings.Contains(s.stdout, "convert it to JPEG") {
			t.Errorf("exit code %d\n%s%s", s.code, s.stdout, s.stderr)
		}
	}
}

package vit

import (
	"context"

	"github.com/vitft/vitft/vit/avif"
)

// isAVIF says whether data are of boxes of which one may be a picture in AV1. HEIC says that it is so too, but not that
// it is AVIF.
func isAVIF(data []byte) bool {
	for _, brand := range boxBrands(data) {
		if brand == "avif" || brand == "avis" {
			return true
		}
	}
	return false
}

func avifConfig(data []byte) (int, int, error) {
	c, err := avif.DecodeConfig(data)
	return c.Width, c.Height, err
}

func readAVIF(ctx context.Context, data []byte, img *RGB) error {
	pix, c, err := avif.Decode(ctx, img.Pix, data)
	if err != nil {
		return err
	}
	img.Pix, img.Width, img.Height = pix, c.Width, c.Height
	img.Orientation = avifOrientation(c)
	return nil
}

// avifOrientation is what the file's boxes say. As in Pillow, that goes before EXIF data that have the tag, and XMP is
// asked if neither says anything.
func avifOrientation(c avif.Config) int {
	d := readTIFFDirectory(tags{exif: c.Exif}.tiff())
	if _, _, _, ok := d.value(tagOrientation); ok || c.Orientation != 1 {
		return c.Orientation
	}
	return xmpOrientation(c.XMP)
}

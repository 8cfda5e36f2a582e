// Package imagename says which files are images, by their names.
package imagename

import (
	"path"
	"slices"
	"strings"
)

// extensions are those of the formats that the decoder reads.
var extensions = []string{
	".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm",
}

// Is reports whether a file is an image by its extension.
func Is(name string) bool {
	return slices.Contains(extensions, strings.ToLower(path.Ext(name)))
}

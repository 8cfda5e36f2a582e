// Package imagepath says by their names which files are images, and which are a system's own, and which file a path
// means that somebody wrote into a list.
package imagepath

import (
	"path"
	"slices"
	"strings"
)

// Extensions are those of images. What the decoder cannot read of them counts as unreadable, by name.
var Extensions = []string{
	".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm",
	".jfif", ".jpe", ".jif", ".avif", ".heic", ".heif", ".pbm", ".pam", ".dib", ".apng",
}

// Is reports whether a file is an image by its extension.
func Is(name string) bool {
	return slices.Contains(Extensions, strings.ToLower(path.Ext(name)))
}

// system are the names, in lower case, of files and folders that systems and programs put among photos: bins,
// thumbnails, what is left of archives and of version control.
var system = []string{
	"@eadir", "@synoeastream", "@synoresource", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
	"~snapshot", "$recycle.bin", "found.000", "system volume information", "__macosx",
	"lost+found", "_svn", "__pycache__", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
	"network trash folder", "temporary items", "icon\r",
}

// IsSystem reports whether a name is one that holds nobody's images: a hidden one, or one that a system or program
// gives to its own files and folders.
func IsSystem(name string) bool {
	return strings.HasPrefix(name, ".") || name == "CVS" || name == "RECYCLER" || // in lower case they may be classes
		slices.Contains(system, strings.ToLower(name))
}

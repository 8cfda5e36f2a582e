package dataset

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// extensions are those of images. What the decoder cannot read of them counts as unreadable, by name.
var extensions = []string{
	".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm",
	".jfif", ".jpe", ".jif", ".avif", ".heic", ".heif", ".pbm", ".pam", ".dib", ".apng",
}

// IsImage reports whether a file is an image by its extension.
func IsImage(name string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
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

// counted says how many names there are of each kind, the most first: "3 .txt, 1 .xml".
func counted(names []string, kind func(string) string) string {
	counts := map[string]int{}
	for _, name := range names {
		counts[kind(name)]++
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", counts[k], k)
	}
	return some(kinds)
}

// extension is that of a file, in lower case, as a message says it.
func extension(name string) string {
	return cmp.Or(strings.ToLower(filepath.Ext(name)), "without extension")
}

// ofSystem is the kind of what IsSystem finds: its name, or of a hidden file its extension.
func ofSystem(name string) string {
	name = filepath.Base(name)
	if strings.HasPrefix(name, ".") && IsImage(name) {
		return "hidden " + extension(name)
	}
	return name
}

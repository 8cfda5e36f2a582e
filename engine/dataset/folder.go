package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// extensions are those of the formats that the decoder reads.
var extensions = []string{
	".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm",
}

// IsImage reports whether a file is an image by its extension.
func IsImage(name string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// readFolder reads a folder of class folders, or of IDX files.
func readFolder(root string, training bool) (*reading, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, &SourceError{Source: root, Err: err}
	}
	f := folder{reading: &reading{classes: []string{}}}
	var idx []string
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		switch info := follow(path, e); {
		case hidden(e.Name()):
		case info != nil && info.IsDir():
			f.classes = append(f.classes, e.Name())
		case isIDXImages(e.Name()):
			idx = append(idx, e.Name())
		default:
			f.ignored = append(f.ignored, path)
		}
	}
	if len(f.classes) == 0 {
		if len(idx) > 0 {
			return readIDXFolder(root, idx, training)
		}
		return nil, &SourceError{Source: root, Err: fmt.Errorf(
			"no class folders in it (%d files): put the images of each class into a folder of the class's name", len(f.ignored))}
	}
	for _, name := range idx {
		f.ignored = append(f.ignored, filepath.Join(root, name))
	}
	sortLabels(f.classes)
	for _, class := range f.classes {
		info, err := os.Stat(filepath.Join(root, class))
		if err != nil {
			return nil, &SourceError{Source: root, Err: err}
		}
		if err := f.walk(filepath.Join(root, class), class, []fs.FileInfo{info}); err != nil {
			return nil, &SourceError{Source: root, Err: err}
		}
	}
	f.find(IgnoredFiles, f.ignored, "%d files in %s are in no class folder or no images by their extension: %s",
		len(f.ignored), root, listed(f.ignored))
	f.find(SkippedLink, f.loops, "%d links in %s lead back to a folder above them: %s", len(f.loops), root,
		listed(f.loops))
	return f.reading, nil
}

// folder collects while walking.
type folder struct {
	*reading
	ignored, loops []string
}

// walk adds the images in dir: its own by name, then those of its folders. above is dir and the folders that it was
// reached through.
func (f *folder) walk(dir, class string, above []fs.FileInfo) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type sub struct {
		path string
		info fs.FileInfo
	}
	var subs []sub
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch info := follow(path, e); {
		case hidden(e.Name()):
		case info != nil && info.IsDir():
			if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
				f.loops = append(f.loops, path)
			} else {
				subs = append(subs, sub{path, info})
			}
		case IsImage(e.Name()):
			f.samples = append(f.samples, sample{Item: Item{Path: path}, label: class})
		default:
			f.ignored = append(f.ignored, path)
		}
	}
	for _, s := range subs {
		if err := f.walk(s.path, class, append(slices.Clip(above), s.info)); err != nil {
			return err
		}
	}
	return nil
}

// follow is what a folder or link leads to; nil for a file, which needs no look, and for a link to nowhere, which will
// be found unreadable.
func follow(path string, e fs.DirEntry) fs.FileInfo {
	if e.Type()&fs.ModeSymlink == 0 && !e.IsDir() {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

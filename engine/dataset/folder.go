package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagename"
)

// readFolder reads a folder of class folders, of files of images, or of IDX files.
func (r *reading) readFolder() error {
	files, folders, err := list(r.source)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		if idx := slices.DeleteFunc(slices.Clone(files), func(s string) bool { return !isIDXImages(s) }); len(idx) > 0 {
			return r.readIDXFolder(idx)
		}
		if cifar, err := r.cifarFiles(files); err != nil {
			return err
		} else if len(cifar) > 0 {
			return r.readShards(cifar)
		}
	}
	if shards, err := shardsIn(r.source); err != nil {
		return err
	} else if len(shards.files) > 0 {
		return r.readShardFolder(shards)
	}
	if len(folders) == 0 {
		return fmt.Errorf("no class folders in it (%d files): "+
			"put the images of each class into a folder of the class's name", len(files))
	}
	f := folder{reading: r}
	for _, name := range files {
		f.ignored = append(f.ignored, filepath.Join(r.source, name))
	}
	infos := map[string]fs.FileInfo{}
	for _, class := range folders {
		infos[class.Name()] = class
	}
	r.classes = sortedLabels(infos)
	for _, class := range r.classes {
		if err := f.walk(filepath.Join(r.source, class), class, []fs.FileInfo{infos[class]}); err != nil {
			return err
		}
	}
	r.find(IgnoredFiles, f.ignored, "%d files in %s are in no class folder or no images by their extension",
		len(f.ignored), r.source)
	r.find(SkippedLink, f.loops, "%d links in %s lead back to a folder above them", len(f.loops), r.source)
	return nil
}

// folder collects while walking.
type folder struct {
	*reading
	ignored, loops []string
}

// walk adds the images in dir: its own by name, then those of its folders. above is dir and the folders that it was
// reached through.
func (f *folder) walk(dir, class string, above []fs.FileInfo) error {
	files, folders, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range files {
		if path := filepath.Join(dir, name); imagename.Is(name) {
			f.samples = append(f.samples, sample{Item: Item{Path: path}, label: class})
		} else {
			f.ignored = append(f.ignored, path)
		}
	}
	for _, sub := range folders {
		path := filepath.Join(dir, sub.Name())
		if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, sub) }) {
			f.loops = append(f.loops, path)
		} else if err := f.walk(path, class, append(slices.Clip(above), sub)); err != nil {
			return err
		}
	}
	return nil
}

// list is what is in a folder and not hidden: the names of files, and folders. A link is what it leads to; one to
// nowhere counts as a file, which will be found unreadable.
func list(dir string) (files []string, folders []fs.FileInfo, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if e.IsDir() || e.Type()&fs.ModeSymlink != 0 { // a file needs no look
			if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
				folders = append(folders, info)
				continue
			}
		}
		files = append(files, e.Name())
	}
	return files, folders, err
}

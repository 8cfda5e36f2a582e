package dataset

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/plaintext"
)

// tried is how many paths of a list are looked for to find out which folder its paths begin in.
const tried = 50

// place makes the paths of a list, which is in dir, those of files. What is nowhere stays, and will be found missing.
func (r *reading) place(dir string) error {
	paths := make([]string, 0, tried)
	o := new(opener) // of files that images are in, as predictions.csv names them
	step := max(1, len(r.samples)/tried)
	for i := range r.samples {
		s := &r.samples[i]
		path, err := imagepath.WellFormed(s.Path)
		if err != nil {
			return &SourceError{Line: s.line, Err: err}
		}
		if strings.ContainsRune(path, '#') {
			if s.Item, err = o.item(imagepath.Under(dir, path)); err != nil {
				return &SourceError{Line: s.line, Err: err}
			} else if s.in != nil {
				continue
			}
		}
		if s.Path = path; i%step == 0 && len(paths) < tried {
			paths = append(paths, path)
		}
	}
	part := r.part
	if !r.selected { // else the list is of several
		part = cmp.Or(listedRole(filepath.Base(r.source)), part)
	}
	p := newPlaces(dir, paths, part)
	if p.found == 0 && len(paths) > 0 && !slices.ContainsFunc(paths, func(path string) bool {
		return !filepath.IsAbs(path) && !place.IsURL(path)
	}) {
		return fmt.Errorf("none of the files is there that were looked for, the first %s: if the list was made on "+
			"another machine, make its paths relative to the folder that it is in", plaintext.Valid(paths[0]))
	}
	if p.found > 0 && p.bases[0] != dir {
		r.find(ListForm, p.bases, "paths are relative to another folder than the list's")
	}
	for i := range r.samples {
		if s := &r.samples[i]; s.in == nil {
			s.Path = p.of(s.Path)
		}
	}
	return nil
}

// places are where files are looked for that a list means.
type places struct {
	bases []string // folders that paths are relative to; the first where a file is not found
	found int      // paths that were tried and lead to a file
}

// newPlaces finds out by some of its paths which folders the paths of a list in dir are relative to: dir itself if one
// of them is there; else folders such as images in it, folders above it, and folders beside those.
//
// Of folders that parts of a data set are in, that of the list's part is the first, as their images may have the same
// names.
func newPlaces(dir string, paths []string, part string) *places {
	usual := &places{bases: []string{dir}}
	for _, path := range paths {
		if _, ok := imagepath.Find(path, usual.bases...); ok {
			usual.found = 1
			return usual
		}
	}
	other := new(places)
	for _, base := range around(dir, part) {
		found := 0
		for _, path := range paths {
			if _, ok := imagepath.Find(path, base); ok {
				found++
			}
		}
		if found > 0 {
			other.bases, other.found = append(other.bases, base), other.found+found
		}
		if other.found >= len(paths) {
			break
		}
	}
	if other.found > 0 {
		return other
	}
	return usual
}

// around are other folders that the paths of a list may be relative to, the likely ones first.
func around(dir, part string) (folders []string) {
	add := func(folder string) {
		if info, err := place.Stat(folder); err == nil && info.IsDir() {
			folders = append(folders, folder)
		}
	}
	inside := []string{"images", "image", "imgs", "img", "photos", "pictures", "JPEGImages", "data", "train",
		"training", "val", "valid", "validation", "dev", "test", "testing", "train2017", "val2017", "train_images",
		"val_images", "test_images", "train/images", "val/images", "test/images", "images/train", "images/val",
		"images/test"}
	slices.SortStableFunc(inside, func(a, b string) int { return cmp.Compare(foreign(a, part), foreign(b, part)) })
	for _, name := range inside {
		add(place.Join(dir, name))
	}
	absolute, err := place.Abs(dir)
	if err != nil {
		return folders
	}
	for level, above := 0, place.Dir(absolute); above != absolute; absolute, above = above, place.Dir(above) {
		folders = append(folders, above)
		if level++; level == 1 {
			for _, name := range inside {
				add(place.Join(above, name))
			}
		}
	}
	return folders
}

// foreign is 1 for a folder of another part of a data set, else 0.
func foreign(folder, part string) int {
	if role := listedRole(strings.ReplaceAll(folder, "/", " ") + "."); role == "" || role == part {
		return 0
	}
	return 1
}

// of is the file that a path means, or would mean.
func (p *places) of(path string) string {
	if p.found == 0 || imagepath.Plain(path) && len(p.bases) == 1 { // which needs no look
		return imagepath.Under(p.bases[0], path)
	}
	if file, ok := imagepath.Find(path, p.bases...); ok {
		return file
	}
	return imagepath.Under(p.bases[0], path)
}

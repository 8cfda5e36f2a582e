package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/internal/plaintext"
)

// tried is how many paths of a list are looked for to find out which folder its paths begin in.
const tried = 50

var (
	address = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|data:)`)
	drive   = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\)`)
)

// place makes the paths of a list, which is in dir, those of files. What is nowhere stays, and will be found missing.
func (r *reading) place(dir string) error {
	paths := make([]string, 0, tried)
	step := max(1, len(r.samples)/tried)
	for i := range r.samples {
		s := &r.samples[i]
		path, err := wellFormed(s.Path)
		if err != nil {
			return &SourceError{Line: s.line, Err: err}
		}
		if s.Path = path; i%step == 0 && len(paths) < tried {
			paths = append(paths, path)
		}
	}
	p := newPlaces(dir, paths)
	if p.found == 0 && len(paths) > 0 && !slices.ContainsFunc(paths, func(path string) bool {
		return !filepath.IsAbs(path)
	}) {
		return fmt.Errorf("none of the files is there that were looked for, the first %s: if the list was made on "+
			"another machine, make its paths relative to the folder that it is in", plaintext.Valid(paths[0]))
	}
	if p.found > 0 && p.bases[0] != dir {
		r.find(ListForm, p.bases, "paths are relative to another folder than the list's")
	}
	for i := range r.samples {
		r.samples[i].Path = p.of(r.samples[i].Path)
	}
	return nil
}

// wellFormed refuses what cannot be the path of a file here.
func wellFormed(path string) (string, error) {
	path = strings.TrimSpace(path)
	switch {
	case path == "":
		return "", errors.New("empty path")
	case strings.ContainsRune(path, 0):
		return "", errors.New("path holds a zero byte (save the list as UTF-8)")
	case !strings.ContainsAny(path, `:\`): // as nearly all
	case address.MatchString(path):
		return "", fmt.Errorf("%.100q is an address, and addresses (URLs) are not fetched: download the images and "+
			"list their paths", path)
	case runtime.GOOS != "windows" && drive.MatchString(path) && !isFile(path):
		return "", fmt.Errorf("%.100q is a path of a Windows machine, which this one does not have: make paths "+
			"relative to the folder of the list", path)
	}
	return path, nil
}

// places are where files are looked for that a list means.
type places struct {
	bases []string // folders that paths are relative to; the first where a file is not found
	found int      // paths that were tried and lead to a file
}

// newPlaces finds out by some of its paths which folders the paths of a list in dir are relative to: dir itself if one
// of them is there; else folders such as images in it, folders above it, and folders beside those.
func newPlaces(dir string, paths []string) *places {
	usual := &places{bases: []string{dir}}
	for _, path := range paths {
		if _, ok := usual.search(path); ok {
			usual.found = 1
			return usual
		}
	}
	other := new(places)
	for _, base := range around(dir) {
		here, found := &places{bases: []string{base}}, 0
		for _, path := range paths {
			if _, ok := here.search(path); ok {
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

// Listed is the file that a path in a list means that is relative to the working directory, as [Open] finds it; the
// path itself if there is none. What cannot be a path here is an error.
func Listed(path string) (string, error) {
	path, err := wellFormed(path)
	if err != nil {
		return "", err
	}
	if file, ok := (&places{bases: []string{"."}}).search(path); ok {
		return file, nil
	}
	return path, nil
}

// around are other folders that the paths of a list may be relative to, the likely ones first.
func around(dir string) (folders []string) {
	add := func(folder string) {
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			folders = append(folders, folder)
		}
	}
	inside := []string{"images", "image", "imgs", "img", "photos", "pictures", "JPEGImages", "data", "train",
		"training", "val", "valid", "validation", "dev", "test", "testing", "train2017", "val2017", "train_images",
		"val_images", "test_images", "train/images", "val/images", "test/images"}
	for _, name := range inside {
		add(filepath.Join(dir, name))
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return folders
	}
	for level, above := 0, filepath.Dir(absolute); above != absolute; absolute, above = above, filepath.Dir(above) {
		folders = append(folders, above)
		if level++; level == 1 {
			for _, name := range inside {
				add(filepath.Join(above, name))
			}
		}
	}
	return folders
}

// of is the file that a path means, or would mean.
func (p *places) of(path string) string {
	if p.found == 0 || plainPath(path) && len(p.bases) == 1 { // which needs no look
		return under(p.bases[0], path)
	}
	if file, ok := p.search(path); ok {
		return file
	}
	return under(p.bases[0], path)
}

// search finds the file that a path means: as it is written, with the separators of another system, with the letters in
// another normal form, with the extension of an image.
func (p *places) search(path string) (string, bool) {
	spellings := []string{path}
	if strings.Contains(path, `\`) {
		spellings = append(spellings, strings.ReplaceAll(path, `\`, "/"))
	}
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		for _, s := range spellings {
			if other := form.String(s); !slices.Contains(spellings, other) {
				spellings = append(spellings, other)
			}
		}
	}
	for _, base := range p.bases {
		for _, spelling := range spellings {
			if file := under(base, spelling); isFile(file) {
				return file, true
			}
		}
	}
	if IsImage(path) {
		return "", false
	}
	for _, base := range p.bases {
		for _, spelling := range spellings {
			for _, ending := range extensions {
				for _, name := range []string{spelling + ending, spelling + strings.ToUpper(ending)} {
					if file := under(base, name); isFile(file) {
						return file, true
					}
				}
			}
		}
	}
	return "", false
}

// plainPath reports whether a path can be written in one way only.
func plainPath(path string) bool {
	return IsImage(path) && !strings.Contains(path, `\`) && !strings.ContainsFunc(path, func(c rune) bool {
		return c >= 0x80
	})
}

func under(base, path string) string {
	if path = filepath.Clean(filepath.FromSlash(path)); filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

package dataset

import (
	"fmt"
	"io/fs"
)

// Files is a data set of the images with the paths of items, for those to whom classes are nothing. A file that holds
// images is opened once; that it cannot be is an error.
func Files(name string, paths []string) (*Dataset, error) {
	d := &Dataset{Name: name, Classes: []string{""}, Items: make([]Item, len(paths))}
	o := new(opener)
	for i, path := range paths {
		var err error
		if d.Items[i], err = o.item(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return d, nil
}

// FileOf is the path of the file that the image with a path is, or is in.
func FileOf(path string) string {
	file, _, _ := split(path)
	return file
}

// Info is about the file that the image is, or is in.
func (it Item) Info() (fs.FileInfo, error) { return it.stat() }

// Inside reports whether the image is a part of a file.
func (it Item) Inside() bool { return it.in != nil }

// Learn remembers the hash of an item whose file had that size and time of modification, in nanoseconds, when it was
// read, by whomever.
func (x *Index) Learn(it Item, size, modified int64, id ID) {
	x.with(it, func(p *section, name string) {
		p.files[name] = known{size, modified, id}
		p.changed[name] = true
	})
}

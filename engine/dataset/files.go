package dataset

import (
	"io/fs"
	"path/filepath"
)

// Files is a data set of image files of one class that has no name, for those to whom classes are nothing.
func Files(name string, paths []string) *Dataset {
	d := &Dataset{Name: name, Classes: []string{""}, Items: make([]Item, len(paths))}
	for i, path := range paths {
		d.Items[i] = Item{Path: filepath.Clean(path)}
	}
	return d
}

// Info is about the file that the image is in.
func (it Item) Info() (fs.FileInfo, error) { return it.stat() }

// Learn remembers the hash of an item that had that size and time of modification when it was read, by whomever.
func (x *Index) Learn(it Item, size, modified int64, id ID) {
	x.with(it.Path, func(p *section, name string) {
		p.files[name] = known{size, modified, id}
		p.changed[name] = true
	})
}

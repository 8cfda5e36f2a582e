package dataset

import (
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// Files is a data set of the images with the paths of items, for those to whom classes are nothing. A file that holds
// images is opened once; that it cannot be is an error. Of one in an object store seen says what it was like, so that
// nobody asks.
func Files(name string, paths []string, seen func(i int) fs.FileInfo) (*Dataset, error) {
	d := &Dataset{Name: name, Classes: []string{""}, Items: make([]Item, len(paths))}
	o := new(opener)
	for i, path := range paths {
		var err error
		if d.Items[i], err = o.item(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if it := &d.Items[i]; it.in == nil && it.Remote() {
			it.in = &remote{file: file{path, seen(i)}}
		}
	}
	return d, nil
}

// FileOf is the path of the file that the image with a path is, or is in.
func FileOf(path string) string {
	file, _, _ := split(path)
	return file
}

// Info is about the file that the image is, or is in: of one in an object store as it was when it was read last.
func (it Item) Info() (fs.FileInfo, error) {
	if r, is := it.in.(*remote); is {
		if info := r.read.Load(); info != nil {
			return *info, nil
		}
	}
	return it.stat()
}

// Inside reports whether the image is a part of a file.
func (it Item) Inside() bool {
	_, whole := it.in.(*remote)
	return it.in != nil && !whole
}

// remote is a file in an object store of which it is known what it is like, as a container of itself.
type remote struct {
	file
	read atomic.Pointer[fs.FileInfo] // what it was like when it was
}

func (r *remote) find(string) (int, bool) { return 0, false }

func (r *remote) image(int) ([]byte, error) {
	content, info, err := place.Get(r.path, userfile.Image)
	if err == nil && place.Same(info, r.info) {
		info = r.info // which knows more
	}
	if err == nil {
		r.read.Store(&info)
	}
	return content, err
}

// Learn remembers the hash of an item whose file was like that when it was read, by whomever.
func (x *Index) Learn(it Item, info fs.FileInfo, id ID) {
	x.with(it, func(p *section, name string) {
		p.files[name] = known{info.Size(), info.ModTime().UnixNano(), id, place.Tag(info)}
		p.changed[name] = true
	})
}

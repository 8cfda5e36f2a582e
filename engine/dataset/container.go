package dataset

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/userfile"
)

// container is a file that holds images.
type container interface {
	opened() *file
	find(name string) (i int, found bool) // by what follows # in the path of an item
	image(i int) ([]byte, error)          // the encoded image; safe from many goroutines
}

// containerKind is a kind of files of images.
type containerKind struct {
	ends []string // of the names by which it is known, in lower case
	open func(file) (container, error)
	read func(*archives, file) error // lists the images with their labels
}

// containerKinds are all but IDX files, whose names are known by more than their ends. A compressed tar archive is
// known in order to be refused.
var containerKinds = []*containerKind{
	{[]string{".zip"}, as(openZip), (*archives).readZip},
	{[]string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"}, as(openTar), (*archives).readTar},
	{[]string{".parquet"}, as(openParquet), (*archives).readParquet},
	{[]string{".bin"}, as(openCIFAR), (*archives).readCIFAR},
}

func as[C container](open func(file) (C, error)) func(file) (container, error) {
	return func(f file) (container, error) { return open(f) }
}

// kindOf is the kind of a file by its name, nil if it is none.
func kindOf(name string) *containerKind {
	name = strings.ToLower(name)
	for _, kind := range containerKinds {
		if slices.ContainsFunc(kind.ends, func(end string) bool { return strings.HasSuffix(name, end) }) {
			return kind
		}
	}
	return nil
}

// file is a file as it was when it was opened first. Each read opens it anew, so that thousands of files take no
// descriptors and none waits to be closed; one that has changed meanwhile is refused, since what is known about its
// parts is of another file.
type file struct {
	path string
	info fs.FileInfo
}

func newFile(path string) (file, error) {
	info, err := userfile.Regular(path)
	return file{path, info}, err
}

func (f *file) opened() *file { return f }

func (f *file) size() int64 { return f.info.Size() }

// open opens the file again.
func (f *file) open() (*os.File, error) {
	h, info, err := userfile.Open(f.path)
	if err != nil {
		return nil, err
	}
	if info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime()) {
		h.Close()
		return nil, fault.Data.Errorf("%s has changed while it was used; begin anew", f.path)
	}
	return h, nil
}

// ReadAt implements [io.ReaderAt].
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	h, err := f.open()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	return h.ReadAt(p, at)
}

// part reads a part of the file, which must lie in it.
func (f *file) part(at, size int64) ([]byte, error) { return part(f, f.size(), at, size) }

func part(from io.ReaderAt, all, at, size int64) ([]byte, error) {
	switch {
	case at < 0 || size < 0 || at > all || size > all-at:
		return nil, fmt.Errorf("cut short: %d bytes from %d on, in a file of %d", size, at, all)
	case size > userfile.Image:
		return nil, fmt.Errorf("has %d bytes; the limit here is %d MiB", size, userfile.Image>>20)
	}
	content := make([]byte, size)
	_, err := from.ReadAt(content, at)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if size == 0 {
		err = nil
	}
	return content, err
}

// item is the image i of the container that the file is.
func (f *file) item(in container, name string, i int) Item {
	return Item{Path: f.path + "#" + name, in: in, index: i}
}

// byNumber finds one of n images that are named by their numbers.
func byNumber(name string, n int) (int, bool) {
	i, err := strconv.Atoi(name)
	return i, err == nil && i >= 0 && i < n
}

// Opener reads images by the paths of items: those of files, and as FILE#NAME those inside files, each of which it
// opens once. It is safe for concurrent use.
func Opener() func(path string) ([]byte, error) {
	var mu sync.Mutex
	files := map[string]func() (container, error){}
	return func(path string) ([]byte, error) {
		name, inside, is := split(path)
		if !is {
			return Item{Path: path}.Bytes()
		}
		mu.Lock()
		open := files[name]
		if open == nil {
			open = sync.OnceValues(func() (container, error) { return openContainer(name) })
			files[name] = open
		}
		mu.Unlock()
		f, err := open()
		if err != nil {
			return nil, in(name, err)
		}
		i, found := f.find(inside)
		if !found {
			return nil, fmt.Errorf("%s has no such image", name)
		}
		return f.image(i)
	}
}

func openContainer(path string) (container, error) {
	if isIDXImages(filepath.Base(path)) {
		return readIDXFile(path, 3)
	}
	kind := kindOf(path)
	if kind == nil {
		return nil, errors.New("not a file of images")
	}
	f, err := newFile(path)
	if err != nil {
		return nil, err
	}
	return kind.open(f)
}

// split takes FILE#NAME apart, unless there is a file of the whole name or none of the first part.
func split(path string) (file, name string, is bool) {
	if _, err := os.Lstat(path); err == nil {
		return path, "", false
	}
	for at := range len(path) {
		if path[at] != '#' {
			continue
		}
		if info, err := os.Stat(path[:at]); err == nil && info.Mode().IsRegular() {
			return path[:at], path[at+1:], true
		}
	}
	return path, "", false
}

package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// container is a file that holds images.
type container interface {
	opened() *file
	find(name string) (i int, found bool) // by what follows # in the path of an item
	image(i int) ([]byte, error)          // the encoded image; safe from many goroutines
}

// containerKind is a kind of files of images, all but IDX files, whose names are known by more than their ends; the
// empty one is none.
type containerKind string

const (
	zipKind     containerKind = "zip"
	tarKind     containerKind = "tar"
	parquetKind containerKind = "Parquet"
	cifarKind   containerKind = "CIFAR"
)

// containerEnds are those of names, in lower case. A compressed tar archive is known in order to be refused.
var containerEnds = map[string]containerKind{
	".zip": zipKind, ".parquet": parquetKind, ".bin": cifarKind,
	".tar": tarKind, ".tar.gz": tarKind, ".tgz": tarKind, ".tar.bz2": tarKind, ".tar.xz": tarKind, ".tar.zst": tarKind,
}

// kindOf is the kind of a file by its name.
func kindOf(name string) containerKind {
	name = strings.ToLower(name)
	for end, kind := range containerEnds { // no name ends in two of them
		if strings.HasSuffix(name, end) {
			return kind
		}
	}
	return ""
}

// open finds the places of images.
func (k containerKind) open(f file) (container, error) {
	switch k {
	case zipKind:
		return openZip(f)
	case tarKind:
		return openTar(f)
	case parquetKind:
		return openParquet(f)
	case cifarKind:
		return openCIFAR(f)
	}
	return nil, errors.New("not a file of images")
}

// read lists images with their labels.
func (k containerKind) read(a *archives, f file) error {
	switch k {
	case zipKind:
		return a.readZip(f)
	case tarKind:
		return a.readTar(f)
	case parquetKind:
		return a.readParquet(f)
	case cifarKind:
		return a.readCIFAR(f)
	}
	return errors.New("not a file of images: give .parquet, .tar or .zip")
}

// lookedAt is how much of the beginning of a file says what it is.
const lookedAt = 512

// lookalike says of the beginning of a file that it is no list and no file of images, whatever its name says, and what
// to do; "" if that is not known.
func lookalike(start []byte) string {
	switch text := strings.ToLower(string(bytes.TrimSpace(start))); {
	case strings.HasPrefix(text, "version https://git-lfs"):
		return "it is a Git LFS pointer: run `git lfs pull` where it comes from"
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return "it is a web page, and not the file that was asked for: download it anew"
	}
	return compressed(start)
}

// file is a file as it was when it was opened first. Each read opens it anew, so that thousands of files take no
// descriptors and none waits to be closed; one that has changed meanwhile is refused, since what is known about its
// parts is of another file.
type file struct {
	path string
	info fs.FileInfo
}

func newFile(path string) (file, error) {
	info, err := place.Regular(path)
	return file{path, info}, err
}

func (f *file) opened() *file { return f }

func (f *file) size() int64 { return f.info.Size() }

// or is why a file could not be read: what it is in truth, if that is known.
func (f *file) or(err error) error {
	if err == nil {
		return nil
	}
	if start, fault := f.part(0, min(f.size(), lookedAt)); fault == nil {
		if is := lookalike(start); is != "" {
			return errors.New(is)
		}
	}
	return err
}

// open opens the file again.
func (f *file) open() (place.File, error) {
	h, info, err := place.Open(f.path)
	if err != nil {
		return nil, err
	}
	if !place.Same(info, f.info) {
		h.Close()
		return nil, fault.Data.Errorf("%s has changed while it was used; begin anew", f.path)
	}
	return h, nil
}

// ReadAt implements [io.ReaderAt].
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	if place.IsURL(f.path) { // where reading finds out whether it has changed
		return place.At(f.path, f.info).ReadAt(p, at)
	}
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
	o := new(opener)
	return func(path string) ([]byte, error) {
		it, err := o.item(path)
		if err != nil {
			return nil, err
		}
		return it.Bytes()
	}
}

// opener makes items of paths.
type opener struct {
	mu    sync.Mutex
	files map[string]func() (container, error)
}

func (o *opener) item(path string) (Item, error) {
	name, inside, is := o.split(path)
	if !is {
		return Item{Path: path}, nil
	}
	o.mu.Lock()
	open := o.files[name]
	if open == nil {
		open = sync.OnceValues(func() (container, error) { return openContainer(name) })
		if o.files == nil {
			o.files = map[string]func() (container, error){}
		}
		o.files[name] = open
	}
	o.mu.Unlock()
	f, err := open()
	if err != nil {
		return Item{}, in(name, err)
	}
	i, found := f.find(inside)
	if !found {
		return Item{}, in(name, fmt.Errorf("no image %s in it", inside))
	}
	return f.opened().item(f, inside, i), nil
}

// split is the function of that name, which asks an object store once for a file.
func (o *opener) split(path string) (file, name string, is bool) {
	if !place.IsURL(path) {
		return split(path)
	}
	if !strings.ContainsRune(path, '#') {
		return path, "", false
	}
	o.mu.Lock()
	for at := range len(path) {
		if path[at] == '#' && o.files[path[:at]] != nil {
			o.mu.Unlock()
			return path[:at], path[at+1:], true
		}
	}
	o.mu.Unlock()
	return split(path)
}

// byName finds members by their names, the first of those that are called the same.
func byName(n int, name func(i int) string) func() map[string]int {
	return sync.OnceValue(func() map[string]int {
		at := make(map[string]int, n)
		for i := range n {
			if _, known := at[name(i)]; !known {
				at[name(i)] = i
			}
		}
		return at
	})
}

func openContainer(path string) (container, error) {
	if isIDXImages(filepath.Base(path)) {
		return readIDXFile(path, 3)
	}
	f, err := newFile(path)
	if err != nil {
		return nil, err
	}
	return kindOf(path).open(f)
}

// split takes FILE#NAME apart, unless there is a file of the whole name or none of the first part.
func split(path string) (file, name string, is bool) {
	if exists(path) {
		return path, "", false
	}
	for at := range len(path) {
		if path[at] != '#' {
			continue
		}
		if info, err := place.Stat(path[:at]); err == nil && info.Mode().IsRegular() {
			return path[:at], path[at+1:], true
		}
	}
	return path, "", false
}

// exists reports whether there is a file, folder or link of a name.
func exists(path string) bool {
	var err error
	if place.IsURL(path) {
		_, err = place.Stat(path)
	} else {
		_, err = os.Lstat(path)
	}
	return err == nil
}

package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// isIDXImages reports whether a file name is that of an IDX file of images.
func isIDXImages(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return strings.HasSuffix(name, "idx3-ubyte") && strings.Contains(name, "images")
}

// idxData is an IDX file of unsigned bytes: images [n, rows, columns], or labels [n].
type idxData struct {
	file  // as it was before it was read
	shape []int
	data  []byte
}

func (x *idxData) find(name string) (int, bool) { return byNumber(name, x.shape[0]) }

func (x *idxData) image(i int) ([]byte, error) { return x.pgm(i), nil }

// pgm is image i as binary PGM: a header and the pixels.
func (x *idxData) pgm(i int) []byte {
	size := x.shape[1] * x.shape[2]
	out := fmt.Appendf(make([]byte, 0, size+24), "P5\n%d %d\n255\n", x.shape[2], x.shape[1])
	return append(out, x.data[i*size:(i+1)*size]...)
}

// readIDXFolder chooses one of the images files in a folder.
func (r *reading) readIDXFolder(names []string) error {
	marks := []string{"t10k", "test"}
	if r.part == train {
		marks = []string{"train"}
	}
	chosen := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return len(names) > 1 &&
			!slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(strings.ToLower(name), m) })
	})
	if len(chosen) != 1 {
		return fmt.Errorf("several IDX files (%s): name the one to use", strings.Join(names, ", "))
	}
	if len(names) > 1 {
		r.find(ChosenFile, chosen, "of the IDX files in %s one is used", r.source)
	}
	return r.readIDX(place.Join(r.source, chosen[0]))
}

// readIDX reads a file of images and the file of labels beside it.
func (r *reading) readIDX(path string) error {
	labelPath, err := labelsFile(path)
	if err != nil {
		return in(path, err)
	}
	images, err := readIDXFile(path, 3)
	if err != nil {
		return in(path, err)
	}
	labels, err := readIDXFile(labelPath, 1)
	if err != nil {
		return in(labelPath, err)
	}
	if len(labels.data) != images.shape[0] {
		return in(path, fmt.Errorf("%d images, but %d labels in %s", images.shape[0], len(labels.data),
			filepath.Base(labelPath)))
	}
	if r.classes, err = classNames(place.Dir(path)); err != nil {
		return err
	}
	r.samples = make([]sample, 0, len(labels.data))
	for i, l := range labels.data {
		label := strconv.Itoa(int(l))
		if r.classes != nil {
			if int(l) >= len(r.classes) {
				return in(labelPath, fmt.Errorf("label %d has no line in the file of class names, which has %d", l,
					len(r.classes)))
			}
			label = r.classes[l]
		}
		r.samples = append(r.samples, sample{Item: images.item(images, strconv.Itoa(i), i), label: label})
	}
	return nil
}

// labelsFile finds the labels that belong to a file of images, compressed or not, whatever the images are.
func labelsFile(images string) (string, error) {
	dir, name := filepath.Split(images)
	name = strings.TrimSuffix(name, ".gz")
	name = strings.NewReplacer("images", "labels", "IMAGES", "LABELS", "idx3", "idx1", "IDX3", "IDX1").Replace(name)
	for _, path := range []string{dir + name, dir + name + ".gz"} {
		if _, err := place.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no labels: looked for %s and %s.gz beside it: %w", name, name, fs.ErrNotExist)
}

// classNames are the lines of classes.txt, labels.txt or a file of another name in dir, nil without one.
func classNames(dir string, other ...string) ([]string, error) {
	for _, name := range append([]string{"classes.txt", "labels.txt"}, other...) {
		path := place.Join(dir, name)
		data, err := place.Read(path, userfile.Text)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		text := strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), "\r\n \t")
		names, seen := strings.Split(text, "\n"), map[string]bool{}
		for i := 0; i < len(names) && err == nil; i++ {
			names[i] = strings.TrimSpace(names[i])
			if names[i] == "" {
				err = &SourceError{Line: i + 1, Err: errors.New("empty class name")}
			} else if seen[names[i]] {
				err = &SourceError{Line: i + 1, Err: fmt.Errorf("class name %q appears twice", names[i])}
			}
			seen[names[i]] = true
		}
		return names, in(path, err)
	}
	return nil, nil
}

func readIDXFile(path string, dims int) (*idxData, error) {
	f, info, err := place.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x, err := parseIDX(f, info.Size(), dims)
	x.file = file{path, info}
	return x, err
}

// largestIDX bounds the memory that an IDX file takes: its data, and perElement bytes for each image or label.
const (
	largestIDX = 2 << 30
	perElement = 512
)

// deflateMost is the largest factor by which deflate can shrink.
const deflateMost = 1032

// parseIDX reads an IDX file (http://yann.lecun.com/exdb/mnist/), through gzip if its first bytes say so: two zero
// bytes, the element type, the number of dimensions, each dimension as a big-endian uint32, then the elements. It takes
// no memory on the word of a header alone: the file's own size must allow for what it promises.
func parseIDX(from io.Reader, fileSize int64, dims int) (*idxData, error) {
	x := new(idxData)
	b := bufio.NewReaderSize(from, 1<<16)
	magic, err := b.Peek(2)
	if err != nil {
		return x, fmt.Errorf("too short for an IDX file: %w", err)
	}
	from = b
	if bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if from, err = gzip.NewReader(b); err != nil {
			return x, err
		}
		fileSize *= deflateMost
	}
	header := make([]uint32, 1+dims)
	if err := binary.Read(from, binary.BigEndian, header); err != nil {
		return x, fmt.Errorf("IDX header cut short: %w", err)
	}
	const unsignedBytes = 0x00000800
	if want := uint32(unsignedBytes + dims); header[0] != want {
		return x, fmt.Errorf("starts with %#08x, not with %#08x as an IDX file of unsigned bytes in %d dimensions does",
			header[0], want, dims)
	}
	size := int64(1)
	for i, n := range header[1:] {
		const largest = 1 << 14 // pixels a side; with it the size fits int64
		if i > 0 && (n < 1 || n > largest) {
			return x, fmt.Errorf("images of %d×%d pixels", header[3], header[2])
		}
		x.shape = append(x.shape, int(n))
		size *= int64(n)
	}
	switch memory := size + perElement*int64(header[1]); {
	case memory > largestIDX:
		return x, fmt.Errorf("its header promises %d elements of %d bytes in all, which take more memory than the "+
			"limit of %d GiB: split it, or use image files", header[1], size, largestIDX>>30)
	case size > fileSize:
		return x, fmt.Errorf("cut short: its header promises %d bytes of data, and it can hold %d at most", size,
			fileSize)
	}
	x.data = make([]byte, size) // not resident until it is filled
	if n, err := io.ReadFull(from, x.data); err != nil {
		return x, fmt.Errorf("cut short: %d of %d bytes of data: %w", n, size, err)
	}
	switch _, err := io.ReadFull(from, make([]byte, 1)); err { // a gzip file's checksum comes with its end
	case io.EOF:
		return x, nil
	case nil:
		return x, fmt.Errorf("more than the %d bytes of data that its header says", size)
	default:
		return x, fmt.Errorf("after %d bytes of data: %w", size, err)
	}
}

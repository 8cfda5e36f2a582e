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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The IDX format (http://yann.lecun.com/exdb/mnist/): two zero bytes, the element type, the number of dimensions, each
// dimension as a big-endian uint32, then the elements.
const (
	idxImageMagic = 0x00000803 // unsigned bytes, [n, rows, columns]
	idxLabelMagic = 0x00000801 // unsigned bytes, [n]
)

// isIDXImages reports whether a file name is that of an IDX file of images.
func isIDXImages(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return strings.HasSuffix(name, "idx3-ubyte") && strings.Contains(name, "images")
}

// idxImages is the content of an IDX file of images.
type idxImages struct {
	count, rows, columns int
	pixels               []byte
	file                 fs.FileInfo // before it was read
}

// pgm is image i as binary PGM: a header and the pixels.
func (x *idxImages) pgm(i int) []byte {
	size := x.rows * x.columns
	out := fmt.Appendf(make([]byte, 0, size+24), "P5\n%d %d\n255\n", x.columns, x.rows)
	return append(out, x.pixels[i*size:(i+1)*size]...)
}

// readIDXFolder chooses one of the images files in dir.
func readIDXFolder(dir string, names []string, training bool) (*reading, error) {
	chosen := names
	if len(names) > 1 {
		chosen = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			name = strings.ToLower(name)
			if training {
				return !strings.Contains(name, "train")
			}
			return !strings.Contains(name, "t10k") && !strings.Contains(name, "test")
		})
	}
	if len(chosen) != 1 {
		return nil, &SourceError{Source: dir, Err: fmt.Errorf("several IDX files (%s): name the one to use",
			strings.Join(names, ", "))}
	}
	r, err := readIDX(filepath.Join(dir, chosen[0]))
	if err != nil {
		return nil, err
	}
	if len(names) > 1 {
		r.find(ChosenFile, chosen, "of the IDX files in %s, %s is used", dir, chosen[0])
	}
	return r, nil
}

// readIDX reads a file of images and the file of labels beside it.
func readIDX(path string) (*reading, error) {
	labelPath, err := labelsFile(path)
	if err != nil {
		return nil, &SourceError{Source: path, Err: err}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, &SourceError{Source: path, Err: err}
	}
	images, err := readIDXFile(path, parseIDXImages)
	if err != nil {
		return nil, &SourceError{Source: path, Err: err}
	}
	images.file = info
	labels, err := readIDXFile(labelPath, parseIDXLabels)
	if err != nil {
		return nil, &SourceError{Source: labelPath, Err: err}
	}
	if len(labels) != images.count {
		return nil, &SourceError{Source: path, Err: fmt.Errorf("%d images, but %d labels in %s", images.count, len(labels),
			filepath.Base(labelPath))}
	}
	names, err := classNames(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	r := &reading{classes: names, samples: make([]sample, len(labels))}
	for i, l := range labels {
		label := strconv.Itoa(int(l))
		if names != nil {
			if int(l) >= len(names) {
				return nil, &SourceError{Source: labelPath,
					Err: fmt.Errorf("label %d has no line in the file of class names, which has %d", l, len(names))}
			}
			label = names[l]
		}
		r.samples[i] = sample{Item: Item{Path: fmt.Sprintf("%s#%d", path, i), idx: images, index: i}, label: label}
	}
	return r, nil
}

// labelsFile finds the labels that belong to a file of images, compressed or not, whatever the images are.
func labelsFile(images string) (string, error) {
	dir, name := filepath.Split(images)
	name = strings.TrimSuffix(name, ".gz")
	name = strings.NewReplacer("images", "labels", "IMAGES", "LABELS", "idx3", "idx1", "IDX3", "IDX1").Replace(name)
	for _, path := range []string{dir + name, dir + name + ".gz"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no labels: looked for %s and %s.gz beside it: %w", name, name, fs.ErrNotExist)
}

// classNames are the lines of classes.txt or labels.txt in dir, nil without one.
func classNames(dir string) ([]string, error) {
	for _, name := range []string{"classes.txt", "labels.txt"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, &SourceError{Source: path, Err: err}
		}
		text := strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), "\r\n \t")
		names := strings.Split(text, "\n")
		for i := range names {
			names[i] = strings.TrimSpace(names[i])
			if names[i] == "" {
				return nil, &SourceError{Source: path, Line: i + 1, Err: errors.New("empty class name")}
			}
			if slices.Contains(names[:i], names[i]) {
				return nil, &SourceError{Source: path, Line: i + 1, Err: fmt.Errorf("class name %q appears twice", names[i])}
			}
		}
		return names, nil
	}
	return nil, nil
}

func readIDXFile[T any](path string, parse func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer f.Close()
	return decompress(f, parse)
}

// decompress parses r, through gzip if its first bytes say so.
func decompress[T any](r io.Reader, parse func(io.Reader) (T, error)) (T, error) {
	var none T
	b := bufio.NewReaderSize(r, 1<<16)
	magic, err := b.Peek(2)
	if err != nil {
		return none, fmt.Errorf("too short for an IDX file: %w", err)
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return parse(b)
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return none, err
	}
	return parse(z)
}

func parseIDXImages(r io.Reader) (*idxImages, error) {
	dims, err := parseIDXHeader(r, idxImageMagic, 3)
	if err != nil {
		return nil, err
	}
	x := &idxImages{count: dims[0], rows: dims[1], columns: dims[2]}
	const largest = 1 << 14 // pixels a side; with it the size below fits int64
	if x.rows < 1 || x.columns < 1 || x.rows > largest || x.columns > largest {
		return nil, fmt.Errorf("images of %d×%d pixels", x.columns, x.rows)
	}
	x.pixels, err = readExactly(r, int64(x.count)*int64(x.rows)*int64(x.columns))
	return x, err
}

func parseIDXLabels(r io.Reader) ([]byte, error) {
	dims, err := parseIDXHeader(r, idxLabelMagic, 1)
	if err != nil {
		return nil, err
	}
	return readExactly(r, int64(dims[0]))
}

func parseIDXHeader(r io.Reader, magic uint32, dims int) ([]int, error) {
	header := make([]uint32, 1+dims)
	if err := binary.Read(r, binary.BigEndian, header); err != nil {
		return nil, fmt.Errorf("IDX header cut short: %w", err)
	}
	if header[0] != magic {
		return nil, fmt.Errorf("starts with %#08x, not with %#08x as an IDX file of unsigned bytes in %d dimensions does",
			header[0], magic, dims)
	}
	out := make([]int, dims)
	for i, n := range header[1:] {
		out[i] = int(n)
	}
	return out, nil
}

// readExactly reads the rest of r, which must be n bytes. It takes no memory on the word of a header alone.
func readExactly(r io.Reader, n int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, n+1))
	if err != nil {
		return nil, fmt.Errorf("reading %d bytes of data: %w", n, err)
	}
	if int64(len(data)) < n {
		return nil, fmt.Errorf("cut short: %d of %d bytes of data", len(data), n)
	}
	if int64(len(data)) > n {
		return nil, fmt.Errorf("more than the %d bytes of data that its header says", n)
	}
	return data, nil
}

package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/place"
)

// cifarFile is a file of CIFAR-10 or CIFAR-100 in the binary version (https://www.cs.toronto.edu/~kriz/cifar.html):
// records of one byte for a label (two for CIFAR-100: coarse, fine) and 32×32 pixels, all red ones, all green, all
// blue.
type cifarFile struct {
	file
	labels int // bytes before the pixels
	n      int
}

const (
	cifarSide   = 32
	cifarPixels = 3 * cifarSide * cifarSide
)

// isCIFAR reports whether a file name is that of a file of CIFAR in the binary version, and whether of CIFAR-100.
func isCIFAR(name string) (is, hundred bool) {
	name = strings.ToLower(name)
	hundred = name == "train.bin" || name == "test.bin"
	return hundred || name == "test_batch.bin" ||
		strings.HasPrefix(name, "data_batch_") && strings.HasSuffix(name, ".bin"), hundred
}

func openCIFAR(f file) (*cifarFile, error) {
	is, hundred := isCIFAR(filepath.Base(f.path))
	if !is {
		return nil, errors.New("neither CIFAR-10 (data_batch_1.bin, …, test_batch.bin) nor CIFAR-100 (train.bin, " +
			"test.bin) by its name")
	}
	c := &cifarFile{file: f, labels: 1}
	if hundred {
		c.labels = 2
	}
	record := c.record()
	c.n = int(f.size() / record)
	if f.size()%record != 0 || c.n == 0 {
		return nil, fmt.Errorf("has %d bytes, which are no whole records of %d: cut short, or another file", f.size(),
			record)
	}
	return c, nil
}

func (c *cifarFile) record() int64 { return int64(c.labels + cifarPixels) }

func (c *cifarFile) find(name string) (int, bool) { return byNumber(name, c.n) }

// image is image i as binary PPM.
func (c *cifarFile) image(i int) ([]byte, error) {
	planes, err := c.part(int64(i)*c.record()+int64(c.labels), cifarPixels)
	if err != nil {
		return nil, err
	}
	out := fmt.Appendf(make([]byte, 0, cifarPixels+16), "P6\n%d %d\n255\n", cifarSide, cifarSide)
	for p := range cifarSide * cifarSide {
		out = append(out, planes[p], planes[p+cifarSide*cifarSide], planes[p+2*cifarSide*cifarSide])
	}
	return out, nil
}

// readCIFAR reads a file, the names of whose classes are beside it.
func (a *archives) readCIFAR(f file) error {
	c, err := openCIFAR(f)
	if err != nil {
		return err
	}
	namesFile, classes := "batches.meta.txt", 10
	if c.labels == 2 {
		namesFile, classes = "fine_label_names.txt", 100
	}
	names, err := classNames(place.Dir(f.path), namesFile)
	if err != nil {
		return err
	}
	a.classes = names
	h, err := f.open()
	if err != nil {
		return err
	}
	defer h.Close()
	for b, i := bufio.NewReaderSize(h, 1<<18), 0; i < c.n; i++ {
		labels, err := b.Peek(c.labels)
		if err != nil {
			return err
		}
		l := int(labels[c.labels-1])
		label := strconv.Itoa(l)
		switch {
		case names != nil && l >= len(names):
			return fmt.Errorf("image %d has the label %d, which has no line in the file of class names, of %d", i, l,
				len(names))
		case names != nil:
			label = names[l]
		case l >= classes:
			return fmt.Errorf("image %d has the label %d; there are %d classes", i, l, classes)
		}
		if _, err := b.Discard(int(c.record())); err != nil {
			return err
		}
		if err := a.add(sample{Item: c.item(c, strconv.Itoa(i), i), label: label}); err != nil {
			return err
		}
	}
	return nil
}

// cifarFiles are those of a folder that the set takes: of CIFAR-10 the batches or the test batch, of CIFAR-100 one of
// two files, which have a file of names beside them.
func (r *reading) cifarFiles(c *contents) (chosen []string, err error) {
	names := c.files
	if len(c.folders) > 0 {
		return nil, nil
	}
	if slices.Contains(names, "batches.meta") || slices.Contains(names, "meta") && slices.Contains(names, "train") {
		return nil, errors.New("CIFAR in the version for Python, which is pickled; take the binary version")
	}
	hasNames := slices.Contains(names, "fine_label_names.txt")
	for _, name := range names {
		is, hundred := isCIFAR(name)
		if test := strings.HasPrefix(strings.ToLower(name), "test"); is && (!hundred || hasNames) &&
			test == (r.part != train) {
			chosen = append(chosen, place.Join(r.source, name))
		}
	}
	return chosen, nil
}

package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
)

// idxFile is an IDX file of unsigned bytes.
func idxFile(dims []int, data []byte) []byte {
	out := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		out = binary.BigEndian.AppendUint32(out, uint32(d))
	}
	return append(out, data...)
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// idxPair is n images of 2×3 pixels, image i filled with i, and labels i mod 11.
func idxPair(n int) (images, labels []byte) {
	var pixels, classes []byte
	for i := range n {
		pixels = append(pixels, bytes.Repeat([]byte{byte(i)}, 6)...)
		classes = append(classes, byte(i%11))
	}
	return idxFile([]int{n, 2, 3}, pixels), idxFile([]int{n}, classes)
}

func put(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIDX(t *testing.T) {
	images, labels := idxPair(22)
	for _, c := range []struct{ images, labels string }{
		{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
		{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"},
		{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"},
		{"train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
		{"emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte.gz"},
	} {
		dir := t.TempDir()
		for name, data := range map[string][]byte{c.images: images, c.labels: labels} {
			if strings.HasSuffix(name, ".gz") {
				data = gz(t, data)
			}
			put(t, dir, name, data)
		}
		for _, source := range []string{dir, filepath.Join(dir, c.images)} {
			d, findings := mustOpen(t, source, Options{})
			wantFindings(t, findings)
			if len(d.Items) != 22 || !slices.Equal(d.Classes, strings.Fields("0 1 2 3 4 5 6 7 8 9 10")) {
				t.Fatalf("%s: %d items, classes %v", source, len(d.Items), d.Classes)
			}
			it := d.Items[14]
			if it.Class != 3 || it.Path != filepath.Join(dir, c.images)+"#14" {
				t.Errorf("item %+v", it)
			}
			got, err := it.Bytes()
			if want := "P5\n3 2\n255\n" + strings.Repeat("\x0e", 6); err != nil || string(got) != want {
				t.Errorf("bytes %q, %v, want %q", got, err, want)
			}
		}
	}
}

// A folder with both halves gives each set its own.
func TestIDXFolder(t *testing.T) {
	dir := t.TempDir()
	for name, n := range map[string]int{"train": 33, "t10k": 12} {
		images, labels := idxPair(n)
		put(t, dir, name+"-images-idx3-ubyte.gz", gz(t, images))
		put(t, dir, name+"-labels-idx1-ubyte.gz", gz(t, labels))
	}
	train, findings := mustOpen(t, dir, Options{})
	wantFindings(t, findings, ChosenFile)
	test, findings := mustOpen(t, dir, Options{Classes: train.Classes})
	wantFindings(t, findings, ChosenFile)
	if len(train.Items) != 33 || len(test.Items) != 12 {
		t.Errorf("%d and %d items", len(train.Items), len(test.Items))
	}

	images, _ := idxPair(1)
	put(t, dir, "more-train-images-idx3-ubyte", images)
	if _, _, err := Open(dir, Options{}); fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "several IDX files") {
		t.Errorf("error %v", err)
	}
}

func TestIDXClassNames(t *testing.T) {
	dir := t.TempDir()
	images, labels := idxPair(22)
	path := put(t, dir, "train-images-idx3-ubyte", images)
	put(t, dir, "train-labels-idx1-ubyte", labels)

	names := strings.Fields("T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot Hat Unused")
	put(t, dir, "classes.txt", []byte("\ufeff"+strings.Join(names, "\r\n")+"\r\n\n"))
	d, findings := mustOpen(t, path, Options{})
	if !slices.Equal(d.Classes, names[:11]) || d.Items[3].Class != 3 {
		t.Errorf("classes %v", d.Classes)
	}
	wantFindings(t, findings, EmptyClass)

	for text, want := range map[string]string{
		"a\nb":    "label 2 has no line",
		"a\n\nb":  "classes.txt:2: empty",
		"a\nb\na": "classes.txt:3: class name",
	} {
		put(t, dir, "classes.txt", []byte(text))
		if _, _, err := Open(path, Options{}); fault.Of(err) != fault.Data || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestIDXRefuses(t *testing.T) {
	images, labels := idxPair(22)
	_, fewer := idxPair(21)
	huge := idxFile([]int{1<<32 - 1, 1 << 14, 1 << 14}, nil)
	for _, c := range []struct {
		name           string
		images, labels []byte
		want           string
	}{
		{"no labels", images, nil, "looked for train-labels-idx1-ubyte"},
		{"fewer labels", images, fewer, "22 images, but 21 labels"},
		{"cut", images[:len(images)-1], labels, "cut short: 131 of 132"},
		{"longer", append(slices.Clone(images), 0), labels, "more than the 132"},
		{"labels cut", images, labels[:9], "cut short"},
		{"header cut", images[:10], labels, "header cut short"},
		{"empty", []byte{}, labels, "too short"},
		{"labels for images", labels, labels, "starts with 0x00000801"},
		{"images for labels", images, images, "starts with 0x00000803"},
		{"no pixels", idxFile([]int{22, 0, 3}, nil), labels, "images of 3×0"},
		{"header lies", huge, labels, "take more memory than the limit of 2 GiB"},
		{"as large as allowed", idxFile([]int{1000, 1 << 10, 1 << 10}, nil), labels,
			"promises 1048576000 bytes of data, and it can hold 16 at most"},
		{"very many", idxFile([]int{1 << 24, 1, 1}, nil), labels, "promises 16777216 elements"},
		{"gzip promises much", gz(t, idxFile([]int{1000, 1 << 10, 1 << 10}, nil)), labels, "it can hold"},
		{"gzip bomb", gz(t, idxFile([]int{22, 2, 3}, make([]byte, 64<<20))), labels, "more than the 132"},
		{"gzip end cut", gz(t, images)[:len(gz(t, images))-4], labels, "after 132 bytes of data: unexpected EOF"},
		{"gzip cut", gz(t, images)[:30], labels, "unexpected EOF"},
		{"gzip damaged", append([]byte{0x1f, 0x8b}, images...), labels, "gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := put(t, dir, "train-images-idx3-ubyte", c.images)
			if c.labels != nil {
				put(t, dir, "train-labels-idx1-ubyte", c.labels)
			}
			before := allocated()
			_, _, err := Open(path, Options{})
			if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v, want one of data with %q", err, c.want)
			}
			if used := allocated() - before; used > 1<<20 {
				t.Errorf("took %d bytes to find that out", used)
			}
			if c.labels == nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v does not wrap fs.ErrNotExist", err)
			}
		})
	}
}

// allocated is how many bytes were allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// The memory that a sound file takes is its data's, once.
func TestIDXMemory(t *testing.T) {
	dir := t.TempDir()
	path := put(t, dir, "train-images-idx3-ubyte.gz", gz(t, idxFile([]int{64, 1 << 10, 1 << 10}, make([]byte, 64<<20))))
	before := allocated()
	x, err := readIDXFile(path, 3)
	if err != nil || len(x.data) != 64<<20 {
		t.Fatal(err)
	}
	if used := allocated() - before; used > 65<<20 {
		t.Errorf("%d bytes of data took %d", len(x.data), used)
	}
}

func FuzzIDX(f *testing.F) {
	images, labels := idxPair(3)
	f.Add(images)
	f.Add(labels)
	f.Add(gz(f, images))
	f.Add(idxFile([]int{1 << 31, 1, 1}, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIDX(bytes.NewReader(data), int64(len(data)), 3)
		if err == nil {
			for i := range x.shape[0] {
				if got, size := len(x.pgm(i)), x.shape[1]*x.shape[2]; got <= size || got > size+24 {
					t.Fatalf("image %d of %v takes %d bytes", i, x.shape, got)
				}
			}
		}
		// Whatever it holds, it is not both.
		if _, labels := parseIDX(bytes.NewReader(data), int64(len(data)), 1); labels == nil && err == nil {
			t.Fatal("both images and labels")
		}
	})
}

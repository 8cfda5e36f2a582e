// Package placetest says what package place promises of the files in a place: each kind of place passes [Run].
package placetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/vitft/vitft/engine/place"
)

// files are what is put into a place, by their names.
var files = map[string]string{
	"a.txt": "first", "train/cat/1.jpg": "one", "train/cat/deep/er/2.jpg": "two", "train/dog/3.jpg": "",
	"train/été 100%.jpg": "odd", "train/a#b?c=d.jpg": "odder", "train.csv": "path,label\n",
	"big.bin": strings.Repeat("0123456789abcdef", 10_000), // 160 kB, several blocks
}

// Run tests the folder that a setting calls name, which is empty, and into which put writes a file.
func Run(t *testing.T, name string, put func(t *testing.T, path, file string)) {
	root, err := place.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		from := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		put(t, place.Join(root, name), from)
	}
	t.Run("reading", func(t *testing.T) { reading(t, root) })
	t.Run("in parts", func(t *testing.T) { parts(t, root) })
	t.Run("listing", func(t *testing.T) { listing(t, root) })
	t.Run("what is not there", func(t *testing.T) { missing(t, root) })
}

func reading(t *testing.T, root string) {
	for name, want := range files {
		at := place.Join(root, name)
		got, err := place.Read(at, 1<<20)
		if err != nil || string(got) != want {
			t.Errorf("%s holds %d bytes, %v", name, len(got), err)
		}
		info, err := place.Regular(at)
		if err != nil || info.Size() != int64(len(want)) || info.IsDir() || info.Name() != filepath.Base(name) {
			t.Errorf("%s is %v, %v", name, info, err)
		}
		if again, err := place.Stat(at); err != nil || !place.Same(info, again) {
			t.Errorf("%s is another when it is looked at again: %v", name, err)
		}
	}
	if _, err := place.Read(place.Join(root, "big.bin"), 1000); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading more than is allowed: %v", err)
	}
}

func parts(t *testing.T, root string) {
	f, info, err := place.Open(place.Join(root, "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []byte(files["big.bin"])
	if info.Size() != int64(len(want)) {
		t.Errorf("it has %d bytes", info.Size())
	}
	for _, at := range []int64{0, 1, 65535, 65536, 100_000, int64(len(want)) - 3} {
		for _, n := range []int{1, 100, 70_000} {
			p := make([]byte, n)
			got, err := f.ReadAt(p, at)
			if end := min(int(at)+n, len(want)); !bytes.Equal(p[:got], want[at:end]) || (err == nil) != (got == n) {
				t.Errorf("%d bytes at %d: %d, %v", n, at, got, err)
			}
		}
	}
	if err := iotest.TestReader(f, want); err != nil {
		t.Error(err)
	}
}

func listing(t *testing.T, root string) {
	for _, hold := range []bool{false, true} {
		if hold {
			defer place.Hold()()
		}
		for folder, want := range map[string][]string{
			"": {"a.txt", "big.bin", "train/", "train.csv"}, "train": {"a#b?c=d.jpg", "cat/", "dog/", "été 100%.jpg"},
			"train/cat": {"1.jpg", "deep/"}, "train/cat/deep": {"er/"},
		} {
			at := place.Join(root, folder)
			entries, err := place.ReadDir(at)
			var got []string
			for _, e := range entries {
				name := e.Name()
				if e.IsDir() {
					name += "/"
				}
				got = append(got, name)
				if info, err := place.Stat(place.Join(at, e.Name())); err != nil || info.IsDir() != e.IsDir() {
					t.Errorf("%s in %s: %v, %v", e.Name(), folder, info, err)
				}
				if place.Dir(place.Join(at, e.Name())) != at {
					t.Errorf("%s is in %s", e.Name(), place.Dir(place.Join(at, e.Name())))
				}
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s has %q, %v; want %q", folder, got, err, want)
			}
		}
	}
}

func missing(t *testing.T, root string) {
	for _, name := range []string{"none", "train/ca", "train/cat/1.jpg/x", "train/cat/none.jpg"} {
		at := place.Join(root, name)
		_, stat := place.Stat(at)
		_, open := place.ReadDir(at)
		_, read := place.Read(at, 1000)
		for doing, err := range map[string]error{"stat": stat, "list": open, "read": read} {
			if name == "train/cat/1.jpg/x" && !place.IsURL(root) && err != nil { // it is no folder
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("%s %s: %v", doing, name, err)
			}
		}
	}
}

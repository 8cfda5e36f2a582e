package classify_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// Files are answered in order, also where they come from a source that keeps others waiting; an error of the receiver
// and the end of the context stop it.
func TestClassifyFiles(t *testing.T) {
	c := open(t, classify.Options{MaxBatch: 2})
	folder := testkit.Folder(t, 1, 3, 4)
	var paths []string
	for path, err := range classify.ImageFiles([]string{folder}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if len(paths) != 7 || !slices.IsSorted(paths) {
		t.Errorf("images in %s: %v", folder, paths)
	}
	blocked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	endless := func(yield func(string, error) bool) {
		for _, path := range paths {
			if !yield(path, nil) {
				return
			}
		}
		if yield("gone", fs.ErrNotExist) {
			close(blocked)
			<-release
		}
	}
	var got []string
	err := c.ClassifyFiles(ctx, endless, func(path string, p classify.Prediction, err error) error {
		if got = append(got, path); path == "gone" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a path with an error comes with %v", err)
			}
			<-blocked
			cancel()
		} else if err != nil || p.Label == "" {
			t.Errorf("%s: %q, %v", path, p.Label, err)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(got, append(paths, "gone")) {
		t.Errorf("%v, in the order %v", err, got)
	}
	full := errors.New("disk full")
	n := 0
	files := classify.ImageFiles([]string{folder}, nil)
	err = c.ClassifyFiles(context.Background(), files, func(string, classify.Prediction, error) error {
		if n++; n == 3 {
			return full
		}
		return nil
	})
	if err != full || n != 3 {
		t.Errorf("stopped after %d with %v", n, err)
	}
}

// Folders are walked in order without what is hidden or no image, - is a list of paths, and whoever has enough ends it.
func TestImageFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b/2.jpg", "b/c/1.PNG", "a.gif", "notes.txt", ".hidden.png", ".git/x.png",
		"@eaDir/a.jpg", "b/$RECYCLE.BIN/x.png", "b/c/Thumbs.db", "b/d.jfif"} {
		testkit.WriteFile(t, filepath.Join(dir, filepath.FromSlash(name)), trained.Photo(0, 1))
	}
	in := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, filepath.Join(dir, filepath.FromSlash(name)))
		}
		return paths
	}
	for _, x := range []struct {
		name  string
		paths []string
		list  string
		want  []string
		wrong string // the path that comes with an error
	}{
		{"folder", []string{dir}, "", in("a.gif", "b/2.jpg", "b/c/1.PNG", "b/d.jfif"), ""},
		{"files as they are named", in("notes.txt", "a.gif"), "", in("notes.txt", "a.gif"), ""},
		{"list", []string{"-"}, in("a.gif")[0] + "\r\n\n" + in("b/c")[0], in("a.gif", "b/c/1.PNG"), ""},
		{"marked list", []string{"-"}, "\ufeff" + in("a.gif")[0] + "\n", in("a.gif"), ""},
		{"UTF-16", []string{"-"}, utf16(in("a.gif")[0] + "\r\n" + in("b/2.jpg")[0]), in("a.gif", "b/2.jpg"), ""},
		{"backslashes", []string{"-"}, strings.ReplaceAll(in("b/2.jpg")[0], "/", `\`), in("b/2.jpg"), ""},
		{"an address", []string{"-"}, "https://example.org/a.jpg", []string{"https://example.org/a.jpg"},
			"https://example.org/a.jpg"},
		{"absent", in("absent", "a.gif"), "", in("absent", "a.gif"), in("absent")[0]},
		{"a line without end", []string{"-"}, strings.Repeat("x", 1<<17), []string{"-"}, "-"},
	} {
		var got []string
		for path, err := range classify.ImageFiles(x.paths, strings.NewReader(x.list)) {
			if got = append(got, path); (err != nil) != (path == x.wrong) {
				t.Errorf("%s: %s comes with %v", x.name, path, err)
			}
			if err != nil && strings.Contains(err.Error(), "bufio") {
				t.Errorf("%s: %v", x.name, err)
			}
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
		for most := 1; most < len(x.want); most++ {
			n := 0
			for range classify.ImageFiles(x.paths, strings.NewReader(x.list)) {
				if n++; n == most {
					break
				}
			}
			if n != most {
				t.Errorf("%s: %d after asking for %d", x.name, n, most)
			}
		}
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		for path, err := range classify.ImageFiles([]string{locked}, nil) {
			if path != locked || err == nil {
				t.Errorf("a folder that cannot be read: %s, %v", path, err)
			}
		}
	}
}

// utf16 is a text as Windows writes it, with a byte order mark.
func utf16(text string) string {
	out := "\xff\xfe"
	for _, c := range text {
		out += string([]byte{byte(c), byte(c >> 8)})
	}
	return out
}

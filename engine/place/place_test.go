package place_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/place/placetest"
)

// A folder of this machine, by its file:// URL.
func TestFolder(t *testing.T) {
	placetest.Run(t, "file://"+t.TempDir(), func(t *testing.T, path, file string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file, path); err != nil {
			t.Fatal(err)
		}
	})
}

// Paths of places behave as those of files.
func TestPaths(t *testing.T) {
	for _, c := range [][2]string{
		{place.Join("s3://b/a", "x", "y"), "s3://b/a/x/y"}, {place.Join("s3://b", "x"), "s3://b/x"},
		{place.Join("s3://b/a", "../c/d.jpg"), "s3://b/c/d.jpg"}, {place.Join("s3://b", "../../x"), "s3://b/x"},
		{place.Join("/a", "../x"), "/x"}, {place.Dir("s3://b/a/x"), "s3://b/a"}, {place.Dir("s3://b/a"), "s3://b"},
		{place.Dir("s3://b"), "s3://b"}, {place.Dir("/a/b"), "/a"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s, want %s", c[0], c[1])
		}
	}
}

// Credentials are refused and not repeated, whatever is around them; nothing else panics.
func FuzzNamed(f *testing.F) {
	for _, text := range []string{"s3://b/k?region=x", "s3://u:secret@b/k", "s3://b?endpoint=http://u:secret@h", "://",
		"file:///x", "file://host/x", "s3://", "mem://b/#?", "a/b", "gs://b%zz/?a=%zz",
		"secret@endpoint=http://u/b", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer place.Forget()
		name, err := place.Named(text)
		switch {
		case err != nil && fault.Of(err) != fault.Config:
			t.Errorf("%q: %v", text, err)
		case err != nil && strings.Contains(text, "secret") && strings.Contains(err.Error(), "secret@"):
			t.Errorf("%q: %v repeats credentials", text, err)
		case err == nil && place.IsURL(name):
			if again, err := place.Named(name); !strings.ContainsAny(name, "?") && (err != nil || again != name) {
				t.Errorf("%q is %q, and that %q, %v", text, name, again, err)
			}
			if bucket := place.Bucket(name); strings.Contains(bucket, "@") || place.Dir(bucket) != bucket {
				t.Errorf("%q is in %q", text, bucket)
			}
		}
	})
}

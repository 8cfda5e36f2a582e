package cloud_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/place/placetest"
	"github.com/vitft/vitft/internal/testkit"
)

func put(t *testing.T, path, file string) {
	t.Helper()
	if err := place.Put(path, file); err != nil {
		t.Fatal(err)
	}
}

func TestFilesInMemory(t *testing.T) { placetest.Run(t, "mem://files/some", put) }

func TestFilesInObjectStores(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) { placetest.Run(t, url, put) })
}

// Files are read whole from a server that refuses requests and breaks off in the middle of answers.
func TestUnreliableFiles(t *testing.T) {
	root, err := place.Named("s3://unreliable/some?endpoint=" + unreliable(t, testkit.S3(t, "unreliable")))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("0123456789", 10_000)
	file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "x"), []byte(want))
	put(t, root+"/a/x", file)
	if entries, err := place.ReadDir(root); err != nil || len(entries) != 1 || entries[0].Name() != "a" {
		t.Errorf("%v, %v", entries, err)
	}
	if got, err := place.Read(root+"/a/x", 1<<20); err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	f, _, err := place.Open(root + "/a/x")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 80_000)
	if n, err := f.ReadAt(p, 10_000); err != nil || string(p) != want[10_000:90_000] {
		t.Errorf("%d bytes of a part, %v", n, err)
	}
}

// VITFT_BUCKET is the URL of an empty place in a bucket of another provider, or of its emulator.
func TestFilesInABucketOfYours(t *testing.T) {
	name := os.Getenv("VITFT_BUCKET")
	if name == "" {
		t.Skip("VITFT_BUCKET names no bucket")
	}
	placetest.Run(t, name, put)
}

// A file that is replaced while its parts are read is refused, even by one of the same size.
func TestChangedFile(t *testing.T) {
	root, err := place.Named("mem://changed")
	if err != nil {
		t.Fatal(err)
	}
	file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "x"), []byte(strings.Repeat("a", 300_000)))
	put(t, root+"/x", file)
	f, _, err := place.Open(root + "/x")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100_000)
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	put(t, root+"/x", file)
	if _, err := f.ReadAt(p, 150_000); err == nil || !strings.Contains(err.Error(), "has changed while it was used") {
		t.Errorf("a part of another file: %v", err)
	}
}

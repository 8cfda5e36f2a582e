package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/bucket/buckettest"
	"github.com/vitft/vitft/internal/disk"
)

func TestDir(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		return bucket.Dir(filepath.Join(t.TempDir(), "made", "later"))
	})
}

func TestMemory(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return new(bucket.Memory) })
}

// A folder may hold what is no object: it is not listed, and no error.
func TestDirWithOtherThings(t *testing.T) {
	dir := t.TempDir()
	d := bucket.Dir(dir)
	if err := os.MkdirAll(filepath.Join(dir, ".hidden", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, ".hidden", "x"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, ".tmp-KILLEDKILLEDKILLEDKILLEDKI"), nil, 0o644),
		os.Mkdir(filepath.Join(dir, "folder"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if names, err := d.List(t.Context(), ""); err != nil || len(names) > 0 {
		t.Errorf("names %q, %v", names, err)
	}
	if _, err := d.Open(t.Context(), "folder"); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("opening a folder: %v", err)
	}
	if removed, err := d.Tidy(t.Context(), ""); err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v; want what a killed writer left", removed, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Dir(file).List(t.Context(), "x/"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file instead of the folder: %v", err)
	}
	if err := bucket.Dir(file).Publish(t.Context(), "x/y", nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file instead of the folder: %v", err)
	}
}

// Whatever step fails, nothing is there, and no temporary file stays.
func TestDirFaults(t *testing.T) {
	for _, step := range []disk.Op{disk.Create, disk.Write, disk.Sync,
		disk.Link} {
		dir := t.TempDir()
		restore := disk.SetFault(func(at disk.Op, _ string) error {
			if at == step || at == disk.Rename { // which is tried where a link fails
				return syscall.ENOSPC
			}
			return nil
		})
		err := bucket.Dir(dir).Publish(t.Context(), "x", func(w io.Writer) error {
			_, err := io.WriteString(w, "x")
			return err
		})
		restore()
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", step, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s left %v, %v", step, left, err)
		}
	}
}

func Example() {
	ctx := context.Background()
	b := new(bucket.Memory) // or bucket.Dir("a folder")
	write := func(w io.Writer) error {
		_, err := io.WriteString(w, "once and whole")
		return err
	}
	fmt.Println(b.Publish(ctx, "notes/first", write))
	fmt.Println(errors.Is(b.Publish(ctx, "notes/first", write), fs.ErrExist))
	names, err := b.List(ctx, "notes/")
	fmt.Println(names, err)

	o, err := b.Open(ctx, "notes/first")
	if err != nil {
		log.Fatal(err)
	}
	defer o.Close()
	part := make([]byte, 5)
	_, err = o.ReadAt(part, 9)
	fmt.Println(string(part), err)
	// Output:
	// <nil>
	// true
	// [notes/first] <nil>
	// whole <nil>
}

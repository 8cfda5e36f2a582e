package cloud_test

import (
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/bucket/cloud"
)

// However few copies may be kept, what is in the bucket is read, and what is open stays readable.
func TestFewCopies(t *testing.T) {
	local := t.TempDir()
	b, err := cloud.Open(t.Context(), "mem://", "", local)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	copies := func() (bytes int64) {
		_ = filepath.WalkDir(local, func(_ string, e fs.DirEntry, _ error) error {
			if info, err := e.Info(); err == nil && !e.IsDir() {
				bytes += info.Size()
			}
			return nil
		})
		return bytes
	}
	names := []string{"a/1", "a/2", "b/3", "b/4", "b/5"}
	for i, name := range names {
		if i == 3 { // three are there by then
			b.Keep(2000)
		}
		err := b.Publish(t.Context(), name, func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat(name[2:], 1000))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var open []bucket.Object
	for range 2 {
		for _, name := range names {
			o, err := b.Open(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, o)
			if got := copies(); got > 2000 {
				t.Errorf("%d bytes are kept", got)
			}
		}
	}
	for i, o := range open {
		if got, err := bucket.Content(o); err != nil || string(got) != strings.Repeat(names[i%5][2:], 1000) {
			t.Errorf("%s: %d bytes, %v", names[i%5], len(got), err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

package cloud

import (
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/vitft/vitft/engine/feature/bucket"
)

// A folder that is held was used within the hour, however long it is held, and not a moment longer than that; of one
// that is gone whoever would hold it hears, also where a copy says otherwise.
func TestHold(t *testing.T) {
	local := bucket.Dir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		objects := memblob.OpenBucket(nil)
		defer objects.Close()
		b := &Bucket{objects: objects, where: "mem:///", local: local}
		put := func() {
			if err := b.Publish(t.Context(), "f/key", func(w io.Writer) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		age := func() time.Duration {
			a, err := objects.Attributes(t.Context(), "f/"+bucket.Used)
			if err != nil {
				t.Fatal(err)
			}
			return time.Since(a.ModTime)
		}
		put()
		for range 2 {
			held, err := b.Hold(t.Context(), "f", "f/key")
			if err != nil {
				t.Fatal(err)
			}
			for range 40 {
				time.Sleep(45 * time.Minute)
				if synctest.Wait(); age() > time.Hour {
					t.Fatalf("used %v ago", age())
				}
			}
			if err := held.Close(); err != nil {
				t.Error(err)
			}
			if time.Sleep(10 * time.Hour); age() < 10*time.Hour {
				t.Errorf("used %v ago, long after it was let go of", age())
			}
		}
		if err := objects.Delete(t.Context(), "f/key"); err != nil { // by another machine
			t.Fatal(err)
		}
		if _, err := b.Hold(t.Context(), "f", "f/key"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("holding what is gone: %v", err)
		}
		put()
		if held, err := b.Hold(t.Context(), "f", "f/key"); err != nil {
			t.Errorf("holding what is there again: %v", err)
		} else {
			held.Close()
		}
	})
}

package atomicfile

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/internal/disk"
)

func put(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"one", "two", ""} {
		if err := Write(path, put(want)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Fatalf("read %q, want %q", got, want)
		}
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}

// Of many that create one file at once one succeeds; nobody replaces it.
func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var won atomic.Int64
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			switch err := Create(path, put(string(rune('a'+k)))); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || len(names(t, filepath.Dir(path))) != 1 {
		t.Errorf("%d succeeded, files %v", won.Load(), names(t, filepath.Dir(path)))
	}
	if err := Create(filepath.Join(path, "x"), put("")); err == nil {
		t.Error("created inside a file")
	}
}

// Whatever step fails, the old content stays and no temporary file remains.
func TestFailureLeavesOldFile(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []disk.Op{disk.Create, disk.Write, disk.Sync, disk.Rename} {
		t.Run(string(step), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := Write(path, put("old")); err != nil {
				t.Fatal(err)
			}
			restore := disk.SetFault(func(s disk.Op, _ string) error {
				if s == step {
					return boom
				}
				return nil
			})
			defer restore()
			if err := Write(path, put("new")); !errors.Is(err, boom) {
				t.Fatalf("error %v, want boom", err)
			}
			if got, _ := os.ReadFile(path); string(got) != "old" {
				t.Errorf("content %q after failure", got)
			}
			if got := names(t, filepath.Dir(path)); len(got) != 1 {
				t.Errorf("left %v", got)
			}
		})
	}
	t.Run("fill", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		err := Write(path, func(w io.Writer) error { io.WriteString(w, "half"); return boom })
		if !errors.Is(err, boom) {
			t.Fatalf("error %v, want boom", err)
		}
		if got := names(t, filepath.Dir(path)); len(got) != 0 {
			t.Errorf("left %v", got)
		}
	})
}

func TestMissingFolder(t *testing.T) {
	err := Write(filepath.Join(t.TempDir(), "no", "f"), put("x"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want not-exist", err)
	}
}

// A lock is one's own until it is closed, and what publishes finds its own file under the target's name.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	if _, err := Lock(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locked what is not there: %v", err)
	}
	for range 2 {
		l, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
			t.Errorf("locked twice: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLinkAnswerLost(t *testing.T) {
	dir := t.TempDir()
	f, err := createTemp(dir)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "f")
	if err := errors.Join(os.Link(f.Name(), target), link(f, target)); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "f" {
		t.Errorf("folder holds %v", got)
	}
	if f, err = createTemp(dir); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := link(f, filepath.Join(dir, "none", "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := rename(f, filepath.Join(dir, "none", "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Clean(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cleaned what is not there: %v", err)
	}
}

func TestCleanKeepsLiving(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, tempPrefix+rand.Text())
	if err := os.WriteFile(dead, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	err := Write(filepath.Join(dir, "f"), func(w io.Writer) error {
		removed, err := Clean(dir)
		if err != nil {
			t.Error(err)
		}
		if len(removed) != 1 || removed[0] != filepath.Base(dead) {
			t.Errorf("removed %v, want only %s", removed, filepath.Base(dead))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("folder holds %v, want f and other", got)
	}
}

// Writers and cleaners at the same time: no write may fail or be lost.
func TestCleanRacesWrite(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	var cleaners, writers sync.WaitGroup
	cleaners.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if _, err := Clean(dir); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 4 {
		writers.Go(func() {
			path := filepath.Join(dir, string(rune('a'+i)))
			for range 100 {
				if err := Write(path, put(path)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	cleaners.Wait()
	if got := names(t, dir); len(got) != 4 {
		t.Errorf("folder holds %v, want 4 files", got)
	}
}

// Package atomicfile publishes files whole or not at all.
//
// [Write] fills a temporary file in the target's folder, syncs it, renames it onto the target and syncs the folder: a
// reader sees the old file or the new one, and a process killed or a machine that loses power at any point leaves no
// half-written target.
//
// A writer that dies leaves its temporary file behind. Temporary files are locked (flock) while their writer lives, so
// [Clean] can tell an abandoned one from one that another process is filling right now.
//
// Caveat: on a file system without flock every temporary file looks alive and stays.
package atomicfile

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// tempPrefix marks our temporary files; the leading dot keeps them out of listings.
const tempPrefix = ".tmp-"

// Step is a point of a write at which a test can make it fail.
type Step string

// The steps of a write, in order.
const (
	StepCreate  Step = "create"  // before the temporary file is created
	StepWrite   Step = "write"   // before its content is written
	StepSync    Step = "sync"    // before its content is synced
	StepRename  Step = "rename"  // before it takes its final name
	StepSyncDir Step = "syncdir" // before the folder is synced
)

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

var failpoint atomic.Pointer[func(Step, string) error]

// SetFailpoint makes every write call f(step, target) before each step and fail with the error it returns. It is for
// tests; calling restore ends it.
func SetFailpoint(f func(step Step, target string) error) (restore func()) {
	old := failpoint.Swap(&f)
	return func() { failpoint.Store(old) }
}

func reach(s Step, target string) error {
	if f := failpoint.Load(); f != nil {
		return (*f)(s, target)
	}
	return nil
}

// Write replaces the file at path, or creates it, with what fill writes. After an error the file at path is as it was
// before; only when the last step, the sync of the folder, fails is it the new one, perhaps not yet durable.
func Write(path string, fill func(io.Writer) error) error { return write(path, fill, rename) }

// Create is Write for a file that must not be there: else it fails with an error that wraps fs.ErrExist. Of several at
// once one succeeds, unless the file system has no hard links.
func Create(path string, fill func(io.Writer) error) error { return write(path, fill, link) }

func write(path string, fill func(io.Writer) error, publish func(*os.File, string) error) (err error) {
	dir := filepath.Dir(path)
	if err := reach(StepCreate, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	f, err := createTemp(dir)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			// The name may be gone already, and the first error says more.
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()

	if err := reach(StepWrite, path); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := reach(StepSync, path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := reach(StepRename, path); err != nil {
		return err
	}
	if err := publish(f, path); err != nil {
		return err
	}
	if err := reach(StepSyncDir, path); err != nil {
		return err
	}
	return syncDir(dir)
}

// Lock locks a file or folder that is there until it is closed or the process ends; ErrLocked if somebody else has.
// Where the file system knows no locks, everybody gets one.
func Lock(path string) (io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if errors.Is(lock(f), ErrLocked) {
		return nil, errors.Join(ErrLocked, f.Close())
	}
	return f, nil
}

// createTemp creates and locks a temporary file in dir.
func createTemp(dir string) (*os.File, error) {
	for {
		var id [8]byte
		rand.Read(id[:]) // never fails (crypto/rand)
		name := filepath.Join(dir, tempPrefix+hex.EncodeToString(id[:]))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no folder %s: %w", dir, fs.ErrNotExist)
		}
		if err != nil {
			return nil, err
		}
		// Between creation and lock a Clean in another process may have taken the file for an abandoned one: then
		// start over with another name. Without locks on this file system nothing is ever cleaned.
		if err := lock(f); !errors.Is(err, ErrLocked) && stillNamed(f) {
			return f, nil
		}
		f.Close()
	}
}

// link publishes f under a name that is free. A killed process may leave the temporary name beside the final one.
func link(f *os.File, path string) error {
	err := os.Link(f.Name(), path)
	if err == nil {
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}
	there, statErr := os.Lstat(path)
	if own, err := f.Stat(); err == nil && statErr == nil && os.SameFile(own, there) {
		return errors.Join(f.Close(), os.Remove(f.Name())) // a lost answer of a file server
	}
	if statErr == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return rename(f, path) // no hard links here
}

func stillNamed(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(open, named)
}

// Clean removes the temporary files in dir whose writers are gone and returns their names. Those of living writers
// stay.
func Clean(dir string) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for abandoned temporary files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !IsTemp(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		gone, err := removeAbandoned(filepath.Join(dir, e.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("removing abandoned temporary file: %w", err))
		} else if gone {
			removed = append(removed, e.Name())
		}
	}
	return removed, errors.Join(errs...)
}

// IsTemp reports whether name, without its folder, is that of a temporary file.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

func removeAbandoned(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // published or removed meanwhile
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if lock(f) != nil {
		return false, nil // alive, or no way to tell
	}
	// The lock may have been won just after the writer renamed the file and let go: only a file that still bears the
	// temporary name is abandoned.
	if !stillNamed(f) {
		return false, nil
	}
	return true, os.Remove(path)
}

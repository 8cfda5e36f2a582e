// Package atomicfile publishes files whole or not at all.
//
// [Write] fills a temporary file in the target's folder, syncs it, renames it onto the target and syncs the folder: a
// reader sees the old file or the new one, and a process killed or a machine that loses power at any point leaves no
// half-written target.
//
// A writer that dies leaves its temporary file behind. Temporary files are locked (flock) while their writer lives, so
// [Clean], and so the next Write in that folder, can tell an abandoned one from one that another process is filling.
//
// Caveat: on a file system without flock every temporary file looks alive and stays.
package atomicfile

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/vitft/vitft/internal/disk"
)

// tempPrefix begins the names of our temporary files, and a random text ends them; the leading dot keeps them out of
// listings.
const tempPrefix = ".tmp-"

var tempName = regexp.MustCompile(`^\.tmp-[A-Z2-7]{26}$`)

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// Write replaces the file at path, or creates it, with what fill writes. After an error the file at path is as it was
// before; only when the last step, the sync of the folder, fails is it the new one, perhaps not yet durable.
func Write(path string, fill func(io.Writer) error) error {
	err := write(path, fill, rename)
	if err == nil {
		_, _ = Clean(filepath.Dir(path)) // next time, if not now
	}
	return err
}

// WriteBytes is Write of content.
func WriteBytes(path string, content []byte) error {
	return Write(path, func(w io.Writer) error { _, err := w.Write(content); return err })
}

// Create is Write for a file that must not be there: else it fails with an error that wraps fs.ErrExist. Of several at
// once one succeeds, unless the file system has no hard links. It is for folders of a million files, and does not look
// through them for what killed writers have left: whoever begins to use one calls Clean.
func Create(path string, fill func(io.Writer) error) error { return write(path, fill, link) }

func write(path string, fill func(io.Writer) error, publish func(*os.File, string) error) (err error) {
	dir := filepath.Dir(path)
	var f *os.File
	defer func() {
		if err != nil {
			if f != nil { // The name may be gone already, and the first error says more.
				_ = f.Close()
				_ = disk.Delete(f.Name())
			}
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if f, err = createTemp(dir); err != nil {
		return err
	}
	w := bufio.NewWriterSize(disk.To{File: f}, 1<<16)
	for _, step := range []func() error{
		func() error { return fill(w) },
		w.Flush,
		func() error { return disk.Keep(f) },
		func() error { return publish(f, path) },
		func() error { return disk.KeepFolder(dir) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Lock locks a file or folder that is there until it is closed or the process ends; ErrLocked if somebody else has.
// Where the file system knows no locks, everybody gets one.
func Lock(path string) (io.Closer, error) {
	f, err := os.Open(path)
	if err = cmp.Or(err, disk.Before(disk.Lock, path)); err != nil {
		return nil, err
	}
	if errors.Is(lock(f), ErrLocked) {
		return nil, errors.Join(ErrLocked, f.Close())
	}
	return f, nil
}

// Share keeps others from locking a file or folder until it is closed or the process ends, and lets others share it. It
// waits for the end of a lock; what is not there afterwards is an error that wraps fs.ErrNotExist.
func Share(path string) (io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	share(f)
	if !named(f, path) {
		return nil, errors.Join(&fs.PathError{Op: "share", Path: path, Err: fs.ErrNotExist}, f.Close())
	}
	return f, nil
}

// createTemp creates and locks a temporary file in dir.
func createTemp(dir string) (*os.File, error) {
	for {
		name := filepath.Join(dir, tempPrefix+rand.Text())
		f, err := disk.New(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no folder %s: %w", dir, fs.ErrNotExist)
		}
		if err != nil {
			return nil, err
		}
		// Between creation and lock a Clean in another process may have taken the file for an abandoned one: then
		// start over with another name. Without locks on this file system nothing is ever cleaned.
		if err := lock(f); !errors.Is(err, ErrLocked) && named(f, name) {
			return f, nil
		}
		f.Close()
	}
}

// link publishes f under a name that is free. A killed process may leave the temporary name beside the final one.
func link(f *os.File, path string) error {
	err := disk.Name(f.Name(), path)
	switch _, free := os.Lstat(path); {
	case err == nil || named(f, path): // or a lost answer of a file server
		err = f.Close()
		if left := disk.Delete(f.Name()); !errors.Is(left, fs.ErrNotExist) { // as a Clean may have done by now
			err = errors.Join(err, left)
		}
		return err
	case free == nil:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case errors.Is(err, fs.ErrNotExist):
		return err
	}
	return rename(f, path) // no hard links here
}

// named reports whether a file is the open one.
func named(f *os.File, path string) bool {
	open, err := f.Stat()
	there, missing := os.Lstat(path)
	return err == nil && missing == nil && os.SameFile(open, there)
}

// Clean removes the temporary files in dir whose writers are gone and returns their names. Those of living writers
// stay.
func Clean(dir string) (removed []string, err error) { return Abandoned(dir, disk.Delete) }

// Abandoned does something with each file that Clean would remove, while no writer can have it, and names them.
func Abandoned(dir string, do func(path string) error) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for abandoned temporary files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !tempName.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		switch gone, err := ifAbandoned(filepath.Join(dir, e.Name()), do); {
		case err != nil:
			errs = append(errs, fmt.Errorf("removing abandoned temporary file: %w", err))
		case gone:
			names = append(names, e.Name())
		}
	}
	return names, errors.Join(errs...)
}

func ifAbandoned(path string, do func(path string) error) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // published or removed meanwhile
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	// Without the lock the writer is alive, or there is no way to tell. It may be won just after the writer renamed the
	// file and let go: only a file that still bears the temporary name is abandoned.
	if lock(f) != nil || !named(f, path) {
		return false, nil
	}
	return true, do(path)
}

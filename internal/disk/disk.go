// Package disk is every change that the program makes to files and folders, one function each.
//
// It is one place for two things: an error says what to do about a disk that is full, broken or not writable, and a
// test can fail a change, or end the process before it, with [SetFault]. Package atomicfile makes of these changes
// files that are there whole or not at all.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Op is a kind of change.
type Op string

// The changes. A fault before Tear finds the first half of a Write written.
const (
	Mkdir    Op = "mkdir"
	Create   Op = "create"
	Open     Op = "open" // to write to what is there
	Lock     Op = "lock"
	Write    Op = "write"
	Tear     Op = "tear"
	Truncate Op = "truncate"
	Sync     Op = "sync"
	Rename   Op = "rename"
	Link     Op = "link"
	Remove   Op = "remove"
	SyncDir  Op = "syncdir"
	Touch    Op = "touch"
)

// Fault is asked before each change, with the path that is changed or comes to be; the change fails with what it
// returns.
type Fault func(op Op, path string) error

var fault atomic.Pointer[Fault]

// SetFault sets what tests do to changes; restore ends it.
func SetFault(f Fault) (restore func()) {
	old := fault.Swap(&f)
	return func() { fault.Store(old) }
}

// change makes a change, unless a test fails it.
func change(op Op, path string, do func() error) error {
	if err := Before(op, path); err != nil {
		return err
	}
	return explain(do())
}

// Before is for a change that is made elsewhere, such as a lock.
func Before(op Op, path string) error {
	if f := fault.Load(); f != nil {
		if err := (*f)(op, path); err != nil {
			return explain(&fs.PathError{Op: string(op), Path: path, Err: err})
		}
	}
	return nil
}

// explain adds what can be done.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &curable{fmt.Errorf("%w; make room on this disk, then the same command goes on", err)}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &curable{fmt.Errorf("%w; make this place writable, or name another", err)}
	case errors.Is(err, syscall.EIO):
		return &curable{fmt.Errorf("%w; this disk fails: look after it, or name a place on another", err)}
	}
	return err
}

// curable is for what the same command outlives once the disk is seen to; a file that must not be read would be bad
// data instead.
type curable struct{ error }

// Kind is that of an error that may work when tried again.
func (*curable) Kind() string    { return "" }
func (e *curable) Unwrap() error { return e.error }

// Ails reports whether a change failed for a disk that is full, broken or not writable, and not for something that this
// file system does not have. EPERM may be either: so a file system without links says it.
func Ails(err error) bool {
	for _, code := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EACCES, syscall.EROFS} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// MakeAll makes a folder and those that it lies in, as far as they are not there.
func MakeAll(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	return change(Mkdir, path, func() error { return os.MkdirAll(path, 0o755) })
}

// New creates a file that must not be there, to be read and written.
func New(path string) (f *os.File, err error) {
	err = change(Create, path, func() error {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	return f, err
}

// OpenToWrite opens a file to be read and written with more flags, such as os.O_APPEND.
func OpenToWrite(path string, flags int) (f *os.File, err error) {
	err = change(Open, path, func() error {
		f, err = os.OpenFile(path, os.O_RDWR|flags, 0o644)
		return err
	})
	return f, err
}

// To writes to a file as an io.Writer.
type To struct{ *os.File }

// Write writes where the file is.
func (t To) Write(b []byte) (int, error) { return put(t.File, b, t.File.Write) }

// WriteAt writes at an offset.
func (t To) WriteAt(b []byte, at int64) (int, error) {
	return put(t.File, b, func(b []byte) (n int, err error) {
		n, err = t.File.WriteAt(b, at)
		at += int64(n)
		return n, err
	})
}

// put writes b; in two halves if a test may want to come between them.
func put(f *os.File, b []byte, write func([]byte) (int, error)) (n int, err error) {
	type part struct {
		Op
		bytes []byte
	}
	parts := []part{{Write, b}}
	if fault.Load() != nil {
		parts = []part{{Write, b[:len(b)/2]}, {Tear, b[len(b)/2:]}}
	}
	for _, p := range parts {
		err = change(p.Op, f.Name(), func() error {
			k, err := write(p.bytes)
			n += k
			return err
		})
		if err != nil {
			break
		}
	}
	return n, err
}

// Cut shortens a file.
func Cut(f *os.File, size int64) error {
	return change(Truncate, f.Name(), func() error { return f.Truncate(size) })
}

// Keep sees to it that a file's content outlives the machine's power.
func Keep(f *os.File) error { return change(Sync, f.Name(), f.Sync) }

// KeepFolder does so for the names in a folder.
func KeepFolder(dir string) error {
	return change(SyncDir, dir, func() error { return syncDir(dir) })
}

// Move renames a file or folder onto a path.
func Move(from, to string) error {
	return change(Rename, to, func() error { return os.Rename(from, to) })
}

// Name gives a file a further name, which must be free.
func Name(file, name string) error {
	return change(Link, name, func() error { return os.Link(file, name) })
}

// Point makes a symbolic link.
func Point(target, name string) error {
	return change(Link, name, func() error { return os.Symlink(target, name) })
}

// Used gives a file the time of now, by which it is known when it was last used.
func Used(path string) error {
	return change(Touch, path, func() error { return os.Chtimes(path, time.Now(), time.Now()) })
}

// Delete removes a file or an empty folder.
func Delete(path string) error { return change(Remove, path, func() error { return os.Remove(path) }) }

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vitft/vitft/internal/disk"
)

// lock takes an exclusive lock until f is closed or the process ends; ErrLocked if another open file holds it.
func lock(f *os.File) error {
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// share takes a lock that others may have too, as soon as none has an exclusive one, where the file system knows locks.
func share(f *os.File) {
	for errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH), unix.EINTR) {
	}
}

// rename publishes f while it is still open, and so still locked.
func rename(f *os.File, path string) error {
	if err := disk.Move(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}

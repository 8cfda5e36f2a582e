//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package atomicfile

import (
	"os"

	"github.com/vitft/vitft/internal/disk"
)

// lock does nothing: on Windows a file that its writer holds open cannot be removed, which protects it as a lock would.
func lock(*os.File) error { return nil }

// share does nothing likewise.
func share(*os.File) {}

// rename publishes f; Windows does not rename an open file.
func rename(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return disk.Move(f.Name(), path)
}

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package atomicfile

import "os"

// lock does nothing: on Windows a file that its writer holds open cannot be removed, which protects it as a lock would.
func lock(*os.File) error { return nil }

// rename publishes f; Windows does not rename an open file.
func rename(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func syncDir(string) error { return nil } // a folder cannot be synced there

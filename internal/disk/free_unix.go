//go:build darwin || linux

package disk

import (
	"os"
	"path/filepath"
	"syscall"
)

// Free is how many bytes may be written to a folder, or where it is to be made; false where that is not known.
func Free(folder string) (bytes int64, known bool) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return 0, false
	}
	for _, err := os.Stat(folder); err != nil && folder != filepath.Dir(folder); _, err = os.Stat(folder) {
		folder = filepath.Dir(folder)
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil || s.Blocks == 0 { // some file systems of a network say nothing
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}

package cloud

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/disk"
)

// kept are the copies on this machine, those first that were made first.
type kept struct {
	most int64 // bytes; 0 is no bound

	mu    sync.Mutex
	known bool // what others have left there
	files []copied
	bytes int64
}

type copied struct {
	path  string
	bytes int64
}

// Keep bounds the copies on this machine: when there are more bytes of them, those that were made first are removed,
// and fetched again when they are asked for. What is open stays open.
func (b *Bucket) Keep(most int64) { b.copies.most = most }

// made notes a copy, and removes others if there are too many now.
func (b *Bucket) made(name string) {
	k := &b.copies
	if k.most == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if path := b.local.Where(name); k.known {
		if info, err := os.Stat(path); err == nil {
			k.files, k.bytes = append(k.files, copied{path, info.Size()}), k.bytes+info.Size()
		}
	} else {
		k.files, k.bytes = copiesIn(b.local)
		k.known = true
	}
	for len(k.files) > 1 && k.bytes > k.most {
		if err := disk.Delete(k.files[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // it is only more than it should be
		}
		k.files, k.bytes = k.files[1:], k.bytes-k.files[0].bytes
	}
}

// copiesIn lists the copies in a folder, those first that were made first.
func copiesIn(local bucket.Dir) (files []copied, bytes int64) {
	made := map[string]int64{}
	_ = filepath.WalkDir(string(local), func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what cannot be looked at is no copy that could be removed
		}
		if info, err := e.Info(); err == nil {
			files, bytes = append(files, copied{at, info.Size()}), bytes+info.Size()
			made[at] = info.ModTime().UnixNano()
		}
		return nil
	})
	slices.SortStableFunc(files, func(a, b copied) int { return int(min(max(made[a.path]-made[b.path], -1), 1)) })
	return files, bytes
}

package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// lockEvery is how often a lock that another process holds is tried again.
const lockEvery = 100 * time.Millisecond

// The hub's cache, as its own client lays it out (https://huggingface.co/docs/hub/local-cache):
//
//	models--OWNER--NAME/blobs/DIGEST            the contents
//	models--OWNER--NAME/blobs/DIGEST.incomplete what there is of one so far
//	models--OWNER--NAME/refs/REVISION           the commit that a branch or tag is at
//	models--OWNER--NAME/snapshots/COMMIT/FILE   a link to the content
//	.locks/models--OWNER--NAME/DIGEST.lock      held while a content is loaded

func folderName(repository string) string {
	return "models--" + strings.ReplaceAll(repository, "/", "--")
}

func (s *session) path(r ref, names ...string) string {
	return filepath.Join(s.Cache, folderName(r.repository), filepath.FromSlash(path.Join(names...)))
}

// cachedCommit is the commit that the cache has for a revision; empty if none.
func (s *session) cachedCommit(r ref) string {
	if commitName.MatchString(r.revision) {
		return r.revision
	}
	text, err := userfile.Read(s.path(r, "refs", r.revision), userfile.Small)
	if commit := strings.TrimSpace(string(text)); err == nil && commitName.MatchString(commit) {
		return commit
	}
	return ""
}

// place makes path a link to the blob with digest d or, where links do not work, a copy of it.
func (s *session) place(ctx context.Context, blob, path string, d digest) error {
	if same(blob, path) {
		return nil
	}
	if copied, _ := d.matches(ctx, path); copied {
		return nil
	}
	if err := disk.MakeAll(filepath.Dir(path)); err != nil {
		return err
	}
	if err := disk.Delete(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A relative link survives a move of the cache.
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err == nil {
		err = s.link(target, path)
	}
	switch {
	case err == nil, same(blob, path): // or another pull was faster
		return nil
	case disk.Ails(err): // a copy would fare worse
		return err
	}
	from, _, err := userfile.Open(blob)
	if err != nil {
		return err
	}
	defer from.Close()
	return replace(path, from)
}

func same(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// lock waits until no other process or goroutine holds the lock file; waiting is called once if there is one. Nothing
// is locked where the file system cannot: contents are checked anyway, so that only work is lost.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	if err := disk.MakeAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := disk.Before(disk.Lock, path); err != nil {
		return nil, err
	}
	l := flock.New(path, flock.SetPermissions(0o664)) // as the hub's own client, for caches that users share
	locked, err := l.TryLock()
	if err == nil && !locked {
		waiting()
		_, err = l.TryLockContext(ctx, lockEvery)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = l.Close() }, nil // closing unlocks; there is nothing else to lose
}

// replace writes a file, and makes its folder; others see it whole or not at all.
func replace(path string, content io.Reader) error {
	if err := disk.MakeAll(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { _, err := io.Copy(w, content); return err })
}

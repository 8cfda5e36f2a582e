package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// cache checks the features, the scan index and the copies of images.
func (c *checker) cache(ctx context.Context, dir string) error {
	c.State = "in use"
	features := filepath.Join(dir, "features")
	err := each(features, func(path string, e fs.DirEntry) error {
		if !e.IsDir() {
			return nil
		}
		c.temporary(path)
		n, bad, err := store.Check(ctx, bucket.Dir(features), e.Name(), c.repair)
		c.Files += n
		for _, b := range bad {
			done := func() error { // by Check
				if !strings.HasSuffix(b.Path, bucket.Aside) {
					return errors.New("it cannot be read, or not be renamed; see to its permissions")
				}
				return nil
			}
			c.found(b.Path, b.Err, "", done, "sets it aside, and its images are encoded anew when they are needed")
		}
		return err
	})
	exported := filepath.Join(dir, "exported")
	c.temporary(exported)
	again := "removes it, and it is made anew when it is needed"
	scan := filepath.Join(dir, "scan")
	c.temporary(scan)
	err = errors.Join(err, each(scan, func(path string, e fs.DirEntry) error {
		if e.Type().IsRegular() && e.Name()[0] != '.' {
			c.Files++
			if err := dataset.CheckIndex(path); err != nil {
				c.found(path, err, "", func() error { return disk.Delete(path) }, again)
			}
		}
		return ctx.Err()
	}))
	copies := filepath.Join(dir, "copies")
	c.temporary(copies)
	return errors.Join(err, each(copies, func(path string, e fs.DirEntry) error {
		if e.Type().IsRegular() && e.Name()[0] != '.' {
			c.Files++
			content, err := userfile.Read(path, userfile.Image)
			if sum := sha256.Sum256(content); err == nil && hex.EncodeToString(sum[:]) != e.Name() {
				err = errors.New("its content has another SHA-256 than its name")
			}
			if err != nil {
				c.found(path, err, "", func() error { return disk.Delete(path) }, again)
			}
		}
		return ctx.Err()
	}))
}

// each calls f for what is in a folder, if there is one.
func each(dir string, f func(path string, e fs.DirEntry) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, f(filepath.Join(dir, e.Name()), e))
	}
	return err
}

package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// cache checks the features, the scan index and the copies of images.
func (c *checker) cache(ctx context.Context, dir string) error {
	c.State = "in use"
	features := filepath.Join(dir, feature.StoreFolder)
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
	c.temporary(filepath.Join(dir, feature.ExportedFolder))
	err = errors.Join(err, c.remade(ctx, filepath.Join(dir, feature.ScanFolder), dataset.CheckIndex))
	return errors.Join(err, c.remade(ctx, filepath.Join(dir, feature.CopiesFolder), func(path string) error {
		content, err := userfile.Read(path, userfile.Image)
		if sum := sha256.Sum256(content); err == nil && hex.EncodeToString(sum[:]) != filepath.Base(path) {
			err = errors.New("its content has another SHA-256 than its name")
		}
		return err
	}))
}

// copiesKept is how much of a cache in an object store is on this machine at a time while it is checked.
const copiesKept = 1 << 30

// farCache checks the features of a cache in an object store as they are there, whatever copies this machine has.
func farCache(ctx context.Context, url string) (_ *Report, err error) {
	c := &checker{Report: Report{Path: url, Kind: "cache", State: "in use", Findings: []Finding{}}}
	here := filepath.Join(place.Here(), feature.ObjectsFolder)
	if err := disk.MakeAll(here); err != nil {
		return nil, err
	}
	copies, err := os.MkdirTemp(here, "verify-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copies)) }()
	b, err := bucket.Open(ctx, place.WithParameters(url), feature.StoreFolder, copies)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer b.Close()
	if far, is := b.(interface{ Keep(most int64) }); is {
		far.Keep(copiesKept)
	}
	folders, err := place.ReadDir(place.Join(url, feature.StoreFolder))
	if errors.Is(err, fs.ErrNotExist) { // there are jobs alone
		return &c.Report, nil
	}
	for _, e := range folders {
		if err != nil || !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		var n int
		var bad []store.BadBlock
		n, bad, err = store.Check(ctx, b, e.Name(), false)
		c.Files += n
		for _, b := range bad {
			c.found(b.Path, b.Err, "whoever reads it sets it aside, and makes anew what was in it", nil, "")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return &c.Report, nil
}

// remade checks files that are made anew when they are needed.
func (c *checker) remade(ctx context.Context, dir string, check func(path string) error) error {
	c.temporary(dir)
	return each(dir, func(path string, e fs.DirEntry) error {
		if e.Type().IsRegular() && e.Name()[0] != '.' {
			c.Files++
			if err := check(path); err != nil {
				c.found(path, err, "", func() error { return disk.Delete(path) },
					"removes it, and it is made anew when it is needed")
			}
		}
		return ctx.Err()
	})
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

// Package cache says what the cache folder holds, and makes room there. What goes is made again when it is needed.
//
// # Basics
//
//	c, err := cache.List(ctx, dir) // c.Stores, c.Copies, …
//	done, err := cache.Prune(ctx, dir, cache.Rules{OlderThan: 30 * 24 * time.Hour})
//
// The folder may be a URL: features and jobs lie in object stores too.
//
// Only what vitft has made is looked at and removed, by its name and its place: anything else in the folder is listed
// as such and stays. A feature store that a process has open is locked, and stays too. In an object store nothing can
// be locked: what was used less than [Safe] ago may be in use there, and stays.
package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/models"
)

// Contents is what a cache folder holds.
type Contents struct {
	Path     string  `json:"path"`
	Bytes    int64   `json:"bytes"`  // of all but Other
	Stores   []Store `json:"stores"` // the one that was used last first
	Scan     Files   `json:"scan"`
	Copies   Files   `json:"copies"`
	Exported Files   `json:"exported"`
	Jobs     []Job   `json:"jobs"`  // of encode --queue, the one that was used last first
	Other    []Other `json:"other"` // what vitft did not make, or not of images

	models         Files          // of jobs
	features, told bucket.Closing // where Stores and Jobs lie
}

// Safe is how long nothing in a folder of an object store was written, and nobody said to use it (see bucket.Used),
// before it may go.
const Safe = 24 * time.Hour

// Store is the features of one key.
type Store struct {
	Folder   string    `json:"folder"`
	Name     string    `json:"name"` // of the backbone, if it is known by one
	Key      store.Key `json:"key"`
	Features int       `json:"features"`
	Blocks   int       `json:"blocks"`
	Bytes    int64     `json:"bytes"`
	Aside    int64     `json:"aside_bytes"` // of damaged blocks that were set aside
	Used     time.Time `json:"last_used"`   // to an hour
	InUse    bool      `json:"in_use"`      // in an object store: perhaps

	path string
}

// Files are what is made again one by one.
type Files struct {
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
	Used  time.Time `json:"last_used,omitzero"` // when the last of them was made

	paths []file
}

// Job is what a queue's workers were told of a job, and have told.
type Job struct {
	Hash  string    `json:"job"`
	Tasks int       `json:"tasks"`
	Done  int       `json:"done"` // of them
	Bytes int64     `json:"bytes"`
	Used  time.Time `json:"last_used"` // when something of it was last written
	InUse bool      `json:"in_use"`    // as that of a store

	path  string
	model string // SHA-256
}

type file struct {
	path  string
	bytes int64
	at    time.Time
}

// Other is a file or folder in the cache folder that is left alone.
type Other struct {
	Path  string `json:"path"`
	What  string `json:"what,omitempty"` // if it is of vitft
	Bytes int64  `json:"bytes"`
}

var (
	sum    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	half   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	blocks = regexp.MustCompile(`^[0-9A-Za-z.-]+\.safetensors$`)
	index  = regexp.MustCompile(`^[0-9A-Za-z.-]+\.safetensors\.ids$`) // of a block in an object store
	asides = regexp.MustCompile(`^([0-9A-Za-z.-]+\.safetensors(\.ids)?|key\.json)\` + bucket.Aside + `$`)
)

const keyFile = "key.json"

// ours are folders of vitft that hold no features, and that no rule removes.
var ours = map[string]string{
	feature.ObjectsFolder: "copies of what is in an object store; fetched again when needed",
	feature.ModelsFolder:  "backbones of the jobs that a worker ran here; fetched again when needed",
	"lib":                 "ONNX Runtime, fetched by vitft setup",
	"lib-gpu":             "ONNX Runtime with CUDA, fetched by vitft setup",
}

// List says what is in a cache folder, which need not be there.
func List(ctx context.Context, dir string) (*Contents, error) {
	c, err := list(ctx, dir)
	if err != nil {
		return nil, err
	}
	return c, c.close()
}

// list is List, and leaves the buckets open.
func list(ctx context.Context, dir string) (_ *Contents, err error) {
	c := &Contents{Stores: []Store{}, Jobs: []Job{}, Other: []Other{}}
	if c.Path, err = place.Named(dir); err != nil {
		return nil, err
	}
	copies := filepath.Join(place.Here(), feature.ObjectsFolder)
	for folder, b := range map[string]*bucket.Closing{feature.StoreFolder: &c.features, feature.JobsFolder: &c.told} {
		opened, err := bucket.Open(ctx, place.WithParameters(c.Path), folder, copies)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cache: %w", err), c.close())
		}
		*b = opened
	}
	if err := c.look(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cache: %w", err), c.close())
	}
	c.sort()
	return c, nil
}

func (c *Contents) close() (err error) {
	for _, b := range []bucket.Closing{c.features, c.told} {
		if b != nil {
			err = errors.Join(err, b.Close())
		}
	}
	return err
}

// look looks at each folder. In an object store there are two, and what lies beside them is not asked for.
func (c *Contents) look(ctx context.Context) error {
	defer place.Hold()()
	if far(c.Path) {
		return cmp.Or(c.stores(ctx, place.Join(c.Path, feature.StoreFolder)),
			c.jobs(place.Join(c.Path, feature.JobsFolder)))
	}
	entries, err := read(c.Path)
	for _, e := range entries {
		at := place.Join(c.Path, e.Name())
		switch e.Name() {
		case feature.StoreFolder:
			err = c.stores(ctx, at)
		case feature.ScanFolder:
			err = c.files(at, half, &c.Scan)
		case feature.CopiesFolder:
			err = c.files(at, sum, &c.Copies)
		case feature.ExportedFolder:
			err = c.files(at, sum, &c.Exported)
		case feature.JobsFolder:
			err = c.jobs(at)
		default:
			c.other(at, e)
		}
		if err = cmp.Or(ctx.Err(), err); err != nil {
			return err
		}
	}
	return err
}

// sort puts what was used last first, and adds up.
func (c *Contents) sort() {
	slices.SortStableFunc(c.Stores, func(a, b Store) int { return b.Used.Compare(a.Used) })
	slices.SortStableFunc(c.Jobs, func(a, b Job) int { return b.Used.Compare(a.Used) })
	for _, s := range c.Stores {
		c.Bytes += s.Bytes + s.Aside
	}
	for _, j := range c.Jobs {
		c.Bytes += j.Bytes
	}
	c.Bytes += c.models.Bytes
	c.Bytes += c.Scan.Bytes + c.Copies.Bytes + c.Exported.Bytes
}

// read is what is in a folder; nothing in one that is not there.
func read(dir string) ([]fs.DirEntry, error) {
	entries, err := place.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil && !errors.Is(err, place.ErrUnanswered):
		return nil, fault.Data.Errorf("%w", err)
	}
	// What is hidden in an object store is not ours, and may have no name.
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return far(dir) && strings.HasPrefix(e.Name(), ".")
	}), err
}

// each finds the files in a folder and below it; one that is gone meanwhile is passed over.
func each(dir string, found func(path string, info fs.FileInfo)) error {
	entries, err := read(dir)
	for _, e := range entries {
		at := place.Join(dir, e.Name())
		if e.IsDir() {
			err = cmp.Or(err, each(at, found))
		} else if info, gone := e.Info(); gone == nil {
			found(at, info)
		}
	}
	return err
}

func (c *Contents) stores(ctx context.Context, dir string) error {
	entries, err := read(dir)
	for _, e := range entries {
		at := place.Join(dir, e.Name())
		key, fault := store.KeyOf(ctx, c.features, e.Name())
		if !half.MatchString(e.Name()) || !e.IsDir() || fault != nil {
			c.other(at, e)
			continue
		}
		s := Store{Folder: e.Name(), Key: key, path: at}
		if b, _, known := models.Recognize("", key.Backbone); known {
			s.Name = b.Name
		}
		inside, err := read(at)
		if err != nil {
			return err
		}
		rows := map[string]string{} // of each block what tells how many it has
		for _, e := range inside {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			switch name := e.Name(); {
			case asides.MatchString(name):
				s.Aside += info.Size()
				continue
			case blocks.MatchString(name): // which is before its index
				rows[name] = place.Join(at, name)
			case far(at) && index.MatchString(name):
				if block := strings.TrimSuffix(name, ".ids"); rows[block] != "" {
					rows[block] = place.Join(at, name)
				}
			case name != keyFile && !(far(at) && name == bucket.Used):
				continue
			}
			if s.Bytes += info.Size(); info.ModTime().After(s.Used) {
				s.Used = info.ModTime()
			}
		}
		s.Blocks, s.InUse = len(rows), inUse(at, s.Used)
		if s.Features, err = c.count(ctx, slices.Collect(maps.Values(rows))); err != nil {
			return err
		}
		c.Stores = append(c.Stores, s)
	}
	return err
}

// count is how many features some files say that they are of.
func (c *Contents) count(ctx context.Context, paths []string) (n int, err error) {
	all := make([]int, len(paths))
	err = par.For(ctx, len(paths), bucket.Together(c.features), func(i int) { all[i] = rows(paths[i]) })
	for _, k := range all {
		n += k
	}
	return n, err
}

// inUse reports whether a process has a folder open or, in an object store, may have.
func inUse(dir string, used time.Time) bool {
	if far(dir) {
		return time.Since(used) < Safe
	}
	lock, err := atomicfile.Lock(dir)
	if err == nil {
		lock.Close()
	}
	return errors.Is(err, atomicfile.ErrLocked)
}

// rows is how many features a block says that it has.
func rows(path string) int {
	f, info, err := place.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	x, err := safetensors.ReadIndex(f, info.Size())
	if err != nil {
		return 0
	}
	for _, t := range x.Tensors {
		if t.Name == "ids" && len(t.Shape) == 2 {
			return t.Shape[0]
		}
	}
	return 0
}

// files are those of a folder whose names have that form.
func (c *Contents) files(dir string, name *regexp.Regexp, into *Files) error {
	entries, err := read(dir)
	for _, e := range entries {
		at := place.Join(dir, e.Name())
		info, err := e.Info()
		switch {
		case err != nil: // gone meanwhile
		case strings.HasPrefix(e.Name(), "."): // being written, or left by a killed process
		case !info.Mode().IsRegular() || !name.MatchString(e.Name()):
			c.other(at, e)
		default:
			into.paths = append(into.paths, file{at, info.Size(), info.ModTime()})
			into.Files++
			into.Bytes += info.Size()
			if info.ModTime().After(into.Used) {
				into.Used = info.ModTime()
			}
		}
	}
	return err
}

// other notes what is left alone, with what is in it.
func (c *Contents) other(path string, e fs.DirEntry) {
	o := Other{Path: path}
	if place.Dir(path) == c.Path {
		o.What = ours[e.Name()]
	}
	found := func(_ string, info fs.FileInfo) {
		if info.Mode().IsRegular() {
			o.Bytes += info.Size()
		}
	}
	if e.IsDir() {
		_ = each(path, found) // what cannot be read is not ours to judge
	} else if info, err := e.Info(); err == nil {
		found(path, info)
	}
	c.Other = append(c.Other, o)
}

// far says whether a path is in an object store.
func far(path string) bool { return place.IsURL(path) }

// Package store keeps feature vectors on disk, so that an image is encoded once
// for a backbone and never again.
//
// # Basics
//
//	s, report, err := store.Open(cacheDir, key)   // verifies every block
//	defer s.Close()
//	if !s.Has(id) {                               // id = SHA-256 of the image file's content
//		w, err := s.Writer(store.WriterOptions{})
//		err = w.Append(id, path, feature)
//		err = w.Close()                           // publishes what is still buffered
//	}
//	err = s.Gather(ids, matrix)                   // [len(ids), D], row-major
//
// A [Key] says by what the features were made; each key has a folder of its own
// under the cache folder. Features lie there in blocks, one safetensors file
// each, that are written once, published by a rename and never changed. Blocks
// have unique names, so any number of processes may write to one store at once
// without locks; they do not see each other's blocks before the next Open. A
// process that is killed loses the rows that it had buffered, at most one
// block. docs/store.md describes the format.
//
// A block whose checksum or shape is wrong is set aside by Open, which reports
// it: its images count as not encoded. A feature that is served has passed its
// checksum.
//
// # Caveats
//
// Rows returned by [Store.Lookup] are memory-mapped: using one after
// [Store.Close] crashes the program, and so does another program that truncates
// a block in place.
//
// If two processes encode the same image both features are kept and the block
// that was published first counts; they are equal if encoding is deterministic.
//
// Every Close or Flush with something buffered makes a block. Nothing merges
// small blocks.
package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vitft/vitft/engine/internal/atomicfile"
)

// Errors of opening a store.
var (
	// ErrKey is wrapped when a Key is incomplete.
	ErrKey = errors.New("incomplete feature-store key")
	// ErrIncompatible is wrapped when the folder belongs to another Key.
	ErrIncompatible = errors.New("feature store was made by something else")
)

// Errors of using a store.
var (
	// ErrReadOnly is wrapped when the folder cannot be written to.
	ErrReadOnly = errors.New("feature store is read-only")
	// ErrMissing is wrapped by Gather when a feature is not in the store.
	ErrMissing = errors.New("feature not in the store")
	// ErrClosed is returned once the store is closed.
	ErrClosed = errors.New("feature store is closed")
)

// ID identifies an image: the SHA-256 of its encoded bytes.
type ID = [sha256.Size]byte

// Store holds the features of one Key. It is safe for concurrent use.
type Store struct {
	key Key
	dir string

	mu     sync.RWMutex
	closed bool
	blocks []*block
	index  map[ID]place
}

// place is where a feature lies.
type place struct{ block, row uint32 }

// Report is what Open found.
type Report struct {
	Blocks   int        // blocks in use
	Features int        // distinct images
	Bad      []BadBlock // blocks not in use
	Removed  []string   // temporary files of writers that were killed
}

// BadBlock is a block that Open refused. Its images will be encoded again.
type BadBlock struct {
	Path string // where it is now
	Err  error  // what is wrong with it
}

// Open opens the store of key under cacheDir, making its folder where there is
// none. Every block is checked. Damaged ones are renamed to *.corrupt, those
// that cannot be read are passed over; both are in the report and are no error.
func Open(cacheDir string, key Key) (*Store, Report, error) {
	var report Report
	if err := key.Validate(); err != nil {
		return nil, report, err
	}
	s := &Store{key: key, dir: filepath.Join(cacheDir, key.Hash())}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, report, s.explain(fmt.Errorf("creating feature store: %w", err))
	}
	if err := s.checkKey(); err != nil {
		return nil, report, err
	}
	// In a folder that only may be read there is nothing to tidy.
	removed, err := atomicfile.Clean(s.dir)
	if err != nil && !readOnly(err) {
		return nil, report, fmt.Errorf("opening feature store: %w", err)
	}
	report.Removed = removed

	names, err := blockNames(s.dir)
	if err != nil {
		return nil, report, fmt.Errorf("opening feature store: %w", err)
	}
	blocks := make([]*block, len(names))
	faults := make([]error, len(names))
	parallel(len(names), func(i int) {
		blocks[i], faults[i] = openBlock(filepath.Join(s.dir, names[i]), key)
	})
	rows := 0
	for _, b := range blocks {
		if b != nil {
			rows += len(b.ids)
		}
	}
	s.index = make(map[ID]place, rows)
	for i, b := range blocks {
		if faults[i] != nil {
			report.Bad = append(report.Bad, setAside(filepath.Join(s.dir, names[i]), faults[i]))
			continue
		}
		s.add(b)
	}
	report.Blocks, report.Features = len(s.blocks), len(s.index)
	return s, report, nil
}

// Key is what the store was opened with.
func (s *Store) Key() Key { return s.key }

// Dir is the store's own folder.
func (s *Store) Dir() string { return s.dir }

// Len is the number of distinct images with a feature.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.index)
}

// Has reports whether the image's feature is published.
func (s *Store) Has(id ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.index[id]
	return ok
}

// Lookup is the feature of an image, D values that must not be written to and
// are gone after Close.
func (s *Store) Lookup(id ID) (feature []float32, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.index[id]
	if !ok {
		return nil, false
	}
	return s.row(p), true
}

// Gather copies the features of the images into dst, [len(ids), D] row-major.
// If one is missing the error wraps ErrMissing and dst is of no use.
func (s *Store) Gather(ids []ID, dst []float32) error {
	d := s.key.Dim
	if len(dst) != len(ids)*d {
		return fmt.Errorf("gathering %d features of %d values: destination has room for %d values", len(ids), d, len(dst))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	for i, id := range ids {
		p, ok := s.index[id]
		if !ok {
			return fmt.Errorf("gathering feature %d of %d: image %x: %w", i, len(ids), id, ErrMissing)
		}
		copy(dst[i*d:(i+1)*d], s.row(p))
	}
	return nil
}

// Close unmaps the blocks; rows from Lookup must not be used any more. Writers
// must be closed before. Closing twice is harmless.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, b := range s.blocks {
		errs = append(errs, b.unmap())
	}
	s.blocks, s.index = nil, nil
	return errors.Join(errs...)
}

func (s *Store) row(p place) []float32 {
	d := s.key.Dim
	at := int(p.row) * d
	return s.blocks[p.block].features[at : at+d : at+d]
}

// add makes a block's features visible; of two for one image the first stays.
func (s *Store) add(b *block) {
	n := uint32(len(s.blocks))
	s.blocks = append(s.blocks, b)
	for i, id := range b.ids {
		if _, ok := s.index[id]; !ok {
			s.index[id] = place{n, uint32(i)}
		}
	}
}

// checkKey compares the folder's key.json with the key, or writes it.
func (s *Store) checkKey() error {
	path := filepath.Join(s.dir, keyFile)
	found, err := readKey(path)
	switch {
	case err == nil:
		if err := found.CheckCompatibility(s.key); err != nil {
			return fmt.Errorf("opening %s: %w (was the folder renamed? remove it to start anew)", s.dir, err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errKeyFile):
		// Every block carries the key's hash, so a lost file loses nothing.
		return s.explain(writeKey(path, s.key))
	default:
		return fmt.Errorf("opening feature store: %w", err)
	}
}

// explain adds to an error of writing what the user can do about it.
func (s *Store) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case readOnly(err):
		return fmt.Errorf("%w: make %s writable or choose another cache folder: %w", ErrReadOnly, s.dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("no space left for the feature store: free some or choose another cache folder; what was published stays usable: %w", err)
	}
	return err
}

func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// blockNames are the names of the folder's blocks, oldest first.
func blockNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), blockSuffix) && !atomicfile.IsTemp(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// setAside renames a damaged block so that it is reported once. A block that
// merely could not be read may be sound and keeps its name.
func setAside(path string, fault error) BadBlock {
	bad := BadBlock{Path: path, Err: fault}
	if errors.Is(fault, errCorrupt) {
		if err := os.Rename(path, path+corruptSuffix); err == nil {
			bad.Path = path + corruptSuffix
		}
	}
	return bad
}

// parallel calls f(0), …, f(n-1) on all processors.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

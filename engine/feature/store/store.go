// Package store keeps feature vectors, so that an image is encoded once for a backbone and never again.
//
// # Basics
//
//	s, report, err := store.Open(ctx, bucket.Dir(folder), key) // reads which images there are, no feature
//	defer s.Close()
//	if !s.Has(id) {                                            // id = SHA-256 of the image file's content
//		w, err := s.Writer(ctx, store.WriterOptions{})
//		err = w.Append(ctx, id, path, feature)
//		err = w.Close(ctx)                                     // publishes what is still buffered
//	}
//	damaged, err := s.Verify(ctx, ids)                         // their images are to be encoded again
//	err = s.Gather(ctx, ids, matrix)                           // [len(ids), D], row-major
//
// A [Key] says by what the features were made; each key has a folder of its own in the bucket. Features lie there in
// blocks, one safetensors file each, that are published once and whole and never changed. Blocks have unique names, so
// any number of processes may write to one store at once without locks; they do not see each other's blocks before the
// next Open. A process that is killed loses the rows that it had buffered, at most one block. docs/store.md describes
// the format.
//
// A feature that is served has passed its block's checksum. A block that fails it, or whose header is wrong, is set
// aside and reported, by Open or when the first of its features is asked for: its images count as not encoded.
//
// # Caveats
//
// Another program that truncates a block of a folder in place crashes this one, which has it mapped.
//
// If two processes encode the same image both features are kept and the block that was published first counts; they are
// equal if encoding is deterministic.
//
// Every Close or Flush with something buffered makes a block. Nothing merges small blocks.
package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/par"
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
	key    Key
	bucket bucket.Bucket

	mu     sync.RWMutex
	closed bool
	blocks []*block // that published first first
	index  map[ID]place
}

// place is where a feature lies.
type place struct {
	block *block
	row   int
}

// Report is what Open found.
type Report struct {
	Blocks   int        // blocks in use
	Features int        // distinct images
	Bad      []BadBlock // blocks not in use
	Removed  []string   // temporary files of writers that were killed
}

// BadBlock is a block that is not used. Its images will be encoded again.
type BadBlock struct {
	Path string // where it is now
	Err  error  // what is wrong with it
}

// Open opens the store of key in b, beginning it where there is none. Blocks that can be seen to be damaged are set
// aside, those that cannot be read are passed over; both are in the report and are no error.
func Open(ctx context.Context, b bucket.Bucket, key Key) (*Store, Report, error) {
	var report Report
	if err := key.Validate(); err != nil {
		return nil, report, err
	}
	s := &Store{key: key, bucket: b, index: map[ID]place{}}
	if err := s.checkKey(ctx); err != nil {
		return nil, report, err
	}
	// In a folder that only may be read there is nothing to tidy.
	var err error
	if report.Removed, err = b.Tidy(ctx, key.Hash()); err != nil && !readOnly(err) {
		return nil, report, fmt.Errorf("opening feature store: %w", err)
	}
	names, err := b.List(ctx, s.name(""))
	if err != nil {
		return nil, report, fmt.Errorf("opening feature store: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, blockSuffix) })
	blocks, faults := make([]*block, len(names)), make([]error, len(names))
	err = par.For(ctx, len(names), 0, func(i int) { blocks[i], faults[i] = openBlock(ctx, b, names[i], key) })
	if err != nil {
		return nil, report, fmt.Errorf("opening feature store: %w", err)
	}
	for i, found := range blocks {
		if faults[i] != nil {
			report.Bad = append(report.Bad, s.setAside(ctx, names[i], faults[i]))
			continue
		}
		s.add(found)
	}
	report.Blocks, report.Features = len(s.blocks), len(s.index)
	return s, report, nil
}

// Key is what the store was opened with.
func (s *Store) Key() Key { return s.key }

// Where says to people where the store is.
func (s *Store) Where() string { return s.bucket.Where(s.key.Hash()) }

// Len is the number of distinct images with a feature.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.index)
}

// Has reports whether the image's feature is published, though perhaps in a block that has yet to pass its checksum.
func (s *Store) Has(id ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.index[id]
	return ok
}

// Verify checks the blocks that hold the features of the images, those that have not been before. What is damaged is
// set aside, what cannot be read passed over; both are returned, and their images are not in the store any more. The
// features of those that are can be gathered.
func (s *Store) Verify(ctx context.Context, ids []ID) ([]BadBlock, error) {
	var bad []BadBlock
	for { // again, if a second block has what was in a bad one
		unread, err := s.unread(ids)
		if err != nil || len(unread) == 0 {
			return bad, err
		}
		contents, faults := make([]*content, len(unread)), make([]error, len(unread))
		err = par.For(ctx, len(unread), 0, func(i int) { contents[i], faults[i] = unread[i].verify(ctx, s.bucket, s.key) })
		if ctx.Err() != nil {
			faults = make([]error, len(unread)) // of which that may be the cause
		}
		if err := errors.Join(err, s.use(unread, contents, faults)); err != nil {
			return bad, err
		}
		for i, b := range unread {
			if faults[i] != nil {
				bad = append(bad, s.setAside(ctx, b.name, faults[i]))
			}
		}
	}
}

// Gather copies the features of the images into dst, [len(ids), D] row-major. If one is missing, or in a block that is
// found damaged only now, the error wraps ErrMissing and dst is of no use.
func (s *Store) Gather(ctx context.Context, ids []ID, dst []float32) error {
	d := s.key.Dim
	if len(dst) != len(ids)*d {
		return fmt.Errorf("gathering %d features of %d values: destination has room for %d values", len(ids), d, len(dst))
	}
	bad, err := s.Verify(ctx, ids)
	if err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	for i, id := range ids {
		p, ok := s.index[id]
		if !ok || p.block.content == nil { // or another goroutine has just lost the verified one
			err := fmt.Errorf("gathering feature %d of %d: image %x: %w", i, len(ids), id, ErrMissing)
			for _, b := range bad {
				err = fmt.Errorf("%w; %s: %w", err, b.Path, b.Err)
			}
			return err
		}
		copy(dst[i*d:(i+1)*d], p.block.features[p.row*d:])
	}
	return nil
}

// Close lets go of the blocks. Writers must be closed before. Closing twice is harmless.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, b := range s.blocks {
		if b.content != nil {
			errs = append(errs, b.object.Close())
		}
	}
	s.blocks, s.index = nil, nil
	return errors.Join(errs...)
}

// name is that of an object of the store in the bucket.
func (s *Store) name(of string) string { return s.key.Hash() + "/" + of }

// add makes a block's features visible; of two for one image the first stays.
func (s *Store) add(b *block) {
	s.blocks = append(s.blocks, b)
	for i, id := range b.ids {
		if _, ok := s.index[id]; !ok {
			s.index[id] = place{b, i}
		}
	}
}

// unread are the blocks with features of the images that have not been verified.
func (s *Store) unread(ids []ID) ([]*block, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	var blocks []*block
	seen := map[*block]bool{}
	for _, id := range ids {
		if p, ok := s.index[id]; ok && p.block.content == nil && !seen[p.block] {
			seen[p.block] = true
			blocks = append(blocks, p.block)
		}
	}
	return blocks, nil
}

// use makes the contents of blocks available, and takes those with faults out of use.
func (s *Store) use(blocks []*block, contents []*content, faults []error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.closed {
		errs = append(errs, ErrClosed)
	}
	lost := false
	for i, c := range contents {
		lost = lost || faults[i] != nil
		if c == nil {
			continue
		}
		if s.closed || blocks[i].content != nil || !slices.Contains(s.blocks, blocks[i]) {
			errs = append(errs, c.object.Close())
		} else {
			blocks[i].content = c
		}
	}
	if lost && !s.closed {
		kept := slices.DeleteFunc(s.blocks, func(b *block) bool {
			i := slices.Index(blocks, b)
			return i >= 0 && faults[i] != nil && b.content == nil
		})
		s.blocks = nil
		clear(s.index)
		for _, b := range kept {
			s.add(b)
		}
	}
	return errors.Join(errs...)
}

// setAside renames a damaged block so that it is reported once. A block that merely could not be read may be sound and
// keeps its name.
func (s *Store) setAside(ctx context.Context, name string, why error) BadBlock {
	if errors.Is(why, errCorrupt) && s.bucket.SetAside(ctx, name) == nil {
		name += bucket.Aside
	}
	return BadBlock{Path: s.bucket.Where(name), Err: why}
}

// checkKey compares the key.json that is there with the key, or writes it.
func (s *Store) checkKey(ctx context.Context) error {
	found, err := readKey(ctx, s.bucket, s.name(keyFile))
	switch {
	case err == nil:
		if err := found.CheckCompatibility(s.key); err != nil {
			return fault.Data.Errorf("opening %s: %w (was the folder renamed? remove it to start anew)", s.Where(), err)
		}
		return nil
	case errors.Is(err, errKeyFile): // every block carries the key's hash, so a lost file loses nothing
		if err := s.bucket.SetAside(ctx, s.name(keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.explain(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("opening feature store: %w", err)
	}
	return s.explain(s.publishKey(ctx))
}

// explain adds to an error of writing what the user can do about it.
func (s *Store) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case readOnly(err):
		return fmt.Errorf("%w: make %s writable or choose another cache folder: %w", ErrReadOnly, s.Where(), err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("no space left for the feature store: free some or choose another cache folder; "+
			"what was published stays usable: %w", err)
	}
	return err
}

func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

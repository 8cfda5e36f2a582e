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
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/par"
)

// Errors of opening and using a store.
var (
	// ErrKey is wrapped when a Key is incomplete.
	ErrKey = errors.New("incomplete feature-store key")
	// ErrIncompatible is wrapped when the folder belongs to another Key.
	ErrIncompatible = errors.New("feature store was made by something else")
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

	held io.Closer // of a bucket that others can be kept from; nil of another

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
	s := &Store{key: key, bucket: b, index: map[ID]place{}}
	if err := key.Validate(); err != nil {
		return nil, Report{}, err
	}
	report, err := s.open(ctx)
	if err != nil {
		return nil, report, fmt.Errorf("opening feature store: %w", err)
	}
	return s, report, nil
}

// OpenUnread opens a store as Open does, but reads none of what is in it: the store shows nothing until it is opened
// anew. It is for who only publishes blocks, however many there are already.
func OpenUnread(ctx context.Context, b bucket.Bucket, key Key) (*Store, error) {
	s := &Store{key: key, bucket: b, index: map[ID]place{}}
	if err := key.Validate(); err != nil {
		return nil, err
	}
	if err := s.hold(ctx); err != nil {
		return nil, fmt.Errorf("opening feature store: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (report Report, err error) {
	if err := s.hold(ctx); err != nil {
		return report, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.letGo())
		}
	}()
	// In a folder that only may be read there is nothing to tidy.
	if report.Removed, err = s.bucket.Tidy(ctx, s.key.Hash()); err != nil && !readOnly(err) {
		return report, err
	}
	names, err := s.bucket.List(ctx, s.name(""))
	if err != nil {
		return report, err
	}
	indexed := map[string]bool{}
	for _, name := range names {
		if block, is := strings.CutSuffix(name, indexSuffix); is {
			indexed[block] = true
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, blockSuffix) })
	blocks, faults := make([]*block, len(names)), make([]error, len(names))
	err = par.For(ctx, len(names), bucket.Together(s.bucket), func(i int) {
		if indexed[names[i]] {
			var err error
			blocks[i], err = openIndexed(ctx, s.bucket, names[i], s.key.form())
			if err == nil {
				return
			} // else the block itself says what is in it
			if errors.Is(err, errCorrupt) {
				_ = s.bucket.SetAside(ctx, names[i]+indexSuffix) // or the copy on this machine is removed
			}
		}
		if blocks[i], faults[i] = openBlock(ctx, s.bucket, names[i], s.key.form()); faults[i] == nil {
			s.mendIndex(ctx, blocks[i])
		}
	})
	if err != nil {
		return report, err
	}
	if err := s.passing(faults); err != nil {
		return report, err
	}
	for i, found := range blocks {
		if faults[i] != nil {
			report.Bad = append(report.Bad, s.setAside(ctx, names[i], faults[i]))
			continue
		}
		s.add(found)
	}
	report.Blocks, report.Features = len(s.blocks), len(s.index)
	return report, nil
}

// hold sees to it that the store's folder is there, and stays until the store is closed.
func (s *Store) hold(ctx context.Context) error {
	holder, can := s.bucket.(interface {
		Hold(folder, file string) (io.Closer, error)
	})
	for {
		if err := s.checkKey(ctx); err != nil || !can {
			return err
		}
		held, err := holder.Hold(s.key.Hash(), s.name(keyFile))
		if err == nil {
			s.held = held
		}
		if !errors.Is(err, fs.ErrNotExist) { // else it was pruned in between
			return err
		}
	}
}

func (s *Store) letGo() error {
	if s.held == nil {
		return nil
	}
	return s.held.Close()
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

// Gather copies the features of the images into dst, [len(ids), D] row-major. If one is missing, or in a block that is
// found damaged only now, the error wraps ErrMissing and dst is of no use.
func (s *Store) Gather(ctx context.Context, ids []ID, dst []float32) error {
	d := s.key.Dim
	if len(dst) != len(ids)*d {
		return fmt.Errorf("gathering %d features of %d values: destination has room for %d values", len(ids),
			d, len(dst))
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
		p.block.copy(dst[i*d:(i+1)*d], p.row)
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
	errs := []error{s.letGo()}
	for _, b := range s.blocks {
		if b.content != nil {
			errs = append(errs, b.object.Close())
		}
	}
	s.blocks, s.index = nil, nil
	return errors.Join(errs...)
}

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

// passing is a fault of blocks in an object store that says nothing of them, as when they cannot be fetched or there is no
// room for copies: to encode their images again would help nobody.
func (s *Store) passing(faults []error) error {
	for _, err := range faults {
		if err != nil && bucket.Remote(s.bucket) && !errors.Is(err, errCorrupt) && fault.Of(err) != fault.Data {
			return err
		}
	}
	return nil
}

// explain adds to an error of writing what the user can do about it.
func (s *Store) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case readOnly(err):
		return fmt.Errorf("%w: %s: %w", ErrReadOnly, s.Where(), err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w, or choose another cache folder; what was published stays usable", err)
	}
	return err
}

func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

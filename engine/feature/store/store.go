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
// Of blocks that were read as many are mapped at a time as an eighth of the memory holds, so that what a store takes
// does not grow with it.
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
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
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
	mapped mapped
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
	s := &Store{key: key, bucket: b, index: map[ID]place{}, mapped: mapped{most: most()}}
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
	holder, can := s.bucket.(bucket.Holder)
	for {
		if err := s.checkKey(ctx); err != nil || !can {
			return err
		}
		held, err := holder.Hold(ctx, s.key.Hash(), s.name(keyFile))
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
	apart, err := s.copyMapped(ids, bad, dst)
	if err != nil {
		return err
	}
	errs := make([]error, len(apart))
	err = par.For(ctx, len(apart), bucket.Together(s.bucket),
		func(i int) { errs[i] = s.copyBlock(ctx, apart[i], dst) })
	return cmp.Or(err, cmp.Or(errs...))
}

// copyMapped copies the features of blocks that are mapped, and lists the others by block.
func (s *Store) copyMapped(ids []ID, bad []BadBlock, dst []float32) (apart [][]wanted, err error) {
	d := s.key.Dim
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	groups := map[*block]int{}
	for i, id := range ids {
		p, ok := s.index[id]
		switch {
		case !ok || !p.block.sound: // or another goroutine has just lost the verified one
			err := fmt.Errorf("gathering feature %d of %d: image %x: %w", i, len(ids), id, ErrMissing)
			for _, b := range bad {
				err = fmt.Errorf("%w; %s: %w", err, b.Path, b.Err)
			}
			return nil, err
		case p.block.content != nil:
			p.block.copy(dst[i*d:(i+1)*d], p.row)
		default:
			at, known := groups[p.block]
			if !known {
				at, apart = len(apart), append(apart, nil)
				groups[p.block] = at
			}
			apart[at] = append(apart[at], wanted{p, i})
		}
	}
	return apart, nil
}

// wanted is a feature that is to be copied, and its place among others.
type wanted struct {
	place
	to int
}

// copyBlock copies features of one block, which is mapped anew, once for all of them.
func (s *Store) copyBlock(ctx context.Context, of []wanted, dst []float32) error {
	b, d := of[0].block, s.key.Dim
	for {
		s.mu.RLock()
		closed, there := s.closed, b.content != nil
		if there {
			for _, w := range of {
				b.copy(dst[w.to*d:(w.to+1)*d], w.row)
			}
		}
		s.mu.RUnlock()
		if closed {
			return ErrClosed
		}
		if there {
			return nil
		}
		c, err := b.load(ctx, s.bucket, s.key.form(), bucket.Remote(s.bucket)) // whose copy here may be another
		if err == nil {
			err = s.use([]*block{b}, []*content{c}, []error{nil})
		}
		if err != nil {
			return fmt.Errorf("gathering features of a block that was there, %s: %w", s.bucket.Where(b.name), err)
		}
	}
}

// Stored lists the places of ids in the order in which their features lie; those that are not in the store are last.
func (s *Store) Stored(ids []ID) []int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	number := make(map[*block]int, len(s.blocks))
	for i, b := range s.blocks {
		number[b] = i
	}
	type at struct{ block, row, id int32 }
	order := make([]at, len(ids))
	for i, id := range ids {
		order[i] = at{math.MaxInt32, 0, int32(i)}
		if p, ok := s.index[id]; ok {
			order[i] = at{int32(number[p.block]), int32(p.row), int32(i)}
		}
	}
	slices.SortFunc(order, func(a, b at) int {
		return cmp.Or(cmp.Compare(a.block, b.block), cmp.Compare(a.row, b.row), cmp.Compare(a.id, b.id))
	})
	places := make([]int, len(ids))
	for i, a := range order {
		places[i] = int(a.id)
	}
	return places
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
	s.blocks, s.index, s.mapped.blocks = nil, nil, nil
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

// passing is a fault of blocks in an object store that says nothing of them, as when they cannot be fetched or there is
// no room for copies: to encode their images again would help nobody.
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

package store

import (
	"context"
	"errors"
	"slices"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/par"
)

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
		faults, failed := make([]error, len(unread)), make([]error, len(unread))
		err = par.For(ctx, len(unread), together(s.bucket), func(i int) {
			c, err := unread[i].load(ctx, s.bucket, s.key.form(), true)
			if faults[i] = err; err == nil {
				failed[i] = s.use(unread[i:i+1], []*content{c}, []error{nil})
			}
		})
		if ctx.Err() != nil {
			faults = make([]error, len(unread)) // of which that may be the cause
		}
		err = errors.Join(append(failed, err, s.use(unread, make([]*content, len(unread)), faults))...)
		if err != nil {
			return bad, err
		}
		for i, b := range unread {
			if faults[i] != nil {
				bad = append(bad, s.setAside(ctx, b.name, faults[i]))
			}
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
		if p, ok := s.index[id]; ok && !p.block.sound && !seen[p.block] {
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
	some := false
	for i, b := range blocks {
		switch c := contents[i]; {
		case c == nil:
			b.lost = b.lost || faults[i] != nil && !b.sound
			some = some || b.lost
		case s.closed || b.content != nil || b.lost:
			errs = append(errs, c.object.Close())
		default:
			b.content, b.sound = c, true
			errs = append(errs, s.mapped.add(b))
		}
	}
	if some {
		kept := slices.DeleteFunc(s.blocks, func(b *block) bool { return b.lost })
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
		if bucket.Remote(s.bucket) {
			_ = s.bucket.SetAside(ctx, name+indexSuffix) // which is of what was there
		}
		name += bucket.Aside
	}
	return BadBlock{Path: s.bucket.Where(name), Err: why}
}

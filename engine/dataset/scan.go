package dataset

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/par"
)

// ID is the SHA-256 of an image's bytes.
type ID = [sha256.Size]byte

// ScanOptions are the settings of Scan.
type ScanOptions struct {
	// Workers is how many files are read at once. Default: the processors, or place.Parallel in an object store.
	Workers int
	// Index, if set, knows files that were read before, and learns about others.
	Index *Index
	// Lazy leaves images in object stores that the index does not know to be read by who encodes them.
	Lazy bool
	// Progress, if set, is called after every item, never twice at once.
	Progress func(done, total int)
}

// Scan says which bytes every item of a data set has.
type Scan struct {
	IDs        []ID         // of each item; zero if unreadable or unread
	Unread     []int        // items that were left to be read later
	Unreadable []Unreadable // by index
}

// Unreadable is an item that could not be read.
type Unreadable struct {
	Index int // in Items
	Path  string
	Err   error
}

// Scan reads and hashes every item that the index does not know. An item that cannot be read is noted, no error; the
// only errors are that of ctx, and of an object store that does not answer.
func (d *Dataset) Scan(ctx context.Context, o ScanOptions) (*Scan, error) {
	total := len(d.Items)
	s := &Scan{IDs: make([]ID, total)}
	faults := make([]error, total)
	if o.Workers == 0 && slices.ContainsFunc(d.Items, Item.Remote) {
		o.Workers = place.Parallel
	}
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex // for Progress
	done := 0
	err := par.For(asking, total, o.Workers, func(i int) {
		if s.IDs[i], faults[i] = d.Items[i].hash(asking, o); errors.Is(faults[i], place.ErrUnanswered) {
			stop(faults[i])
		}
		if o.Progress != nil {
			mu.Lock()
			defer mu.Unlock()
			done++
			o.Progress(done, total)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("scanning %s: %w", d.Name, context.Cause(asking))
	}
	for i, err := range faults {
		if err == errUnread {
			s.Unread = append(s.Unread, i)
		} else if err != nil {
			s.Unreadable = append(s.Unreadable, Unreadable{Index: i, Path: d.Items[i].Path, Err: err})
		}
	}
	return s, nil
}

// Readable are the indices of the items that could be read.
func (s *Scan) Readable() []int {
	out := make([]int, 0, len(s.IDs))
	for i, id := range s.IDs {
		if id != (ID{}) {
			out = append(out, i)
		}
	}
	return out
}

// CheckContent reports items of one set that have the same content.
func CheckContent(d *Dataset, s *Scan) []Finding {
	first := map[ID]int{}
	var same, conflicts []string
	for _, i := range s.Readable() {
		k, seen := first[s.IDs[i]]
		switch {
		case !seen:
			first[s.IDs[i]] = i
		case d.Items[k].Class == d.Items[i].Class:
			same = append(same, d.Items[i].Path)
		default:
			conflicts = append(conflicts, fmt.Sprintf("%s (%s) = %s (%s)",
				d.Items[i].Path, d.Classes[d.Items[i].Class], d.Items[k].Path, d.Classes[d.Items[k].Class]))
		}
	}
	var found findings
	found.find(SameContent, same, "%d images of %s are copies of another of their class", len(same), d.Name)
	found.find(LabelConflict, conflicts, "%d images of %s are copies of one with another label", len(conflicts), d.Name)
	return found
}

// CheckLeak reports items of the test set whose content is in the training set.
func CheckLeak(train *Dataset, trainScan *Scan, test *Dataset, testScan *Scan) []Finding {
	trained := map[ID]int{}
	for _, i := range trainScan.Readable() {
		trained[trainScan.IDs[i]] = i
	}
	var leaks []string
	for _, i := range testScan.Readable() {
		if k, ok := trained[testScan.IDs[i]]; ok {
			leaks = append(leaks, fmt.Sprintf("%s = %s", test.Items[i].Path, train.Items[k].Path))
		}
	}
	of := test.Name
	var found findings
	if of == train.Name {
		if len(leaks) == len(testScan.Readable()) {
			found.find(Leak, leaks, "all %d images to judge are those of the training set %s, which flatters the "+
				"result", len(leaks), of)
			return found
		}
		of = "the part held out of " + of
	}
	found.find(Leak, leaks, "%d images of %s are in the training set %s too, which flatters the result", len(leaks), of,
		train.Name)
	return found
}

// errUnread says that an item is left to be read later.
var errUnread = errors.New("unread")

// hash is the id of an item, from the index if it is there. A store that does not answer is waited for no longer than
// ctx.
func (it Item) hash(ctx context.Context, o ScanOptions) (ID, error) {
	if id := it.known(); id != (ID{}) {
		return id, nil
	}
	look := func() (ID, error) {
		now := time.Now()
		info, err := it.stat()
		if err != nil {
			return ID{}, err
		}
		if id, known := o.Index.find(it, info); known {
			return id, nil
		}
		if o.Lazy && it.Remote() {
			return ID{}, errUnread
		}
		id, err := it.read()
		if err != nil {
			return ID{}, err
		}
		o.Index.add(it, info, now, id)
		return id, nil
	}
	if it.Remote() {
		return par.Await(ctx, look, nil)
	}
	return look()
}

// read hashes the item's bytes, without holding those of a file.
func (it Item) read() (id ID, err error) {
	if it.in != nil {
		content, err := it.Bytes()
		if err == nil && len(content) == 0 {
			err = errors.New("empty file")
		} else if err == nil {
			id = sha256.Sum256(content)
		}
		return id, err
	}
	f, _, err := place.Open(it.Path)
	if err != nil {
		return id, err
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, f); err != nil {
		return id, err
	} else if n == 0 {
		return id, errors.New("empty file")
	}
	return ID(h.Sum(nil)), nil
}

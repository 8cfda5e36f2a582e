package dataset

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// ScanOptions are the settings of Scan.
type ScanOptions struct {
	// Workers is how many files are read at once. Default: the processors.
	Workers int
	// Progress, if set, is called after every item, never twice at once.
	Progress func(done, total int)
}

// Scan is what reading every item of a data set once has shown.
type Scan struct {
	IDs        [][sha256.Size]byte // of each item's bytes; zero if unreadable
	Unreadable []Unreadable        // by index
}

// Unreadable is an item that could not be read.
type Unreadable struct {
	Index int // in Items
	Path  string
	Err   error
}

var errEmpty = errors.New("empty file")

// Scan reads and hashes every item. An item that cannot be read is noted, no
// error; the only error is that of ctx.
func (d *Dataset) Scan(ctx context.Context, o ScanOptions) (*Scan, error) {
	total := len(d.Items)
	s := &Scan{IDs: make([][sha256.Size]byte, total)}
	faults := make([]error, total)

	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var mu sync.Mutex // for next and Progress
	next, done := 0, 0
	var wg sync.WaitGroup
	for range min(workers, total) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= total || ctx.Err() != nil {
					return
				}
				s.IDs[i], faults[i] = d.Items[i].hash()
				mu.Lock()
				done++
				if o.Progress != nil {
					o.Progress(done, total)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("scanning %s: %w", d.Name, err)
	}
	for i, err := range faults {
		if err != nil {
			s.Unreadable = append(s.Unreadable, Unreadable{Index: i, Path: d.Items[i].Path, Err: err})
		}
	}
	return s, nil
}

// Readable are the indices of the items that could be read.
func (s *Scan) Readable() []int {
	out := make([]int, 0, len(s.IDs))
	bad := s.Unreadable
	for i := range s.IDs {
		if len(bad) > 0 && bad[0].Index == i {
			bad = bad[1:]
			continue
		}
		out = append(out, i)
	}
	return out
}

// CheckContent reports items of one set that have the same content.
func CheckContent(d *Dataset, s *Scan) []Finding {
	first := map[[sha256.Size]byte]int{}
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
	findings := appendFinding(nil, SameContent, same,
		"%d images of %s are copies of another of their class: %s", len(same), d.Name, listed(same))
	return appendFinding(findings, LabelConflict, conflicts,
		"%d images of %s are copies of one with another label: %s", len(conflicts), d.Name, listed(conflicts))
}

// CheckLeak reports items of the test set whose content is in the training set.
func CheckLeak(train *Dataset, trainScan *Scan, test *Dataset, testScan *Scan) []Finding {
	trained := map[[sha256.Size]byte]int{}
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
	if of == train.Name {
		of = "the part held out of " + of
	}
	return appendFinding(nil, Leak, leaks,
		"%d images of %s are in the training set %s too, which flatters the result: %s", len(leaks), of, train.Name, listed(leaks))
}

func (it Item) hash() ([sha256.Size]byte, error) {
	data, err := it.Bytes()
	if err == nil && len(data) == 0 {
		err = errEmpty
	}
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(data), nil
}

// Package feature gives features of images, rows by image id: those that are kept, and the others by encoding them.
//
// # Basics
//
//	x, err := feature.Open(ctx, b, vision.Views(2), feature.Options{}, event.Events{}) // b from package backbone
//	defer x.Close()
//	set, err := x.Ensure(ctx, "train", images, 2) // two views of every image are there now
//	rows, err := feature.Interleaved(ctx, x, set.Scan.IDs, 2)
//	rows, err = feature.Mean(ctx, x, set.Scan.IDs, 2)
//
// [Source] is what a training needs of that, wherever rows are made; [EnsureAll] prepares the sets of a run, and
// [Sets.Learned] puts them in an order that content alone gives. An [Extractor] makes them on this machine: it keeps
// the features of each view in a store, a scan index (see package dataset), so that a warm run opens no image that it
// has seen, and copies of the few images that it is asked for as such, all under the cache folder.
//
// # Caveats
//
// A feature is filed under the hash of the very bytes that it was made of. If an image changes between scan and
// encoding, the set is of the new content.
package feature

import (
	"context"
	"slices"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/plaintext"
)

// Source gives features of images in several views, the first of which is the plain one.
type Source interface {
	// Dim is D, the length of a feature.
	Dim() int
	// Ensure makes sure that Gather has the features of all images of a data set in the first n views, except of those
	// that cannot be read or decoded, which it lists. If they are too many, the error comes with the set beside it.
	Ensure(ctx context.Context, name string, d *dataset.Dataset, n int) (*Set, error)
	// Gather writes the features of images in view k, from 0, to dst, [len(ids), D] row-major.
	Gather(ctx context.Context, ids []store.ID, k int, dst []float32) error
}

// Set is a data set whose features are there.
type Set struct {
	Name       string           // "train", "val", "test"
	Data       *dataset.Dataset // the usable images
	Scan       *dataset.Scan    // of Data
	Unreadable []Unreadable
	Encoded    int     // images that were not there before
	Seconds    float64 // of decoding and running the backbone
}

// Unreadable is an image that cannot be used, and why.
type Unreadable struct{ Path, Reason string }

// Interleaved are the features [len(ids), n, D] of images in the first n views, as training learns from them.
func Interleaved(ctx context.Context, s Source, ids []store.ID, n int) ([]float32, error) {
	dim := s.Dim()
	rows := make([]float32, len(ids)*n*dim)
	const together = 512
	buffer := make([]float32, min(together, len(ids))*dim)
	for k := range n {
		for at := 0; at < len(ids); at += together {
			some := ids[at:min(at+together, len(ids))]
			if err := s.Gather(ctx, some, k, buffer[:len(some)*dim]); err != nil {
				return nil, err
			}
			for i := range some {
				copy(rows[((at+i)*n+k)*dim:][:dim], buffer[i*dim:])
			}
		}
	}
	return rows, nil
}

// Mean are the features [len(ids), D] of images by which a head is judged: the mean over the first n views.
func Mean(ctx context.Context, s Source, ids []store.ID, n int) ([]float32, error) {
	mean := make([]float32, len(ids)*s.Dim())
	if err := s.Gather(ctx, ids, 0, mean); err != nil || n == 1 {
		return mean, err
	}
	one := make([]float32, len(mean))
	for k := 1; k < n; k++ {
		if err := s.Gather(ctx, ids, k, one); err != nil {
			return nil, err
		}
		for i, v := range one {
			mean[i] += v
		}
	}
	for i := range mean {
		mean[i] /= float32(n)
	}
	return mean, nil
}

// Needed is how many views of each set are needed; 0 of one that there is not.
type Needed struct{ Train, Val, Test int }

// Sets are those of a run. Val and Test may be nil.
type Sets struct{ Train, Val, Test *Set }

// EnsureAll makes sure of the features of every set of a run, which has training images, and warns of copies among the
// images. On an error the sets that are there are returned beside it.
func EnsureAll(ctx context.Context, s Source, d *dataset.Sets, n Needed, ev event.Events) (*Sets, error) {
	sets := new(Sets)
	into := map[string]**Set{"train": &sets.Train, "val": &sets.Val, "test": &sets.Test}
	views := map[string]int{"train": n.Train, "val": n.Val, "test": n.Test}
	for _, part := range d.Parts() {
		set, err := s.Ensure(ctx, part.Name, part.Data, views[part.Name])
		if *into[part.Name] = set; err != nil {
			return sets, err
		}
	}
	if err := lost(d.Train.Classes, sets.Train.Data.Counts()); err != nil {
		return sets, err
	}
	dataset.Warn(dataset.CheckContent(sets.Train.Data, sets.Train.Scan), ev)
	for _, other := range sets.All()[1:] {
		dataset.Warn(dataset.CheckLeak(sets.Train.Data, sets.Train.Scan, other.Data, other.Scan), ev)
	}
	return sets, nil
}

// lost names a class of which no image can be read, by how many of each can.
func lost(classes []string, readable []int) error {
	if k := slices.Index(readable, 0); k >= 0 {
		return fault.Data.Errorf("train: no image of class %q can be read; remove the class or mend its images",
			classes[k])
	}
	return nil
}

// All lists the sets that there are.
func (s *Sets) All() []*Set {
	return slices.DeleteFunc([]*Set{s.Train, s.Val, s.Test}, func(set *Set) bool { return set == nil })
}

// Evaluated is the set that a run is judged by: test, else val, else train.
func (s *Sets) Evaluated() *Set {
	sets := s.All()
	return sets[len(sets)-1]
}

// judge decides whether a set of so many images is fit for use without those that are unreadable.
func (s *Set) judge(total int, most float64, ev event.Events) error {
	if n := len(s.Unreadable); n > 0 {
		first := s.Unreadable[0]
		if float64(n) > most*float64(total) {
			return fault.Data.Errorf("%s: %d of %d images cannot be read, more than the share of %g that "+
				"max-unreadable allows; mend or remove them, or allow more; the first is %s: %s",
				s.Name, n, total, most, plaintext.Valid(first.Path), plaintext.Valid(first.Reason))
		}
		ev.Warn("unreadable images are skipped", "set", s.Name, "images", n, "of", total,
			"first", plaintext.Valid(first.Path), "reason", plaintext.Valid(first.Reason))
	}
	if len(s.Data.Items) == 0 {
		return fault.Data.Errorf("%s: no image can be read", s.Name)
	}
	return nil
}

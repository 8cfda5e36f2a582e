package work

import (
	"context"
	"fmt"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
)

// suspect is the delivery from which on a task is suspected of an image that ends workers: two have had it already.
const suspect = 3

// parts is in how many parts a range of images is tried.
const parts = 8

// searched is a folder of marks: which images of a task were begun, and which have ended no worker.
const searched = "searched"

// search finds the images of a task that end whoever reads them. What a worker begins it marks in the bucket, and
// what came to a good end; the next one sees in which range the one before has ended, and tries that in parts. An image
// that was begun alone twice, and never came to an end, is at fault.
type search struct {
	w       *worker
	prefix  string // of the marks
	set     *dataset.Dataset
	marks   map[string]bool
	sound   int
	killers []int
}

// finalError says that a task is not to be tried again.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func (w *worker) search(ctx context.Context, hash string, task int, set *dataset.Dataset) ([]int, error) {
	w.events.Info("a task has ended workers, or they were lost; its images are tried in parts", "job", hash,
		"task", task)
	s := &search{w: w, prefix: searchPrefix(hash, task), set: set}
	var err error
	if s.marks, err = w.jobs.marks(ctx, s.prefix); err == nil {
		err = s.within(ctx, 0, len(set.Items))
	}
	return s.killers, err
}

func searchPrefix(hash string, task int) string {
	return fmt.Sprintf("%s/%s/%06d/", hash, searched, task)
}

// marks are those below a prefix.
func (b jobBucket) marks(ctx context.Context, prefix string) (map[string]bool, error) {
	names, err := b.List(ctx, prefix)
	marks := map[string]bool{}
	for _, name := range names {
		marks[strings.TrimPrefix(name, prefix)] = true
	}
	return marks, err
}

const (
	again = "-again" // a single image, for the second time
	sound = "-sound"
)

func (s *search) within(ctx context.Context, from, to int) error {
	step := (to - from + parts - 1) / parts
	for a := from; a < to; a += step {
		b := min(a+step, to)
		mark := fmt.Sprintf("%06d-%06d", a, b)
		var err error
		switch {
		case s.marks[mark+sound]:
			s.sound++
		case !s.marks[mark]:
			err = s.try(ctx, mark, "", a, b)
		case b-a > 1:
			err = s.within(ctx, a, b)
		case !s.marks[mark+again]:
			err = s.try(ctx, mark, again, a, b)
		default:
			s.killers = append(s.killers, a)
			if len(s.killers) == 3 && s.sound == 0 {
				err = finalError{fault.Runtime.Errorf("each of its first images has ended workers: the images are " +
					"not at fault; the workers' memory is too small, or the backbone breaks them")}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// try encodes a range, for nothing but to see that it can be done.
func (s *search) try(ctx context.Context, mark, kind string, from, to int) error {
	if err := s.w.jobs.publish(ctx, s.prefix+mark+kind, []byte(s.w.name)); err != nil {
		return err
	}
	some := *s.set
	some.Items = some.Items[from:to]
	if _, err := s.w.try(ctx, &some, func() {}); err != nil {
		return err
	}
	s.sound++
	return s.w.jobs.publish(ctx, s.prefix+mark+sound, []byte(s.w.name))
}

// patient is how often a task may be given out: more often while what has ended its workers is searched for.
func (w *worker) patient(ctx context.Context, hash string, task int) uint64 {
	marks, err := w.jobs.marks(ctx, searchPrefix(hash, task))
	n := uint64(tries)
	for mark := range marks {
		if base := strings.TrimSuffix(mark, again); !strings.HasSuffix(mark, sound) && !marks[base+sound] {
			n++
		}
	}
	if err != nil {
		return 5 * tries // which will be seen when the bucket is back
	}
	return min(n, 5*tries)
}

// without are the items of a set but some.
func without(set *dataset.Dataset, some []int) *dataset.Dataset {
	if len(some) == 0 {
		return set
	}
	left, out := *set, map[int]bool{}
	for _, i := range some {
		out[i] = true
	}
	left.Items = nil
	for i, it := range set.Items {
		if !out[i] {
			left.Items = append(left.Items, it)
		}
	}
	return &left
}

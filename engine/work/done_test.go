package work

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature/bucket"
)

// remote is a bucket in which a list is a request, and counts them.
type remote struct {
	bucket.Memory
	mu     sync.Mutex
	listed []string
}

func (r *remote) Remote() bool { return true }

func (r *remote) List(ctx context.Context, prefix string) ([]string, error) {
	r.mu.Lock()
	r.listed = append(r.listed, prefix)
	r.mu.Unlock()
	return r.Memory.List(ctx, prefix)
}

// Which tasks are done is asked in requests of a thousand names each, of those thousands alone of which some are not
// known to be done; numbers of another length do not get in the way.
func TestListsByThousands(t *testing.T) {
	b := &remote{}
	jobs := jobBucket{b}
	for _, task := range []int{0, 999, 1000, 1500, 100_000, 100_999, 1_000_000, 1_000_999, 1_009_999} {
		if err := jobs.publish(t.Context(), object("h", records, task), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ of, want, listed []int }{
		{of: []int{0, 998, 999, 1500}, want: []int{0, 999, 1500}, listed: []int{0, 1}},
		{of: []int{100_000, 100_001, 1_000_000, 1_009_999}, want: []int{100_000, 1_000_000, 1_009_999},
			listed: []int{100, 1000, 1009}},
		{of: []int{2000, 5000}, listed: []int{2, 5}},
	} {
		of, listed := map[int]int{}, []string{}
		for _, task := range c.of {
			of[task] = 1
		}
		for _, thousand := range c.listed {
			listed = append(listed, fmt.Sprintf("h/done/%03d", thousand))
		}
		b.listed = nil
		got, err := jobs.recorded(t.Context(), "h", of)
		slices.Sort(got)
		slices.Sort(b.listed)
		slices.Sort(listed)
		if err != nil || !slices.Equal(got, c.want) || !slices.Equal(b.listed, listed) {
			t.Errorf("of %v %v are done, after lists of %v; %v", c.of, got, b.listed, err)
		}
	}
	b.listed = nil
	got, err := jobs.recorded(t.Context(), "h", map[int]int{1000: 1})
	if err != nil || !slices.Equal(got, []int{1000}) || !slices.Equal(b.listed, []string{"h/done/001000"}) {
		t.Errorf("one task: %v, after lists of %v; %v", got, b.listed, err)
	}
	folder := jobBucket{bucket.Dir(t.TempDir())}
	for _, task := range []int{3, 1500} {
		if err := folder.publish(t.Context(), object("h", records, task), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := folder.recorded(t.Context(), "h", map[int]int{3: 1, 4: 1, 1500: 1}); err != nil || len(got) != 2 {
		t.Errorf("in a folder: %v, %v", got, err)
	}
}

// What is missing is queued at first, and when the queue has nothing after one more look at the bucket: what was done
// while it was looked at is not queued again.
func TestQueuesWhatIsMissing(t *testing.T) {
	c, err := Queue{URL: Embedded, Patience: time.Minute}.open(t.Context(), "bucket", event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	s := &submission{queue: c, hash: "0123456789abcdef", name: strings.Repeat("A", 26), lists: make([][]Image, 5),
		records: map[int]Record{}, failed: map[int]Failure{4: {}}}
	tend := func(what string, want uint64) {
		t.Helper()
		if err := s.queueMissing(t.Context()); err != nil {
			t.Fatal(err)
		}
		stream, err := c.ready(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil || info.State.Msgs != want {
			t.Errorf("%s: %d messages, not %d; %v", what, info.State.Msgs, want, err)
		}
	}
	purge := func() {
		t.Helper()
		stream, err := c.ready(t.Context())
		if err != nil || stream.Purge(t.Context()) != nil {
			t.Fatal(err)
		}
	}
	tend("at first", 4)
	tend("nothing happened", 4)
	purge()
	tend("all are gone, which may be as they are done", 0)
	s.records[1] = Record{}
	tend("they are not", 3)
	tend("nothing happened", 3)
	purge()
	tend("gone again", 0)
	for task := range 4 {
		s.records[task] = Record{}
	}
	tend("as they are done", 0)
}

// Of things that are done side by side the first error is given, and ends the rest.
func TestEach(t *testing.T) {
	jobs := jobBucket{&remote{}}
	var done atomic.Int64
	if err := jobs.each(t.Context(), 100, func(context.Context, int) error { done.Add(1); return nil }); err != nil ||
		done.Load() != 100 {
		t.Errorf("%d of 100 were done: %v", done.Load(), err)
	}
	full := errors.New("the disk is full")
	done.Store(0)
	err := jobs.each(t.Context(), 100_000, func(ctx context.Context, i int) error {
		if done.Add(1) == 7 {
			return full
		}
		return ctx.Err()
	})
	if err != full || done.Load() == 100_000 {
		t.Errorf("%v, after %d", err, done.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := jobs.each(ctx, 3, func(context.Context, int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := jobs.each(t.Context(), 0, nil); err != nil {
		t.Error(err)
	}
}

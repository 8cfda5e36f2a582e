// Package buckettest says what a bucket promises: each implementation passes [Run].
package buckettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/vitft/vitft/engine/feature/bucket"
)

// Run tests buckets that open makes, each empty and for itself.
func Run(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	for name, test := range map[string]func(*suite){
		"an empty bucket": (*suite).empty, "what is published": (*suite).published, "listing": (*suite).listing,
		"offsets": (*suite).offsets, "one of many publishers": (*suite).race, "parts are never seen": (*suite).parts,
		"failed and cancelled": (*suite).failures, "set aside": (*suite).aside, "deleted": (*suite).deleted,
		"names": (*suite).names,
	} {
		t.Run(name, func(t *testing.T) { test(&suite{t, open(t)}) })
	}
}

type suite struct {
	*testing.T
	bucket.Bucket
}

func (s *suite) empty() {
	s.has("")
	s.has("a/")
	s.tidy("none")
	_, err := s.Open(s.Context(), "a")
	s.is(fs.ErrNotExist, err, "opening what is not there")
	s.is(fs.ErrNotExist, s.SetAside(s.Context(), "a"), "setting aside what is not there")
	s.is(nil, s.Delete(s.Context(), "a"), "deleting what is not there")
}

func (s *suite) published() {
	for _, content := range []string{"", "x", "some text\x00\xff"} {
		name := fmt.Sprintf("f/%d", len(content))
		s.put(name, content)
		s.tidy("f")
		if where := s.Where(name); !strings.Contains(where, fmt.Sprint(len(content))) {
			s.Errorf("%s is at %q", name, where)
		}
	}
	s.is(fs.ErrExist, s.Publish(s.Context(), "f/1", text("y")), "publishing once more")
	s.holds("f/1", "x")
}

func (s *suite) listing() {
	for _, name := range []string{"b/2", "a", "b/10", "b/1", "ba/1", "c/d/e/f", "b.x"} {
		s.put(name, name)
	}
	for prefix, want := range map[string]string{
		"": "a b.x b/1 b/10 b/2 ba/1 c/d/e/f", "b/": "b/1 b/10 b/2", "b/1": "b/1 b/10", "b": "b.x b/1 b/10 b/2 ba/1",
		"c/d/": "c/d/e/f", "none": "", "none/": "",
	} {
		s.has(prefix, strings.Fields(want)...)
	}
}

func (s *suite) offsets() {
	s.put("n", "0123456789")
	o := s.open("n")
	for _, when := range []string{"before", "after"} { // all of it is asked for
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { s.is(nil, reads(o, "0123456789"), when, "the whole") })
		}
		wg.Wait()
		_, err := bucket.Content(o)
		s.is(nil, err, "reading the whole")
	}
}

func (s *suite) race() {
	var names []string
	for round := range 20 {
		name := fmt.Sprintf("race/%02d", round)
		names = append(names, name)
		winners := make(chan string, 4)
		var wg sync.WaitGroup
		for k := range cap(winners) {
			wg.Go(func() {
				mine := strings.Repeat(fmt.Sprint(k), 5000)
				if err := s.Publish(s.Context(), name, text(mine)); err == nil {
					winners <- mine
				} else {
					s.is(fs.ErrExist, err, "publishing what another has")
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 {
			s.Fatalf("%d publishers succeeded", len(winners))
		}
		s.holds(name, <-winners)
	}
	s.has("race/", names...)
}

func (s *suite) parts() {
	part := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB
	s.is(nil, s.Publish(s.Context(), "p/one", func(w io.Writer) error {
		for k := range 24 {
			if _, err := io.WriteString(w, part); err != nil {
				return err
			}
			if k%8 == 0 {
				s.has("")
				s.tidy("p")
				_, err := s.Open(s.Context(), "p/one")
				s.is(fs.ErrNotExist, err, "opening a part")
			}
		}
		return nil
	}), "publishing")
	s.has("", "p/one")
	s.holds("p/one", strings.Repeat(part, 24))
}

func (s *suite) failures() {
	cause := errors.New("no more to write")
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	for _, want := range []error{cause, context.Canceled} {
		s.is(want, s.Publish(ctx, "f", func(w io.Writer) error {
			w.Write(make([]byte, 1<<20)) // like one who does not look at the error
			if want == cause {
				return cause
			}
			cancel()
			return nil
		}), "publishing to no end")
		s.has("")
	}
	s.put("f", "then it works")
	s.refuses(ctx, "f", context.Canceled)
	_, err := s.List(ctx, "")
	s.is(context.Canceled, err, "listing")
	_, err = s.Tidy(ctx, "")
	s.is(context.Canceled, err, "tidying")
	s.has("", "f")
	s.holds("f", "then it works")
}

func (s *suite) aside() {
	for _, content := range []string{"first", "second, read as a whole"} { // and put in the place of the first
		s.put("d/x", content)
		o := s.open("d/x")
		if content != "first" {
			_, err := bucket.Content(o)
			s.is(nil, err, "reading the whole")
		}
		s.is(nil, s.SetAside(s.Context(), "d/x"), "setting aside")
		s.has("", "d/x"+bucket.Aside)
		s.holds("d/x"+bucket.Aside, content)
		s.put("d/x", "another")
		s.is(nil, s.SetAside(s.Context(), "d/x"), "setting aside once more")
		s.is(nil, reads(o, content), "reading what is open")
	}
}

func (s *suite) deleted() {
	s.put("d/x", "first")
	s.put("d/y", "another")
	o := s.open("d/x")
	for range 2 { // the second time it is gone already
		s.is(nil, s.Delete(s.Context(), "d/x"), "deleting")
		s.has("", "d/y")
		_, err := s.Open(s.Context(), "d/x")
		s.is(fs.ErrNotExist, err, "opening what is deleted")
	}
	s.is(nil, reads(o, "first"), "reading what is open")
	s.put("d/x", "second")
	s.is(nil, s.Delete(s.Context(), "d/y"), "deleting the other")
	s.has("", "d/x")
}

func (s *suite) names() {
	for _, name := range []string{"", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a/.b", `a\b`,
		"a\x00b", "\xff"} {
		s.refuses(s.Context(), name, bucket.ErrName)
	}
	s.has("")
	for _, name := range []string{"Ä b,c=d", "20261122T221544.160375651Z-1d27c309.safetensors",
		strings.Repeat("x", 200)} {
		s.put(name, name)
	}
}

func text(content string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, content); return err }
}

// is wants an error, or none.
func (s *suite) is(want, err error, doing ...any) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%v: %v, want %v", doing, err, want)
	}
}

// refuses wants the error of whatever is done with a name.
func (s *suite) refuses(ctx context.Context, name string, want error) {
	s.Helper()
	_, err := s.Open(ctx, name)
	s.is(want, err, "opening", name)
	s.is(want, s.Publish(ctx, name, text("x")), "publishing", name)
	s.is(want, s.SetAside(ctx, name), "setting aside", name)
	s.is(want, s.Delete(ctx, name), "deleting", name)
}

// put publishes an object; it is there at once.
func (s *suite) put(name, content string) {
	s.Helper()
	s.is(nil, s.Publish(s.Context(), name, text(content)), "publishing", name)
	s.holds(name, content)
}

// open opens an object until the end of the test.
func (s *suite) open(name string) bucket.Object {
	s.Helper()
	o, err := s.Open(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { s.is(nil, o.Close(), "closing", name) })
	return o
}

func (s *suite) holds(name, want string) {
	s.Helper()
	o := s.open(name)
	if got, err := bucket.Content(o); err != nil || string(got) != want || o.Size() != int64(len(want)) {
		s.Errorf("%s holds %d bytes %.50q, %v; want %.50q", name, o.Size(), got, err, want)
	}
}

// reads wants the right bytes and io.EOF at any offset.
func reads(o bucket.Object, want string) error {
	return iotest.TestReader(struct {
		io.Reader
		io.ReaderAt
	}{io.NewSectionReader(o, 0, 1<<20), o}, []byte(want))
}

func (s *suite) has(prefix string, want ...string) {
	s.Helper()
	if names, err := s.List(s.Context(), prefix); err != nil || !slices.Equal(names, want) {
		s.Errorf("names with %q: %q, %v; want %q", prefix, names, err, want)
	}
}

// tidy finds nothing to remove: whatever there is, lives.
func (s *suite) tidy(folder string) {
	s.Helper()
	if removed, err := s.Tidy(s.Context(), folder); err != nil || len(removed) > 0 {
		s.Errorf("tidying %s removed %v, %v", folder, removed, err)
	}
}

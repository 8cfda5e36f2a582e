// Package buckettest says what a bucket promises: each implementation passes [Run].
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
)

// Run tests buckets that open makes, each empty and for itself.
func Run(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	for name, test := range map[string]func(*suite){
		"an empty bucket": (*suite).empty, "what is published is there": (*suite).published, "listing": (*suite).listing,
		"offsets": (*suite).offsets, "large": (*suite).large, "one of many publishers": (*suite).race,
		"parts are never seen": (*suite).parts, "failed publications": (*suite).failures, "set aside": (*suite).aside,
		"an open object stays": (*suite).stays, "names": (*suite).names, "cancellation": (*suite).cancelled,
		"tidying": (*suite).tidy,
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
	if _, err := s.Open(s.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("opening what is not there: %v", err)
	}
	if err := s.SetAside(s.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("setting aside what is not there: %v", err)
	}
}

func (s *suite) published() {
	for _, content := range []string{"", "x", "some text\x00\xff"} {
		name := fmt.Sprintf("f/%d", len(content))
		s.put(name, content)
		s.holds(name, content)
		if where := s.Where(name); !strings.Contains(where, fmt.Sprint(len(content))) {
			s.Errorf("%s is at %q", name, where)
		}
	}
	if err := s.Publish(s.Context(), "f/1", text("y")); !errors.Is(err, fs.ErrExist) {
		s.Errorf("publishing once more: %v", err)
	}
	s.holds("f/1", "x")
}

func (s *suite) listing() {
	for _, name := range []string{"b/2", "a", "b/10", "b/1", "ba/1", "c/d/e/f", "b.x"} {
		s.put(name, name)
	}
	s.has("", "a", "b.x", "b/1", "b/10", "b/2", "ba/1", "c/d/e/f")
	s.has("b/", "b/1", "b/10", "b/2")
	s.has("b/1", "b/1", "b/10")
	s.has("b", "b.x", "b/1", "b/10", "b/2", "ba/1")
	s.has("c/d/", "c/d/e/f")
	s.has("none")
	s.has("none/")
}

func (s *suite) offsets() {
	const content = "0123456789"
	s.put("n", content)
	for _, whole := range []bool{false, true} { // reading at an offset, before and after the whole
		o := s.open("n")
		if whole {
			if c, err := bucket.Content(o); err != nil || string(c) != content {
				s.Errorf("content %q, %v", c, err)
			}
		}
		for at := range int64(12) {
			got := make([]byte, 4)
			n, err := o.ReadAt(got, at)
			want := content[min(at, 10):min(at+4, 10)]
			if string(got[:n]) != want || (err == io.EOF) != (len(want) < 4) || err != nil && err != io.EOF {
				s.Errorf("at %d: %q, %v; want %q", at, got[:n], err, want)
			}
		}
		if o.Size() != 10 {
			s.Errorf("size %d", o.Size())
		}
		var wg sync.WaitGroup
		for k := range 8 {
			wg.Go(func() {
				got := make([]byte, 2)
				if _, err := o.ReadAt(got, int64(k)); err != nil || string(got) != content[k:k+2] {
					s.Errorf("several at once: %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		s.close(o)
	}
}

func (s *suite) large() {
	part := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MB
	err := s.Publish(s.Context(), "large", func(w io.Writer) error {
		for range 24 {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	o := s.open("large")
	defer s.close(o)
	content, err := bucket.Content(o)
	if err != nil || len(content) != 24*len(part) || !bytes.Equal(content[23*len(part):], part) {
		s.Errorf("%d bytes, %v", len(content), err)
	}
}

func (s *suite) race() {
	for round := range 20 {
		name := fmt.Sprint("race/", round)
		var winner atomic.Value
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Go(func() {
				mine := strings.Repeat(fmt.Sprint(k), 5000)
				switch err := s.Publish(s.Context(), name, text(mine)); {
				case err == nil && winner.Swap(mine) != nil:
					s.Error("two publishers succeeded")
				case err != nil && !errors.Is(err, fs.ErrExist):
					s.Error(err)
				}
			})
		}
		wg.Wait()
		if winner.Load() == nil {
			s.Fatal("nobody succeeded")
		}
		s.holds(name, winner.Load().(string))
	}
	if names, err := s.List(s.Context(), "race/"); err != nil || len(names) != 20 {
		s.Errorf("%d names, %v", len(names), err)
	}
}

func (s *suite) parts() {
	err := s.Publish(s.Context(), "p/one", func(w io.Writer) error {
		if _, err := w.Write(bytes.Repeat([]byte{1}, 1<<20)); err != nil {
			return err
		}
		s.has("")
		if _, err := s.Open(s.Context(), "p/one"); !errors.Is(err, fs.ErrNotExist) {
			s.Errorf("a part can be opened: %v", err)
		}
		if removed, err := s.Tidy(s.Context(), "p"); err != nil || len(removed) > 0 {
			s.Errorf("tidying removed %v of a publisher that lives, %v", removed, err)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	s.has("", "p/one")
}

func (s *suite) failures() {
	cause := errors.New("no more to write")
	err := s.Publish(s.Context(), "f", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return cause
	})
	if !errors.Is(err, cause) {
		s.Errorf("error %v, want that of the function", err)
	}
	s.has("")
	s.put("f", "then it works")
	s.holds("f", "then it works")
}

func (s *suite) aside() {
	for _, content := range []string{"first", "second"} {
		s.put("d/x", content)
		if err := s.SetAside(s.Context(), "d/x"); err != nil {
			s.Fatal(err)
		}
		s.has("", "d/x"+bucket.Aside)
		s.holds("d/x"+bucket.Aside, content)
	}
	s.put("d/x", "third")
	s.holds("d/x", "third")
}

func (s *suite) stays() {
	s.put("x", "as it was")
	for _, whole := range []bool{false, true} {
		o := s.open("x")
		if whole {
			if _, err := bucket.Content(o); err != nil {
				s.Fatal(err)
			}
		}
		if err := s.SetAside(s.Context(), "x"); err != nil {
			s.Fatal(err)
		}
		s.put("x", "something else")
		got := make([]byte, 9)
		if _, err := o.ReadAt(got, 0); err != nil || string(got) != "as it was" {
			s.Errorf("%q, %v", got, err)
		}
		s.close(o)
		if err := s.SetAside(s.Context(), "x"); err != nil {
			s.Fatal(err)
		}
		s.put("x", "as it was")
	}
}

func (s *suite) names() {
	for _, name := range []string{"", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a/.b", `a\b`,
		"a\x00b", "\xff"} {
		if err := s.Publish(s.Context(), name, text("x")); !errors.Is(err, bucket.ErrName) {
			s.Errorf("publishing as %q: %v", name, err)
		}
		if _, err := s.Open(s.Context(), name); !errors.Is(err, bucket.ErrName) {
			s.Errorf("opening %q: %v", name, err)
		}
		if err := s.SetAside(s.Context(), name); !errors.Is(err, bucket.ErrName) {
			s.Errorf("setting %q aside: %v", name, err)
		}
	}
	s.has("")
	for _, name := range []string{"Ä b,c=d", "20261122T221544.160375651Z-1d27c309.safetensors", strings.Repeat("x", 200)} {
		s.put(name, name)
		s.holds(name, name)
	}
}

func (s *suite) cancelled() {
	s.put("a", "x")
	ctx, cancel := context.WithCancel(s.Context())
	if err := s.Publish(ctx, "b", func(w io.Writer) error {
		cancel()
		w.Write([]byte("who does not look at the error"))
		return nil
	}); !errors.Is(err, context.Canceled) {
		s.Errorf("cancelled while publishing: %v", err)
	}
	s.has("", "a")
	_, listErr := s.List(ctx, "")
	_, openErr := s.Open(ctx, "a")
	_, tidyErr := s.Tidy(ctx, "")
	for what, err := range map[string]error{"list": listErr, "open": openErr, "tidy": tidyErr,
		"publish": s.Publish(ctx, "c", text("x")), "set aside": s.SetAside(ctx, "a")} {
		if !errors.Is(err, context.Canceled) {
			s.Errorf("%s with a context that has ended: %v", what, err)
		}
	}
	s.has("", "a")
}

func (s *suite) tidy() {
	if removed, err := s.Tidy(s.Context(), "none"); err != nil || len(removed) > 0 {
		s.Errorf("where nothing is: %v, %v", removed, err)
	}
	s.put("t/a", "x")
	if removed, err := s.Tidy(s.Context(), "t"); err != nil || len(removed) > 0 {
		s.Errorf("removed %v, %v", removed, err)
	}
	s.holds("t/a", "x")
}

func text(content string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, content); return err }
}

func (s *suite) put(name, content string) {
	s.Helper()
	if err := s.Publish(s.Context(), name, text(content)); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) open(name string) bucket.Object {
	s.Helper()
	o, err := s.Open(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	return o
}

func (s *suite) close(o bucket.Object) {
	s.Helper()
	if err := o.Close(); err != nil {
		s.Error(err)
	}
}

func (s *suite) holds(name, want string) {
	s.Helper()
	o := s.open(name)
	defer s.close(o)
	if got, err := bucket.Content(o); err != nil || string(got) != want || o.Size() != int64(len(want)) {
		s.Errorf("%s holds %d bytes %.50q, %v; want %.50q", name, o.Size(), got, err, want)
	}
}

func (s *suite) has(prefix string, want ...string) {
	s.Helper()
	if names, err := s.List(s.Context(), prefix); err != nil || !slices.Equal(names, want) {
		s.Errorf("names with %q: %q, %v; want %q", prefix, names, err, want)
	}
}

package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
)

// Features that are kept as float16 come back rounded to it, after opening anew too; what it cannot hold is refused.
func TestHalf(t *testing.T) {
	key := testKey(3)
	key.Stored = Half
	dir := t.TempDir()
	s, _ := mustOpen(t, dir, key)
	w, err := s.Writer(t.Context(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id, other := ID{1}, ID{2}
	if err := w.Append(t.Context(), id, "a.png", []float32{1, 0.1, -65504}); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(t.Context(), other, "b.png", []float32{1, 2, 70000}); err == nil ||
		!strings.Contains(err.Error(), "b.png") || !strings.Contains(err.Error(), "float16") {
		t.Errorf("too large for float16: %v", err)
	}
	var large *TooLargeError
	if err := s.PublishBlock(t.Context(), "task", []ID{id, other}, []float32{1, 2, 3, 4, 65520, 6}, ""); !errors.As(err,
		&large) || large.Index != 1 || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "image 02") {
		t.Errorf("a block with what is too large for float16: %v", err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = mustOpen(t, dir, key)
	got := make([]float32, 3)
	if err := s.Gather(t.Context(), []ID{id}, got); err != nil {
		t.Fatal(err)
	}
	if want := [3]float32{1, 0.099975586, -65504}; [3]float32(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
	plain, report := mustOpen(t, dir, testKey(3))
	if report.Features != 0 || plain.Has(id) {
		t.Error("a store of float32 has what is kept as float16")
	}
}

package store

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
)

// Every damaged byte, wherever it is, is noticed or harmless: a feature is right or absent.
func TestDamage(t *testing.T) {
	const n, dim = 4, 3
	clean := t.TempDir()
	s, _ := mustOpen(t, clean, testKey(dim))
	fill(t, s, n, upTo(n))
	path := files(t, s, "*"+blockSuffix)[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, content []byte, mustNotice, refill bool) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(clean)); err != nil { // with key.json
			t.Fatal(err)
		}
		target := filepath.Join(dir, testKey(dim).Hash(), filepath.Base(path))
		if err := os.WriteFile(target, content, 0o644); err != nil {
			t.Fatal(err)
		}
		s, report, err := Open(t.Context(), bucket.Dir(dir), testKey(dim))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer s.Close()
		bad, err := s.Verify(t.Context(), testIDs(n))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		report.Bad = append(report.Bad, bad...)
		if s.Len() == 0 {
			if len(report.Bad) != 1 || report.Bad[0].Path != target+bucket.Aside {
				t.Fatalf("%s: report %+v", name, report)
			}
			if !refill {
				return
			}
			// Set aside: reported once, and the images can be encoded again.
			fill(t, s, n, upTo(n))
			check(t, s, n)
			again, report := mustOpen(t, dir, testKey(dim))
			if len(report.Bad) != 0 {
				t.Fatalf("%s: reported twice", name)
			}
			check(t, again, n)
			return
		}
		if mustNotice {
			t.Fatalf("%s: not noticed", name)
		}
		check(t, s, n)
	}
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 1 << (at % 8)
		header := 8 + int(binary.LittleEndian.Uint64(good))
		try(fmt.Sprintf("bit flipped at %d", at), bad, at >= header, false)
	}
	for _, size := range []int{0, 1, 8, 100, len(good) / 2, len(good) - 1} {
		try(fmt.Sprintf("cut to %d", size), good[:size], true, true)
	}
	try("longer", append(slices.Clone(good), 0), true, true)
	try("zeros", make([]byte, len(good)), true, true)
}

// A sound block of another key is never served.
func TestForeignBlock(t *testing.T) {
	dir := t.TempDir()
	other := testKey(2)
	other.Backbone = "b1"
	a, _ := mustOpen(t, dir, other)
	fill(t, a, 0, upTo(3))
	b, _ := mustOpen(t, dir, testKey(2))
	from := files(t, a, "*"+blockSuffix)[0]
	if err := os.Link(from, filepath.Join(b.Where(), filepath.Base(from))); err != nil {
		t.Fatal(err)
	}
	s, report := mustOpen(t, dir, testKey(2))
	if s.Len() != 0 || len(report.Bad) != 1 || !strings.Contains(report.Bad[0].Err.Error(), "made for key") {
		t.Errorf("%d features, report %+v", s.Len(), report)
	}
}

// Any bytes: a fault, or a block whose rows all can be read.
func FuzzBlock(f *testing.F) {
	const n, dim = 2, 3
	s, _ := mustOpen(f, f.TempDir(), testKey(dim))
	fill(f, s, 0, upTo(n))
	good, err := os.ReadFile(files(f, s, "*"+blockSuffix)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ids, r, err := parse(data, testKey(dim).form(), true)
		if err == nil && len(r.whole) != dim*len(ids) {
			t.Fatalf("%d ids, %d values", len(ids), len(r.whole))
		}
		m := new(bucket.Memory)
		if err := m.Publish(t.Context(), "b",
			func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			t.Fatal(err)
		}
		if b, faulty := openBlock(t.Context(), m, "b", testKey(dim).form()); err == nil &&
			(faulty != nil || !slices.Equal(b.ids, ids)) {
			t.Fatalf("opened alone its ids are %x, %v; want %x", b.ids, faulty, ids)
		}
	})
}

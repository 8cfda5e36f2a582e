package cloud

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
)

// Two machines share features: which images there are costs the second no block, and what is damaged on one of them
// harms neither the other nor the object store.
func TestStoreOfTwoMachines(t *testing.T) {
	ctx, objects := t.Context(), memblob.OpenBucket(nil)
	machine := func() *Bucket { return &Bucket{objects: objects, where: "mem:///", local: bucket.Dir(t.TempDir())} }
	key := store.Key{Backbone: "b", Preprocess: "p", Feature: "f", Precision: "float32", Provider: "cpu", Dim: 3}
	opened := func(b *Bucket, features int) *store.Store {
		t.Helper()
		s, report, err := store.Open(ctx, b, key)
		if err != nil || report.Features != features {
			t.Fatalf("%+v, %v; want %d features", report, err, features)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	var ids []store.ID
	first := machine()
	w, err := opened(first, 0).Writer(ctx, store.WriterOptions{BlockSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		ids = append(ids, store.ID{byte(i)})
		if err := w.Append(ctx, ids[i], "", []float32{float32(i), 1, 2}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}

	second := machine()
	s := opened(second, 10)
	local, err := second.local.List(ctx, "")
	if err != nil || slices.ContainsFunc(local, func(s string) bool { return strings.HasSuffix(s, ".safetensors") }) {
		t.Fatalf("opening has fetched %v, %v", local, err)
	}
	right := func(s *store.Store) {
		t.Helper()
		rows := make([]float32, 3*len(ids))
		if err := s.Gather(ctx, ids, rows); err != nil {
			t.Fatal(err)
		}
		for i := range ids {
			if rows[3*i] != float32(i) || rows[3*i+2] != 2 {
				t.Errorf("feature %d is %v", i, rows[3*i:3*i+3])
			}
		}
	}
	right(s)

	// The copy of a block goes bad: it is fetched anew the next time.
	names, err := second.List(ctx, key.Hash()+"/")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(names, func(s string) bool { return strings.HasSuffix(s, ".safetensors") })
	path := second.local.Where(names[at])
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	s = opened(second, 10)
	if bad, err := s.Verify(ctx, ids); err != nil || len(bad) != 1 {
		t.Fatalf("%v, %v; want one bad block", bad, err)
	}
	right(opened(second, 10))

	// An index goes bad, or is lost: the block says what is in it, and there is one again. A block goes bad: it is set
	// aside for all.
	index, err := objects.ReadAll(ctx, names[at]+".ids")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := objects.WriteAll(ctx, names[at]+".ids", []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		right(opened(machine(), 10))
		if err := objects.Delete(ctx, names[at]+".ids"); err != nil {
			t.Fatal(err)
		}
		right(opened(machine(), 10))
		if mended, err := objects.ReadAll(ctx, names[at]+".ids"); err != nil || !bytes.Equal(mended, index) {
			t.Fatalf("the index is %d bytes, %v", len(mended), err)
		}
	}
	if err := objects.WriteAll(ctx, names[at], content, nil); err != nil {
		t.Fatal(err)
	}
	third := machine()
	if bad, err := opened(third, 10).Verify(ctx, ids); err != nil || len(bad) != 1 ||
		!strings.HasSuffix(bad[0].Path, filepath.Base(names[at])+bucket.Aside) {
		t.Fatalf("%v, %v; want the bad block set aside", bad, err)
	}
	opened(machine(), 6)
}

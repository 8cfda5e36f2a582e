package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/disk"
)

func testKey(dim int) Key {
	return Key{Backbone: "b0", Preprocess: "p 224", Feature: "embedding/pooled", Precision: "float32", Provider: "cpu",
		Dim: dim}
}

func testID(i int) ID { return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i))) }

// testFeature is the feature that an honest backbone gives image i.
func testFeature(i, dim int) []float32 {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	f := make([]float32, dim)
	for j := range f {
		f[j] = float32(r.NormFloat64())
	}
	return f
}

func testIDs(n int) []ID {
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = testID(i)
	}
	return ids
}

func mustOpen(t testing.TB, dir string, key Key) (*Store, Report) {
	t.Helper()
	s, report, err := Open(t.Context(), bucket.Dir(dir), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, report
}

// fill appends images order[0], order[1], … and closes the writer.
func fill(t testing.TB, s *Store, blockSize int, order []int) {
	t.Helper()
	w, err := s.Writer(t.Context(), WriterOptions{BlockSize: blockSize, Library: "test 1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range order {
		if err := w.Append(t.Context(), testID(i), fmt.Sprint(i), testFeature(i, s.Key().Dim)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func upTo(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// check gathers images 0 to n-1 and compares every bit.
func check(t testing.TB, s *Store, n int) {
	t.Helper()
	d := s.Key().Dim
	got := make([]float32, n*d)
	if err := s.Gather(t.Context(), testIDs(n), got); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if want := testFeature(i, d); !slices.Equal(got[i*d:(i+1)*d], want) {
			t.Fatalf("feature %d is wrong", i)
		}
	}
}

func files(t testing.TB, s *Store, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Where(), pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The same features come back whatever the block size, the order, how many sessions wrote them and how often each was
// written.
func TestMetamorphic(t *testing.T) {
	const n, dim = 60, 7
	r := rand.New(rand.NewPCG(1, 2))
	for _, blockSize := range []int{1, 7, 20, 60, 61, 0} {
		for _, sessions := range []int{1, 3} {
			t.Run(fmt.Sprintf("block=%d/sessions=%d", blockSize, sessions), func(t *testing.T) {
				dir := t.TempDir()
				for k := range sessions {
					order := r.Perm(n)
					if k < sessions-1 {
						order = append(order[:n/2], order[:n/4]...) // a part, some twice
					}
					s, _ := mustOpen(t, dir, testKey(dim))
					before := s.Len()
					fill(t, s, blockSize, order)
					if s.Len() < before {
						t.Fatal("features vanished")
					}
					if k == sessions-1 {
						check(t, s, n)
					}
				}
				s, report := mustOpen(t, dir, testKey(dim))
				check(t, s, n)
				if report.Features != n || s.Len() != n || len(report.Bad) != 0 || len(report.Removed) != 0 {
					t.Errorf("report %+v", report)
				}
			})
		}
	}
}

// Two stores open on one folder do not see each other but do not disturb either.
func TestTwoWritersAtOnce(t *testing.T) {
	const n, dim = 400, 5
	dir := t.TempDir()
	var wg sync.WaitGroup
	for k := range 2 {
		s, _ := mustOpen(t, dir, testKey(dim))
		wg.Go(func() {
			order := upTo(n)
			if k == 1 {
				slices.Reverse(order)
			}
			fill(t, s, 16, order[:n*3/4])
		})
	}
	wg.Wait()
	s, report := mustOpen(t, dir, testKey(dim))
	if report.Features != n {
		t.Errorf("%d features, want %d", report.Features, n)
	}
	check(t, s, n)
}

func TestReadersDuringWrite(t *testing.T) {
	const n, dim = 500, 3
	s, _ := mustOpen(t, t.TempDir(), testKey(dim))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				row := make([]float32, dim)
				for i := range n {
					if !s.Has(testID(i)) {
						continue
					}
					if err := s.Gather(t.Context(), []ID{testID(i)}, row); err != nil ||
						!slices.Equal(row, testFeature(i, dim)) {
						t.Error("wrong feature while writing: ", err)
						return
					}
				}
			}
		})
	}
	fill(t, s, 10, upTo(n))
	close(done)
	wg.Wait()
	check(t, s, n)
}

// unreadable is a folder whose blocks nobody may list or open.
type unreadable struct{ bucket.Dir }

func (u unreadable) List(context.Context, string) ([]string, error) { return nil, fs.ErrPermission }

func (u unreadable) Open(ctx context.Context, name string) (bucket.Object, error) {
	if strings.HasSuffix(name, blockSuffix) {
		return nil, fs.ErrPermission
	}
	return u.Dir.Open(ctx, name)
}

// Who only publishes reads no block, and what it publishes is there for whoever opens the store.
func TestOpenUnread(t *testing.T) {
	dir := t.TempDir()
	first, _ := mustOpen(t, dir, testKey(3))
	fill(t, first, 2, upTo(4))
	s, err := OpenUnread(t.Context(), unreadable{bucket.Dir(dir)}, testKey(3))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Len() != 0 || s.Has(testID(0)) {
		t.Errorf("it shows %d features", s.Len())
	}
	if err := s.PublishBlock(t.Context(), "task", []ID{testID(4)}, testFeature(4, 3), "test 1"); err != nil {
		t.Fatal(err)
	}
	again, _ := mustOpen(t, dir, testKey(3))
	check(t, again, 5)
	if _, err := OpenUnread(t.Context(), bucket.Dir(dir), Key{}); !errors.Is(err, ErrKey) {
		t.Errorf("without a key: %v", err)
	}
}

// Of two features for one image the block published first counts, always.
func TestFirstWins(t *testing.T) {
	dir := t.TempDir()
	a, _ := mustOpen(t, dir, testKey(1))
	b, _ := mustOpen(t, dir, testKey(1))
	for k, s := range []*Store{a, b} {
		w, err := s.Writer(t.Context(), WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(t.Context(), testID(0), "x", []float32{float32(k)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		s, report := mustOpen(t, dir, testKey(1))
		row := []float32{9}
		if err := s.Gather(t.Context(), []ID{testID(0)}, row); err != nil || report.Blocks != 2 ||
			report.Features != 1 ||
			row[0] != 0 {
			t.Fatalf("report %+v, feature %v, %v; want the first", report, row, err)
		}
	}
}

func TestKey(t *testing.T) {
	k := testKey(2)
	if err := k.Validate(); err != nil {
		t.Error(err)
	}
	err := Key{Backbone: "x"}.Validate()
	for _, name := range []string{"preprocess", "feature", "precision", "provider", "dim"} {
		if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
	seen := map[string]bool{k.Hash(): true}
	for i, change := range []func(*Key){
		func(k *Key) { k.Backbone += "x" },
		func(k *Key) { k.Preprocess += "x" },
		func(k *Key) { k.Feature += "x" },
		func(k *Key) { k.Precision += "x" },
		func(k *Key) { k.Provider += "x" },
		func(k *Key) { k.Dim++ },
		func(k *Key) { k.View = "flip" },
		func(k *Key) { k.Backbone, k.Preprocess = k.Backbone+"\"\npreprocess \"p", "" },
	} {
		other := k
		change(&other)
		if seen[other.Hash()] {
			t.Errorf("change %d: same hash", i)
		}
		seen[other.Hash()] = true
		if err := other.CheckCompatibility(k); !errors.Is(err, ErrIncompatible) {
			t.Errorf("change %d: error %v", i, err)
		}
	}
	if err := k.CheckCompatibility(k); err != nil {
		t.Error(err)
	}
}

// The hash is part of the format: caches on disk depend on it.
func TestKeyHashIsStable(t *testing.T) {
	if got, want := testKey(192).Hash(), "01752d4dc9753d7c"; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

func TestRenamedFolder(t *testing.T) {
	dir := t.TempDir()
	a, _ := mustOpen(t, dir, testKey(2))
	if err := os.Rename(a.Where(), filepath.Join(dir, testKey(3).Hash())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(t.Context(), bucket.Dir(dir), testKey(3)); !errors.Is(err, ErrIncompatible) ||
		!strings.Contains(err.Error(), `dim is "2", not "3"`) {
		t.Errorf("error %v", err)
	}
	// A key.json that is lost or damaged is written anew.
	b, _ := mustOpen(t, dir, testKey(4))
	fill(t, b, 0, upTo(2))
	for _, damage := range []func(string) error{
		os.Remove,
		func(p string) error { return os.WriteFile(p, []byte("{"), 0o644) },
	} {
		if err := damage(filepath.Join(b.Where(), keyFile)); err != nil {
			t.Fatal(err)
		}
		s, _ := mustOpen(t, dir, testKey(4))
		check(t, s, 2)
		if k, err := readKey(t.Context(), bucket.Dir(dir), b.name(keyFile)); err != nil || k != testKey(4) {
			t.Errorf("key.json holds %v, %v", k, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	s, _ := mustOpen(t, t.TempDir(), testKey(3))
	w, err := s.Writer(t.Context(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var e *NotFiniteError
		err := w.Append(t.Context(), testID(0), "cat/7.jpg", []float32{1, 2, float32(v)})
		if !errors.As(err, &e) || e.Name != "cat/7.jpg" || e.Index != 2 {
			t.Errorf("%v: error %v", v, err)
		}
	}
	if err := w.Append(t.Context(), testID(0), "cat/7.jpg", []float32{1}); err == nil ||
		!strings.Contains(err.Error(), "cat/7.jpg") {
		t.Errorf("short feature: error %v", err)
	}
	if err := w.Append(t.Context(), testID(1), "max", []float32{math.MaxFloat32, -math.MaxFloat32,
		math.SmallestNonzeroFloat32}); err != nil {
		t.Error(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s.Has(testID(0)) || !s.Has(testID(1)) {
		t.Error("the refused feature is there, or the good one is not")
	}
}

func TestGatherErrors(t *testing.T) {
	s, _ := mustOpen(t, t.TempDir(), testKey(2))
	fill(t, s, 0, upTo(2))
	if err := s.Gather(t.Context(), []ID{testID(0), testID(9)}, make([]float32, 4)); !errors.Is(err, ErrMissing) ||
		!strings.Contains(err.Error(), fmt.Sprintf("%x", testID(9))) {
		t.Errorf("missing: error %v", err)
	}
	if err := s.Gather(t.Context(), testIDs(2), make([]float32, 3)); err == nil {
		t.Error("short destination accepted")
	}
	if s.Has(testID(9)) {
		t.Error("feature from nowhere")
	}
	w, err := s.Writer(t.Context(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(t.Context(), testID(5), "5", testFeature(5, 2)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Gather(t.Context(), nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: error %v", err)
	}
	if err := w.Close(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("writer of a closed store: error %v", err)
	}
	if _, err := s.Writer(t.Context(), WriterOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("new writer of a closed store: error %v", err)
	}
	if s.Has(testID(0)) || s.Len() != 0 {
		t.Error("closed store still answers")
	}
}

// A full disk at any step costs nothing: no half block, and the features are published when there is room again.
func TestFullDisk(t *testing.T) {
	const n, dim = 8, 3
	for _, step := range []disk.Op{disk.Create, disk.Write, disk.Sync,
		disk.Link} {
		t.Run(string(step), func(t *testing.T) {
			dir := t.TempDir()
			s, _ := mustOpen(t, dir, testKey(dim))
			w, err := s.Writer(t.Context(), WriterOptions{BlockSize: n})
			if err != nil {
				t.Fatal(err)
			}
			restore := disk.SetFault(func(at disk.Op, _ string) error {
				if at == step || at == disk.Rename { // which is tried where a link fails
					return syscall.ENOSPC
				}
				return nil
			})
			defer restore()
			for i := range n {
				err = w.Append(t.Context(), testID(i), fmt.Sprint(i), testFeature(i, dim))
				if full := i == n-1; full != errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("append %d: error %v", i, err)
				}
			}
			if !strings.Contains(err.Error(), "choose another cache folder") {
				t.Errorf("no cure in %v", err)
			}
			if got := files(t, s, "*"); len(got) != 1 || len(files(t, s, ".*")) != 0 {
				t.Errorf("left %v", got)
			}
			restore()
			if err := w.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, s, n)
		})
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	s, _ := mustOpen(t, dir, testKey(2))
	fill(t, s, 0, upTo(3))
	restore := disk.SetFault(func(disk.Op, string) error { return syscall.EROFS })
	defer restore()

	// What is there can be used; adding fails before anything is encoded.
	s, _ = mustOpen(t, dir, testKey(2))
	check(t, s, 3)
	if _, err := s.Writer(t.Context(), WriterOptions{}); !errors.Is(err, ErrReadOnly) ||
		!strings.Contains(err.Error(), s.Where()) {
		t.Errorf("error %v", err)
	}
	if _, _, err := Open(t.Context(), bucket.Dir(dir), testKey(3)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("new store: error %v", err)
	}
}

func TestCacheIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(t.Context(), bucket.Dir(path), testKey(2)); err == nil ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

// What a block file says, for readers other than this package.
func TestBlockFormat(t *testing.T) {
	s, _ := mustOpen(t, t.TempDir(), testKey(4))
	fill(t, s, 0, upTo(3))
	f, err := safetensors.Read(files(t, s, "*"+blockSuffix)[0])
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"format": "vitft-features-1", "key": testKey(4).Full(), "library": "test 1",
		"provider": "cpu"}
	for k, v := range want {
		if f.Metadata[k] != v {
			t.Errorf("metadata %s = %q, want %q", k, f.Metadata[k], v)
		}
	}
	ids, err := f.Tensor("ids")
	if err != nil || ids.DType != safetensors.U8 || !slices.Equal(ids.Shape, []int{3, 32}) {
		t.Errorf("ids %v %v, %v", ids.DType, ids.Shape, err)
	}
	if id := testID(0); !slices.Equal(ids.Data[:32], id[:]) {
		t.Error("first id is not the image's SHA-256")
	}
	features, err := f.Tensor("features")
	if err != nil || features.DType != safetensors.F32 || !slices.Equal(features.Shape, []int{3, 4}) {
		t.Errorf("features %v %v, %v", features.DType, features.Shape, err)
	}
}

package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/testkit"
)

// remote is a bucket that cannot map, as one over a network, and counts what is read of blocks. It fails where fault
// says.
type remote struct {
	bucket.Bucket
	bytes atomic.Int64
	fault func(name string) error
}

type remoteObject struct {
	io.ReaderAt
	io.Closer
	size int64
}

func (o remoteObject) Size() int64 { return o.size }

func (r *remote) Open(ctx context.Context, name string) (bucket.Object, error) {
	if r.fault != nil {
		if err := r.fault(name); err != nil {
			return nil, err
		}
	}
	o, err := r.Bucket.Open(ctx, name)
	if err != nil || !strings.HasSuffix(name, blockSuffix) {
		return o, err
	}
	return remoteObject{counting{o, &r.bytes}, o, o.Size()}, nil
}

type counting struct {
	io.ReaderAt
	bytes *atomic.Int64
}

func (c counting) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, at)
	c.bytes.Add(int64(n))
	return n, err
}

// Which images there are is known without the features; those are read once, when they are asked for.
func TestOpenReadsNoFeatures(t *testing.T) {
	const n, dim = 64, 500
	r := &remote{Bucket: new(bucket.Memory)}
	s, _, err := Open(t.Context(), r, testKey(dim))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 16, upTo(n))
	check(t, s, n)

	r.bytes.Store(0)
	s, report, err := Open(t.Context(), r, testKey(dim))
	if err != nil || report.Features != n || report.Blocks != 4 || !s.Has(testID(n-1)) {
		t.Fatalf("report %+v, %v", report, err)
	}
	if most := int64(n*len(ID{}) + 4*1000); r.bytes.Load() > most {
		t.Errorf("opening reads %d bytes, of which ids and headers are less than %d", r.bytes.Load(), most)
	}
	one := make([]float32, dim)
	for range 3 {
		r.bytes.Store(0)
		if err := s.Gather(t.Context(), testIDs(1), one); err != nil || !slices.Equal(one, testFeature(0, dim)) {
			t.Fatal("wrong feature: ", err)
		}
	}
	if r.bytes.Load() != 0 {
		t.Errorf("a block that was read is read again: %d bytes", r.bytes.Load())
	}
	check(t, s, n)
}

// A block that is found damaged when its features are asked for is set aside; what another has is served from there,
// the rest is encoded again, all in one session.
func TestDamageFoundLate(t *testing.T) {
	const n, dim = 12, 3
	dir := t.TempDir()
	first, _ := mustOpen(t, dir, testKey(dim))
	second, _ := mustOpen(t, dir, testKey(dim)) // which does not see the first's block
	fill(t, first, n, upTo(8))
	fill(t, second, n, []int{6, 7, 8, 9, 10, 11})
	damaged := files(t, first, "*"+blockSuffix)[0]
	content := testkit.ReadFile(t, damaged)
	content[len(content)-8*32-1] ^= 4 // in the last feature, before the ids
	testkit.WriteFile(t, damaged, content)

	s, report := mustOpen(t, dir, testKey(dim))
	if report.Features != n || len(report.Bad) != 0 {
		t.Fatalf("report %+v: features are not looked at", report)
	}
	err := s.Gather(t.Context(), testIDs(n), make([]float32, n*dim))
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), damaged+bucket.Aside) ||
		!strings.Contains(err.Error(), "checksum") {
		t.Errorf("error %v, want what is missing and why", err)
	}
	if s.Len() != 6 || s.Has(testID(0)) || !s.Has(testID(6)) {
		t.Errorf("%d images are left, want those of the other block", s.Len())
	}
	if bad, err := s.Verify(t.Context(), testIDs(n)); err != nil || len(bad) != 0 {
		t.Errorf("reported twice: %v, %v", bad, err)
	}
	fill(t, s, n, upTo(n))
	check(t, s, n)
	again, report := mustOpen(t, dir, testKey(dim))
	if len(report.Bad) != 0 {
		t.Errorf("report %+v", report)
	}
	check(t, again, n)
}

// What cannot be read may be sound: it is passed over and keeps its name.
func TestUnreadableBlock(t *testing.T) {
	const n, dim = 4, 3
	r := &remote{Bucket: bucket.Dir(t.TempDir())}
	s, _, err := Open(t.Context(), r, testKey(dim))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, n, upTo(n))
	s.Close()
	s, _, err = Open(t.Context(), r, testKey(dim))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lost := errors.New("no route to host")
	r.fault = func(name string) error {
		if strings.HasSuffix(name, blockSuffix) {
			return lost
		}
		return nil
	}
	bad, err := s.Verify(t.Context(), testIDs(n))
	if err != nil || len(bad) != 1 || !errors.Is(bad[0].Err, lost) || strings.HasSuffix(bad[0].Path, bucket.Aside) ||
		s.Len() != 0 {
		t.Errorf("%d images, bad %+v, %v", s.Len(), bad, err)
	}
	if _, report, err := Open(t.Context(), r, testKey(dim)); err != nil || len(report.Bad) != 1 ||
		!errors.Is(report.Bad[0].Err, lost) {
		t.Errorf("report %+v, %v", report, err)
	}
	r.fault = nil
	if s, report, err := Open(t.Context(), r, testKey(dim)); err != nil || len(report.Bad) != 0 {
		t.Errorf("report %+v, %v", report, err)
	} else {
		check(t, s, n)
	}
	r.fault = func(string) error { return lost }
	if _, _, err := Open(t.Context(), r, testKey(dim)); !errors.Is(err, lost) {
		t.Errorf("the key cannot be read: %v", err)
	}
}

// A block that was replaced by a sound one of other images is not believed.
func TestReplacedBlock(t *testing.T) {
	dir := t.TempDir()
	a, _ := mustOpen(t, dir, testKey(2))
	fill(t, a, 0, upTo(3))
	b, _ := mustOpen(t, dir, testKey(2))
	name := files(t, a, "*"+blockSuffix)[0]
	fill(t, b, 0, []int{5, 6, 7})
	c, _ := mustOpen(t, dir, testKey(2))
	other := files(t, b, "*"+blockSuffix)[1]
	if err := os.Rename(other, name); err != nil {
		t.Fatal(err)
	}
	err := c.Gather(t.Context(), testIDs(1), make([]float32, 2))
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "other images") {
		t.Errorf("error %v", err)
	}
}

func TestCancelled(t *testing.T) {
	const n = 4
	dir := t.TempDir()
	s, _ := mustOpen(t, dir, testKey(2))
	fill(t, s, 0, upTo(n))
	s, _ = mustOpen(t, dir, testKey(2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if bad, err := s.Verify(ctx, testIDs(n)); !errors.Is(err, context.Canceled) || len(bad) != 0 || s.Len() != n {
		t.Errorf("%v, %v, %d images", bad, err, s.Len())
	}
	if _, _, err := Open(ctx, bucket.Dir(dir), testKey(2)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	check(t, s, n)
}

func TestVerifyAtOnce(t *testing.T) {
	const n, dim = 200, 3
	dir := t.TempDir()
	s, _ := mustOpen(t, dir, testKey(dim))
	fill(t, s, 10, upTo(n))
	bad := files(t, s, "*"+blockSuffix)[3]
	content := testkit.ReadFile(t, bad)
	content[len(content)-1] ^= 1 // in the ids: one image is taken for another until the block is read
	s.Close()
	testkit.WriteFile(t, bad, content)
	s, _ = mustOpen(t, dir, testKey(dim))
	var wg sync.WaitGroup
	var found atomic.Int64
	for range 4 {
		wg.Go(func() {
			damaged, err := s.Verify(t.Context(), testIDs(n))
			if err != nil {
				t.Error(err)
			}
			found.Add(int64(len(damaged)))
		})
	}
	wg.Wait()
	if found.Load() < 1 || s.Len() != n-10 {
		t.Errorf("%d reports, %d images left", found.Load(), s.Len())
	}
	fill(t, s, 0, upTo(n))
	check(t, s, n)
}

// The text of an error names the cure, its kind follows from what is at fault.
func TestKinds(t *testing.T) {
	s, _ := mustOpen(t, t.TempDir(), testKey(2))
	if err := os.Rename(s.Where(), filepath.Join(filepath.Dir(s.Where()), testKey(3).Hash())); err != nil {
		t.Fatal(err)
	}
	_, _, err := Open(t.Context(), bucket.Dir(filepath.Dir(s.Where())), testKey(3))
	if fault.Of(err) != fault.Data {
		t.Errorf("%v is of kind %q", err, fault.Of(err))
	}
	if err := error(&NotFiniteError{Name: "x"}); fault.Of(err) != fault.Data {
		t.Errorf("%v is of kind %q", err, fault.Of(err))
	}
}

// The features that an earlier release has filed are read as they are. VITFT_OLD_STORE names a copy of its folder.
func TestOldStore(t *testing.T) {
	dir := os.Getenv("VITFT_OLD_STORE")
	if dir == "" {
		t.Skip("VITFT_OLD_STORE names no feature store of an earlier release")
	}
	keys, err := filepath.Glob(filepath.Join(dir, "*", keyFile))
	if err != nil || len(keys) == 0 {
		t.Fatal("no key.json in ", dir, err)
	}
	b := bucket.Dir(dir)
	for _, path := range keys {
		key, err := readKey(t.Context(), b, filepath.Base(filepath.Dir(path))+"/"+keyFile)
		if err != nil {
			t.Fatal(err)
		}
		s, report, err := Open(t.Context(), b, key)
		if err != nil || len(report.Bad) > 0 || report.Features == 0 {
			t.Fatalf("%s: report %+v, %v", path, report, err)
		}
		var ids []ID
		for id := range s.index {
			ids = append(ids, id)
		}
		if err := s.Gather(t.Context(), ids, make([]float32, len(ids)*key.Dim)); err != nil {
			t.Error(err)
		}
		t.Log(path, report.Features, "features in", report.Blocks, "blocks")
	}
}

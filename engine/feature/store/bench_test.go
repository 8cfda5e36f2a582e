package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/safetensors"
)

// The size of a usual job: 20,000 images, ViT-Tiny.
const benchN, benchDim = 20000, 192

func benchStore(b *testing.B) (dir string) {
	dir = b.TempDir()
	s, _ := mustOpen(b, dir, testKey(benchDim))
	fill(b, s, 0, upTo(benchN))
	s.Close()
	return dir
}

func setBytes(b *testing.B) { b.SetBytes(4 * benchN * benchDim) }

func BenchmarkOpen(b *testing.B) {
	dir := benchStore(b)
	b.Run("store", func(b *testing.B) {
		setBytes(b)
		for b.Loop() {
			s, _, err := Open(b.Context(), bucket.Dir(dir), testKey(benchDim))
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("store and verify", func(b *testing.B) { // as every Open did before features were checked late
		setBytes(b)
		ids := testIDs(benchN)
		for b.Loop() {
			s, _, err := Open(b.Context(), bucket.Dir(dir), testKey(benchDim))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Verify(b.Context(), ids); err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reference=read", func(b *testing.B) { // the same files, unchecked
		setBytes(b)
		names, err := filepath.Glob(filepath.Join(dir, "*", "*"+blockSuffix))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for _, name := range names {
				if _, err := os.ReadFile(name); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkGather(b *testing.B) {
	s, _ := mustOpen(b, benchStore(b), testKey(benchDim))
	ids := testIDs(benchN)
	dst := make([]float32, benchN*benchDim)
	b.Run("store", func(b *testing.B) {
		setBytes(b)
		for b.Loop() {
			if err := s.Gather(b.Context(), ids, dst); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reference=copy", func(b *testing.B) {
		setBytes(b)
		src := make([]float32, len(dst))
		for b.Loop() {
			copy(dst, src)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	ids := testIDs(benchN)
	feature := testFeature(0, benchDim)
	b.Run("store", func(b *testing.B) {
		setBytes(b)
		for b.Loop() {
			b.StopTimer()
			s, _ := mustOpen(b, b.TempDir(), testKey(benchDim))
			b.StartTimer()
			w, err := s.Writer(b.Context(), WriterOptions{})
			if err != nil {
				b.Fatal(err)
			}
			for _, id := range ids {
				if err := w.Append(b.Context(), id, "x", feature); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reference=one file", func(b *testing.B) { // one atomic write of all
		setBytes(b)
		all := make([]float32, benchN*benchDim)
		rawIDs := bytes.Repeat([]byte{1}, 32*benchN)
		dir := b.TempDir()
		for i := 0; b.Loop(); i++ {
			f := safetensors.File{Tensors: []safetensors.Tensor{
				safetensors.New(tensorFeatures, []int{benchN, benchDim}, all),
				safetensors.New(tensorIDs, []int{benchN, 32}, rawIDs),
			}}
			if err := f.Write(filepath.Join(dir, fmt.Sprint(i))); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkKeys opens a store of a million images in blocks of 512: a key, which is all of an image that an open store
// has in memory before its features are asked for, takes up B-key.
func BenchmarkKeys(b *testing.B) {
	const n, each = 1_000_000, 512
	in := &bucket.Memory{}
	s, err := OpenUnread(b.Context(), in, testKey(1))
	if err != nil {
		b.Fatal(err)
	}
	for first := 0; first < n; first += each {
		ids := make([]ID, min(each, n-first))
		for i := range ids {
			ids[i] = testID(first + i)
		}
		name := fmt.Sprintf("task-%06d", first/each)
		if err := s.PublishBlock(b.Context(), name, ids, make([]float32, len(ids)), "test 1"); err != nil {
			b.Fatal(err)
		}
	}
	live := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := live()
		open, report, err := Open(b.Context(), in, testKey(1))
		if err != nil || report.Features != n {
			b.Fatal(report.Features, err)
		}
		b.ReportMetric((live()-before)/n, "B-key")
		open.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns-key")
}

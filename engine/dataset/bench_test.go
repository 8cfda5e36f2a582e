package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func BenchmarkScan(b *testing.B) {
	const n, size = 1000, 15 << 10 // photos of Caltech-101 are about that large
	root := b.TempDir()
	for i := range n {
		dir := filepath.Join(root, fmt.Sprint(i%10))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		put(b, dir, fmt.Sprintf("%d.png", i), bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2))
	}
	d, _ := mustOpen(b, root, Options{})
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(n * size)
		for b.Loop() {
			if _, err := d.Scan(b.Context(), ScanOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("warm", func(b *testing.B) { // every file is known
		b.SetBytes(n * size)
		dir := b.TempDir()
		for _, it := range d.Items {
			aged(b, it.Path, time.Now().Add(-time.Hour))
		}
		indexed(b, d, dir)
		for b.Loop() {
			if _, err := d.Scan(b.Context(), ScanOptions{Index: OpenIndex(dir)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reference=read", func(b *testing.B) { // one after the other, unhashed
		b.SetBytes(n * size)
		for b.Loop() {
			for _, it := range d.Items {
				if _, err := it.Bytes(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkOpenFolder(b *testing.B) {
	const n = 2000
	root := b.TempDir()
	for i := range n {
		dir := filepath.Join(root, fmt.Sprint(i%100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		put(b, dir, fmt.Sprintf("%d.png", i), nil)
	}
	for b.Loop() {
		if _, _, err := Open(root, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func BenchmarkOpenList(b *testing.B) {
	const n = 100_000
	var list bytes.Buffer
	list.WriteString("path,label\n")
	for i := range n {
		fmt.Fprintf(&list, "photos/%06d.jpg,class %d\n", i, i%100)
	}
	path := put(b, b.TempDir(), "list.csv", list.Bytes())
	for b.Loop() {
		if _, _, err := Open(path, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

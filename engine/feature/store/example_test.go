package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"os"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	s, report, err := store.Open(ctx, bucket.Dir(dir), store.Key{
		Backbone: "9f86d081…", Preprocess: "224×224 bicubic", Feature: "embedding/cls",
		Precision: "float32", Provider: "cpu", Dim: 2,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Println(report.Features, "features to begin with")

	w, err := s.Writer(ctx, store.WriterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	cat := sha256.Sum256([]byte("the bytes of cat.jpg"))
	if err := w.Append(ctx, cat, "cat.jpg", []float32{0.5, -1}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(ctx); err != nil {
		log.Fatal(err)
	}

	matrix := make([]float32, 2)
	if err := s.Gather(ctx, []store.ID{cat}, matrix); err != nil {
		log.Fatal(err)
	}
	fmt.Println(matrix)
	// Output:
	// 0 features to begin with
	// [0.5 -1]
}

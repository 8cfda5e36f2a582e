package feature_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/vision"
)

// Encoding 2,000 photos that are encoded for the first time, with the embedded ViT, the fastest that we have: from a
// folder, and from an S3 server on this machine.
func BenchmarkBucketOfPhotos(b *testing.B) {
	ort.Need(b)
	photos, folder := testkit.Unpacked(b, "caltech101", "train"), b.TempDir()
	root, err := place.Named("s3://photos/bench?endpoint=" + testkit.S3(b, "photos"))
	if err != nil {
		b.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(photos, "*", "*.jpg"))
	if err != nil || len(files) < 2000 {
		b.Fatalf("%d photos, %v", len(files), err)
	}
	for _, file := range files[:2000] {
		name := filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
		content, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		if err := place.Put(place.Join(root, filepath.ToSlash(name)), testkit.WriteFile(b, filepath.Join(folder, name),
			content)); err != nil {
			b.Fatal(err)
		}
	}
	of, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer of.Close()
	for _, source := range []string{folder, root} {
		b.Run(fmt.Sprint("bucket=", source == root), func(b *testing.B) {
			for b.Loop() {
				d, _, err := dataset.Open(source, dataset.Options{})
				if err != nil {
					b.Fatal(err)
				}
				x, err := feature.Open(b.Context(), of, vision.Views(1), feature.Options{Cache: b.TempDir()},
					event.Events{})
				if err != nil {
					b.Fatal(err)
				}
				if set, err := x.Ensure(b.Context(), "train", d, 1); err != nil || set.Encoded < 1900 {
					b.Fatal(err)
				}
				x.Close()
			}
			b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

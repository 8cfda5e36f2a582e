package feature_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/onnx/vision"
)

func Example() {
	dir, err := os.MkdirTemp("", "feature")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	images, _, err := dataset.Open(draw(filepath.Join(dir, "photos")), dataset.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	ctx := context.Background()
	x, err := feature.Open(ctx, b, vision.Views(2), feature.Options{Cache: filepath.Join(dir, "cache")}, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	for range 2 { // what is there is not encoded again
		set, err := x.Ensure(ctx, "train", images, 2)
		if err != nil {
			log.Fatal(err)
		}
		rows, err := feature.Interleaved(ctx, x, set.Scan.IDs, 2)
		fmt.Println(set.Encoded, "encoded;", len(rows)/x.Dim(), "rows of", x.Dim(), err)
	}
	// Output:
	// 4 encoded; 8 rows of 448 <nil>
	// 0 encoded; 8 rows of 448 <nil>
}

// draw makes a folder of two classes with two images each.
func draw(dir string) string {
	for i := range 4 {
		img := image.NewRGBA(image.Rect(0, 0, 40, 40))
		for at := range 40 * 40 {
			img.Set(at%40, at/40, color.Gray{byte(at * (i + 1))})
		}
		class := filepath.Join(dir, []string{"cat", "dog"}[i%2])
		if err := os.MkdirAll(class, 0o755); err != nil {
			log.Fatal(err)
		}
		f, err := os.Create(filepath.Join(class, fmt.Sprint(i, ".png")))
		if err == nil {
			err = errors.Join(png.Encode(f, img), f.Close())
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	return dir
}

package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/classify"
)

// paint is a picture in one colour with a dot in it.
func paint(c color.Color, dot int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 40, 30))
	for i := range 40 * 30 {
		img.Set(i%40, i/40, c)
	}
	img.Set(dot, dot, color.White)
	return img
}

var colours = map[string]color.Color{"grass": color.RGBA{30, 120, 40, 255}, "sky": color.RGBA{120, 170, 240, 255}}

// pictures writes a folder with one folder for each class.
func pictures(dir string) string {
	for class, c := range colours {
		folder := filepath.Join(dir, "pictures", class)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			log.Fatal(err)
		}
		for i := range 6 {
			var b bytes.Buffer
			if err := png.Encode(&b, paint(c, i)); err != nil {
				log.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i, ".png")), b.Bytes(), 0o644); err != nil {
				log.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "pictures")
}

// train leaves a run of the embedded backbone in a temporary folder.
func train() (run string, remove func()) {
	dir, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		log.Fatal(err)
	}
	r, err := engine.Finetune(context.Background(), engine.Config{
		Train: pictures(dir), Out: filepath.Join(dir, "run"), Cache: filepath.Join(dir, "cache"), Provider: "cpu",
		Training: engine.Training{Epochs: 5},
	}, false, engine.Events{})
	if err != nil {
		log.Fatal(err)
	}
	return r.Run, func() { os.RemoveAll(dir) }
}

// From a folder of pictures to a classifier.
func Example() {
	dir, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	run, err := engine.Finetune(ctx, engine.Config{
		Train: pictures(dir), Out: filepath.Join(dir, "run"), Cache: filepath.Join(dir, "cache"), Provider: "cpu",
		Training: engine.Training{Epochs: 5},
	}, false, engine.Events{})
	if err != nil {
		log.Fatal(err)
	}
	c, err := classify.Open(run.Run, classify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.Classify(ctx, paint(colours["sky"], 11))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Label)
	// Output: sky
}

// A run as one file, half the size, checked against the run on its own images.
func ExampleExport() {
	run, remove := train()
	defer remove()
	out := filepath.Join(filepath.Dir(run), "model.onnx")
	done, err := engine.Export(context.Background(), run, out, engine.Config{Provider: "cpu", Cache: filepath.Join(filepath.Dir(run), "cache")},
		engine.ExportOptions{Precision: "float16"}, engine.Events{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Agreement.Same, "of", done.Agreement.Images)
	// Output: 12 of 12
}

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
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/head"
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
	r, err := engine.Finetune(context.Background(), engine.FinetuneOptions{
		Data:     dataset.Sources{Train: pictures(dir)},
		Features: feature.Options{Cache: filepath.Join(dir, "cache")},
		Training: head.Settings{Epochs: 5},
		Out:      filepath.Join(dir, "run"),
	}, event.Events{})
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
	run, err := engine.Finetune(ctx, engine.FinetuneOptions{
		Data:     dataset.Sources{Train: pictures(dir)},
		Features: feature.Options{Cache: filepath.Join(dir, "cache")},
		Training: head.Settings{Epochs: 5},
		Out:      filepath.Join(dir, "run"),
	}, event.Events{})
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
	done, err := engine.Export(context.Background(), engine.ExportOptions{
		Run: run, Out: filepath.Join(filepath.Dir(run), "model.onnx"), Precision: "float16",
		Features: feature.Options{Cache: filepath.Join(filepath.Dir(run), "cache")},
	}, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Agreement.Same, "of", done.Agreement.Images)
	// Output: 12 of 12
}

// A run measured on other images; of the run only the folder is needed.
func ExampleEvaluate() {
	run, remove := train()
	defer remove()
	dir := filepath.Dir(run)
	r, err := engine.Evaluate(context.Background(), engine.EvaluateOptions{
		Run: run, Test: filepath.Join(dir, "pictures"), Features: feature.Options{Cache: filepath.Join(dir, "cache")},
	}, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Metrics.Samples, r.Metrics.BalancedAccuracy)
	// Output: 12 1
}

// Features encoded beforehand, part by part, wait in the store for the run.
func ExampleEncode() {
	dir, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := engine.EncodeOptions{
		Data:     dataset.Sources{Train: pictures(dir)},
		Features: feature.Options{Cache: filepath.Join(dir, "cache")},
	}
	for i := range 2 {
		o.Shard = engine.Shard{Index: i, Count: 2}
		r, err := engine.Encode(context.Background(), o, event.Events{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(o.Shard, r.Sets[0].Encoded)
	}
	// Output:
	// 1/2 6
	// 2/2 6
}

// Heads compared on features that are encoded once.
func ExampleSweep() {
	dir, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	x, _, err := engine.ParseSweep([]byte("{grid: [{loss: [ce, la]}, {loss: cvs, tau: [0.5, 1]}]}"))
	if err != nil {
		log.Fatal(err)
	}
	images := pictures(dir)
	r, err := engine.Sweep(context.Background(), engine.SweepOptions{
		Data:       dataset.Sources{Train: images, Test: images},
		Features:   feature.Options{Cache: filepath.Join(dir, "cache")},
		Training:   head.Settings{Epochs: 5},
		Experiment: x,
		Out:        filepath.Join(dir, "sweep"),
	}, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range r.Summary.Configurations {
		fmt.Println(c.Configuration)
	}
	// Output:
	// ce
	// la
	// cvs tau=0.5
	// cvs
}

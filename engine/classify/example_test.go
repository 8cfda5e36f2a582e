package classify_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/internal/testkit/trained"
	"github.com/vitft/vitft/vit"
)

// A run folder, or its model.onnx.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	run, err := trained.Run(dir, "upright", "slanted") // or vitft finetune --out run
	if err != nil {
		log.Fatal(err)
	}
	c, err := classify.Open(run, classify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(filepath.Base(c.Info().Path), c.Labels(), c.Info().Width, c.Info().Height)
	// Output: model.onnx [upright slanted] 28 28
}

// A model.onnx may come out of the program itself, with go:embed.
func ExampleNew() {
	model, err := trained.Model("upright", "slanted")
	if err != nil {
		log.Fatal(err)
	}
	c, err := classify.New(model, classify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Info().Classes, c.Info().Dim)
	// Output: 2 448
}

func ExampleClassifier_ClassifyBytes() {
	model, err := trained.Model("upright", "slanted")
	if err != nil {
		log.Fatal(err)
	}
	c, err := classify.New(model, classify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	photo := trained.Photo(1, 100) // the content of a file
	p, err := c.ClassifyBytes(context.Background(), photo)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Label, p.Confidence > 0.5, len(p.Top(5)))
	// Output: slanted true 2
}

// Several images at once; one that is none does not disturb the others.
func ExampleClassifier_ClassifyBatch() {
	model, err := trained.Model("upright", "slanted")
	if err != nil {
		log.Fatal(err)
	}
	c, err := classify.New(model, classify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	results, err := c.ClassifyBatch(context.Background(), [][]byte{trained.Photo(0, 100), []byte("no image")})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		if bad, ok := errors.AsType[*vit.ImageError](r.Err); ok {
			fmt.Println(bad.Reason)
			continue
		}
		fmt.Println(r.Label)
	}
	// Output:
	// upright
	// unknown format
}

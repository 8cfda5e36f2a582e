package backbone_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
)

func ExampleOpen() {
	b, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	pixels := make([]float32, 2*b.Preprocess.Size()) // two images
	features := make([]float32, 2*b.Session.Dim())
	if err := b.Session.Run(context.Background(), pixels, 2, features); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Name, b.Preprocess.Width, b.Key().Feature, b.Key().Dim)
	// Output: vitft-micro-28 28 embedding/pooled 448
}

func ExampleInspect() {
	r, err := backbone.Inspect(backbone.Options{Feature: "cls"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Image.Input, r.Feature.Pooling, r.Preprocess.Width, r.PreprocessFrom)
	// Output: pixel_values cls 28 the model's metadata
}

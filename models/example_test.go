package models_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/models"
)

// The embedded default needs no network.
func ExampleDefault() {
	b := models.Default()
	data, err := b.Bytes()
	fmt.Println(b.Name, b.Width, b.Dim, len(data) > 0, err)
	// Output: vitft-micro-28 28 448 true <nil>
}

func ExampleLookup() {
	b, err := models.Lookup("dinov2-small")
	fmt.Println(b.Repository, b.Dim, err)
	_, err = models.Lookup("dinov2-smal")
	fmt.Println(errors.Is(err, models.ErrUnknown))
	// Output:
	// onnx-community/dinov2-small 384 <nil>
	// true
}

// A file is recognised by its path where its SHA-256 is not known.
func ExampleRecognize() {
	b, how, ok := models.Recognize("/data/dinov2-small.onnx", "")
	fmt.Println(b.Name, how, ok)
	// Output: dinov2-small by its path true
}

// A backbone that was not pulled is not found, and the error says of what kind that is.
func ExampleHub_Find() {
	cache, err := os.MkdirTemp("", "hub")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(cache)
	hub := models.Hub{Cache: cache, Pins: filepath.Join(cache, "pins.json")}
	_, err = hub.Find("dinov2-small")
	var kind interface{ Kind() string }
	fmt.Println(errors.Is(err, models.ErrNotPulled), errors.As(err, &kind) && kind.Kind() == "data")
	// Output: true true
}

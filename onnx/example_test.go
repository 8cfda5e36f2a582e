package onnx_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// What is asked of this machine fails with a message that says what to do, and an error that wraps ErrRuntime.
func ExampleFind() {
	_, err := onnx.Find("/no/such/folder")
	fmt.Println(errors.Is(err, onnx.ErrRuntime))
	// Output: true
}

func ExampleParseProvider() {
	p, err := onnx.ParseProvider("")
	fmt.Println(p, err)
	_, err = onnx.ParseProvider("tpu")
	fmt.Println(err)
	// Output:
	// auto <nil>
	// unknown provider "tpu"; it must be auto, cpu or cuda
}

// encode gives the feature of a grey image of 16 by 16 pixels, from a model file.
func encode(ctx context.Context, path string) ([]float32, error) {
	m, err := graph.Read(path)
	if err != nil {
		return nil, err
	}
	backbone, _, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil {
		return nil, err
	}
	data, err := backbone.Bytes()
	if err != nil {
		return nil, err
	}
	encoder, err := onnx.NewFeatureModel(data, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		return nil, err
	}
	defer encoder.Close()
	feature := make([]float32, encoder.Dim())
	return feature, encoder.Run(ctx, make([]float32, 3*16*16), 1, feature)
}

// multiply gives the product of [1 2; 3 4] and [5 6; 7 8].
func multiply() ([]float32, error) {
	gemm, err := onnx.NewGemm(1, onnx.CPU)
	if err != nil {
		return nil, err
	}
	defer gemm.Close()
	c := make([]float32, 4)
	return c, gemm.Mul(false, false, 2, 2, 2, []float32{1, 2, 3, 4}, []float32{5, 6, 7, 8}, c)
}

// ExampleNewFeatureModel and ExampleNewGemm need the runtime library, and a program without it says so.
func ExampleNewFeatureModel() {
	lib, err := onnx.Find("")
	if err == nil {
		err = onnx.Load(lib)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	feature, err := encode(context.Background(), "vision/testdata/pooled.onnx")
	fmt.Println(len(feature), err)
}

func ExampleNewGemm() {
	lib, err := onnx.Find("")
	if err == nil {
		err = onnx.Load(lib)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(multiply())
}

// TestExamples runs the examples that need the runtime library, or says that it is not here.
func TestExamples(t *testing.T) {
	lib, err := onnx.Find("")
	if err != nil {
		t.Skip(err)
	}
	if err := onnx.Load(lib); err != nil {
		t.Fatal(err)
	}
	if c, err := multiply(); err != nil || fmt.Sprint(c) != "[19 22 43 50]" {
		t.Errorf("%v, %v", c, err)
	}
	feature, err := encode(t.Context(), "vision/testdata/pooled.onnx")
	if err != nil || len(feature) != 8 || feature[0] == 0 {
		t.Errorf("%v, %v", feature, err)
	}
}

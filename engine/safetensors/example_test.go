package safetensors_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/vitft/vitft/engine/safetensors"
)

func Example() {
	var b bytes.Buffer
	f := safetensors.File{
		Metadata: map[string]string{"labels": "cat,dog"},
		Tensors:  []safetensors.Tensor{safetensors.New("weight", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6})},
	}
	if _, err := f.WriteTo(&b); err != nil {
		log.Fatal(err)
	}

	got, err := safetensors.Parse(b.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	weight, err := got.Tensor("weight")
	if err != nil {
		log.Fatal(err)
	}
	values, err := safetensors.Values[float32](weight)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Metadata["labels"], weight.DType, weight.Shape, values)
	// Output: cat,dog F32 [2 3] [1 2 3 4 5 6]
}

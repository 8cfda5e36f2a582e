package shape_test

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

func ExampleInfer() {
	m, err := graph.Read("../vision/testdata/pooled.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	open := shape.Infer(m)
	two := shape.Infer(m, graph.Value{Name: "pixel_values", Shape: []int64{2, 3, 16, 16}})
	for _, tensor := range []string{"patch", "last_hidden_state", "logits"} {
		fmt.Println(tensor, open[tensor], two[tensor])
	}
	// Output:
	// patch [-1 8 4 4] [2 8 4 4]
	// last_hidden_state [-1 17 8] [2 17 8]
	// logits [-1 5] [2 5]
}

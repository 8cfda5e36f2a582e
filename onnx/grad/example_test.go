package grad_test

import (
	"fmt"

	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
)

func ExampleBackward() {
	m, err := graph.Read("../vision/testdata/pooled.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := grad.Backward(m, "last_hidden_state", []string{"q.w", "cls"}, grad.Options{
		Seed: "wanted", Outputs: []string{"last_hidden_state"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range g.Inputs() {
		fmt.Println("takes", v.Name, v.Shape)
	}
	for _, v := range g.Outputs() {
		fmt.Println("gives", v.Name, v.Shape)
	}
	// Output:
	// takes pixel_values [-1 3 16 16]
	// takes q.w [8 8]
	// takes cls [1 1 8]
	// takes wanted [-1 17 8]
	// gives last_hidden_state [-1 17 8]
	// gives grad/of/q.w [8 8]
	// gives grad/of/cls [1 1 8]
}

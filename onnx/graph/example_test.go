package graph_test

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// A model of one matrix product, built from nothing.
func ExampleBuilder() {
	m := graph.New("product", 17)
	m.SetInputs(graph.Value{Name: "x", Type: "float32", Shape: []int64{graph.Unknown, 2}})
	b := graph.NewBuilder(m, "dense")
	w := b.Floats("w", []int64{2, 3}, 1, 2, 3, 4, 5, 6)
	y := b.Node("MatMul", []string{"x", w}, "")
	b.Node("Softmax", []string{y}, "probabilities", graph.IntAttr("axis", 1))
	m.SetOutputs(graph.Value{Name: "probabilities", Type: "float32", Shape: []int64{graph.Unknown, 3}})
	for _, n := range m.Graph().Node {
		fmt.Println(n.GetOpType(), n.Input, "→", n.Output)
	}
	// Output:
	// MatMul [x dense/float/w] → [dense/1]
	// Softmax [dense/1] → [probabilities]
}

// Backwards through a graph, from its output to what it depends on.
func ExampleModel_Cut() {
	m, err := graph.Read("../vision/testdata/gemm.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	tail, err := m.Cut(
		[]graph.Value{{Name: "norm", Type: "float32", Shape: []int64{graph.Unknown, 17, 8}}},
		[]graph.Value{{Name: "logits", Type: "float32", Shape: []int64{graph.Unknown, 5}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	x := tail.Index()
	for _, n := range slices.Backward(tail.Graph().Node) {
		fmt.Printf("%s gives %s, which %d nodes read\n", n.GetOpType(), n.Output[0], len(x.Consumers[n.Output[0]]))
	}
	// Output:
	// Gemm gives logits, which 0 nodes read
	// Gather gives cls_token, which 1 nodes read
}

func ExampleRead() {
	m, err := graph.Read("../vision/testdata/gemm.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	info := m.Info()
	fmt.Println(info.Inputs, info.Outputs, info.Parameters, "parameters, operator set", info.Opset)
	// Output: [{pixel_values float32 [-1 3 16 16]}] [{logits float32 [-1 5]}] 789 parameters, operator set 17
}

func ExampleReadSignature() {
	m, err := graph.Read("../vision/testdata/gemm.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := m.Bytes()
	if err != nil {
		fmt.Println(err)
		return
	}
	sig, err := graph.ReadSignature(data)
	fmt.Println(sig.Inputs, sig.Ops["Gemm"], sig.Float16, err)
	// Output: [{pixel_values float32 [-1 3 16 16]}] true false <nil>
}

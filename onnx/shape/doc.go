// Package shape infers the shapes of an ONNX model's tensors, by a rule for each operator.
//
// # Basics
//
//	shapes := shape.Infer(m, graph.Value{Name: "pixel_values", Shape: []int64{2, 3, 224, 224}})
//	shapes["embedding"] // [2 192], with graph.Unknown for dimensions that are not fixed
//
// One pass computes shapes and, beside them, the small integer tensors that exporters compute other shapes from: Shape,
// Gather, Concat, Reshape and their like. [Trace] returns those too.
//
// # Caveats
//
// There are rules for the operators that image encoders are made of, and no others; what follows from another one is
// not in the result. A rule goes by the operator's name, whatever its domain, and does not check that a model is valid.
// Subgraphs are not entered.
package shape

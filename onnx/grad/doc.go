// Package grad differentiates ONNX graphs: it makes the graph that gives gradients, of plain ONNX operators that any
// runtime has, out of the graph that gives the values. It is pure Go and runs nothing.
//
// # Basics
//
//	g, err := grad.Backward(m, "embedding", []string{"11.fc1.w", "tokens"}, grad.Options{
//		Seed: "d embedding", Outputs: []string{"embedding"},
//	})
//	data, err := g.Bytes() // inputs: m's, 11.fc1.w, d embedding; outputs: embedding, then g.Names
//
// It is reverse mode, a vector-Jacobian product for each operator. What is differentiated is one number, such as a loss
// that is part of the graph, or a tensor whose own gradient is fed in as the seed, as by a head that computes it
// outside. Gradients are wanted of weights, which become inputs, of inputs, and of tensors inside. Each has the
// dimensions of its tensor: what was broadcast, over the batch too, is summed in the graph. The batch, the first
// dimension of inputs, may be open, and stays so.
//
// Only what lies between is touched: no gradient is computed of frozen weights, or below the deepest tensor that one is
// wanted of. Nodes that are the same are made once. Scales and shifts, of norms and of GELU by erf, are moved into the
// matrices that tokens are multiplied by: what the graph gives differs from what the model gives by rounding alone.
//
// [Supported] tells, without running anything, through which nodes no gradient passes, by node and operator.
//
// # Rules
//
// A rule leads the gradients of a node's outputs to its inputs. What optimisers fused, what newer operator sets have
// one operator for, and functions of the model are undone first: made of plain operators, in the forward pass too. The
// model computes in float32 throughout; weights of other precisions are converted. See docs/gradients.md for the
// operators.
//
// A new operator takes its row in the table of rules or of undone operators, its shape in package shape, a case in
// cases_test.go, and a line in testdata/oracle.py.
//
// # Caveats
//
// Where a function bends (ReLU at 0, the larger of two equals) the gradient is one of those that lie to the sides: Clip
// and ReLU as in PyTorch, equal elements of a maximum share. A gradient that is 0 in theory, as by the bias of
// attention's keys, is rounding noise in float32; do not train such a weight by an optimiser that divides by the noise.
//
// Shapes must be known but for the batch: give inputs their other dimensions first. Inputs and outputs of a session of
// package onnx have at least one dimension: keep one of a loss.
package grad

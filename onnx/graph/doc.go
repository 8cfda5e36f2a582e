// Package graph reads, edits and builds ONNX models: it is the intermediate representation that the other packages
// share. It is pure Go, runs nothing, and knows nothing of what a model is for.
//
// # Basics
//
//	m, err := graph.Read("vit.onnx")            // or Parse, or New for an empty one
//	part, err := m.Cut(inputs, outputs)         // what lies between some tensors
//	b := graph.NewBuilder(part, "mean")         // names begin with mean/
//	y := b.Reduce("ReduceMean", x, "", false, 1)
//	part.SetOutputs(graph.Value{Name: y, Type: "float32", Shape: []int64{graph.Unknown, 192}})
//	part.Prune()                                // what the outputs do not need
//	data, err := part.Bytes()
//
// [Model.Index] finds what gives and what reads a tensor. The nodes of [Model.Graph] are in topological order, in which
// [Model.Sort] puts them where a builder did not. [ReadSignature] tells how to run a serialised model.
//
// # Caveats
//
// [Node], [Tensor] and [Attribute] are the messages of the file format itself, and copies share weights: change what a
// [Builder] added, not what was there. Weights in other files stay there until [Model.Inline]. Every error that means
// that a model is unsuitable wraps [ErrModel].
package graph

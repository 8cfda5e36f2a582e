// Package adapt makes a vision transformer trainable below its head: it finds the blocks of a backbone, puts adapters
// into some of them, and takes the graph apart where training begins. It is pure Go and runs nothing.
//
// # Basics
//
//	t, err := adapt.Find(backbone)                              // as package vision makes it
//	a, err := t.Insert(adapt.Options{Kind: adapt.Adapter, Blocks: 3, Rank: 8})
//	frozen, err := a.Frozen()                                   // pixel_values → tokens where the first adapter comes
//	part, err := a.Trained(adapt.Part{Tokens: 66, ClassToken: true}) // tokens and parameters → embedding
//	full, err := a.Bake(values)                                 // the backbone with what was learnt
//
// What is trained are tensors that [Adapted.Params] lists: they are inputs of the part that is trained and weights of
// the backbone that comes out.
//
// # What is recognised
//
// A block is two sums on the residual stream [B,N,D], the first of what attention makes of the stream, the second of
// what an MLP makes of it. Names play no part. Transformers whose stream is no such chain, or whose stages differ in
// the size of their tokens, have as blocks what is such a chain at their end.
package adapt

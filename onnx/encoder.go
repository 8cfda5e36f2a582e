package onnx

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/vitft/vitft/onnx/graph"
)

// Encoder maps images to feature vectors. It may be used by many goroutines at once.
//
// On the CPU the feature of an image has the same bits whatever the other images of the batch are, however many they
// are, wherever in the batch it stands, and whatever the number of threads. ONNX Runtime gives that for float32
// weights, which it packs beforehand: every row of a product is then summed in the same order. It does not for float16
// weights, and cannot for a model that is quantised dynamically, with scales that span the batch; and a product with
// unpacked weights is summed in an order that depends on its shape and the threads. Such models are run one image at a
// time; see [Encoder.OneByOne]. A mean over tokens is summed in another order when the batch is one image, so a model
// with reductions is given a single image twice. On CUDA nothing of this is promised.
type Encoder struct {
	session  *Session
	batch    int // what the model takes, -1 for any number
	oneByOne bool
	twice    bool    // a single image is run as a batch of two
	image    []int64 // 3, H, W
	pixels   int     // 3·H·W
	dim      int
	padded   sync.Pool // *paddedBatch
}

// paddedBatch holds a batch that is filled up.
type paddedBatch struct{ pixels, features []float32 }

// batchVariant lists the operators whose results for one image depend on the batch.
var batchVariant = []string{"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DequantizeLinear", "MatMulNBits", "MatMulBnb4"}

// NewEncoder loads a serialised model with one input, float32 [B,3,H,W], and one output, float32 [B,D], as
// [graph.Model.Backbone] makes them. B is fixed or dynamic; H, W and D are fixed.
func NewEncoder(model []byte, o SessionOptions) (*Encoder, error) {
	sig, err := graph.ReadSignature(model)
	if err != nil {
		return nil, err
	}
	if len(sig.Inputs) != 1 || len(sig.Outputs) != 1 || len(sig.Inputs[0].Shape) != 4 || len(sig.Outputs[0].Shape) != 2 {
		return nil, fmt.Errorf("%w: inputs %v, outputs %v, need one image input [B,3,H,W] and one output [B,D]", graph.ErrModel, sig.Inputs, sig.Outputs)
	}
	in, out := sig.Inputs[0].Shape, sig.Outputs[0].Shape
	if in[1] < 1 || in[2] < 1 || in[3] < 1 || out[1] < 1 {
		return nil, fmt.Errorf("%w: input %v, output %v: only the batch may be dynamic", graph.ErrModel, in, out)
	}
	session, err := NewSession(model, o)
	if err != nil {
		return nil, err
	}
	e := &Encoder{session: session, batch: int(in[0]), image: in[1:], pixels: int(in[1] * in[2] * in[3]), dim: int(out[1])}
	if session.Provider() == CPU {
		e.oneByOne = sig.WeightTypes["float16"] || slices.ContainsFunc(batchVariant, func(op string) bool { return sig.Ops[op] })
	}
	return e, nil
}

// Dim returns D, the length of a feature.
func (e *Encoder) Dim() int { return e.dim }

// OneByOne reports whether the model is run on one image at a time so that features do not depend on the batch.
func (e *Encoder) OneByOne() bool { return e.oneByOne }

// Provider returns what the model really runs on.
func (e *Encoder) Provider() string { return string(e.session.Provider()) }

// Note tells why [Auto] did not take CUDA, "" if it did or was not asked.
func (e *Encoder) Note() string { return e.session.Note() }

// Close waits for the runs in progress and frees the model.
func (e *Encoder) Close() error { return e.session.Close() }

// Run encodes n images: pixels is [n,3,H,W], features [n,D].
func (e *Encoder) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	if n < 0 || len(pixels) < n*e.pixels || len(features) < n*e.dim {
		return fmt.Errorf("encode %d images: %d pixel values and room for %d feature values, need %d and %d", n, len(pixels), len(features), n*e.pixels, n*e.dim)
	}
	step := n
	if e.batch > 0 {
		step = e.batch
	}
	if e.oneByOne {
		step = 1
	}
	for at := 0; at < n; at += step {
		to := min(at+step, n)
		if err := e.run(ctx, pixels[at*e.pixels:to*e.pixels], to-at, features[at*e.dim:to*e.dim]); err != nil {
			return fmt.Errorf("encode %d images: %w", n, err)
		}
	}
	return nil
}

// run runs the model once; what n falls short of the size that the batch must have is filled with copies of the last
// image.
func (e *Encoder) run(ctx context.Context, pixels []float32, n int, features []float32) error {
	size := n
	switch {
	case e.batch > 0:
		size = e.batch
	case e.twice && n == 1:
		size = 2
	}
	if size == n {
		return e.session.Run(ctx, []Tensor{e.input(n, pixels)}, []Tensor{e.output(n, features)})
	}
	p, _ := e.padded.Get().(*paddedBatch)
	if p == nil {
		p = &paddedBatch{make([]float32, size*e.pixels), make([]float32, size*e.dim)}
	}
	defer e.padded.Put(p)
	copy(p.pixels, pixels)
	for i := n; i < size; i++ {
		copy(p.pixels[i*e.pixels:], pixels[(n-1)*e.pixels:])
	}
	if err := e.session.Run(ctx, []Tensor{e.input(size, p.pixels)}, []Tensor{e.output(size, p.features)}); err != nil {
		return err
	}
	copy(features, p.features[:n*e.dim])
	return nil
}

func (e *Encoder) input(n int, pixels []float32) Tensor {
	return Tensor{Shape: append([]int64{int64(n)}, e.image...), Data: pixels}
}

func (e *Encoder) output(n int, features []float32) Tensor {
	return Tensor{Shape: []int64{int64(n), int64(e.dim)}, Data: features}
}

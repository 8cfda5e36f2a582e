package onnx

import (
	"context"
	"fmt"
	"sync"

	"github.com/vitft/vitft/onnx/graph"
)

// Encoder maps images to feature vectors. It may be used by many goroutines at once.
//
// The feature of an image has the same bits whatever the other images of the batch are, however many they are, and
// wherever in the batch it stands. ONNX Runtime alone does not give that: its matrix product takes another path, with
// another order of additions, for a single row, which a projection or pooler after the last block meets when the batch
// is one image. So a single image is run as a batch of two, twice the same.
type Encoder struct {
	session *Session
	batch   int64 // what the model takes, -1 for any number
	channel int64
	h, w    int64
	dim     int64
	scratch sync.Pool // *padded
}

type padded struct{ pixels, features []float32 }

// NewEncoder loads a serialised model with one input, float32 [B,3,H,W], and one output, float32 [B,D], as
// [graph.Model.Backbone] makes them. B is fixed or dynamic; H, W and D are fixed.
func NewEncoder(model []byte, o SessionOptions) (*Encoder, error) {
	inputs, outputs, err := graph.Signature(model)
	if err != nil {
		return nil, err
	}
	if len(inputs) != 1 || len(outputs) != 1 || len(inputs[0].Shape) != 4 || len(outputs[0].Shape) != 2 {
		return nil, fmt.Errorf("%w: inputs %v, outputs %v, need one image input [B,3,H,W] and one output [B,D]", graph.ErrModel, inputs, outputs)
	}
	in, out := inputs[0].Shape, outputs[0].Shape
	if in[1] < 0 || in[2] < 0 || in[3] < 0 || out[1] < 0 {
		return nil, fmt.Errorf("%w: input %v, output %v: only the batch may be dynamic", graph.ErrModel, in, out)
	}
	session, err := NewSession(model, o)
	if err != nil {
		return nil, err
	}
	return &Encoder{session: session, batch: in[0], channel: in[1], h: in[2], w: in[3], dim: out[1]}, nil
}

// Dim returns D, the length of a feature.
func (e *Encoder) Dim() int { return int(e.dim) }

// Provider returns what the model really runs on.
func (e *Encoder) Provider() string { return string(e.session.Provider()) }

// Note tells why [Auto] did not take CUDA, "" if it did or was not asked.
func (e *Encoder) Note() string { return e.session.Note() }

// Close waits for the runs in progress and frees the model.
func (e *Encoder) Close() error { return e.session.Close() }

// Run encodes n images: pixels is [n,3,H,W], features [n,D].
func (e *Encoder) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	image, dim := int(e.channel*e.h*e.w), int(e.dim)
	if n < 0 || len(pixels) < n*image || len(features) < n*dim {
		return fmt.Errorf("encode %d images: %d pixel values and room for %d feature values, need %d and %d", n, len(pixels), len(features), n*image, n*dim)
	}
	step := n
	if e.batch > 0 {
		step = int(e.batch)
	}
	for at := 0; at < n; at += step {
		count := min(step, n-at)
		if err := e.run(ctx, pixels[at*image:(at+count)*image], count, features[at*dim:(at+count)*dim]); err != nil {
			return fmt.Errorf("encode %d images: %w", n, err)
		}
	}
	return nil
}

// run runs the model once; what n falls short of the model's batch is filled with copies of the last image.
func (e *Encoder) run(ctx context.Context, pixels []float32, n int, features []float32) error {
	batch := int(e.batch)
	if batch < 0 {
		batch = max(n, 2)
	}
	if batch == n {
		return e.session.Run(ctx, []Tensor{e.input(n, pixels)}, []Tensor{e.output(n, features)})
	}
	image, dim := int(e.channel*e.h*e.w), int(e.dim)
	p, _ := e.scratch.Get().(*padded)
	if p == nil {
		p = &padded{pixels: make([]float32, batch*image), features: make([]float32, batch*dim)}
	}
	defer e.scratch.Put(p)
	copy(p.pixels, pixels)
	for i := n; i < batch; i++ {
		copy(p.pixels[i*image:(i+1)*image], pixels[(n-1)*image:])
	}
	if err := e.session.Run(ctx, []Tensor{e.input(batch, p.pixels)}, []Tensor{e.output(batch, p.features)}); err != nil {
		return err
	}
	copy(features, p.features[:n*dim])
	return nil
}

func (e *Encoder) input(n int, pixels []float32) Tensor {
	return Tensor{Shape: []int64{int64(n), e.channel, e.h, e.w}, Data: pixels}
}

func (e *Encoder) output(n int, features []float32) Tensor {
	return Tensor{Shape: []int64{int64(n), e.dim}, Data: features}
}

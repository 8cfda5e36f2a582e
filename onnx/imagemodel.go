package onnx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vitft/vitft/onnx/graph"
)

// ImageModel runs a model that maps each image to a row of every output. It may be used by many goroutines at once.
//
// On the CPU the rows of an image have the same bits whatever the other images of the batch are, however many they are,
// wherever in the batch it stands, and whatever the number of threads. ONNX Runtime gives that for float32 weights,
// which it packs beforehand: every row of a product is then summed in the same order. It does not for products in
// float16, and cannot for a model that is quantised dynamically, with scales that span the batch; and a product with
// unpacked weights is summed in an order that depends on its shape and the threads. Such models are run one image at a
// time; see [ImageModel.OneByOne]. A mean over tokens may be summed in another order when the batch is one image; where
// it is, a single image is run twice. On CUDA nothing of this is promised.
type ImageModel struct {
	session  *Session
	batch    int // what the model takes, -1 for any number
	oneByOne bool
	twice    bool    // a single image is run as a batch of two
	image    []int64 // 3, H, W
	pixels   int     // 3·H·W
	widths   []int   // of the outputs' rows
	padded   sync.Pool
}

// paddedBatch holds a batch that is filled up.
type paddedBatch struct {
	pixels  []float32
	outputs [][]float32
}

var (
	// batchVariant lists the operators whose results for one image depend on the batch.
	batchVariant = []string{"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
		"DequantizeLinear",
		"MatMulNBits", "MatMulBnb4"}
	// means lists the operators that may sum a batch of one in another order.
	means = []string{"ReduceMean", "ReduceSum", "GlobalAveragePool"}
)

// NewImageModel loads a serialised model with one input, float32 [B,3,H,W], and outputs float32 [B,·]. B is fixed or
// dynamic, the rest is fixed.
func NewImageModel(model []byte, o SessionOptions) (*ImageModel, error) {
	sig, err := graph.ReadSignature(model)
	if err != nil {
		return nil, err
	}
	noMatrix := func(v graph.Value) bool { return len(v.Shape) != 2 }
	if len(sig.Inputs) != 1 || len(sig.Inputs[0].Shape) != 4 || len(sig.Outputs) == 0 ||
		slices.ContainsFunc(sig.Outputs, noMatrix) {
		return nil, fmt.Errorf("%w: inputs %v, outputs %v, need one image input [B,3,H,W] and outputs [B,D]",
			graph.ErrModel, sig.Inputs, sig.Outputs)
	}
	in := sig.Inputs[0].Shape
	m := &ImageModel{batch: int(in[0]), image: in[1:], pixels: int(in[1] * in[2] * in[3])}
	fixed := in[1] > 0 && in[2] > 0 && in[3] > 0
	for _, v := range sig.Outputs {
		fixed = fixed && v.Shape[1] > 0
		m.widths = append(m.widths, int(v.Shape[1]))
	}
	if !fixed {
		return nil, fmt.Errorf("%w: input %v, outputs %v: only the batch may be dynamic", graph.ErrModel, in,
			sig.Outputs)
	}
	if m.session, err = newSession(model, o, m.try); err != nil {
		return nil, err
	}
	uses := func(ops []string) bool { return slices.ContainsFunc(ops, func(op string) bool { return sig.Ops[op] }) }
	if m.session.Provider() == CPU {
		m.oneByOne = sig.Float16 || uses(batchVariant)
		if uses(means) && m.batch < 1 && !m.oneByOne {
			if m.twice, err = m.aloneDiffers(); err != nil {
				return nil, fmt.Errorf("%w: %w", err, m.session.Close())
			}
		}
	}
	return m, nil
}

// Outputs describes the outputs in the order that Run takes them.
func (m *ImageModel) Outputs() []graph.Value { return m.session.Outputs() }

// OneByOne reports whether the model is run on one image at a time so that results do not depend on the batch.
func (m *ImageModel) OneByOne() bool { return m.oneByOne }

// Provider returns what the model really runs on.
func (m *ImageModel) Provider() string { return string(m.session.Provider()) }

// Note tells why [Auto] did not take CUDA, "" if it did or was not asked.
func (m *ImageModel) Note() string { return m.session.Note() }

// Close waits for the runs in progress and frees the model.
func (m *ImageModel) Close() error { return m.session.Close() }

// Run runs n images: pixels is [n,3,H,W], each of outputs [n,·].
func (m *ImageModel) Run(ctx context.Context, pixels []float32, n int, outputs ...[]float32) error {
	fits := n >= 0 && len(pixels) >= n*m.pixels && len(outputs) == len(m.widths)
	for i, out := range outputs {
		fits = fits && len(out) >= n*m.widths[i]
	}
	if !fits {
		return fmt.Errorf("run %d images: %d pixel values and %d outputs, need %d, and %d of %v values an image",
			n, len(pixels), len(outputs), n*m.pixels, len(m.widths), m.widths)
	}
	step := n
	if m.batch > 0 {
		step = m.batch
	}
	if m.oneByOne {
		step = 1
	}
	part := make([][]float32, len(outputs))
	for at := 0; at < n; at += step {
		to := min(at+step, n)
		for i, w := range m.widths {
			part[i] = outputs[i][at*w : to*w]
		}
		if err := m.run(ctx, pixels[at*m.pixels:to*m.pixels], to-at, part); err != nil {
			return fmt.Errorf("run %d images: %w", n, err)
		}
	}
	return nil
}

// run runs the model once; what n falls short of the size that the batch must have is filled with copies of the last
// image.
func (m *ImageModel) run(ctx context.Context, pixels []float32, n int, outputs [][]float32) error {
	size := n
	switch {
	case m.batch > 0:
		size = m.batch
	case m.twice && n == 1:
		size = 2
	}
	if size == n {
		return m.exactly(ctx, n, pixels, outputs)
	}
	p, _ := m.padded.Get().(*paddedBatch)
	if p == nil {
		p = &paddedBatch{make([]float32, size*m.pixels), m.room(size)}
	}
	defer m.padded.Put(p)
	copy(p.pixels, pixels)
	for i := n; i < size; i++ {
		copy(p.pixels[i*m.pixels:], pixels[(n-1)*m.pixels:])
	}
	if err := m.exactly(ctx, size, p.pixels, p.outputs); err != nil {
		return err
	}
	for i, out := range outputs {
		copy(out, p.outputs[i][:n*m.widths[i]])
	}
	return nil
}

// exactly runs the model once on n images.
func (m *ImageModel) exactly(ctx context.Context, n int, pixels []float32, outputs [][]float32) error {
	in := []Tensor{{Shape: append([]int64{int64(n)}, m.image...), Data: pixels}}
	out := make([]Tensor, len(outputs))
	for i, data := range outputs {
		out[i] = Tensor{Shape: []int64{int64(n), int64(m.widths[i])}, Data: data}
	}
	return m.session.Run(ctx, in, out)
}

// try runs a black image, or as many as a fixed batch has.
func (m *ImageModel) try(s *Session) error {
	n := max(m.batch, 1)
	of := ImageModel{session: s, image: m.image, widths: m.widths}
	return of.exactly(context.Background(), n, make([]float32, n*m.pixels), m.room(n))
}

// room makes outputs for n images.
func (m *ImageModel) room(n int) [][]float32 {
	outputs := make([][]float32, len(m.widths))
	for i, w := range m.widths {
		outputs[i] = make([]float32, n*w)
	}
	return outputs
}

// aloneDiffers tries whether an image alone gives other bits than beside another.
func (m *ImageModel) aloneDiffers() (bool, error) {
	pixels := make([]float32, 2*m.pixels)
	state := uint32(1)
	for i := range pixels {
		state = state*1664525 + 1013904223
		pixels[i] = float32(state>>8)/(1<<23) - 1
	}
	alone, beside := m.room(1), m.room(2)
	ctx := context.Background()
	err := errors.Join(m.exactly(ctx, 1, pixels[:m.pixels], alone), m.exactly(ctx, 2, pixels, beside))
	differ := false
	for i := range alone {
		differ = differ || !slices.Equal(alone[i], beside[i][:m.widths[i]])
	}
	return differ, err
}

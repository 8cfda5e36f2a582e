package onnx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vitft/vitft/onnx/graph"
)

// ImageModel runs a model that maps each image to a row of every output. It may be used by many goroutines at once. A
// head alone has rows of an embedding in the place of images.
//
// On the CPU the rows of an image have the same bits whatever the other images of the batch are, however many they are,
// wherever in the batch it stands, and whatever the number of threads. ONNX Runtime gives that for float32 weights,
// which it packs beforehand: every row of a product is then summed in the same order. It does not for products in
// float16, and cannot for a model that is quantised dynamically, with scales that span the batch; and a product with
// unpacked weights is summed in an order that depends on its shape and the threads. Such models are run one image at a
// time; see [ImageModel.OneByOne]. A mean over tokens may be summed in another order when the batch is one image; where
// it is, a single image is run twice. On CUDA nothing of this is promised.
type ImageModel struct {
	*Session // runs what it is given at once
	name     string
	batch    int // what the model takes, -1 for any number
	oneByOne bool
	twice    bool      // a single image is run as a batch of two
	image    []int64   // 3, H, W; or D
	pixels   int       // 3·H·W; or D
	widths   []int     // of the outputs' rows
	padded   sync.Pool // of *batch
}

// batch is what one run takes and gives.
type batch struct {
	images  int
	pixels  []float32
	outputs [][]float32
}

var (
	// batchVariant lists the operators whose results for one image depend on the batch.
	batchVariant = []string{"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
		"DequantizeLinear", "MatMulNBits", "MatMulBnb4"}
	// means lists the operators that may sum a batch of one in another order.
	means = []string{"ReduceMean", "ReduceSum", "GlobalAveragePool"}
)

// maxRun is how many bytes the pixels and outputs of one image, or of a batch that the model fixes, may take.
const maxRun = 512 << 20

// NewImageModel loads a serialised model from float32 [B,3,H,W] or [B,D] to outputs float32 [B,·]; only B may be
// dynamic. One that takes more than 512 MiB for the pixels and outputs of the batch that it fixes, or of one image, is
// refused.
func NewImageModel(model []byte, o SessionOptions) (*ImageModel, error) {
	sig, err := graph.ReadSignature(model)
	if err != nil {
		return nil, err
	}
	m := &ImageModel{}
	fits := len(sig.Inputs) == 1 && slices.Contains([]int{2, 4}, len(sig.Inputs[0].Shape)) &&
		len(sig.Outputs) > 0
	if fits {
		in := sig.Inputs[0].Shape
		m.batch, m.image, m.pixels = int(in[0]), in[1:], int(graph.Elements(in[1:]))
		fits = slices.Min(m.image) > 0
	}
	for _, v := range sig.Outputs {
		if fits = fits && len(v.Shape) == 2 && v.Shape[1] > 0; fits {
			m.widths = append(m.widths, int(v.Shape[1]))
		}
	}
	if !fits {
		return nil, fmt.Errorf("%w: inputs %v, outputs %v, need one image input [B,3,H,W] and outputs [B,D]; only the "+
			"batch may be dynamic", graph.ErrModel, sig.Inputs, sig.Outputs)
	}
	image, width := 1.0, 0.0
	for _, d := range m.image {
		image *= float64(d)
	}
	for _, w := range m.widths {
		width += float64(w)
	}
	if need := 4 * (image + width) * float64(max(m.batch, 1)); need > maxRun {
		return nil, fmt.Errorf("%w: it takes %d images of %s and gives %.0f values for each, %.2f GB at once; "+
			"the limit is %.2f GB: export it with a smaller batch, best a dynamic one, or for smaller images",
			graph.ErrModel, max(m.batch, 1), strings.ReplaceAll(strings.Trim(fmt.Sprint(m.image), "[]"), " ", "×"),
			width, need/1e9, maxRun/1e9)
	}
	m.Session, err = newSession(model, o, func(s *Session) error {
		m.Session = s
		return m.exactly(context.Background(), m.room(max(m.batch, 1)))
	})
	if err != nil {
		return nil, err
	}
	uses := func(ops []string) bool { return slices.ContainsFunc(ops, func(op string) bool { return sig.Ops[op] }) }
	if m.provider == CPU {
		m.oneByOne = sig.Float16 || uses(batchVariant)
		if uses(means) && m.batch < 1 && !m.oneByOne {
			if m.twice, err = m.aloneDiffers(); err != nil {
				return nil, errors.Join(m.blame(context.Background(), err), m.Close())
			}
		}
	}
	m.name = o.Name
	return m, nil
}

// OneByOne reports whether the model is run on one image at a time so that results do not depend on the batch.
func (m *ImageModel) OneByOne() bool { return m.oneByOne }

// Provider returns what the model really runs on.
func (m *ImageModel) Provider() string { return string(m.Session.Provider()) }

// Run runs n images: pixels is [n,3,H,W], each of outputs [n,·]. What ONNX Runtime says against the model, such as that
// its shapes do not fit or that it takes more memory than there is, comes in an error that wraps [graph.ErrModel].
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
	if m.oneByOne {
		step = 1
	} else if m.batch > 0 {
		step = m.batch
	}
	part := make([][]float32, len(outputs))
	for at := 0; at < n; at += step {
		to := min(at+step, n)
		for i, w := range m.widths {
			part[i] = outputs[i][at*w : to*w]
		}
		if err := m.run(ctx, &batch{to - at, pixels[at*m.pixels : to*m.pixels], part}); err != nil {
			return fmt.Errorf("run %d images: %w", n, m.blame(ctx, err))
		}
	}
	return nil
}

// blame is the error of a run as the model's fault, if nothing else is to blame: it will fail again in the same way.
func (m *ImageModel) blame(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) || errors.Is(err, ErrRuntime) || errors.Is(err, ErrClosed) ||
		errors.As(err, new(reloadError)) {
		return err
	}
	return fmt.Errorf("%w: %s does not run; export it anew, for a smaller batch if memory is short: %s",
		graph.ErrModel, cmp.Or(m.name, "it"), said(err))
}

// run runs the model once. A batch smaller than it must be is filled up with copies of its last image.
func (m *ImageModel) run(ctx context.Context, b *batch) error {
	size := b.images
	if m.batch > 0 {
		size = m.batch
	} else if m.twice {
		size = max(size, 2)
	}
	if size == b.images {
		return m.exactly(ctx, b)
	}
	p, _ := m.padded.Get().(*batch)
	if p == nil {
		p = m.room(size)
	}
	defer m.padded.Put(p)
	copy(p.pixels, b.pixels)
	for i := b.images; i < size; i++ {
		copy(p.pixels[i*m.pixels:], b.pixels[(b.images-1)*m.pixels:])
	}
	err := m.exactly(ctx, p)
	for i, out := range b.outputs {
		copy(out, p.outputs[i])
	}
	return err
}

// exactly runs the model once on a batch as it is.
func (m *ImageModel) exactly(ctx context.Context, b *batch) error {
	n := int64(b.images)
	in := []Tensor{{append([]int64{n}, m.image...), b.pixels}}
	out := make([]Tensor, len(b.outputs))
	for i, data := range b.outputs {
		out[i] = Tensor{[]int64{n, int64(m.widths[i])}, data}
	}
	return m.Session.Run(ctx, in, out)
}

// room makes a batch of n black images.
func (m *ImageModel) room(n int) *batch {
	b := &batch{images: n, pixels: make([]float32, n*m.pixels)}
	for _, w := range m.widths {
		b.outputs = append(b.outputs, make([]float32, n*w))
	}
	return b
}

// aloneDiffers tries whether an image alone gives other bits than beside another.
func (m *ImageModel) aloneDiffers() (bool, error) {
	alone, beside := m.room(1), m.room(2)
	state := uint32(1)
	for i := range beside.pixels {
		state = state*1664525 + 1013904223
		beside.pixels[i] = float32(state>>8)/(1<<23) - 1
	}
	copy(alone.pixels, beside.pixels)
	err := cmp.Or(m.exactly(context.Background(), alone), m.exactly(context.Background(), beside))
	differ := false
	for i, out := range alone.outputs {
		differ = differ || !slices.Equal(out, beside.outputs[i][:len(out)])
	}
	return differ, err
}

package vision

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/graph"
)

// minConverted is the number of values from which a weight is stored in another precision; below, it is not worth it.
const minConverted = 1024

// ours begins the names of what this package adds: heads and views, which keep their precision.
const ours = "vitft_"

// HalfWeights stores the float32 weights of the backbone in float16, rounded to the nearest: half the size. The model
// makes float32 of them again, which a runtime does once, when it loads it. Every operator computes as before; so the
// model runs wherever it ran, as fast, and its answers depend on the batch as little as they did. Weights beyond the
// range of float16 stay as they are. It returns the number of values that were converted; if there are none, the error
// wraps [graph.ErrModel].
func HalfWeights(m *graph.Model) (values int, err error) {
	return store(m, "half", func(b *graph.Builder, t *graph.Tensor, v []float32) bool {
		raw := make([]byte, 0, 2*len(v))
		for _, x := range v {
			h, ok := vec.Half(x)
			if !ok {
				return false
			}
			raw = binary.LittleEndian.AppendUint16(raw, h)
		}
		b.Cast(b.Raw(t.GetName(), "float16", t.Dims, raw), t.GetName(), "float32")
		return true
	})
}

// QuantizeWeights stores the constant right sides of matrix products in 8 bits, symmetric, with a scale for each output
// channel: about a quarter of the size. As with [HalfWeights], the model makes float32 of them again.
//
// Activations are not quantised. With DynamicQuantizeLinear and MatMulInteger a ViT-Tiny ran up to 1.6 times as fast,
// and gave another label to 18 of 100 photos; to 43 where the processor adds products of 8 bits in 16, and sums
// overflow.
func QuantizeWeights(m *graph.Model) (values int, err error) {
	axes := map[string]int64{} // the output channels of a weight
	for _, n := range m.Graph().Node {
		switch n.GetOpType() {
		case "MatMul":
			axes[second(n)] = 1
		case "Gemm":
			axes[second(n)] = 1 - graph.AttrInt(n, "transB", 0)&1
		}
	}
	return store(m, "int8", func(b *graph.Builder, t *graph.Tensor, v []float32) bool {
		axis, ok := axes[t.GetName()]
		if !ok || len(t.Dims) != 2 {
			return false
		}
		columns := int(t.Dims[1])
		channel := func(i int) int { return i % columns }
		shape := []int64{t.Dims[1]}
		if axis == 0 {
			channel = func(i int) int { return i / columns }
			shape = []int64{t.Dims[0], 1}
		}
		q, scales, ok := quantise(v, int(t.Dims[axis]), channel)
		if !ok {
			return false
		}
		name := t.GetName()
		whole := b.Cast(b.Raw(name, "int8", t.Dims, q), b.Name("whole/"+name), "float32")
		b.Node("Mul", []string{whole, b.Floats("scale/"+name, shape, scales...)}, name)
		return true
	})
}

// store replaces weights of the backbone by nodes that compute them, which convert adds; it is false where it does not.
func store(m *graph.Model, name string, convert func(*graph.Builder, *graph.Tensor, []float32) bool) (int, error) {
	if err := m.Inline(); err != nil {
		return 0, err
	}
	values, g := 0, m.Graph()
	b := graph.NewBuilder(m, ours+name)
	nodes, weights := g.Node, g.Initializer
	g.Node, g.Initializer = nil, nil
	for _, t := range weights {
		if v, ok := large(t); ok && convert(b, t, v) {
			values += len(v)
		} else {
			g.Initializer = append(g.Initializer, t)
		}
	}
	g.Node = append(g.Node, nodes...)
	if values == 0 {
		return 0, fmt.Errorf("%w: it has no float32 weights that could be stored otherwise", graph.ErrModel)
	}
	return values, nil
}

// large returns the values of a float32 weight of the backbone that is worth converting.
func large(t *graph.Tensor) ([]float32, bool) {
	if strings.HasPrefix(t.GetName(), ours) {
		return nil, false
	}
	v, ok := graph.Floats(t)
	return v, ok && len(v) >= minConverted
}

// quantise rounds values to [-127, 127] times the scale of their channel; false if they are not finite.
func quantise(v []float32, channels int, channel func(i int) int) (q []byte, scales []float32, ok bool) {
	const limit = 127
	scales = make([]float32, channels)
	for i, x := range v {
		a := math.Abs(float64(x))
		if !(a <= math.MaxFloat32) {
			return nil, nil, false
		}
		scales[channel(i)] = max(scales[channel(i)], float32(a/limit))
	}
	q = make([]byte, len(v))
	for i, x := range v {
		if s := float64(scales[channel(i)]); s > 0 {
			q[i] = byte(int8(max(-limit, min(limit, math.RoundToEven(float64(x)/s)))))
		}
	}
	return q, scales, true
}

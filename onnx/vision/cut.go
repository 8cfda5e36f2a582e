package vision

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// The names of the boundary of every backbone and exported model.
const (
	PixelValues   = "pixel_values"  // float32 [B,3,H,W]
	Embedding     = "embedding"     // float32 [B,D]
	Logits        = "logits"        // float32 [B,C]
	Probabilities = "probabilities" // float32 [B,C]
)

// cut builds the backbone that the choices describe. Weights are shared with the original.
func cut(m *graph.Model, im ImageInput, ft Feature) (*graph.Model, error) {
	out := m.Copy()
	b := graph.NewBuilder(out, "vitft")

	// Free the names of the boundary, then build inwards from both ends.
	moved := free(b, out, PixelValues, Embedding)
	g := out.Graph()
	nodes := g.Node
	g.Node = nil
	enter(b, im, moved(im.Input))
	g.Node = append(g.Node, nodes...)
	pool(b, ft, moved(ft.Tensor), declaredType(m, ft.Tensor))

	out.SetInputs(float32s(PixelValues, im.Batch, 3, im.Height, im.Width))
	out.SetOutputs(float32s(Embedding, im.Batch, ft.Dim))
	if out.Prune(); len(g.Node) == 0 {
		return nil, fmt.Errorf("%w: nothing is left between %s and %s", graph.ErrModel, im.Input, ft.Tensor)
	}
	return out, nil
}

func float32s(name string, shape ...int64) graph.Value {
	return graph.Value{Name: name, Type: "float32", Shape: shape}
}

// original continues the prefix of a builder in the names that free gives.
const original = "original/"

// free gives the tensors of these names other ones, and returns what maps an old name to the present one.
func free(b *graph.Builder, m *graph.Model, names ...string) func(string) string {
	to := map[string]string{}
	for _, name := range names {
		to[name] = b.Name(original + name)
	}
	m.Rename(to)
	return func(name string) string { return cmp.Or(to[name], name) }
}

// declaredType returns the name of a tensor's element type, "" where the file does not declare it.
func declaredType(m *graph.Model, tensor string) string {
	g := m.Graph()
	for _, info := range slices.Concat(g.Output, g.ValueInfo) {
		if info.GetName() == tensor && info.GetType().GetTensorType() != nil {
			return graph.ValueOf(info).Type
		}
	}
	return ""
}

// enter leads pixel_values to the model's own input.
func enter(b *graph.Builder, im ImageInput, source string) {
	x, out := PixelValues, source
	casts := im.Type != "float32"
	if im.Layout == "NHWC" {
		if casts {
			out = ""
		}
		x = b.Node("Transpose", []string{x}, out, graph.IntsAttr("perm", 0, 2, 3, 1))
	}
	switch {
	case im.Type == "uint8":
		x = b.Node("Mul", []string{x, b.Floats("255", nil, 255)}, "")
		x = b.Node("Round", []string{x}, "")
		x = b.Node("Clip", []string{x, b.Floats("0", nil, 0), b.Floats("255", nil, 255)}, "")
		b.Cast(x, source, im.Type)
	case casts:
		b.Cast(x, source, im.Type)
	case x != source:
		b.Node("Identity", []string{x}, source)
	}
}

// pool makes the embedding of the feature tensor x.
func pool(b *graph.Builder, ft Feature, x, elem string) {
	if elem != "float32" { // a cast too many is optimised away
		x = b.Cast(x, "", "float32")
	}
	switch {
	case ft.Layout == "NHWC":
		b.Reduce("ReduceMean", x, Embedding, false, 1, 2)
	case len(ft.Shape) == 4:
		b.Reduce("ReduceMean", x, Embedding, false, 2, 3)
	case len(ft.Shape) == 2:
		b.Node("Identity", []string{x}, Embedding)
	case ft.Pooling == PoolCLS:
		cls(b, x, Embedding)
	case ft.Pooling == PoolMean:
		mean(b, x, ft.Prefix, Embedding)
	default:
		c, m := b.Fresh(), b.Fresh()
		cls(b, x, c)
		mean(b, x, ft.Prefix, m)
		b.Node("Concat", []string{c, m}, Embedding, graph.IntAttr("axis", 1))
	}
}

func cls(b *graph.Builder, x, out string) {
	b.Node("Gather", []string{x, b.Int64s("first", nil, 0)}, out, graph.IntAttr("axis", 1))
}

func mean(b *graph.Builder, x string, skip int64, out string) {
	if skip > 0 {
		one := []int64{1}
		y, from, end := b.Fresh(), b.Int64s("patches", one, skip), b.Int64s("end", one, 1<<31-1)
		x = b.Node("Slice", []string{x, from, end, b.Int64s("token_axis", one, 1)}, y)
	}
	b.Reduce("ReduceMean", x, out, false, 1)
}

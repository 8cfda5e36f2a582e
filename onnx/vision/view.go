package vision

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// View is a way to look at an image that has been prepared for a model: mirrored, or nearer. It is made of the pixel
// tensor by nodes of the graph, so that an exported model can repeat it exactly. The zero value is the plain view.
type View struct {
	Flip bool    `json:"flip,omitempty"` // left becomes right
	Zoom float64 `json:"zoom,omitempty"` // shows 1/Zoom of each side, enlarged to the whole; 1 or more, 0 = 1
	DX   float64 `json:"dx,omitempty"`   // where that window lies: -1 left, 0 in the middle, 1 right
	DY   float64 `json:"dy,omitempty"`   // -1 top, 0 in the middle, 1 bottom
}

// Views returns the first n of a fixed sequence of views, the plain one first, n ≤ [MaxViews]. A prefix of any length
// is a sensible choice: plain; nearer and mirrored at once, which tells more than either; each of them alone; corners.
func Views(n int) []View {
	const near = 8.0 / 7 // what resizing to 256 and cropping to 224 does
	views := []View{{}, {Zoom: near, Flip: true}, {Zoom: near}, {Flip: true}}
	for _, flip := range []bool{false, true} {
		for _, at := range [][2]float64{{-1, -1}, {1, 1}, {1, -1}, {-1, 1}} {
			views = append(views, View{Flip: flip, Zoom: near, DX: at[0], DY: at[1]})
		}
	}
	return views[:n]
}

// MaxViews is the length of the sequence of [Views].
const MaxViews = 12

// String is canonical: views of different results have different text.
func (v View) String() string {
	var parts []string
	if v.zoom() > 1 {
		parts = append(parts, fmt.Sprintf("bicubic zoom %v at %v,%v", v.Zoom, v.DX, v.DY))
	}
	if v.Flip {
		parts = append(parts, "flip")
	}
	return cmp.Or(strings.Join(parts, " "), "plain")
}

func (v View) zoom() float64 { return cmp.Or(v.Zoom, 1) }

func (v View) check() error {
	in := func(x, low, high float64) bool { return x >= low && x <= high }
	if !in(v.zoom(), 1, 100) || !in(v.DX, -1, 1) || !in(v.DY, -1, 1) {
		return fmt.Errorf("view %+v: zoom must be in [1, 100], dx and dy in [-1, 1]", v)
	}
	return nil
}

// ViewModel returns a model of the view alone: from pixel_values, as the backbone m takes them, to the pixels that m is
// to be given instead, of the same shape under the name viewed_pixels. Its batch is always dynamic. The error says what
// of the view is out of range, or that m is no backbone.
func ViewModel(m *graph.Model, v View) (*graph.Model, error) {
	in, _, err := boundary(m)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, err
	}
	const viewed = "viewed_pixels"
	in[0] = graph.Unknown
	name := "view"
	out := m.With(&graph.Graph{Name: &name})
	out.SetInputs(float32s(PixelValues, in...))
	out.SetOutputs(float32s(viewed, in...))
	b := graph.NewBuilder(out, "vitft_view")
	b.Node("Identity", []string{look(b, v, in[2], in[3])}, viewed)
	return out, nil
}

// Average returns a backbone whose embedding is the mean of what m, a backbone of [Backbone]'s, gives for the views. It
// runs once, on all views, so its batch must be dynamic. Weights are shared. An error of m's wraps [graph.ErrModel].
func Average(m *graph.Model, views []View) (*graph.Model, error) {
	in, embedding, err := boundary(m)
	if err != nil {
		return nil, err
	}
	if in[0] != graph.Unknown {
		return nil, fmt.Errorf("%w: several views of an image make a larger batch, and the model takes batches of %d "+
			"only; export it with a dynamic batch", graph.ErrModel, in[0])
	}
	out := m.Copy()
	g := out.Graph()
	b := graph.NewBuilder(out, viewsPrefix)
	moved := free(b, out, PixelValues, Embedding)
	nodes := g.Node
	g.Node = nil
	all := make([]string, len(views))
	for i, v := range views {
		if err := v.check(); err != nil {
			return nil, err
		}
		all[i] = look(b, v, in[2], in[3])
	}
	b.Node("Concat", all, moved(PixelValues), graph.IntAttr("axis", 0))
	g.Node = append(g.Node, nodes...)
	each := b.Fresh()
	apart := b.Int64s("each", []int64{3}, int64(len(views)), -1, embedding[1])
	b.Node("Reshape", []string{moved(Embedding), apart}, each)
	b.Reduce("ReduceMean", each, Embedding, false, 0)
	g.Input, g.Output = m.Graph().Input, m.Graph().Output
	return out, nil
}

// Single undoes [Average], also under a head: it returns the backbone that sees one view, m if nothing is to be undone.
func Single(m *graph.Model) *graph.Model {
	var prefix string
	for _, n := range m.Graph().Node { // of several averages the last one is the outermost
		p, ok := strings.CutSuffix(first(n), original+Embedding)
		if ok && strings.HasPrefix(p, viewsPrefix) && n.GetOpType() == "Reshape" {
			prefix = p
		}
	}
	if prefix == "" {
		return m
	}
	pixels, embedding := prefix+original+PixelValues, prefix+original+Embedding
	out := m.Copy()
	g := out.Graph()
	g.Node = slices.DeleteFunc(g.Node, func(n *graph.Node) bool { return n.Output[0] == pixels })
	for _, v := range m.Outputs() {
		if v.Name == Embedding {
			out.SetOutputs(float32s(embedding, v.Shape...))
		}
	}
	out.Prune()
	out.Rename(map[string]string{pixels: PixelValues, embedding: Embedding})
	return out
}

// FreeBatch returns the backbone m with its batch declared dynamic. Nodes that have the old size built in, such as a
// Reshape, are not mended: run it with another size to find out. The error says that m is no backbone.
func FreeBatch(m *graph.Model) (*graph.Model, error) {
	in, embedding, err := boundary(m)
	if err != nil {
		return nil, err
	}
	in[0], embedding[0] = graph.Unknown, graph.Unknown
	out := m.Copy()
	out.SetInputs(float32s(PixelValues, in...))
	out.SetOutputs(float32s(Embedding, embedding...))
	return out, nil
}

// viewsPrefix begins the names that Average gives to the pixels and the embedding of the backbone inside; see free.
const viewsPrefix = "vitft_views"

// boundary returns the shapes of a backbone's input and output.
func boundary(m *graph.Model) (in, out []int64, err error) {
	g := m.Graph()
	if len(g.Input) == 1 && len(g.Output) == 1 {
		x, y := graph.ValueOf(g.Input[0]), graph.ValueOf(g.Output[0])
		if x.Name == PixelValues && y.Name == Embedding {
			in, out = x.Shape, y.Shape
		}
	}
	if len(in) != 4 || len(out) != 2 || in[2] < 1 || in[3] < 1 {
		return nil, nil, fmt.Errorf("the model is not a backbone from %s [B,3,H,W] to %s [B,D]", PixelValues, Embedding)
	}
	return in, out, nil
}

// look adds the nodes of a view and returns the tensor that they end in.
func look(b *graph.Builder, v View, height, width int64) string {
	y := b.Fresh()
	switch {
	case v.zoom() > 1:
		// Enlarging with ONNX Runtime's own Resize, cubic, takes longer than a small ViT. It is separable: two products
		// with constant matrices, which are quick everywhere and give the same bits in every batch.
		across, down := fmt.Sprintf("columns %v %v %v", v.Zoom, v.DX, v.Flip), fmt.Sprintf("rows %v %v", v.Zoom, v.DY)
		columns := enlarge(int(width), v.Zoom, v.DX, v.Flip, true)
		rows := enlarge(int(height), v.Zoom, v.DY, false, false)
		right := b.Floats(across, []int64{width, width}, columns...)
		left := b.Floats(down, []int64{height, height}, rows...)
		narrow := b.Node("MatMul", []string{PixelValues, right}, "")
		return b.Node("MatMul", []string{left, narrow}, y)
	case v.Flip:
		one := []int64{1}
		last, end := b.Int64s("last", one, width-1), b.Int64s("before_first", one, -width-1)
		return b.Node("Slice", []string{PixelValues, last, end, b.Int64s("across", one, 3), b.Int64s("back", one, -1)},
			y)
	}
	return PixelValues
}

// enlarge returns the n×n matrix that enlarges a line of n pixels by zoom, with the window at the offset of [View].
// Pixels are weighted by Keys' cubic convolution with a = -1/2 (IEEE TASSP 29(6), 1981), the bicubic of Pillow; beyond
// the edge the last pixel repeats. Rows are outputs, or columns if transposed.
func enlarge(n int, zoom, offset float64, flip, transposed bool) []float32 {
	m := make([]float32, n*n)
	window := float64(n) / zoom
	from := (float64(n) - window) / 2 * (1 + offset)
	for i := range n {
		at := from + (float64(i)+0.5)/zoom - 0.5
		row := i
		if flip {
			row = n - 1 - i
		}
		for k := int(math.Floor(at)) - 1; k <= int(math.Floor(at))+2; k++ {
			source := min(max(k, 0), n-1)
			w := float32(cubic(math.Abs(at - float64(k))))
			if transposed {
				m[source*n+row] += w
			} else {
				m[row*n+source] += w
			}
		}
	}
	return m
}

func cubic(d float64) float64 {
	switch {
	case d < 1:
		return (1.5*d-2.5)*d*d + 1
	case d < 2:
		return ((-0.5*d+2.5)*d-4)*d + 2
	}
	return 0
}

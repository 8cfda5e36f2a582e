package graph

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
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
	if parts == nil {
		return "plain"
	}
	return strings.Join(parts, " ")
}

func (v View) zoom() float64 {
	if v.Zoom == 0 {
		return 1
	}
	return v.Zoom
}

func (v View) check() error {
	in := func(x, low, high float64) bool { return x >= low && x <= high }
	if !in(v.zoom(), 1, 100) || !in(v.DX, -1, 1) || !in(v.DY, -1, 1) {
		return fmt.Errorf("view %+v: zoom must be in [1, 100], dx and dy in [-1, 1]", v)
	}
	return nil
}

// View returns a model of the view alone: from pixel_values, as the backbone m takes them, to the pixels that m is to
// be given instead, of the same shape under the name viewed_pixels. Its batch is always dynamic.
func (m *Model) View(v View) (*Model, error) {
	in, _, err := m.boundary()
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, err
	}
	const viewed = "viewed_pixels"
	in[0] = unknown
	g := &onnxpb.GraphProto{
		Name:  proto.String("view"),
		Input: []*onnxpb.ValueInfoProto{floatInfo(PixelValues, in...)}, Output: []*onnxpb.ValueInfoProto{floatInfo(viewed, in...)},
	}
	b := newBuilder(g, m.opset(), "vitft_view")
	b.node("Identity", []string{b.view(v, PixelValues, in[2], in[3])}, viewed)
	return m.around(g), nil
}

// Average returns a backbone whose embedding is the mean of what m gives for the views. m, a backbone as
// [Model.Backbone] returns it, runs once, on a batch of all views; so its batch must be dynamic. Weights are shared.
func (m *Model) Average(views []View) (*Model, error) {
	in, out, err := m.boundary()
	if err != nil {
		return nil, err
	}
	if in[0] != unknown {
		return nil, fmt.Errorf("%w: several views of an image make a larger batch, and the model takes batches of %d only; export it with a dynamic batch", ErrModel, in[0])
	}
	for _, v := range views {
		if err := v.check(); err != nil {
			return nil, err
		}
	}
	g := m.copyGraph()
	b := newBuilder(g, m.opset(), viewsPrefix)
	moved := b.free(PixelValues, Embedding)
	nodes := g.Node
	g.Node = nil
	var all []string
	for _, v := range views {
		all = append(all, b.view(v, PixelValues, in[2], in[3]))
	}
	b.node("Concat", all, moved(PixelValues), integer("axis", 0))
	g.Node = append(g.Node, nodes...)
	each := b.fresh()
	b.node("Reshape", []string{moved(Embedding), b.int64s("each", []int64{3}, int64(len(views)), -1, out[1])}, each)
	b.reduce("ReduceMean", each, Embedding, 0)
	return m.around(g), nil
}

// Single undoes [Model.Average], also where a head has been appended: it returns the backbone that sees one view, and m
// itself if there is nothing to undo.
func (m *Model) Single() *Model {
	var prefix string
	for _, n := range m.proto.Graph.Node { // of several averages the last one is the outermost
		if p, ok := strings.CutSuffix(first(n), original+Embedding); ok && strings.HasPrefix(p, viewsPrefix) && n.GetOpType() == "Reshape" {
			prefix = p
		}
	}
	if prefix == "" {
		return m
	}
	pixels, embedding := prefix+original+PixelValues, prefix+original+Embedding
	g := m.copyGraph()
	g.Node = slices.DeleteFunc(g.Node, func(n *onnxpb.NodeProto) bool { return n.Output[0] == pixels })
	for _, o := range g.Output {
		if o.GetName() == Embedding {
			g.Output = []*onnxpb.ValueInfoProto{floatInfo(embedding, valueOf(o).Shape...)}
			break
		}
	}
	s := m.around(g)
	s.prune()
	for _, n := range g.Node {
		renameIn(n, map[string]string{pixels: PixelValues, embedding: Embedding})
	}
	g.Output[0].Name = proto.String(Embedding)
	return s
}

// FreeBatch returns the backbone m with its batch declared dynamic. Nodes that have the old size built in, such as a
// Reshape, are not mended: run it with another size to find out.
func (m *Model) FreeBatch() (*Model, error) {
	in, out, err := m.boundary()
	if err != nil {
		return nil, err
	}
	in[0], out[0] = unknown, unknown
	g := m.copyGraph()
	g.Input, g.Output = []*onnxpb.ValueInfoProto{floatInfo(PixelValues, in...)}, []*onnxpb.ValueInfoProto{floatInfo(Embedding, out...)}
	return m.around(g), nil
}

// viewsPrefix begins, and original continues, the names that Average gives to the pixels and the embedding of the
// backbone inside.
const (
	viewsPrefix = "vitft_views"
	original    = "original/"
)

// boundary returns the shapes of a backbone's input and output.
func (m *Model) boundary() (in, out []int64, err error) {
	g := m.proto.Graph
	if len(g.Input) == 1 && len(g.Output) == 1 && g.Input[0].GetName() == PixelValues && g.Output[0].GetName() == Embedding {
		in, out = valueOf(g.Input[0]).Shape, valueOf(g.Output[0]).Shape
	}
	if len(in) != 4 || len(out) != 2 || in[2] < 1 || in[3] < 1 {
		return nil, nil, fmt.Errorf("the model is not a backbone from %s [B,3,H,W] to %s [B,D]", PixelValues, Embedding)
	}
	return in, out, nil
}

// copyGraph copies a graph so that nodes can be added and renamed; weights and attributes are shared.
func (m *Model) copyGraph() *onnxpb.GraphProto {
	old := m.proto.Graph
	g := &onnxpb.GraphProto{Name: old.Name, Input: old.Input, Output: old.Output, Initializer: old.Initializer, SparseInitializer: old.SparseInitializer}
	for _, n := range old.Node {
		g.Node = append(g.Node, copyNode(n))
	}
	return g
}

// view adds the nodes of a view and returns the tensor that they end in.
func (b *builder) view(v View, x string, height, width int64) string {
	y := b.fresh()
	switch {
	case v.zoom() > 1:
		// Enlarging with ONNX Runtime's own Resize, cubic, takes longer than a small ViT. It is separable: two products
		// with constant matrices, which are quick everywhere and give the same bits in every batch.
		across, down := fmt.Sprintf("columns %v %v %v", v.Zoom, v.DX, v.Flip), fmt.Sprintf("rows %v %v", v.Zoom, v.DY)
		columns := b.floats(across, []int64{width, width}, enlarge(int(width), v.Zoom, v.DX, v.Flip, true)...)
		rows := b.floats(down, []int64{height, height}, enlarge(int(height), v.Zoom, v.DY, false, false)...)
		narrow := b.fresh()
		b.node("MatMul", []string{x, columns}, narrow)
		b.node("MatMul", []string{rows, narrow}, y)
	case v.Flip:
		one := []int64{1}
		b.node("Slice", []string{x, b.int64s("last", one, width-1), b.int64s("before_first", one, -width-1), b.int64s("across", one, 3), b.int64s("back", one, -1)}, y)
	default:
		return x
	}
	return y
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

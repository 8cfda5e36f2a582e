package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// The names of the boundary of every backbone and exported model.
const (
	PixelValues   = "pixel_values"  // float32 [B,3,H,W]
	Embedding     = "embedding"     // float32 [B,D]
	Logits        = "logits"        // float32 [B,C]
	Probabilities = "probabilities" // float32 [B,C]
)

// cut builds the backbone that the choices describe. Weights are shared with the original.
func (f *finder) cut() (*Model, error) {
	g := f.m.copyGraph()
	b := newBuilder(g, f.result.Opset, "vitft")
	im, ft := f.result.Image, f.result.Feature

	// Free the names of the boundary, then build inwards from both ends.
	source, feature := im.Input, ft.Tensor
	moved := b.free(PixelValues, Embedding)
	source, feature = moved(source), moved(feature)
	nodes := g.Node
	g.Node = nil
	b.image(im, source)
	g.Node = append(g.Node, nodes...)
	b.pool(ft, feature, f.elemType(ft.Tensor))

	g.Input = []*onnxpb.ValueInfoProto{floatInfo(PixelValues, im.Batch, 3, im.Height, im.Width)}
	g.Output = []*onnxpb.ValueInfoProto{floatInfo(Embedding, im.Batch, ft.Dim)}
	out := f.m.around(g)
	out.prune()
	if len(out.proto.Graph.Node) == 0 {
		return nil, fmt.Errorf("%w: nothing is left between %s and %s", ErrModel, im.Input, ft.Tensor)
	}
	out.size = int64(proto.Size(out.proto))
	return out, nil
}

// around returns a model of another graph that is like m otherwise.
func (m *Model) around(g *onnxpb.GraphProto) *Model {
	old := m.proto
	p := &onnxpb.ModelProto{
		IrVersion:       proto.Int64(max(old.GetIrVersion(), 4)), // 4: weights need not be inputs
		OpsetImport:     old.OpsetImport,
		ProducerName:    old.ProducerName,
		ProducerVersion: old.ProducerVersion,
		Domain:          old.Domain,
		ModelVersion:    old.ModelVersion,
		DocString:       old.DocString,
		MetadataProps:   cloneProps(old.MetadataProps),
		Functions:       old.Functions,
		Graph:           g,
	}
	return &Model{proto: p, dir: m.dir, size: int64(proto.Size(p))}
}

// elemType returns the name of a tensor's element type, "" where the file does not declare it.
func (f *finder) elemType(tensor string) string {
	g := f.m.proto.Graph
	for _, info := range slices.Concat(g.Output, g.ValueInfo) {
		if info.GetName() == tensor && info.GetType().GetTensorType() != nil {
			return valueOf(info).Type
		}
	}
	return ""
}

// builder adds nodes to a graph.
type builder struct {
	graph  *onnxpb.GraphProto
	opset  int64
	prefix string // begins the name of everything added
	count  int
}

// newBuilder returns a builder whose names begin with "name/", or "name2/" and so on where a graph that was built here
// before has those already.
func newBuilder(g *onnxpb.GraphProto, opset int64, name string) *builder {
	taken := func(prefix string) bool {
		has := func(s string) bool { return strings.HasPrefix(s, prefix) }
		return slices.ContainsFunc(g.Initializer, func(t *onnxpb.TensorProto) bool { return has(t.GetName()) }) ||
			slices.ContainsFunc(g.Node, func(n *onnxpb.NodeProto) bool { return has(n.GetName()) || slices.ContainsFunc(n.Output, has) })
	}
	prefix := name + "/"
	for i := 2; taken(prefix); i++ {
		prefix = fmt.Sprintf("%s%d/", name, i)
	}
	return &builder{graph: g, opset: opset, prefix: prefix}
}

// free gives the tensors of these names other ones, and returns what maps an old name to the present one.
func (b *builder) free(reserved ...string) func(string) string {
	to := map[string]string{}
	for _, name := range reserved {
		to[name] = b.prefix + original + name
	}
	for _, n := range b.graph.Node {
		renameIn(n, to)
	}
	b.graph.Initializer = renameTensors(b.graph.Initializer, to)
	return func(name string) string {
		if new, ok := to[name]; ok {
			return new
		}
		return name
	}
}

// image leads pixel_values to the model's own input.
func (b *builder) image(im ImageInput, source string) {
	x := PixelValues
	var steps []func(in, out string)
	if im.Layout == "NHWC" {
		steps = append(steps, func(in, out string) {
			b.node("Transpose", []string{in}, out, ints("perm", 0, 2, 3, 1))
		})
	}
	switch im.Type {
	case "uint8":
		steps = append(steps,
			func(in, out string) { b.node("Mul", []string{in, b.floats("255", nil, 255)}, out) },
			func(in, out string) { b.node("Round", []string{in}, out) },
			func(in, out string) {
				b.node("Clip", []string{in, b.floats("0", nil, 0), b.floats("255", nil, 255)}, out)
			},
			func(in, out string) { b.cast(in, out, onnxpb.TensorProto_UINT8) })
	case "float16":
		steps = append(steps, func(in, out string) { b.cast(in, out, onnxpb.TensorProto_FLOAT16) })
	case "float64":
		steps = append(steps, func(in, out string) { b.cast(in, out, onnxpb.TensorProto_DOUBLE) })
	}
	if len(steps) == 0 {
		steps = append(steps, func(in, out string) { b.node("Identity", []string{in}, out) })
	}
	for i, step := range steps {
		out := source
		if i < len(steps)-1 {
			out = b.fresh()
		}
		step(x, out)
		x = out
	}
}

// pool makes the embedding of the feature tensor.
func (b *builder) pool(ft Feature, x, elem string) {
	if elem != "float32" { // a cast too many is optimised away
		y := b.fresh()
		b.cast(x, y, onnxpb.TensorProto_FLOAT)
		x = y
	}
	switch {
	case ft.Layout == "NHWC":
		b.reduce("ReduceMean", x, Embedding, 1, 2)
	case len(ft.Shape) == 4:
		b.reduce("ReduceMean", x, Embedding, 2, 3)
	case len(ft.Shape) == 2:
		b.node("Identity", []string{x}, Embedding)
	case ft.Pooling == PoolCLS:
		b.cls(x, Embedding)
	case ft.Pooling == PoolMean:
		b.mean(x, ft.Prefix, Embedding)
	default:
		c, m := b.fresh(), b.fresh()
		b.cls(x, c)
		b.mean(x, ft.Prefix, m)
		b.node("Concat", []string{c, m}, Embedding, integer("axis", 1))
	}
}

func (b *builder) cls(x, out string) {
	b.node("Gather", []string{x, b.int64s("first", nil, 0)}, out, integer("axis", 1))
}

func (b *builder) mean(x string, skip int64, out string) {
	if skip > 0 {
		y := b.fresh()
		b.node("Slice", []string{x, b.int64s("patches", []int64{1}, skip), b.int64s("end", []int64{1}, 1<<31-1), b.int64s("token_axis", []int64{1}, 1)}, y)
		x = y
	}
	b.reduce("ReduceMean", x, out, 1)
}

// reduce adds a reduction that drops the axes. They are an attribute up to operator set 17 and an input from 18 on
// (ReduceSum, which is not used here, differs).
func (b *builder) reduce(op, x, out string, axes ...int64) {
	if b.opset < 18 {
		b.node(op, []string{x}, out, ints("axes", axes...), integer("keepdims", 0))
		return
	}
	b.node(op, []string{x, b.int64s(fmt.Sprint("axes", axes), []int64{int64(len(axes))}, axes...)}, out, integer("keepdims", 0))
}

func (b *builder) cast(x, out string, to onnxpb.TensorProto_DataType) {
	b.node("Cast", []string{x}, out, integer("to", int64(to)))
}

func (b *builder) node(op string, in []string, out string, attrs ...*onnxpb.AttributeProto) {
	name := b.prefix + op + "/" + out
	b.graph.Node = append(b.graph.Node, &onnxpb.NodeProto{OpType: &op, Name: &name, Input: in, Output: []string{out}, Attribute: attrs})
}

// fresh returns a name for a new tensor.
func (b *builder) fresh() string {
	b.count++
	return fmt.Sprintf("%s%d", b.prefix, b.count)
}

// floats and int64s return the name of a constant, adding it if it is not there yet.
func (b *builder) floats(name string, dims []int64, v ...float32) string {
	return b.constant(&onnxpb.TensorProto{Name: proto.String(b.prefix + "float/" + name), Dims: dims, DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), RawData: floatBytes(v)})
}

func (b *builder) int64s(name string, dims []int64, v ...int64) string {
	return b.constant(&onnxpb.TensorProto{Name: proto.String(b.prefix + "int/" + name), Dims: dims, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: v})
}

func (b *builder) constant(t *onnxpb.TensorProto) string {
	for _, have := range b.graph.Initializer {
		if have.GetName() == t.GetName() {
			return t.GetName()
		}
	}
	b.graph.Initializer = append(slices.Clip(b.graph.Initializer), t)
	return t.GetName()
}

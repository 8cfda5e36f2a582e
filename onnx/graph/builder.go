package graph

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Builder adds nodes and weights to the main graph of a model, at its end, under names of its own.
type Builder struct {
	m      *Model
	prefix string // begins the name of everything added
	count  int
}

// NewBuilder returns a builder whose names begin with "name/", or "name2/" and so on where the graph has names that
// begin so already. With the name "" they begin with nothing.
func NewBuilder(m *Model, name string) *Builder {
	m.size = 0
	if name == "" {
		return &Builder{m: m}
	}
	var taken []string
	for _, t := range m.proto.Graph.Initializer {
		taken = append(taken, t.GetName())
	}
	for _, n := range m.proto.Graph.Node {
		taken = append(append(taken, n.GetName()), n.Output...)
	}
	prefix := name + "/"
	for i := 2; slices.ContainsFunc(taken, func(s string) bool { return strings.HasPrefix(s, prefix) }); i++ {
		prefix = fmt.Sprintf("%s%d/", name, i)
	}
	return &Builder{m: m, prefix: prefix}
}

// Opset returns the version of the core operator set that nodes must be of.
func (b *Builder) Opset() int64 { return b.m.Opset() }

// Name returns a name of the builder's own.
func (b *Builder) Name(name string) string { return b.prefix + name }

// Fresh returns a name for a new tensor.
func (b *Builder) Fresh() string {
	b.count++
	return b.Name(fmt.Sprint(b.count))
}

// Node adds a node of the core operator set and returns the tensor that it gives: out, or a fresh one if that is "".
func (b *Builder) Node(op string, in []string, out string, attrs ...*Attribute) string {
	return b.Nodes(op, in, []string{out}, attrs...)[0]
}

// Nodes adds a node with several outputs and returns them; those that are "" get fresh names.
func (b *Builder) Nodes(op string, in, out []string, attrs ...*Attribute) []string {
	out = slices.Clone(out)
	for i := range out {
		if out[i] == "" {
			out[i] = b.Fresh()
		}
	}
	name := b.prefix + op + "/" + out[0]
	n := &Node{OpType: &op, Name: &name, Input: in, Output: out, Attribute: attrs}
	b.m.proto.Graph.Node = append(b.m.proto.Graph.Node, n)
	return out
}

// Cast adds a node that converts x to an element type, as [Value] names it.
func (b *Builder) Cast(x, out, elem string) string {
	return b.Node("Cast", []string{x}, out, CastAttr(elem))
}

// Reduce adds a reduction of x over some axes, such as ReduceMean. Axes are an attribute up to operator set 17 and an
// input from 18 on, for ReduceSum from 13 on. If keep, the axes stay, with one element.
func (b *Builder) Reduce(op, x, out string, keep bool, axes ...int64) string {
	keepdims := FlagAttr("keepdims", keep)
	if since := b.Opset(); since < 13 || since < 18 && op != "ReduceSum" {
		return b.Node(op, []string{x}, out, IntsAttr("axes", axes...), keepdims)
	}
	input := b.Int64s(fmt.Sprint("axes", axes), []int64{int64(len(axes))}, axes...)
	return b.Node(op, []string{x, input}, out, keepdims)
}

// Floats adds a float32 weight of some dimensions, none for a scalar, and returns its name. A weight that is there
// already, by name and by content, is not added again.
func (b *Builder) Floats(name string, dims []int64, v ...float32) string {
	return b.Weight("float/"+name, FloatTensor(dims, v))
}

// Int64s adds a weight of integers, as Floats does.
func (b *Builder) Int64s(name string, dims []int64, v ...int64) string {
	return b.Weight("int/"+name, &Tensor{Dims: dims, DataType: proto.Int32(elemType("int64")), Int64Data: v})
}

// Raw adds a weight of any element type, as [Value] names it, of little-endian bytes.
func (b *Builder) Raw(name, elem string, dims []int64, raw []byte) string {
	return b.Weight(name, &Tensor{Dims: dims, DataType: proto.Int32(elemType(elem)), RawData: raw})
}

// Weight adds a weight under a name of the builder's own, numbered if another weight has it, and returns that name.
func (b *Builder) Weight(name string, t *Tensor) string {
	g := b.m.proto.Graph
	t.Name = proto.String(b.Name(name))
	for i := 2; ; i++ {
		at := slices.IndexFunc(g.Initializer, func(have *Tensor) bool { return have.GetName() == t.GetName() })
		if at < 0 {
			g.Initializer = append(slices.Clip(g.Initializer), t)
		}
		if at < 0 || proto.Equal(g.Initializer[at], t) {
			return t.GetName()
		}
		t.Name = proto.String(b.Name(fmt.Sprint(name, i)))
	}
}

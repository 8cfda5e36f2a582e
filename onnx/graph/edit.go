package graph

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Clone returns a copy that shares nothing with m.
func (m *Model) Clone() *Model {
	c := *m
	c.proto = proto.Clone(m.proto).(*onnxpb.ModelProto)
	return &c
}

// Copy returns a copy whose nodes, inputs, outputs and metadata can be edited while m stays as it is. Weights and
// attributes are shared; the declarations of tensors inside the graph, and documentation, are left out.
func (m *Model) Copy() *Model {
	old := m.proto.Graph
	g := &Graph{
		Name: old.Name, Input: slices.Clone(old.Input), Output: slices.Clone(old.Output),
		Initializer: slices.Clone(old.Initializer), SparseInitializer: slices.Clone(old.SparseInitializer),
	}
	for _, n := range old.Node {
		g.Node = append(g.Node, copyNode(n))
	}
	return m.With(g)
}

// With returns a model of another graph that is like m otherwise: in its operator sets, functions and metadata, and in
// where its external data is.
func (m *Model) With(g *Graph) *Model {
	old := m.proto
	p := &onnxpb.ModelProto{
		IrVersion:       proto.Int64(max(old.GetIrVersion(), 4)), // 4: weights need not be inputs
		OpsetImport:     old.OpsetImport,
		ProducerName:    old.ProducerName,
		ProducerVersion: old.ProducerVersion,
		Domain:          old.Domain,
		ModelVersion:    old.ModelVersion,
		DocString:       old.DocString,
		Functions:       old.Functions,
		Graph:           g,
	}
	for _, prop := range old.MetadataProps {
		p.MetadataProps = append(p.MetadataProps, proto.Clone(prop).(*onnxpb.StringStringEntryProto))
	}
	return &Model{proto: p, dir: m.dir}
}

// Cut returns the part of the model that leads from some tensors, which become its inputs, to others, its outputs.
// Nodes that the outputs do not need, or not any more, are left out. Weights are shared with m. The error, which wraps
// [ErrModel], names what the outputs need beside the inputs.
func (m *Model) Cut(inputs, outputs []Value) (*Model, error) {
	c := m.Copy()
	given := map[string]bool{}
	for _, v := range inputs {
		given[v.Name] = true
	}
	for _, n := range c.proto.Graph.Node {
		for i, o := range n.Output {
			if given[o] {
				n.Output[i] = "" // an output that is left out
			}
		}
	}
	c.SetInputs(inputs...)
	c.SetOutputs(outputs...)
	c.Prune()
	if n, name := c.Unsorted(); n != nil {
		return nil, fmt.Errorf("%w: cut: node %s %q needs %q too; make it an input", ErrModel, n.GetOpType(), n.GetName(), name)
	}
	x := c.Index()
	for _, v := range outputs {
		if x.producers[v.Name] == nil && x.weights[v.Name] == nil && !given[v.Name] {
			return nil, fmt.Errorf("%w: cut: it has no tensor %q", ErrModel, v.Name)
		}
	}
	return c, nil
}

// Prune drops every node, weight and function that the outputs do not need. Nodes must be in topological order.
func (m *Model) Prune() {
	g := m.proto.Graph
	var names []string
	for _, o := range g.Output {
		names = append(names, o.GetName())
	}
	nodes, needed := m.Needed(names...)
	g.Node = nodes
	g.Initializer = keep(g.Initializer, func(t *Tensor) bool { return needed[t.GetName()] })
	g.SparseInitializer = keep(g.SparseInitializer, func(t *onnxpb.SparseTensorProto) bool {
		return needed[t.GetValues().GetName()]
	})
	m.pruneFunctions()
}

// Needed returns the nodes that some tensors are computed by, in the order of the graph, which must be topological, and
// all the tensors that this takes: weights, inputs and the tensors themselves included.
func (m *Model) Needed(tensors ...string) ([]*Node, map[string]bool) {
	needed := map[string]bool{}
	for _, name := range tensors {
		needed[name] = true
	}
	var nodes []*Node
	for _, n := range slices.Backward(m.proto.Graph.Node) { // consumers stand after producers
		if !slices.ContainsFunc(n.Output, func(o string) bool { return needed[o] }) {
			continue
		}
		nodes = append(nodes, n)
		for _, name := range Uses(n) {
			if name != "" {
				needed[name] = true
			}
		}
	}
	slices.Reverse(nodes)
	return nodes, needed
}

func (m *Model) pruneFunctions() {
	type id struct{ domain, name string }
	used := map[id]bool{}
	var visit func(nodes []*Node)
	visit = func(nodes []*Node) {
		for _, n := range nodes {
			key := id{n.GetDomain(), n.GetOpType()}
			if !used[key] {
				used[key] = true
				for _, fn := range m.proto.Functions {
					if (id{fn.GetDomain(), fn.GetName()}) == key {
						visit(fn.Node)
					}
				}
			}
			for _, a := range n.Attribute {
				for _, sub := range Subgraphs(a) {
					visit(sub.Node)
				}
			}
		}
	}
	visit(m.proto.Graph.Node)
	m.proto.Functions = keep(m.proto.Functions, func(fn *onnxpb.FunctionProto) bool {
		return used[id{fn.GetDomain(), fn.GetName()}]
	})
}

// keep filters into a new slice; the old one may be another model's.
func keep[T any](list []T, ok func(T) bool) []T {
	var out []T
	for _, v := range list {
		if ok(v) {
			out = append(out, v)
		}
	}
	return out
}

// Rename gives tensors other names, from old to new, wherever they are mentioned, in subgraphs too.
func (m *Model) Rename(to map[string]string) { renameAll(m.proto.Graph, to) }

func renameAll(g *Graph, to map[string]string) {
	swap := func(list []string) {
		for i, name := range list {
			if new, ok := to[name]; ok {
				list[i] = new
			}
		}
	}
	for _, n := range g.Node {
		swap(n.Input)
		swap(n.Output)
		for _, a := range n.Attribute {
			for _, sub := range Subgraphs(a) {
				renameAll(sub, to)
			}
		}
	}
	for _, list := range []*[]*onnxpb.ValueInfoProto{&g.Input, &g.Output, &g.ValueInfo} {
		*list = renamed(*list, to, func(v *onnxpb.ValueInfoProto, name string) *onnxpb.ValueInfoProto {
			return &onnxpb.ValueInfoProto{Name: &name, Type: v.Type, DocString: v.DocString, MetadataProps: v.MetadataProps}
		})
	}
	g.Initializer = renamed(g.Initializer, to, func(t *Tensor, name string) *Tensor {
		return &Tensor{
			Name: &name, Dims: t.Dims, DataType: t.DataType, Segment: t.Segment, RawData: t.RawData,
			FloatData: t.FloatData, Int32Data: t.Int32Data, Int64Data: t.Int64Data, DoubleData: t.DoubleData,
			Uint64Data: t.Uint64Data, StringData: t.StringData, ExternalData: t.ExternalData,
			DataLocation: t.DataLocation, MetadataProps: t.MetadataProps,
		}
	})
}

// renamed returns the list with renamed copies, which share the data, in place of what is in to: the old ones may be
// another model's.
func renamed[T interface{ GetName() string }](list []T, to map[string]string, copied func(T, string) T) []T {
	list = slices.Clone(list)
	for i, v := range list {
		if name, ok := to[v.GetName()]; ok {
			list[i] = copied(v, name)
		}
	}
	return list
}

// copyNode copies a node so that its inputs and outputs can be renamed. Attributes are shared, except for subgraphs.
// Documentation, often a stack trace of the exporter, is left out.
func copyNode(n *Node) *Node {
	c := &Node{
		Name: n.Name, OpType: n.OpType, Domain: n.Domain, Overload: n.Overload,
		Input: slices.Clone(n.Input), Output: slices.Clone(n.Output), Attribute: n.Attribute,
		MetadataProps: n.MetadataProps, DeviceConfigurations: n.DeviceConfigurations,
	}
	if slices.ContainsFunc(n.Attribute, func(a *Attribute) bool { return len(Subgraphs(a)) > 0 }) {
		c.Attribute = proto.Clone(n).(*Node).Attribute
	}
	return c
}

package graph

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Clone returns a copy that shares nothing with m.
func (m *Model) Clone() *Model {
	c := *m
	c.proto = proto.CloneOf(m.proto)
	return &c
}

// Copy returns a copy whose nodes, inputs, outputs and metadata can be edited while m stays as it is. Weights and
// attributes are shared; the declarations of tensors inside the graph, and documentation, are left out.
func (m *Model) Copy() *Model {
	old := m.proto.Graph
	g := &Graph{
		Name: old.Name, Input: slices.Clone(old.Input), Output: slices.Clone(old.Output),
		Initializer: slices.Clone(old.Initializer), SparseInitializer: slices.Clone(old.SparseInitializer),
		Node: each(old.Node, copyNode),
	}
	return m.With(g)
}

// With returns a model of another graph with m's operator sets, functions, metadata and place of external data.
func (m *Model) With(g *Graph) *Model {
	old := m.proto
	p := &onnxpb.ModelProto{
		IrVersion:   proto.Int64(max(old.GetIrVersion(), 4)), // 4: weights need not be inputs
		OpsetImport: old.OpsetImport, Functions: old.Functions, Graph: g, DocString: old.DocString, Domain: old.Domain,
		ProducerName: old.ProducerName, ProducerVersion: old.ProducerVersion, ModelVersion: old.ModelVersion,
		MetadataProps: each(old.MetadataProps, proto.CloneOf),
	}
	return &Model{proto: p, dir: m.dir}
}

// Cut returns the part of the model that leads from some tensors, which become its inputs, to others, its outputs.
// Nodes that the outputs do not need, or not any more, are left out. Weights are shared with m. The error, which wraps
// [ErrModel], names what the outputs need beside the inputs.
func (m *Model) Cut(inputs, outputs []Value) (*Model, error) {
	c := m.Copy()
	given := set(Names(inputs))
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
		return nil, fmt.Errorf("%w: cut: %s %q needs %q too; make it an input", ErrModel, n.GetOpType(), n.GetName(),
			name)
	}
	x := c.Index()
	for _, v := range outputs {
		if x.Producer[v.Name] == nil && x.Weight[v.Name] == nil && !given[v.Name] {
			return nil, fmt.Errorf("%w: cut: it has no tensor %q", ErrModel, v.Name)
		}
	}
	return c, nil
}

// Prune drops every node, weight and function that the outputs do not need. Nodes must be in topological order.
func (m *Model) Prune() {
	g := m.proto.Graph
	nodes, needed := m.Needed(declared(g.Output)...)
	g.Node = nodes
	g.Initializer = slices.DeleteFunc(slices.Clone(g.Initializer), func(t *Tensor) bool { return !needed[t.GetName()] })
	g.SparseInitializer = slices.DeleteFunc(slices.Clone(g.SparseInitializer), func(t *onnxpb.SparseTensorProto) bool {
		return !needed[t.GetValues().GetName()]
	})
	used := map[*onnxpb.FunctionProto]bool{}
	var use func(n *Node)
	use = func(n *Node) {
		if fn := m.Function(n); fn != nil && !used[fn] {
			used[fn] = true
			eachNode(fn.Node, use)
		}
	}
	eachNode(nodes, use)
	m.proto.Functions = slices.DeleteFunc(slices.Clone(m.proto.Functions), func(fn *onnxpb.FunctionProto) bool {
		return !used[fn]
	})
}

// Function returns the function of the model that a node calls, nil where it is an operator.
func (m *Model) Function(n *Node) *onnxpb.FunctionProto {
	for _, fn := range m.proto.Functions {
		if fn.GetDomain() == n.GetDomain() && fn.GetName() == n.GetOpType() {
			return fn
		}
	}
	return nil
}

// Needed returns the nodes that some tensors are computed by, in the order of the graph, which must be topological, and
// all the tensors that this takes: weights, inputs and the tensors themselves included.
func (m *Model) Needed(tensors ...string) ([]*Node, map[string]bool) {
	needed := set(tensors)
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

// Rename gives tensors other names, from old to new, wherever they are mentioned, in subgraphs too.
func (m *Model) Rename(to map[string]string) {
	eachGraph(m.proto.Graph, func(g *Graph) {
		for _, n := range g.Node {
			for _, list := range [][]string{n.Input, n.Output} {
				for i, name := range list {
					list[i] = cmp.Or(to[name], name)
				}
			}
		}
		for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.Output, g.ValueInfo} {
			for i, v := range list {
				if now := to[v.GetName()]; now != "" {
					list[i] = proto.CloneOf(v) // another model may have it too
					list[i].Name = &now
				}
			}
		}
		for i, t := range g.Initializer {
			if now := to[t.GetName()]; now != "" {
				g.Initializer[i] = proto.CloneOf(t)
				g.Initializer[i].Name = &now
			}
		}
	})
}

// copyNode copies a node so that its inputs and outputs can be renamed. Attributes are shared, except for subgraphs.
// Documentation, often a stack trace of the exporter, is left out.
func copyNode(n *Node) *Node {
	c := &Node{
		Name: n.Name, OpType: n.OpType, Domain: n.Domain, Overload: n.Overload,
		Input: slices.Clone(n.Input), Output: slices.Clone(n.Output), Attribute: n.Attribute,
		MetadataProps: n.MetadataProps, DeviceConfigurations: n.DeviceConfigurations,
	}
	if len(subgraphs(n)) > 0 {
		c.Attribute = proto.CloneOf(n).Attribute
	}
	return c
}

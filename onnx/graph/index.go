package graph

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Index finds what gives a tensor and what reads it, in the main graph as it was when the index was made.
type Index struct {
	producers map[string]*Node
	consumers map[string][]*Node
	weights   map[string]*Tensor
}

// Index makes an index of the main graph.
func (m *Model) Index() *Index {
	x := &Index{producers: map[string]*Node{}, consumers: map[string][]*Node{}, weights: map[string]*Tensor{}}
	g := m.proto.Graph
	for _, t := range g.Initializer {
		x.weights[t.GetName()] = t
	}
	for _, t := range g.SparseInitializer {
		x.weights[t.GetValues().GetName()] = t.GetValues()
	}
	for _, n := range g.Node {
		for _, o := range n.Output {
			if o != "" {
				x.producers[o] = n
			}
		}
		for _, name := range Uses(n) {
			if list := x.consumers[name]; len(list) == 0 || list[len(list)-1] != n {
				x.consumers[name] = append(list, n)
			}
		}
	}
	return x
}

// Producer returns the node that gives a tensor, nil for inputs, weights and names of nothing.
func (x *Index) Producer(tensor string) *Node { return x.producers[tensor] }

// Consumers returns the nodes that read a tensor, also those that do inside a subgraph, in the order of the graph.
func (x *Index) Consumers(tensor string) []*Node { return x.consumers[tensor] }

// Weight returns the initialiser of that name, of a sparse one its values, nil if there is none.
func (x *Index) Weight(tensor string) *Tensor { return x.weights[tensor] }

// Unsorted returns the first node that reads a tensor which nothing before it gives, and that tensor; nil if the nodes
// are in topological order, as ONNX demands.
func (m *Model) Unsorted() (n *Node, tensor string) {
	weights := m.Index().weights
	known := map[string]bool{"": true}
	for _, v := range m.proto.Graph.Input {
		known[v.GetName()] = true
	}
	for _, n := range m.proto.Graph.Node {
		for _, name := range Uses(n) {
			if !known[name] && weights[name] == nil {
				return n, name
			}
		}
		for _, o := range n.Output {
			known[o] = true
		}
	}
	return nil, ""
}

// Sort puts the nodes in topological order, each as far to the front as those before it allow; what is in order stays
// as it is. The error, which wraps [ErrModel], names a node in a cycle, or one that reads what nothing gives.
func (m *Model) Sort() error {
	x := m.Index()
	var sorted []*Node
	seen := map[*Node]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, name := range Uses(n) {
			visit(x.producers[name])
		}
		sorted = append(sorted, n)
	}
	for _, n := range m.proto.Graph.Node {
		visit(n)
	}
	m.proto.Graph.Node = sorted
	if n, name := m.Unsorted(); n != nil {
		return fmt.Errorf("%w: node %s %q reads %q, which nothing gives, or it itself", ErrModel, n.GetOpType(), n.GetName(), name)
	}
	return nil
}

// Uses returns the tensors that a node reads, those that its subgraphs take from outside included. An optional input
// that is left out is "".
func Uses(n *Node) []string {
	list := slices.Clone(n.Input)
	for _, a := range n.Attribute {
		for _, g := range Subgraphs(a) {
			inner := map[string]bool{}
			for _, v := range g.Input {
				inner[v.GetName()] = true
			}
			for _, t := range g.Initializer {
				inner[t.GetName()] = true
			}
			for _, sub := range g.Node {
				for _, o := range sub.Output {
					inner[o] = true
				}
			}
			outer := func(name string) {
				if !inner[name] {
					list = append(list, name)
				}
			}
			for _, sub := range g.Node {
				for _, name := range Uses(sub) {
					outer(name)
				}
			}
			for _, v := range g.Output {
				outer(v.GetName())
			}
		}
	}
	return list
}

// Subgraphs returns the graphs that an attribute holds.
func Subgraphs(a *Attribute) []*Graph {
	if a.G == nil {
		return a.Graphs
	}
	return append([]*Graph{a.G}, a.Graphs...)
}

// EachTensor calls f with every constant of a graph: initialisers, and tensors in attributes, in subgraphs too.
func EachTensor(g *Graph, f func(*Tensor)) {
	for _, t := range g.GetInitializer() {
		f(t)
	}
	for _, n := range g.GetNode() {
		for _, a := range n.Attribute {
			if a.T != nil {
				f(a.T)
			}
			for _, t := range a.Tensors {
				f(t)
			}
			for _, sub := range Subgraphs(a) {
				EachTensor(sub, f)
			}
		}
	}
}

// Input returns the i-th input of a node, "" if it has none.
func Input(n *Node, i int) string {
	if i < len(n.Input) {
		return n.Input[i]
	}
	return ""
}

// Attr returns an attribute of a node, nil if it has none of that name.
func Attr(n *Node, name string) *Attribute {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// AttrInt returns the value of an attribute that is an integer, def if the node has none of that name.
func AttrInt(n *Node, name string, def int64) int64 {
	if a := Attr(n, name); a != nil && a.I != nil {
		return a.GetI()
	}
	return def
}

// IntAttr, IntsAttr, FloatAttr, StringAttr and TensorAttr make attributes.
func IntAttr(name string, v int64) *Attribute {
	return &Attribute{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

// IntsAttr makes an attribute of integers.
func IntsAttr(name string, v ...int64) *Attribute {
	return &Attribute{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

// FloatAttr makes an attribute of a number.
func FloatAttr(name string, v float32) *Attribute {
	return &Attribute{Name: &name, Type: onnxpb.AttributeProto_FLOAT.Enum(), F: &v}
}

// StringAttr makes an attribute of text.
func StringAttr(name, v string) *Attribute {
	return &Attribute{Name: &name, Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

// TensorAttr makes an attribute of a tensor, such as the value of a Constant.
func TensorAttr(name string, v *Tensor) *Attribute {
	return &Attribute{Name: &name, Type: onnxpb.AttributeProto_TENSOR.Enum(), T: v}
}

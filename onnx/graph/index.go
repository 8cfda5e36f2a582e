package graph

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Index finds what gives a tensor and what reads it, in the main graph as it was when the index was made.
type Index struct {
	Producer  map[string]*Node   // the node that gives it; none for inputs and weights
	Consumers map[string][]*Node // those that read it, also inside a subgraph, in the order of the graph
	Weight    map[string]*Tensor // the initialiser of that name, of a sparse one its values
}

// Index makes an index of the main graph.
func (m *Model) Index() *Index {
	x := &Index{Producer: map[string]*Node{}, Consumers: map[string][]*Node{}, Weight: map[string]*Tensor{}}
	g := m.proto.GetGraph()
	for _, t := range g.GetInitializer() {
		x.Weight[t.GetName()] = t
	}
	for _, t := range g.GetSparseInitializer() {
		x.Weight[t.GetValues().GetName()] = t.GetValues()
	}
	for _, n := range g.GetNode() {
		for _, o := range n.Output {
			x.Producer[o] = n
		}
		for _, name := range Uses(n) {
			if list := x.Consumers[name]; len(list) == 0 || list[len(list)-1] != n {
				x.Consumers[name] = append(list, n)
			}
		}
	}
	delete(x.Producer, "") // an output that is left out
	return x
}

// Unsorted returns the first node that reads a tensor which nothing before it gives, and that tensor; nil if sorted.
func (m *Model) Unsorted() (n *Node, tensor string) {
	weights := m.Index().Weight
	known := set(declared(m.proto.Graph.Input))
	known[""] = true
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

// Sort puts the nodes in topological order: each behind those that give what it reads, and otherwise as they were. The
// error, which wraps [ErrModel], names a node in a cycle, or one that reads what nothing gives.
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
			visit(x.Producer[name])
		}
		sorted = append(sorted, n)
	}
	for _, n := range m.proto.Graph.Node {
		visit(n)
	}
	m.proto.Graph.Node = sorted
	if n, name := m.Unsorted(); n != nil {
		return fmt.Errorf("%w: %s %q reads %q, which nothing gives, or it itself", ErrModel, n.GetOpType(), n.GetName(),
			name)
	}
	return nil
}

// Uses returns the tensors that a node and its subgraphs read from outside; an optional input that is left out is "".
func Uses(n *Node) []string {
	list := slices.Clone(n.Input)
	for _, g := range subgraphs(n) {
		inner := set(declared(g.Input))
		for _, t := range g.Initializer {
			inner[t.GetName()] = true
		}
		var names []string
		for _, sub := range g.Node {
			names = append(names, Uses(sub)...)
			for _, o := range sub.Output {
				inner[o] = true
			}
		}
		names = append(names, declared(g.Output)...)
		list = append(list, slices.DeleteFunc(names, func(name string) bool { return inner[name] })...)
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

// subgraphs returns the graphs that a node holds.
func subgraphs(n *Node) (list []*Graph) {
	for _, a := range n.Attribute {
		list = append(list, Subgraphs(a)...)
	}
	return list
}

// EachTensor calls f with every constant of a graph: initialisers, and tensors in attributes, in subgraphs too.
func EachTensor(g *Graph, f func(*Tensor)) {
	eachGraph(g, func(g *Graph) {
		list := slices.Clone(g.Initializer)
		for _, n := range g.Node {
			for _, a := range n.Attribute {
				if a.T != nil {
					list = append(list, a.T)
				}
				list = append(list, a.Tensors...)
			}
		}
		for _, t := range list {
			f(t)
		}
	})
}

// eachNode calls f with every node of a list, and of their subgraphs.
func eachNode(nodes []*Node, f func(*Node)) {
	eachGraph(&Graph{Node: nodes}, func(g *Graph) {
		for _, n := range g.Node {
			f(n)
		}
	})
}

// eachGraph calls f with a graph and those inside it.
func eachGraph(g *Graph, f func(*Graph)) {
	f(g)
	for _, n := range g.Node {
		for _, sub := range subgraphs(n) {
			eachGraph(sub, f)
		}
	}
}

func set(names []string) map[string]bool {
	has := map[string]bool{}
	for _, name := range names {
		has[name] = true
	}
	return has
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

// IntAttr makes an attribute of an integer.
func IntAttr(name string, v int64) *Attribute {
	return &Attribute{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

// FlagAttr makes an attribute that is 1 or 0.
func FlagAttr(name string, on bool) *Attribute {
	return IntAttr(name, map[bool]int64{true: 1}[on])
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

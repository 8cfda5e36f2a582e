package graph

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// prune drops every node, weight and function that the outputs do not need.
func (m *Model) prune() {
	g := m.proto.Graph
	needed := map[string]bool{}
	for _, o := range g.Output {
		needed[o.GetName()] = true
	}
	var nodes []*onnxpb.NodeProto
	for _, n := range slices.Backward(g.Node) { // consumers stand after producers
		if !slices.ContainsFunc(n.Output, func(o string) bool { return needed[o] }) {
			continue
		}
		nodes = append(nodes, n)
		for _, name := range uses(n) {
			if name != "" {
				needed[name] = true
			}
		}
	}
	slices.Reverse(nodes)
	g.Node = nodes
	g.Initializer = keep(g.Initializer, func(t *onnxpb.TensorProto) bool { return needed[t.GetName()] })
	g.SparseInitializer = keep(g.SparseInitializer, func(t *onnxpb.SparseTensorProto) bool { return needed[t.GetValues().GetName()] })
	m.pruneFunctions()
}

func (m *Model) pruneFunctions() {
	type id struct{ domain, name string }
	used := map[id]bool{}
	var visit func(nodes []*onnxpb.NodeProto)
	visit = func(nodes []*onnxpb.NodeProto) {
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
				for _, sub := range subgraphs(a) {
					visit(sub.Node)
				}
			}
		}
	}
	visit(m.proto.Graph.Node)
	m.proto.Functions = keep(m.proto.Functions, func(fn *onnxpb.FunctionProto) bool { return used[id{fn.GetDomain(), fn.GetName()}] })
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

// copyNode copies a node so that its inputs and outputs can be renamed. Attributes are shared, except for subgraphs.
// Documentation, often a stack trace of the exporter, is left out.
func copyNode(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	c := &onnxpb.NodeProto{
		Name: n.Name, OpType: n.OpType, Domain: n.Domain, Overload: n.Overload,
		Input: slices.Clone(n.Input), Output: slices.Clone(n.Output), Attribute: n.Attribute,
		MetadataProps: n.MetadataProps, DeviceConfigurations: n.DeviceConfigurations,
	}
	if slices.ContainsFunc(n.Attribute, func(a *onnxpb.AttributeProto) bool { return len(subgraphs(a)) > 0 }) {
		c.Attribute = proto.Clone(n).(*onnxpb.NodeProto).Attribute
	}
	return c
}

// renameIn renames tensors wherever a node or its subgraphs mention them.
func renameIn(n *onnxpb.NodeProto, to map[string]string) {
	swap := func(list []string) {
		for i, name := range list {
			if new, ok := to[name]; ok {
				list[i] = new
			}
		}
	}
	swap(n.Input)
	swap(n.Output)
	for _, a := range n.Attribute {
		for _, g := range subgraphs(a) {
			for _, sub := range g.Node {
				renameIn(sub, to)
			}
			for _, infos := range [][]*onnxpb.ValueInfoProto{g.Input, g.Output, g.ValueInfo} {
				for _, v := range infos {
					if new, ok := to[v.GetName()]; ok {
						v.Name = &new
					}
				}
			}
			g.Initializer = renameTensors(g.Initializer, to)
		}
	}
}

// renameTensors returns the list with renamed copies, which share the data, in place of the tensors in to.
func renameTensors(list []*onnxpb.TensorProto, to map[string]string) []*onnxpb.TensorProto {
	list = slices.Clone(list)
	for i, t := range list {
		new, ok := to[t.GetName()]
		if !ok {
			continue
		}
		list[i] = &onnxpb.TensorProto{
			Name: &new, Dims: t.Dims, DataType: t.DataType, Segment: t.Segment, RawData: t.RawData, FloatData: t.FloatData, Int32Data: t.Int32Data,
			Int64Data: t.Int64Data, DoubleData: t.DoubleData, Uint64Data: t.Uint64Data, StringData: t.StringData,
			ExternalData: t.ExternalData, DataLocation: t.DataLocation, MetadataProps: t.MetadataProps,
		}
	}
	return list
}

func cloneProps(props []*onnxpb.StringStringEntryProto) []*onnxpb.StringStringEntryProto {
	out := make([]*onnxpb.StringStringEntryProto, len(props))
	for i, p := range props {
		out[i] = proto.Clone(p).(*onnxpb.StringStringEntryProto)
	}
	return out
}

// floatInfo declares a float32 input or output. An unknown first dimension is named batch.
func floatInfo(name string, dims ...int64) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}}
		if d < 0 {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), Shape: shape},
	}}}
}

func integer(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func ints(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func float(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_FLOAT.Enum(), F: &v}
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

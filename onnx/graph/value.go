package graph

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Unknown stands for a dimension that is not fixed.
const Unknown = -1

// Value describes an input or output of a model.
type Value struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`  // "float32", "float16", "int64", …
	Shape []int64 `json:"shape"` // [Unknown] where it is not fixed; nil when not even the rank is known
}

// Elements returns how many elements a tensor of some shape has, [Unknown] where a dimension is.
func Elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return Unknown
		}
		n *= d
	}
	return n
}

// Names returns the names of the values.
func Names(values []Value) []string { return each(values, func(v Value) string { return v.Name }) }

func declared(list []*onnxpb.ValueInfoProto) []string {
	return each(list, (*onnxpb.ValueInfoProto).GetName)
}

func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i, x := range list {
		out[i] = f(x)
	}
	return out
}

// ValueOf reads the declaration of a tensor.
func ValueOf(info *onnxpb.ValueInfoProto) Value {
	tt := info.GetType().GetTensorType()
	v := Value{Name: info.GetName(), Type: typeName(tt.GetElemType())}
	if tt.GetShape() == nil {
		return v
	}
	v.Shape = each(tt.Shape.Dim, (*onnxpb.TensorShapeProto_Dimension).GetDimValue)
	for i, d := range v.Shape {
		if d <= 0 { // symbolic, or left out
			v.Shape[i] = Unknown
		}
	}
	return v
}

// Declare makes the declaration of a tensor. Dimensions below 0 are named by the symbols, axis for axis; without any,
// the first is called batch and the others have no name.
func Declare(v Value, symbols ...string) *onnxpb.ValueInfoProto {
	if symbols == nil {
		symbols = []string{"batch"}
	}
	tensor := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(elemType(v.Type))}
	if v.Shape != nil {
		tensor.Shape = &onnxpb.TensorShapeProto{}
	}
	for i, d := range v.Shape {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		if d >= 0 {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}
		} else if i < len(symbols) {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: symbols[i]}
		}
		tensor.Shape.Dim = append(tensor.Shape.Dim, dim)
	}
	typ := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tensor}}
	return &onnxpb.ValueInfoProto{Name: &v.Name, Type: typ}
}

// Inputs returns the inputs that are no weights: up to version 3 of the format every weight is declared as an input.
func (m *Model) Inputs() []Value {
	weights := m.Index().Weight
	all := each(m.proto.GetGraph().GetInput(), ValueOf)
	return slices.DeleteFunc(all, func(v Value) bool { return weights[v.Name] != nil })
}

// Outputs returns the outputs.
func (m *Model) Outputs() []Value { return each(m.proto.GetGraph().GetOutput(), ValueOf) }

// SetInputs declares the inputs anew, as [Declare] does. The nodes stay as they are.
func (m *Model) SetInputs(values ...Value) { m.proto.Graph.Input = declareAll(values) }

// SetOutputs declares the outputs anew, as [Declare] does. See [Model.Prune] for what they no longer need.
func (m *Model) SetOutputs(values ...Value) { m.proto.Graph.Output = declareAll(values) }

func declareAll(values []Value) []*onnxpb.ValueInfoProto {
	return each(values, func(v Value) *onnxpb.ValueInfoProto { return Declare(v) })
}

// TypeOf returns the name of a weight's element type, as [Value] has it.
func TypeOf(t *Tensor) string { return typeName(t.GetDataType()) }

// HasFloats reports whether a weight is float32 and its values are in the model.
func HasFloats(t *Tensor) bool {
	return TypeOf(t) == "float32" && int64(len(t.GetFloatData())+len(t.GetRawData())/4) == Elements(t.GetDims())
}

// Floats returns a copy of the values of a float32 weight; false as HasFloats does.
func Floats(t *Tensor) ([]float32, bool) {
	if !HasFloats(t) {
		return nil, false
	}
	v := append(make([]float32, 0, Elements(t.Dims)), t.FloatData...)
	for raw := t.RawData; len(raw) >= 4; raw = raw[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
	return v, true
}

// FloatTensor is a float32 weight, without a name yet.
func FloatTensor(dims []int64, v []float32) *Tensor {
	t := &Tensor{Dims: dims, DataType: proto.Int32(elemType("float32")), RawData: make([]byte, 0, 4*len(v))}
	for _, x := range v {
		t.RawData = binary.LittleEndian.AppendUint32(t.RawData, math.Float32bits(x))
	}
	return t
}

// Ints returns a copy of the values of a weight of int64 or int32; false as Floats does.
func Ints(t *Tensor) (v []int64, ok bool) {
	switch TypeOf(t) {
	case "int64":
		v = slices.Clone(t.Int64Data)
		for raw := t.RawData; len(raw) >= 8; raw = raw[8:] {
			v = append(v, int64(binary.LittleEndian.Uint64(raw)))
		}
	case "int32":
		for _, x := range t.Int32Data {
			v = append(v, int64(x))
		}
		for raw := t.RawData; len(raw) >= 4; raw = raw[4:] {
			v = append(v, int64(int32(binary.LittleEndian.Uint32(raw))))
		}
	default:
		return nil, false
	}
	return v, int64(len(v)) == Elements(t.Dims)
}

// IsFloat reports whether an element type, as [Value] names it, is one of floating-point numbers.
func IsFloat(elem string) bool {
	return slices.Contains([]string{"float32", "float16", "float64", "bfloat16"}, elem)
}

// CastAttr is the attribute of a Cast to an element type, as [Value] names it.
func CastAttr(elem string) *Attribute { return IntAttr("to", int64(elemType(elem))) }

// CastTo returns the element type that a Cast converts to.
func CastTo(n *Node) string { return typeName(int32(AttrInt(n, "to", 0))) }

// numpy has the element types that numpy names otherwise than ONNX.
var numpy = map[string]string{"float": "float32", "double": "float64", "float32": "float", "float64": "double"}

// typeName returns the name of an element type as numpy spells it.
func typeName(elem int32) string {
	name := strings.ToLower(onnxpb.TensorProto_DataType(elem).String())
	return cmp.Or(numpy[name], name)
}

// elemType is the inverse of typeName; 0 stands for a name that is none.
func elemType(name string) int32 {
	return onnxpb.TensorProto_DataType_value[strings.ToUpper(cmp.Or(numpy[name], name))]
}

// Signature is what must be known of a serialised model to run it.
type Signature struct {
	Inputs, Outputs []Value
	Ops             map[string]bool // the operators it uses, in subgraphs and functions too
	Float16         bool            // whether it computes with float16 weights, rather than cast them to float32 first
	Metadata        map[string]string
}

// ReadSignature reads a serialised model's signature, without decoding its weights. The error wraps [ErrModel].
func ReadSignature(model []byte) (Signature, error) {
	m := &Model{proto: new(onnxpb.ModelProto)}
	text, err := without(weightData, model)
	if err == nil {
		err = parse(text, m.proto)
	}
	if err != nil {
		return Signature{}, fmt.Errorf("%w: not an ONNX file, or damaged: %v", ErrModel, err)
	}
	s := Signature{Inputs: m.Inputs(), Outputs: m.Outputs(), Ops: map[string]bool{}, Metadata: map[string]string{}}
	for _, p := range m.proto.MetadataProps {
		s.Metadata[p.GetKey()] = p.GetValue()
	}
	weights := m.Index().Weight
	note := func(n *Node) {
		s.Ops[n.GetOpType()] = true
		for _, name := range n.Input {
			s.Float16 = s.Float16 || n.GetOpType() != "Cast" && TypeOf(weights[name]) == "float16"
		}
	}
	eachNode(m.proto.GetGraph().GetNode(), note)
	for _, f := range m.proto.Functions {
		eachNode(f.Node, note)
	}
	return s, nil
}

// fields says what to leave out of a message: a field with nil, or of the message in that field what is said there.
type fields map[protowire.Number]fields

// weightData are the elements of weights and attributes, the greater part of a file, by their numbers in onnx.proto.
var weightData = fields{
	7: { // ModelProto.graph
		5: tensorData,             // initializer
		1: {5: {5: nil, 10: nil}}, // node, attribute: t and tensors
	},
}

// tensorData are the values of a TensorProto, of every type.
var tensorData = fields{4: nil, 5: nil, 6: nil, 7: nil, 9: nil, 10: nil, 11: nil}

// without copies a serialised message but for some fields.
func without(left fields, msg []byte) ([]byte, error) {
	var out []byte
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeField(msg)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		field := msg[:n]
		msg = msg[n:]
		inner, ok := left[num]
		switch {
		case !ok:
			out = append(out, field...)
		case inner != nil && typ == protowire.BytesType:
			_, _, tag := protowire.ConsumeTag(field)
			content, _ := protowire.ConsumeBytes(field[tag:])
			kept, err := without(inner, content)
			if err != nil {
				return nil, err
			}
			out = protowire.AppendBytes(append(out, field[:tag]...), kept)
		}
	}
	return out, nil
}

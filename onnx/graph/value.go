package graph

import (
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
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

// ValueOf reads the declaration of a tensor.
func ValueOf(info *onnxpb.ValueInfoProto) Value {
	tt := info.GetType().GetTensorType()
	v := Value{Name: info.GetName(), Type: typeName(tt.GetElemType())}
	if tt.GetShape() == nil {
		return v
	}
	v.Shape = make([]int64, len(tt.Shape.Dim))
	for i, d := range tt.Shape.Dim {
		if v.Shape[i] = d.GetDimValue(); v.Shape[i] <= 0 { // symbolic, or left out
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
	tensor := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elemType(v.Type)))}
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
	return &onnxpb.ValueInfoProto{Name: &v.Name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tensor}}}
}

// Inputs returns the inputs that are no weights: up to version 3 of the format every weight is declared as an input.
func (m *Model) Inputs() []Value {
	weights := m.Index().weights
	list := []Value{}
	for _, info := range m.proto.Graph.Input {
		if weights[info.GetName()] == nil {
			list = append(list, ValueOf(info))
		}
	}
	return list
}

// Outputs returns the outputs.
func (m *Model) Outputs() []Value {
	list := []Value{}
	for _, info := range m.proto.Graph.Output {
		list = append(list, ValueOf(info))
	}
	return list
}

// SetInputs declares the inputs anew, as [Declare] does. The nodes stay as they are.
func (m *Model) SetInputs(values ...Value) { m.proto.Graph.Input = declareAll(values) }

// SetOutputs declares the outputs anew, as [Declare] does. See [Model.Prune] for what they no longer need.
func (m *Model) SetOutputs(values ...Value) { m.proto.Graph.Output = declareAll(values) }

func declareAll(values []Value) []*onnxpb.ValueInfoProto {
	list := make([]*onnxpb.ValueInfoProto, len(values))
	for i, v := range values {
		list[i] = Declare(v)
	}
	return list
}

// TypeOf returns the name of a weight's element type, as [Value] has it.
func TypeOf(t *Tensor) string { return typeName(t.GetDataType()) }

// typeName returns the name of an element type as numpy spells it.
func typeName(elem int32) string {
	switch t := onnxpb.TensorProto_DataType(elem); t {
	case onnxpb.TensorProto_FLOAT:
		return "float32"
	case onnxpb.TensorProto_DOUBLE:
		return "float64"
	default:
		return strings.ToLower(t.String())
	}
}

// elemType is the inverse of typeName; 0 stands for a name that is none.
func elemType(name string) onnxpb.TensorProto_DataType {
	switch name {
	case "float32":
		return onnxpb.TensorProto_FLOAT
	case "float64":
		return onnxpb.TensorProto_DOUBLE
	}
	return onnxpb.TensorProto_DataType(onnxpb.TensorProto_DataType_value[strings.ToUpper(name)])
}

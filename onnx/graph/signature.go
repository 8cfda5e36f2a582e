package graph

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Value describes an input or output of a model.
type Value struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`  // "float32", "float16", "int64", …
	Shape []int64 `json:"shape"` // -1 where it is not fixed; nil when not even the rank is known
}

// Signature reads the inputs and outputs of a serialised model without decoding or copying its weights.
func Signature(model []byte) (inputs, outputs []Value, err error) {
	const (
		modelGraph       protowire.Number = 7
		graphInitializer protowire.Number = 5
		graphInput       protowire.Number = 11
		graphOutput      protowire.Number = 12
		tensorName       protowire.Number = 8
	)
	weights := map[string]bool{}
	var in []Value
	err = fields(model, func(num protowire.Number, graph []byte) error {
		if num != modelGraph {
			return nil
		}
		return fields(graph, func(num protowire.Number, b []byte) error {
			switch num {
			case graphInitializer:
				return fields(b, func(num protowire.Number, name []byte) error {
					if num == tensorName {
						weights[string(name)] = true
					}
					return nil
				})
			case graphInput, graphOutput:
				var info onnxpb.ValueInfoProto
				if err := proto.Unmarshal(b, &info); err != nil {
					return err
				}
				if num == graphInput {
					in = append(in, valueOf(&info))
				} else {
					outputs = append(outputs, valueOf(&info))
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: not an ONNX file, or corrupt: %v", ErrModel, err)
	}
	for _, v := range in { // up to IR version 3 every weight is listed as an input too
		if !weights[v.Name] {
			inputs = append(inputs, v)
		}
	}
	return inputs, outputs, nil
}

// fields calls f with each length-delimited field of a message.
func fields(msg []byte, f func(protowire.Number, []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		if typ == protowire.BytesType {
			b, n := protowire.ConsumeBytes(msg)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if err := f(num, b); err != nil {
				return err
			}
			msg = msg[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, msg); n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
	}
	return nil
}

func valueOf(info *onnxpb.ValueInfoProto) Value {
	tt := info.GetType().GetTensorType()
	v := Value{Name: info.GetName(), Type: typeName(tt.GetElemType())}
	if tt.GetShape() == nil {
		return v
	}
	v.Shape = make([]int64, len(tt.Shape.Dim))
	for i, d := range tt.Shape.Dim {
		if v.Shape[i] = d.GetDimValue(); v.Shape[i] <= 0 { // symbolic, or left out
			v.Shape[i] = -1
		}
	}
	return v
}

// typeName returns the name of an element type as numpy spells it.
func typeName(elem int32) string {
	switch t := onnxpb.TensorProto_DataType(elem); t {
	case onnxpb.TensorProto_FLOAT:
		return "float32"
	case onnxpb.TensorProto_DOUBLE:
		return "float64"
	default:
		return lower(t.String())
	}
}

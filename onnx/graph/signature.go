package graph

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Signature is what must be known of a serialised model to run it.
type Signature struct {
	Inputs, Outputs []Value
	Ops             map[string]bool // the operators it uses, in subgraphs and functions too
	Float16         bool            // whether it computes with float16 weights, rather than cast them to float32 first
	Metadata        map[string]string
}

// Field numbers of the messages in onnx.proto that a signature is read from.
const (
	modelGraph       protowire.Number = 7
	modelMetadata    protowire.Number = 14
	modelFunction    protowire.Number = 25
	graphNode        protowire.Number = 1
	graphInitializer protowire.Number = 5
	graphInput       protowire.Number = 11
	graphOutput      protowire.Number = 12
	functionNode     protowire.Number = 7
	nodeInput        protowire.Number = 1
	nodeOpType       protowire.Number = 4
	nodeAttribute    protowire.Number = 5
	attributeGraph   protowire.Number = 6
	attributeGraphs  protowire.Number = 11
	tensorDataType   protowire.Number = 2
	tensorName       protowire.Number = 8
)

// ReadSignature reads the signature of a serialised model without decoding or copying its weights.
func ReadSignature(model []byte) (Signature, error) {
	s := Signature{Ops: map[string]bool{}, Metadata: map[string]string{}}
	r := signatureReader{s: s, weights: map[string]string{}, operands: map[string]bool{}}
	err := fields(model, func(num protowire.Number, b []byte, _ uint64) error {
		switch num {
		case modelGraph:
			return fields(b, r.mainGraph)
		case modelMetadata:
			var p onnxpb.StringStringEntryProto
			if err := proto.Unmarshal(b, &p); err != nil {
				return err
			}
			r.s.Metadata[p.GetKey()] = p.GetValue()
		case modelFunction:
			return fields(b, func(num protowire.Number, b []byte, _ uint64) error {
				if num == functionNode {
					return r.node(b, 0)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return Signature{}, fmt.Errorf("%w: not an ONNX file, or damaged: %v", ErrModel, err)
	}
	all := r.s.Inputs // up to IR version 3 every weight is listed as an input too
	r.s.Inputs = nil
	for _, v := range all {
		if _, weight := r.weights[v.Name]; !weight {
			r.s.Inputs = append(r.s.Inputs, v)
		}
	}
	for name, elem := range r.weights {
		r.s.Float16 = r.s.Float16 || elem == "float16" && r.operands[name]
	}
	return r.s, nil
}

type signatureReader struct {
	s        Signature
	weights  map[string]string // element types of the initialisers
	operands map[string]bool   // inputs of all nodes but casts
}

func (r *signatureReader) mainGraph(num protowire.Number, b []byte, _ uint64) error {
	switch num {
	case graphNode:
		return r.node(b, 0)
	case graphInitializer:
		var name, elem string
		err := fields(b, func(num protowire.Number, b []byte, v uint64) error {
			switch num {
			case tensorName:
				name = string(b)
			case tensorDataType:
				elem = typeName(int32(v))
			}
			return nil
		})
		r.weights[name] = elem
		return err
	case graphInput, graphOutput:
		var info onnxpb.ValueInfoProto
		if err := proto.Unmarshal(b, &info); err != nil {
			return err
		}
		if num == graphInput {
			r.s.Inputs = append(r.s.Inputs, ValueOf(&info))
		} else {
			r.s.Outputs = append(r.s.Outputs, ValueOf(&info))
		}
	}
	return nil
}

func (r *signatureReader) node(b []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("graphs nested more than %d deep", maxDepth)
	}
	var inputs []string
	var op string
	err := fields(b, func(num protowire.Number, b []byte, _ uint64) error {
		switch num {
		case nodeInput:
			inputs = append(inputs, string(b))
		case nodeOpType:
			op = string(b)
		case nodeAttribute:
			return fields(b, func(num protowire.Number, b []byte, _ uint64) error {
				if num != attributeGraph && num != attributeGraphs {
					return nil
				}
				return fields(b, func(num protowire.Number, b []byte, _ uint64) error {
					if num == graphNode {
						return r.node(b, depth+1)
					}
					return nil
				})
			})
		}
		return nil
	})
	r.s.Ops[op] = true
	if op != "Cast" {
		for _, name := range inputs {
			r.operands[name] = true
		}
	}
	return err
}

// fields calls f with each length-delimited field of a message (its bytes) and each varint field (its value).
func fields(msg []byte, f func(num protowire.Number, b []byte, v uint64) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		var b []byte
		var v uint64
		switch typ {
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(msg)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(msg)
		default:
			n = protowire.ConsumeFieldValue(num, typ, msg)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		if typ == protowire.BytesType || typ == protowire.VarintType {
			if err := f(num, b, v); err != nil {
				return err
			}
		}
	}
	return nil
}

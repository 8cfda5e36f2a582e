package graph

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Stored is a weight of the main graph as it stands in a serialised model.
type Stored struct {
	Name, Type string
	Dims       []int64
	Raw        []byte // its values, a part of the model; nil where they are stored in another way, or in another file
	Matrix     bool   // nothing reads it but products, as what they multiply by: MatMul, Gemm and Conv
}

// StoredWeights lists the weights of a serialised model, without copying their values.
func StoredWeights(model []byte) ([]Stored, error) {
	matrix, err := matrices(model)
	if err != nil {
		return nil, fmt.Errorf("%w: not an ONNX file, or damaged: %v", ErrModel, err)
	}
	var list []Stored
	err = eachField(model, 7, func(graph []byte) error { // ModelProto.graph
		return eachField(graph, 5, func(tensor []byte) error { // GraphProto.initializer
			text, err := without(tensorData, tensor)
			t := new(Tensor)
			if err == nil {
				err = unmarshal.Unmarshal(text, t)
			}
			if err != nil {
				return err
			}
			s := Stored{Name: t.GetName(), Type: TypeOf(t), Dims: t.Dims, Matrix: matrix[t.GetName()]}
			if t.GetDataLocation() == onnxpb.TensorProto_DEFAULT {
				err = eachField(tensor, 9, func(raw []byte) error { s.Raw = raw; return nil }) // TensorProto.raw_data
			}
			list = append(list, s)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%w: not an ONNX file, or damaged: %v", ErrModel, err)
	}
	return list, nil
}

// matrices are the tensors of the main graph that are read as [Stored] says.
func matrices(model []byte) (map[string]bool, error) {
	m := &Model{proto: new(onnxpb.ModelProto)}
	text, err := without(weightData, model)
	if err == nil {
		err = parse(text, m.proto)
	}
	if err != nil {
		return nil, err
	}
	is := map[string]bool{}
	for _, n := range m.proto.GetGraph().GetNode() {
		op := n.GetOpType()
		product := op == "MatMul" || op == "Gemm" || op == "Conv"
		for i, name := range Uses(n) {
			other, read := is[name]
			is[name] = product && i == 1 && (other || !read)
		}
	}
	for _, v := range m.proto.GetGraph().GetOutput() {
		is[v.GetName()] = false
	}
	return is, nil
}

// eachField calls f with the content of every field of a message that has this number.
func eachField(msg []byte, number protowire.Number, f func(content []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeField(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num == number && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(msg)
			content, _ := protowire.ConsumeBytes(msg[tag:n])
			if err := f(content); err != nil {
				return err
			}
		}
		msg = msg[n:]
	}
	return nil
}

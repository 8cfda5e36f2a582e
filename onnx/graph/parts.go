package graph

import (
	"fmt"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mostParts is how many nodes, names, attributes, tensors and the like a model may have. Each takes up to a few hundred
// bytes in memory, and as few as two in a file. A large ViT has some ten thousand.
const mostParts = 2 << 20

var errParts = fmt.Errorf("%w: it has more than %d nodes, names, attributes and tensors", ErrModel, mostParts)

// parse decodes a model file that has not too many parts.
func parse(data []byte, into *onnxpb.ModelProto) error {
	left := mostParts
	countParts(data, into.ProtoReflect().Descriptor(), &left, unmarshal.RecursionLimit)
	if left < 0 {
		return errParts
	}
	return unmarshal.Unmarshal(data, into)
}

// countParts takes from left the fields of a message that have a length, and those in them. What is no message is left
// to the parser.
func countParts(data []byte, of protoreflect.MessageDescriptor, left *int, depth int) {
	for len(data) > 0 && *left >= 0 && depth > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return
		}
		if field := of.Fields().ByNumber(number); field != nil && kind == protowire.BytesType {
			*left--
			if field.Message() != nil {
				content, _ := protowire.ConsumeBytes(data[n:])
				countParts(content, field.Message(), left, depth-1)
			}
		}
		data = data[n+size:]
	}
}

// Package inferpb holds the messages of the Open Inference Protocol v2 over gRPC, and its client, generated from
// inference.proto.
//
// The names, numbers and types of inference.proto are those of Triton's grpc_service.proto and model_config.proto
// (tritonclient 2.73.0, BSD-3-Clause, copyright NVIDIA Corporation), of which KServe's grpc_predict_v2.proto
// (https://github.com/kserve/open-inference-protocol, Apache-2.0) is a part; the rest of them is left out. To generate
// again: protoc 3.21 or later, protoc-gen-go of the version in go.mod and protoc-gen-go-grpc of that in tools/go.mod.
//
// # Caveats
//
// A program that also links these messages as somebody else generated them has two of the name inference; see
// https://protobuf.dev/reference/go/faq#namespace-conflict.
package inferpb

//go:generate go build -o protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate go build -modfile=../../../tools/go.mod -o protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc
//go:generate protoc -I. --plugin=./protoc-gen-go --plugin=./protoc-gen-go-grpc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative inference.proto
//go:generate rm protoc-gen-go protoc-gen-go-grpc

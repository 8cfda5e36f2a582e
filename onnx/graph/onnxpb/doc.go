// Package onnxpb holds the messages of an ONNX file, generated from onnx.proto.
//
// onnx.proto is the file of that name in ONNX 1.23.2 (https://github.com/onnx/onnx, Apache-2.0, copyright ONNX Project
// Contributors), unchanged. To generate again: protoc 3.21 or later, and protoc-gen-go of the version in go.mod.
package onnxpb

//go:generate go build -o protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate protoc --plugin=./protoc-gen-go --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=github.com/vitft/vitft/onnx/graph/onnxpb onnx.proto
//go:generate rm protoc-gen-go

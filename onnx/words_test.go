package onnx

import (
	"errors"
	"testing"
)

// Users hear what is wrong, not where in somebody's source that was found.
func TestSaid(t *testing.T) {
	const src = "/onnxruntime_src/onnxruntime/core/"
	for text, want := range map[string]string{
		"Non-zero status code returned while running Expand node. Name:'' Status Message: " + src +
			"framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, " +
			"onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 16\n": "Non-zero status " +
			"code returned while running Expand node. Name:'' Status Message: Failed to allocate memory for " +
			"requested buffer of size 16",
		src + "graph/model.cc:179 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&) " +
			"Unsupported model IR version: 99, max supported IR version: 13": "Unsupported model IR version: 99, max " +
			"supported IR version: 13",
		src + "providers/cpu/tensor/reshape_helper.h:46 onnxruntime::ReshapeHelper::ReshapeHelper(const " +
			"onnxruntime::TensorShape&, bool) input_shape_size == size was false. The input tensor cannot be " +
			"reshaped": "input_shape_size == size was false. The input tensor cannot be reshaped",
		src + "x.cc:1 onnxruntime::F::<lambda(int)>::operator()(ptrdiff_t, std::pair<int(*)(int), int>) const no": "no",
		src + "y.cc:114 std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE) " +
			"[with ERRTYPE = cudaError; bool THRW = true] CUDA failure 999: unknown ; GPU=-1 ; file=" + src +
			"z.cc ; line=3": "CUDA failure 999: unknown ; GPU=-1 ; line=3",
		src + "a.cc:1 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : " +
			"Failed to load library": "Failed to load library",
		src + "b.cc:2 no signature here. And (more).": "no signature here. And (more).",
		"nothing of that kind (really)":               "nothing of that kind (really)",
		src + "c.cc:3 onnxruntime::f(int":             "onnxruntime::f(int",
	} {
		if got := said(errors.New(text)); got != want {
			t.Errorf("%q\nbecame %q\nwant   %q", text, got, want)
		}
	}
}

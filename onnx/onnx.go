// Package onnx runs ONNX models on ONNX Runtime: it finds and loads the shared library, chooses the execution provider,
// runs sessions and multiplies matrices. It alone needs cgo; nothing of ONNX Runtime is needed to build it.
//
// # Basics
//
// The library is loaded once per process, before anything else here is used:
//
//	lib, err := onnx.Find("")     // or a path given by the user
//	err = onnx.Load(lib)
//	m, err := onnx.NewFeatureModel(model, onnx.SessionOptions{})
//	err = m.Run(ctx, pixels, n, features)
//
// [Session] runs any model with float32 inputs and outputs, [FeatureModel] one that maps images to feature vectors, as
// [github.com/vitft/vitft/onnx/vision] cuts it out of a model file, and [Gemm] multiplies matrices. All three may be
// shared between goroutines, stop within one graph node when their context ends, and may be closed while in use.
//
// # Determinism
//
// On the CPU the feature of an image has the same bits whatever the batch it is encoded in, its place there and the
// number of threads; see [ImageModel]. A matrix product has the same bits for the same number of threads; see [Gemm].
// Another processor, provider or version of the library may give other bits.
//
// # Caveats
//
// Every error that means "this machine cannot run the model as asked" wraps [ErrRuntime]; the message says what is
// missing and how to get it. A provider that was asked for by name is never replaced by another one; only [Auto]
// chooses, and the session tells what it took and why.
//
// The CUDA provider installs signal handlers of its own; Go's are put back after it has started and after every run.
// The libraries of NVIDIA's that it needs are looked for in more places than the loader knows; see docs/gpu.md.
package onnx

// ErrRuntime means that this machine cannot use the runtime library or the execution provider. Its kind is "runtime".
var ErrRuntime error = &sentinel{"onnx runtime not usable", "runtime"}

// sentinel is an error with what a caller can do about it: see to the machine, to the data or to a setting.
type sentinel struct{ text, kind string }

func (s *sentinel) Error() string { return s.text }
func (s *sentinel) Kind() string  { return s.kind }

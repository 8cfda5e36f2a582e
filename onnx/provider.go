package onnx

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Provider names an execution provider: what the model runs on.
type Provider string

const (
	Auto Provider = "auto" // CUDA if it works, else the CPU; the zero value "" means the same
	CPU  Provider = "cpu"
	CUDA Provider = "cuda"
)

// ParseProvider returns the provider of that name.
func ParseProvider(name string) (Provider, error) {
	switch p := Provider(name); p {
	case "":
		return Auto, nil
	case Auto, CPU, CUDA:
		return p, nil
	}
	return "", fmt.Errorf("unknown provider %q; it must be auto, cpu or cuda", name)
}

// ProviderError tells why a provider cannot be used. It wraps [ErrRuntime].
type ProviderError struct {
	Provider Provider
	Missing  string // the missing piece
	Fix      string // what to do about it
	Err      error  // what ONNX Runtime said
}

func (e *ProviderError) Error() string {
	return fmt.Sprintf("provider %s: %s; %s (%v)", e.Provider, e.Missing, e.Fix, e.Err)
}

func (e *ProviderError) Unwrap() []error { return []error{ErrRuntime, e.Err} }

// ProviderStatus is the result of trying a provider.
type ProviderStatus struct {
	Provider Provider `json:"provider"`
	Works    bool     `json:"works"`
	Missing  string   `json:"missing,omitempty"` // why not
	Fix      string   `json:"fix,omitempty"`
	Detail   string   `json:"detail,omitempty"` // ONNX Runtime's own words
}

// Probe tries a provider by running a small model on it. A broken CUDA installation can end the process; a caller
// that must survive that runs Probe in a child process.
func Probe(p Provider) ProviderStatus {
	err := probeProvider(p)
	status := ProviderStatus{Provider: p, Works: err == nil}
	if err == nil {
		return status
	}
	status.Detail = err.Error()
	if pe, ok := errors.AsType[*ProviderError](err); ok {
		status.Missing, status.Fix, status.Detail = pe.Missing, pe.Fix, pe.Err.Error()
	}
	return status
}

func probeProvider(p Provider) error {
	model, err := gemmModel(false, false)
	if err != nil {
		return err
	}
	s, err := NewSession(model, SessionOptions{Provider: p, Threads: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	out := make([]float32, 1)
	err = s.Run(context.Background(),
		[]Tensor{{Shape: []int64{1, 2}, Data: []float32{1, 2}}, {Shape: []int64{2, 1}, Data: []float32{3, 4}}},
		[]Tensor{{Shape: []int64{1, 1}, Data: out}})
	if err != nil {
		return fmt.Errorf("%w: provider %s: %w", ErrRuntime, p, err)
	}
	if out[0] != 11 {
		return fmt.Errorf("%w: provider %s computed 1·3 + 2·4 = %v", ErrRuntime, p, out[0])
	}
	return nil
}

// appendCUDA adds the CUDA provider to a session's options.
func appendCUDA(options *ort.SessionOptions) error {
	cuda, err := ort.NewCUDAProviderOptions() // succeeds on a library without CUDA too
	if err != nil {
		return cudaError(err)
	}
	defer cuda.Destroy()
	// Float32 means float32, not TF32, and the convolution algorithm is not chosen by timing: training must be
	// reproducible.
	if err := cuda.Update(map[string]string{"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}); err != nil {
		return cudaError(err)
	}
	if err := options.AppendExecutionProviderCUDA(cuda); err != nil {
		return cudaError(err)
	}
	return nil
}

var missingLibrary = regexp.MustCompile(`(lib[\w+-]+\.so[.\d]*): cannot open shared object file`)

const gpuBuild = "install a GPU build of ONNX Runtime 1.24 or later (the release page's -gpu archive, or the wheel onnxruntime-gpu) and point " + LibraryEnv + " at the folder with all its libraries"

// cudaError finds out what is missing from ONNX Runtime's message.
func cudaError(err error) *ProviderError {
	msg := err.Error()
	e := &ProviderError{Provider: CUDA, Err: err}
	low := strings.ToLower(msg)
	lib := missingLibrary.FindStringSubmatch(msg)
	switch {
	case strings.Contains(low, "not enabled in this build") || strings.Contains(low, "not been enabled"):
		e.Missing, e.Fix = "this ONNX Runtime library is built without CUDA", gpuBuild
	case lib != nil && strings.HasPrefix(lib[1], "libonnxruntime"):
		e.Missing, e.Fix = lib[1]+" is not beside the library", gpuBuild
	case lib != nil && strings.HasPrefix(lib[1], "libcudnn"):
		e.Missing, e.Fix = lib[1]+" is missing", "install cuDNN of the version in that name and add its folder to LD_LIBRARY_PATH"
	case lib != nil && strings.HasPrefix(lib[1], "libcuda.so"):
		e.Missing, e.Fix = lib[1]+" is missing", "install the NVIDIA driver"
	case lib != nil:
		e.Missing, e.Fix = lib[1]+" is missing", "install the CUDA toolkit's runtime libraries of the version in that name and add their folder to LD_LIBRARY_PATH"
	case strings.Contains(low, "driver version is insufficient") || strings.Contains(low, "cuda failure 35"):
		e.Missing, e.Fix = "the NVIDIA driver is missing or too old", "install a driver for the CUDA version of the library; nvidia-smi shows the present one"
	case strings.Contains(low, "no cuda-capable device") || strings.Contains(low, "cuda failure 100"):
		e.Missing, e.Fix = "no CUDA device is visible", "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the provider cpu"
	case strings.Contains(low, "no kernel image") || strings.Contains(low, "cuda failure 209"):
		e.Missing, e.Fix = "the library has no code for this GPU", "use a library built for the GPU's compute capability"
	case strings.Contains(low, "out of memory") || strings.Contains(low, "failed to allocate memory"):
		e.Missing, e.Fix = "GPU memory", "free some, or use a smaller batch"
	default:
		e.Missing, e.Fix = "CUDA does not start", "check nvidia-smi, or use the provider cpu"
	}
	return e
}

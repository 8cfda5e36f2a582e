package onnx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
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
	if p := cmp.Or(Provider(name), Auto); slices.Contains([]Provider{Auto, CPU, CUDA}, p) {
		return p, nil
	}
	return "", &sentinel{fmt.Sprintf("unknown provider %q; it must be auto, cpu or cuda", name), "config"}
}

// ProviderError tells why a provider cannot be used. It wraps [ErrRuntime].
type ProviderError struct {
	Provider Provider
	Missing  string // the missing piece
	Fix      string // what to do about it
	Err      error  // what ONNX Runtime said
}

func (e *ProviderError) Error() string {
	return fmt.Sprintf("provider %s: %s; %s (%s)", e.Provider, e.Missing, e.Fix, said(e.Err))
}

func (e *ProviderError) Unwrap() []error { return []error{ErrRuntime, e.Err} }

// ProviderStatus is the result of trying a provider.
type ProviderStatus struct {
	Provider Provider `json:"provider"`
	Works    bool     `json:"works"`
	Missing  string   `json:"missing,omitempty"` // why not
	Fix      string   `json:"fix,omitempty"`
	Detail   string   `json:"detail,omitempty"` // ONNX Runtime's own words

	// Libraries are the files that NVIDIA's libraries were loaded from, for CUDA, as far as they were found.
	Libraries []string `json:"libraries,omitempty"`
}

// Probe tries a provider by running a small model on it, with the kinds of nodes that need its libraries: a convolution
// (cuDNN) and a product (cuBLAS). A broken CUDA installation can end the process; a caller that must survive that runs
// Probe in a child process.
func Probe(p Provider) ProviderStatus {
	err := probeProvider(p)
	status := ProviderStatus{Provider: p, Works: err == nil}
	if p == CUDA {
		status.Libraries = nvidia.found()
	}
	if pe, ok := errors.AsType[*ProviderError](err); ok {
		status.Missing, status.Fix, status.Detail = pe.Missing, pe.Fix, said(pe.Err)
	} else if err != nil {
		status.Detail = said(err)
	}
	return status
}

func probeProvider(p Provider) error {
	// An image of one pixel, (r, g, b), is mapped to 2 (r + 2g + 3b).
	small := graph.New("probe", 13)
	b := graph.NewBuilder(small, "probe")
	x := b.Node("Conv", []string{"pixel_values", b.Floats("kernel", []int64{1, 3, 1, 1}, 1, 2, 3)}, "")
	b.Node("Gemm", []string{b.Node("Flatten", []string{x}, ""), b.Floats("two", []int64{1, 1}, 2)}, "embedding")
	small.SetInputs(graph.Value{Name: "pixel_values", Type: "float32", Shape: []int64{-1, 3, 1, 1}})
	small.SetOutputs(graph.Value{Name: "embedding", Type: "float32", Shape: []int64{-1, 1}})
	model, err := small.Bytes()
	if err != nil {
		return err
	}
	m, err := NewImageModel(model, SessionOptions{Provider: p, Threads: 1})
	if err != nil {
		return err
	}
	defer m.Close()
	out := make([]float32, 2)
	if err := m.Run(context.Background(), []float32{1, 2, 3, 4, 5, 6}, 2, out); err != nil {
		return fmt.Errorf("%w: provider %s: %w", ErrRuntime, p, err)
	}
	if want := []float32{28, 64}; !slices.Equal(out, want) {
		return fmt.Errorf("%w: provider %s computed %v in place of %v", ErrRuntime, p, out, want)
	}
	return nil
}

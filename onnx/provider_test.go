package onnx

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// TestCUDAError holds what is made of messages. Those of 1.30.0 were recorded here, on a machine without GPU; the rest
// are as users of ONNX Runtime reported them, shortened in the middle.
func TestCUDAError(t *testing.T) {
	load := "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1988 onnxruntime::Provider& " +
		"onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library /opt/ort/"
	call := "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:114 std::conditional_t<THRW, void, " +
		"onnxruntime::common::Status> onnxruntime::CudaCall(…) "
	node := "Non-zero status code returned while running Conv node. Name:'/patch_embed/proj/Conv' Status Message: "
	for _, x := range []struct {
		said         string
		gone         []string // what is known to be missing
		missing, fix string
	}{
		{"CUDA execution provider is not enabled in this build. ", nil, "built without CUDA", "vitft setup --gpu"},
		{load + "libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object " +
			"file: No such " +
			"file or directory",
			[]string{"libcublasLt.so.13", "libcudart.so.13", "libcuda.so.1"},
			"libcublasLt.so.13, libcudart.so.13 and libcuda.so.1 are missing", "NVIDIA driver"},
		{load + "libonnxruntime_providers_cuda.so with error: libnvJitLink.so.13: cannot open shared object file: No " +
			"such file or directory", nil, "libnvJitLink.so.13 is missing", "LD_LIBRARY_PATH"},
		{load + "libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot open shared object file: No " +
			"such file " +
			"or directory", []string{driver}, "libcuda.so.1 is missing", "install the NVIDIA driver"},
		{load + "libonnxruntime_providers_shared.so with error: /opt/ort/libonnxruntime_providers_shared.so: " +
			"cannot open " +
			"shared object file: No such file or directory", nil, "libonnxruntime_providers_shared.so is not beside",
			LibraryEnv},
		{load + "libonnxruntime_providers_cuda.so with error: /usr/lib/libcublas.so.11: symbol free_gemm_select " +
			"version " +
			"libcublasLt.so.11 not defined in file libcublasLt.so.11 with link time reference", nil,
			"do not fit together",
			"one CUDA version"},
		{call + "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; " +
			"hostname=c4327188c000000 ; " +
			"file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc " +
			"; line=336 ; expr=cudaSetDevice(info_.device_id); ", nil, "driver is missing or too old", "nvidia-smi"},
		{call + "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1",
			[]string{driver},
			"libcuda.so.1 is missing", "install the NVIDIA driver"},
		{`FromProviderOptions(const onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : ` +
			`provider_options_utils.h:151 Parse Failed to parse provider option "device_id": CUDA failure 100: no ` +
			`CUDA-capable device is detected ; GPU=-1 ; hostname=h ; expr=cudaGetDeviceCount(&num_devices);`, nil, "no CUDA device",
			"CUDA_VISIBLE_DEVICES"},
		{call + "CUDA failure 101: invalid device ordinal ; GPU=-1", nil, "no such CUDA device", "nvidia-smi -L"},
		{call + "CUDA failure 802: system not yet initialized ; GPU=-1", nil, "not initialised", "fabric manager"},
		{call + "CUDA failure 803: system has unsupported display driver / cuda driver combination ; GPU=-1", nil,
			"different versions", "reboot"},
		{node + "CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device",
			nil,
			"no code for this GPU", "compute capability"},
		{node + "cuDNN is not available. Install cuDNN, update the system library search path, or set " +
			"enable_cudnn=0 to " +
			"force native CUDA paths where available.", nil, "libcudnn.so.9", "CUDA"},
		{call + "CUDNN failure 1: CUDNN_STATUS_NOT_INITIALIZED ; GPU=0 ; line=52 ; expr=cudnnCreate(&cudnn_handle_); ",
			nil, "cuDNN does not start", "one version"},
		{node + "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* " +
			"onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, " +
			"onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size 2830172160", nil,
			"GPU memory", "smaller batch"},
		{call + "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_); ", nil,
			"GPU memory", "nvidia-smi"},
		{call + "CUDA failure 999: unknown error ; GPU=-1", nil, "CUDA fails", "cpu"},
		{node + "CUDA error cudaErrorIllegalAddress:an illegal memory access was encountered", nil, "CUDA fails",
			"cpu"},
		{"what nobody has seen yet", nil, "CUDA does not start", "cpu"},
	} {
		err := cudaError(errors.New(x.said), x.gone)
		if !errors.Is(err, ErrRuntime) || !strings.Contains(err.Missing, x.missing) ||
			!strings.Contains(err.Fix, x.fix) ||
			!contains(err, said(errors.New(x.said))) {
			t.Errorf("%q: %v", x.said, err)
		}
	}
	for _, said := range []string{node + "Input channels C is not equal to kernel channels",
		"node (MatMul) Op (MatMul) [ShapeInferenceError] Incompatible dimensions"} {
		if e := cudaFault(errors.New(said), nil); e != nil {
			t.Errorf("%q is no fault of the machine: %v", said, e)
		}
	}
}

// TestProvidersWithoutCUDA runs where there is no CUDA: asking for it is an error, and auto says what it took.
func TestProvidersWithoutCUDA(t *testing.T) {
	needRuntime(t)
	if Probe(CUDA).Works {
		t.Skip("CUDA works here")
	}
	status := []ProviderStatus{Probe(CPU), Probe(CUDA)}
	if len(status) != 2 || !status[0].Works || status[0].Provider != CPU || status[1].Works ||
		status[1].Missing == "" || status[1].Fix == "" || status[1].Detail == "" {
		t.Errorf("%+v", status)
	}
	m, err := graph.Read("vision/testdata/pooled.onnx")
	if err != nil {
		t.Fatal(err)
	}
	model, _ := backbone(t, m, vision.FeatureChoice{})
	if _, err := NewFeatureModel(model, SessionOptions{Provider: CUDA}); !errors.Is(err, ErrRuntime) ||
		!contains(err, "cuda") {
		t.Errorf("cuda: %v", err)
	}
	if _, err := NewGemm(1, CUDA); !errors.Is(err, ErrRuntime) {
		t.Errorf("cuda product: %v", err)
	}
	e := newFeatureModel(t, model, SessionOptions{})
	if e.Provider() != "cpu" || !strings.HasPrefix(e.Note(), "cuda not used: ") {
		t.Errorf("auto took %q, %q", e.Provider(), e.Note())
	}
	if e := newFeatureModel(t, model, SessionOptions{Provider: CPU}); e.Note() != "" {
		t.Errorf("cpu: %q", e.Note())
	}
	if _, err := NewFeatureModel(model, SessionOptions{Provider: "tpu"}); err == nil || !contains(err, "tpu") {
		t.Errorf("tpu: %v", err)
	}
}

// TestKeepSignals replaces Go's handler as the CUDA provider does, and expects Go to receive the signal all the same.
func TestKeepSignals(t *testing.T) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	defer signal.Stop(got)
	// replace loads a library whose constructor takes the signal.
	replace := func(name, with string) func() error {
		lib := filepath.Join(t.TempDir(), name)
		buildLibrary(t, lib, `
			#include <signal.h>
			static void handler(int s) { (void)s; }
			__attribute__((constructor)) static void replace(void) { signal(SIGUSR1, `+with+`); }`)
		return func() error {
			l := nvidiaLibraries{dir: filepath.Dir(lib), paths: map[string]string{}}
			if !l.open(name) {
				return fmt.Errorf("%s cannot be loaded", lib)
			}
			return nil
		}
	}
	if err := keepSignals(replace("ignore.so", "SIG_IGN")); err != nil {
		t.Fatal(err)
	}
	arrives(t, got)
	if err := replace("handler.so", "handler")(); err != nil {
		t.Fatal(err)
	}
	repairSignals()
	arrives(t, got)
	// A run that replaces a handler while another session starts: the handler must not be taken for Go's.
	if err := replace("during.so", "handler")(); err != nil {
		t.Fatal(err)
	}
	// it does not wait for itself either
	if err := keepSignals(func() error { repairSignals(); return nil }); err != nil {
		t.Fatal(err)
	}
	repairSignals()
	arrives(t, got)
}

func arrives(t *testing.T, got <-chan os.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(5 * time.Second):
		t.Error("the signal did not arrive")
	}
}

func TestParseProvider(t *testing.T) {
	for name, want := range map[string]Provider{"": Auto, "auto": Auto, "cpu": CPU, "cuda": CUDA} {
		if p, err := ParseProvider(name); p != want || err != nil {
			t.Errorf("%q: %q, %v", name, p, err)
		}
	}
	if _, err := ParseProvider("gpu"); !contains(err, `"gpu"`, "auto, cpu or cuda") {
		t.Errorf("%v", err)
	}
}

package onnx

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/onnx/graph"
)

func TestCUDAError(t *testing.T) {
	for said, want := range map[string]struct{ missing, fix string }{
		"CUDA execution provider is not enabled in this build. ": {"built without CUDA", LibraryEnv},
		"Failed to load library /x/libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open shared object file: No such file or directory": {"libcublasLt.so.12 is missing", "LD_LIBRARY_PATH"},
		"libcudnn.so.9: cannot open shared object file: No such file or directory":                                                                            {"libcudnn.so.9 is missing", "cuDNN"},
		"libcuda.so.1: cannot open shared object file":                                                                                                        {"libcuda.so.1 is missing", "driver"},
		"libonnxruntime_providers_shared.so: cannot open shared object file in /x":                                                                            {"libonnxruntime_providers_shared.so is not beside", LibraryEnv},
		"CUDA failure 100: no CUDA-capable device is detected ; GPU=0":                                                                                        {"no CUDA device", "nvidia-smi"},
		"CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version":                                                                       {"driver is missing or too old", "nvidia-smi"},
		"CUDA failure 2: out of memory":                                                                                                                       {"GPU memory", "batch"},
		"CUBLAS failure 3":                                                                                                                                    {"CUDA does not start", "cpu"},
	} {
		err := cudaError(errors.New(said))
		if !errors.Is(err, ErrRuntime) || !strings.Contains(err.Missing, want.missing) || !strings.Contains(err.Fix, want.fix) || !contains(err, said) {
			t.Errorf("%q: %v", said, err)
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
	if len(status) != 2 || !status[0].Works || status[0].Provider != CPU || status[1].Works || status[1].Missing == "" || status[1].Fix == "" || status[1].Detail == "" {
		t.Errorf("%+v", status)
	}
	m, err := graph.Read("graph/testdata/pooled.onnx")
	if err != nil {
		t.Fatal(err)
	}
	model, _ := backbone(t, m, graph.FeatureChoice{})
	if _, err := NewEncoder(model, SessionOptions{Provider: CUDA}); !errors.Is(err, ErrRuntime) || !contains(err, "cuda") {
		t.Errorf("cuda: %v", err)
	}
	if _, err := NewGemm(1, CUDA); !errors.Is(err, ErrRuntime) {
		t.Errorf("cuda product: %v", err)
	}
	e := newEncoder(t, model, SessionOptions{})
	if e.Provider() != "cpu" || !strings.HasPrefix(e.Note(), "cuda not used: ") {
		t.Errorf("auto took %q, %q", e.Provider(), e.Note())
	}
	if e := newEncoder(t, model, SessionOptions{Provider: CPU}); e.Note() != "" {
		t.Errorf("cpu: %q", e.Note())
	}
	if _, err := NewEncoder(model, SessionOptions{Provider: "tpu"}); err == nil || !contains(err, "tpu") {
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
		return func() error { _, err := dlopen(lib); return err }
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

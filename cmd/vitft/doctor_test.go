package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/internal/testkit"

	"github.com/vitft/vitft/onnx"
)

// TestDoctorSurvives has a library that says what is wrong and ends the process when it is used, as a broken CUDA
// installation does.
func TestDoctorSurvives(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	library, program := filepath.Join(dir, "libonnxruntime.so"), filepath.Join(dir, "vitft")
	build := exec.Command(cc, "-shared", "-fPIC", "-o", library, "-xc", "-")
	build.Stdin = strings.NewReader(`
		#include <stdio.h>
		#include <stdlib.h>
		static void end(void) { fputs("Unable to load any of {libcudnn_graph.so.9}\n", stderr); abort(); }
		static void *api[1000];
		static const void *get(unsigned v) { for (int i = 0; i < 1000; i++) api[i] = (void *)end; return api; }
		static const char *version(void) { return "1.99.0"; }
		static struct { const void *(*get)(unsigned); const char *(*version)(void); } base = { get, version };
		void *OrtGetApiBase(void) { return &base; }`)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Skipf("cannot build vitft: %v: %s", err, out)
	}
	cmd := exec.CommandContext(context.Background(), program, "doctor", "--json", "--ort-lib", library)
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("exit code %d (%v)", cmd.ProcessState.ExitCode(), err)
	}
	var d device.Diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(d.Providers) != 2 || d.Providers[1].Provider != onnx.CUDA {
		t.Fatalf("%+v", d)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(testkit.ReadFile(t, library)))
	if text := diagnosed(&d); d.Library.SHA256 != sum || !strings.Contains(text, "SHA-256 "+sum) ||
		!strings.Contains(text, "found: given path") {
		t.Errorf("the library has SHA-256 %s, said is\n%s", sum, text)
	}
	for _, p := range d.Providers {
		if p.Works || !strings.Contains(p.Missing, "ended with") || !strings.HasPrefix(p.Detail,
			"Unable to load any of {libcudnn_graph.so.9}; SIGABRT") || strings.Contains(p.Detail, "goroutine") {
			t.Errorf("%+v", p)
		}
	}
	if d.Providers[1].Fix == "" {
		t.Errorf("%+v", d.Providers[1])
	}
}

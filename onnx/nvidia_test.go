package onnx

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// link builds a shared library that needs others by name, as NVIDIA's do.
func link(t *testing.T, path string, needs ...string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("no C compiler, or not Linux")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,-soname," + filepath.Base(path), "-o", path, "-xc",
		"-"}
	stubs := t.TempDir()
	for _, name := range needs {
		stub := filepath.Join(stubs, name)
		c := exec.Command(cc, "-shared", "-Wl,-soname,"+name, "-o", stub, "-xc", "/dev/null")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		args = append(args, "-xnone", stub)
	}
	cmd := exec.Command(cc, args...)
	cmd.Stdin = strings.NewReader("int nothing;")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestNvidiaLibraries has what a provider needs in two of the places that it may be in, in an order that makes the
// first need the second, and one missing.
func TestNvidiaLibraries(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "site-packages", "onnxruntime", "capi")
	provider := filepath.Join(dir, providerLibrary)
	link(t, provider, "libcufakeone.so.13", "libcufaketwo.so.13", "libcufakegone.so.13", "libm.so.6")
	one := filepath.Join(root, "site-packages", "nvidia", "cu13", "lib", "libcufakeone.so.13")
	link(t, one, "libcufaketwo.so.13")
	two := filepath.Join(dir, "libcufaketwo.so.13")
	link(t, two)

	l := nvidiaLibraries{dir: dir}
	l.loadFor(provider)
	others := func(name string) bool { return name == cudnn || name == driver } // are here or not
	l.missing = slices.DeleteFunc(l.missing, others)
	if !slices.Equal(l.missing, []string{"libcufakegone.so.13"}) {
		t.Errorf("missing %v", l.missing)
	}
	if found := l.found(); !slices.Contains(found, one) || !slices.Contains(found, two) {
		t.Errorf("found %v", found)
	}
	// With it there the provider itself can be loaded.
	link(t, filepath.Join(dir, "libcufakegone.so.13"))
	l = nvidiaLibraries{dir: dir}
	l.loadFor(provider)
	if l.missing = slices.DeleteFunc(l.missing, others); len(l.missing) > 0 {
		t.Errorf("missing %v", l.missing)
	}
	if !l.open(providerLibrary) {
		t.Errorf("%s cannot be loaded", provider)
	}
	l = nvidiaLibraries{dir: root}
	if l.loadFor(filepath.Join(root, providerLibrary)); l.missing != nil || l.found() != nil {
		t.Errorf("without a provider library: %v, %v", l.missing, l.found())
	}
}

func TestNvidiaCure(t *testing.T) {
	all := []string{"libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudart.so.13", driver, cudnn}
	for _, x := range []struct {
		dir, major string
		names      []string
		want       string
	}{
		{"/opt/ort", "13", all,
			"pip install --target /opt/ort nvidia-cublas==13.* nvidia-curand nvidia-cuda-runtime==13.* " +
				"nvidia-cudnn-cu13==9.*; " + driverFix},
		{"/v/lib/python3.12/site-packages/onnxruntime/capi", "12", []string{"libcufft.so.11", "libcublas.so.12"},
			"pip install nvidia-cufft-cu12 nvidia-cublas-cu12==12.*"},
		{"/opt/ort", "13", []string{driver}, driverFix},
		{"/opt/ort", "", []string{"libcublas.so.11"},
			"install the CUDA libraries of the versions in these names and add their folder to LD_LIBRARY_PATH"},
	} {
		l := nvidiaLibraries{dir: x.dir, major: x.major}
		if got := l.cure(x.names); got != x.want {
			t.Errorf("%v: %q, want %q", x.names, got, x.want)
		}
	}
	if got := listed([]string{"a"}) + " " + listed([]string{"a", "b", "c"}); got != "a is a, b and c are" {
		t.Error(got)
	}
}

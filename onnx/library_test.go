package onnx

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func contains(err error, parts ...string) bool {
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			return false
		}
	}
	return true
}

// buildLibrary compiles a shared library from C, or skips the test.
func buildLibrary(t *testing.T, path, source string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	cmd := exec.Command(cc, "-shared", "-fPIC", "-o", path, "-xc", "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// fakeRuntime is a library that claims to be a version of ONNX Runtime.
func fakeRuntime(version string, api int) string {
	return strings.NewReplacer("VERSION", version, "API", itoa(api)).Replace(`
		static const void *get(unsigned v) { return v <= API ? "" : 0; }
		static const char *version(void) { return "VERSION"; }
		static struct { const void *(*get)(unsigned); const char *(*version)(void); } base = { get, version };
		void *OrtGetApiBase(void) { return &base; }`)
}

func itoa(n int) string { return string(rune('0'+n/10)) + string(rune('0'+n%10)) }

func TestFindExplicit(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name, libraryName()) }
	put := func(name string, data []byte) {
		folder := os.MkdirAll(filepath.Dir(path(name)), 0o700)
		if err := errors.Join(folder, os.WriteFile(path(name), data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put("text", []byte("not a library"))
	put("empty", nil)
	put("other", nil)
	buildLibrary(t, path("other"), "int nothing;")
	put("old", nil)
	buildLibrary(t, path("old"), fakeRuntime("1.17.1", 17))
	put("lying", nil)
	buildLibrary(t, path("lying"), fakeRuntime("1.24.0", 23))
	put("new", nil)
	buildLibrary(t, path("new"), fakeRuntime("1.99.2", 99))
	whole, err := os.ReadFile(path("new"))
	if err != nil {
		t.Fatal(err)
	}
	put("truncated", whole[:len(whole)/2])
	if runtime.GOOS == "linux" {
		foreign := append([]byte(nil), whole...)
		foreign[18], foreign[19] = 243, 0 // e_machine: RISC-V
		put("foreign", foreign)
	}
	if err := os.MkdirAll(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}

	for name, says := range map[string][]string{
		"absent":    {"no such file"},
		"none":      {"no " + libraryName()},
		"text":      {"not a shared library, or corrupt"},
		"empty":     {"not a shared library, or corrupt"},
		"truncated": {""},
		"foreign":   {"built for riscv", runtime.GOARCH},
		"other":     {"no OrtGetApiBase"},
		"old":       {"found version 1.17.1 (API 17), need API 24"},
		"lying":     {"1.24.0", "does not offer API 24"},
	} {
		if _, err := Find(filepath.Join(dir, name)); !errors.Is(err, ErrRuntime) || !contains(err, says...) ||
			!contains(err, "vitft setup", filepath.Join(dir, name)) {
			t.Errorf("%s: %v, should say %q", name, err, says)
		}
	}
	for _, given := range []string{path("new"), filepath.Join(dir, "new")} {
		lib, err := Find(given)
		if err != nil {
			t.Fatal(err)
		}
		if lib != (Library{Path: path("new"), Version: "1.99.2", API: 99, Source: "given path"}) {
			t.Errorf("%+v", lib)
		}
	}

	// The environment decides as a flag does: no search beyond it.
	t.Setenv(LibraryEnv, path("old"))
	if _, err := Find(""); !errors.Is(err, ErrRuntime) || !contains(err, LibraryEnv, "1.17.1") {
		t.Errorf("%v", err)
	}
	t.Setenv(LibraryEnv, path("new"))
	if lib, err := Find(""); err != nil || lib.Source != LibraryEnv {
		t.Errorf("%+v, %v", lib, err)
	}
}

func TestFindOrder(t *testing.T) {
	t.Setenv(LibraryEnv, "")
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("LD_LIBRARY_PATH", filepath.Join(home, "system"))
	t.Setenv("DYLD_LIBRARY_PATH", filepath.Join(home, "system"))
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}

	if _, err := Find(""); err == nil {
		t.Skip("a library of the system is in the way")
	} else if !errors.Is(err, ErrRuntime) || !contains(err, LibraryEnv, "not set", "next to the program",
		"cache folder", filepath.Join(home, "system")) {
		t.Errorf("%v", err)
	}
	// One that is too old is passed over, and said.
	name := map[string]string{"linux": "libonnxruntime.so.1.17.1",
		"darwin": "libonnxruntime.1.17.1.dylib"}[runtime.GOOS]
	old := filepath.Join(cache, "vitft", "lib", name)
	if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
		t.Fatal(err)
	}
	buildLibrary(t, old, fakeRuntime("1.17.1", 17))
	if _, err := Find(""); !contains(err, old, "found version 1.17.1 (API 17)") {
		t.Errorf("%v", err)
	}
	// From last to first, each takes precedence over those before.
	for _, place := range []struct{ dir, source, version string }{
		{filepath.Join(home, "system"), "system", "1.25.0"},
		{filepath.Join(cache, "vitft", "lib"), "cache folder", "1.27.0"},
	} {
		if err := os.MkdirAll(place.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		buildLibrary(t, filepath.Join(place.dir, libraryName()), fakeRuntime(place.version, 25))
		lib, err := Find("")
		if err != nil || lib.Source != place.source || lib.Version != place.version {
			t.Errorf("%+v, %v; want %+v", lib, err, place)
		}
	}
}

func TestLibraryNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("names of Linux")
	}
	for name, want := range map[string]bool{
		"libonnxruntime.so": true, "libonnxruntime.so.1": true, "libonnxruntime.so.1.30.0": true,
		"libonnxruntime_providers_shared.so": false, "libonnxruntime.so.sha256": false, "libonnxruntime.dylib": false,
		"onnxruntime.so": false,
	} {
		if _, got := libraryVersion(name); got != want {
			t.Errorf("libraryVersion(%q): %v", name, got)
		}
	}
	if !preferred("libonnxruntime.so.1.30.0", "libonnxruntime.so.1.9.0") ||
		!preferred("libonnxruntime.so", "libonnxruntime.so.1.30.0") {
		t.Error("order")
	}
}

func TestLoadOnce(t *testing.T) {
	lib := needRuntime(t)
	if err := Load(lib); err != nil {
		t.Error(err)
	}
	other := lib
	other.Path = "/elsewhere/libonnxruntime.so"
	if err := Load(other); !errors.Is(err, ErrRuntime) || !contains(err, lib.Path) {
		t.Errorf("%v", err)
	}
	if got, ok := Loaded(); !ok || got.Path != lib.Path || got.API < MinAPI {
		t.Errorf("%+v, %v", got, ok)
	}
}

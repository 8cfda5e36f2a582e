package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// MinAPI is the level of the ONNX Runtime C API that this package needs. Version 1.N of the library offers the levels
// up to N, so any later library will do.
const MinAPI = 24

// LibraryEnv names the environment variable that holds the path of the library, or of the folder it is in.
const LibraryEnv = "VITFT_ORT_LIB"

// Library is an ONNX Runtime shared library that was found and can be loaded.
type Library struct {
	Path    string `json:"path"`
	Version string `json:"version"` // such as "1.30.0"
	API     int    `json:"api"`     // highest C API level it offers
	Source  string `json:"source"`  // which place of the search order it was found at
}

// Candidate is one place of the search order and what was found there.
type Candidate struct {
	Source  string   // such as "VITFT_ORT_LIB" or "next to the program"
	Path    string   // a file or a folder; "" when the place does not apply
	Library *Library // nil unless usable
	Err     error    // why not; nil when there simply is none
}

// Find returns the first usable library in this order:
//
//  1. explicit, a file or the folder that holds it (the --ort-lib flag), if not empty
//  2. VITFT_ORT_LIB, likewise, if set
//  3. next to the program, and in lib beside it
//  4. vitft/lib in the user's cache folder, where `make setup` puts it
//  5. the system's library folders
//
// What is named by 1 or 2 is taken or refused; the search does not go on past it. The error, which wraps [ErrRuntime],
// lists every place that was tried.
func Find(explicit string) (Library, error) {
	tried := Search(explicit)
	if last := tried[len(tried)-1]; last.Library != nil {
		return *last.Library, nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no ONNX Runtime library with API level %d or later (version 1.%d or later); tried:", MinAPI,
		MinAPI)
	for _, c := range tried {
		fmt.Fprintf(&b, "\n  %s", c.Source)
		if c.Path != "" {
			fmt.Fprintf(&b, " (%s)", c.Path)
		}
		fmt.Fprintf(&b, ": %v", cmp.Or(c.Err, errors.New("none")))
	}
	fmt.Fprintf(&b, "\nrun `make setup` in the repository, or set %s to the path of %s", LibraryEnv, libraryName())
	return Library{}, fmt.Errorf("%w: %s", ErrRuntime, b.String())
}

// Search looks through the places that [Find] documents and returns what it met on the way, up to and including the
// first usable library.
func Search(explicit string) []Candidate {
	if explicit != "" {
		return []Candidate{named("given path", explicit)}
	}
	if path := os.Getenv(LibraryEnv); path != "" {
		return []Candidate{named(LibraryEnv, path)}
	}
	tried := []Candidate{{Source: LibraryEnv, Err: errors.New("not set")}}
	for _, p := range places() {
		c := inFolder(p.source, p.dir)
		tried = append(tried, c)
		if c.Library != nil {
			break
		}
	}
	return tried
}

type place struct{ source, dir string }

func places() []place {
	var ps []place
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		const beside = "next to the program"
		ps = append(ps, place{beside, filepath.Dir(exe)}, place{beside, filepath.Join(filepath.Dir(exe), "lib")})
	}
	if cache, err := os.UserCacheDir(); err == nil {
		ps = append(ps, place{"cache folder", filepath.Join(cache, "vitft", "lib")})
	}
	for _, dir := range systemFolders() {
		ps = append(ps, place{"system", dir})
	}
	return ps
}

func systemFolders() []string {
	env, dirs := "DYLD_LIBRARY_PATH", []string{"/opt/homebrew/lib", "/usr/local/lib", "/usr/lib"}
	if runtime.GOOS != "darwin" {
		triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
		env, dirs = "LD_LIBRARY_PATH",
			[]string{"/usr/local/lib", filepath.Join("/usr/lib", triple), "/usr/lib64", "/usr/lib"}
	}
	return append(filepath.SplitList(os.Getenv(env)), dirs...)
}

// named examines a path that the user gave; it must be there.
func named(source, path string) Candidate {
	info, err := os.Stat(path)
	if err != nil {
		return Candidate{Source: source, Path: path, Err: errors.New("no such file or folder")}
	}
	if !info.IsDir() {
		return examine(source, path)
	}
	c := inFolder(source, path)
	if c.Library == nil && c.Err == nil {
		c.Err = fmt.Errorf("no %s in it", libraryName())
	}
	return c
}

func inFolder(source, dir string) Candidate {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return Candidate{Source: source, Path: dir, Err: err}
	}
	var best string
	for _, e := range entries {
		if _, ok := libraryVersion(e.Name()); ok && (best == "" || preferred(e.Name(), best)) {
			best = e.Name()
		}
	}
	if best == "" {
		return Candidate{Source: source, Path: dir}
	}
	return examine(source, filepath.Join(dir, best))
}

func examine(source, path string) Candidate {
	c := Candidate{Source: source, Path: path}
	if abs, err := filepath.Abs(path); err == nil {
		c.Path = abs
	}
	version, err := probe(c.Path)
	if err != nil {
		c.Err = err
		return c
	}
	c.Library = &Library{Path: c.Path, Version: version, API: apiLevel(version), Source: source}
	return c
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// libraryVersion returns the numbers in a library's file name, none for the plain name. It accepts libonnxruntime.so,
// libonnxruntime.so.1.30.0, libonnxruntime.dylib and libonnxruntime.1.30.0.dylib, and none of the provider libraries
// beside them.
func libraryVersion(name string) (version []int, ok bool) {
	rest, ok := strings.CutPrefix(name, "libonnxruntime")
	if !ok {
		return nil, false
	}
	if runtime.GOOS == "darwin" {
		rest, ok = strings.CutSuffix(rest, ".dylib")
	} else {
		rest, ok = strings.CutPrefix(rest, ".so")
	}
	if !ok || rest == "" {
		return nil, ok
	}
	for _, s := range strings.Split(strings.TrimPrefix(rest, "."), ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, false
		}
		version = append(version, n)
	}
	return version, true
}

// preferred reports whether file name a goes before b: the plain name first, then the newer version.
func preferred(a, b string) bool {
	va, _ := libraryVersion(a)
	vb, _ := libraryVersion(b)
	if len(va) == 0 || len(vb) == 0 {
		return len(va) == 0
	}
	return slices.Compare(va, vb) > 0
}

// apiLevel returns the highest C API level that a version of the library offers: its minor number.
func apiLevel(version string) int {
	var n int
	fmt.Sscanf(version, "1.%d", &n) // 0 where it is of another form
	return n
}

var loaded struct {
	sync.Mutex
	lib *Library
}

// Load loads the library into the process. Loading the same one again does nothing; a process cannot change to another
// one.
func Load(lib Library) error {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.lib != nil {
		if loaded.lib.Path == lib.Path {
			return nil
		}
		return fmt.Errorf("%w: load %s: this process already uses %s; start a new one to change the library",
			ErrRuntime, lib.Path, loaded.lib.Path)
	}
	ort.SetSharedLibraryPath(lib.Path)
	// Whatever goes wrong comes back as an error; the runtime's own log on stderr would only say it a second time.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w: load %s: %v", ErrRuntime, lib.Path, err)
	}
	loaded.lib = &lib
	return nil
}

// Loaded returns the library this process uses, and false before [Load].
func Loaded() (Library, bool) {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.lib == nil {
		return Library{}, false
	}
	return *loaded.lib, true
}

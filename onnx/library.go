package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// MinAPI is the level of the ONNX Runtime C API that this package needs. Version 1.N of the library offers 1 to N.
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
//  4. vitft/lib in the user's cache folder, where `vitft setup` and `make setup` put it
//  5. the system's library folders
//
// What 1 or 2 names is taken or refused, with no further search. The error wraps [ErrRuntime] and lists every place.
func Find(explicit string) (Library, error) {
	tried := Search(explicit)
	if last := tried[len(tried)-1]; last.Library != nil {
		return *last.Library, nil
	}
	var list strings.Builder
	for _, c := range tried {
		where := c.Source
		if c.Path != "" {
			where += " (" + c.Path + ")"
		}
		fmt.Fprintf(&list, "\n  %s: %v", where, cmp.Or(c.Err, errors.New("none")))
	}
	return Library{}, fmt.Errorf("%w: no ONNX Runtime library with API level %d or later (version 1.%[2]d or later); "+
		"tried:%s\nrun `vitft setup` to fetch it, or set %s to the path of %s", ErrRuntime, MinAPI, list.String(),
		LibraryEnv, libraryName())
}

// Search looks through the places that [Find] documents and returns what it met up to the first usable library.
func Search(explicit string) []Candidate {
	if explicit != "" {
		return []Candidate{named("given path", explicit)}
	}
	if path := os.Getenv(LibraryEnv); path != "" {
		return []Candidate{named(LibraryEnv, path)}
	}
	tried := []Candidate{{Source: LibraryEnv, Err: errors.New("not set")}}
	look := func(source string, dirs ...string) {
		for _, dir := range dirs {
			if tried[len(tried)-1].Library == nil {
				tried = append(tried, inFolder(source, dir))
			}
		}
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		look("next to the program", filepath.Dir(exe), filepath.Join(filepath.Dir(exe), "lib"))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		look("cache folder", filepath.Join(cache, "vitft", "lib"))
	}
	look("system", systemFolders()...)
	return tried
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
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var best string
	for _, e := range entries {
		if _, ok := libraryVersion(e.Name()); ok && (best == "" || preferred(e.Name(), best)) {
			best = e.Name()
		}
	}
	if best == "" {
		return Candidate{Source: source, Path: dir, Err: err}
	}
	return examine(source, filepath.Join(dir, best))
}

func examine(source, path string) Candidate {
	c := Candidate{Source: source, Path: path}
	if abs, err := filepath.Abs(path); err == nil {
		c.Path = abs
	}
	version, err := probe(c.Path)
	if c.Err = err; err == nil {
		c.Library = &Library{Path: c.Path, Version: version, API: apiLevel(version), Source: source}
	}
	return c
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// libraryVersion returns the numbers in a library's file name, none for the plain name; false if it is no such name.
func libraryVersion(name string) (version []int, ok bool) {
	pattern := `^libonnxruntime\.so((\.\d+)*)$`
	if runtime.GOOS == "darwin" {
		pattern = `^libonnxruntime((\.\d+)*)\.dylib$`
	}
	found := regexp.MustCompile(pattern).FindStringSubmatch(name)
	if found == nil {
		return nil, false
	}
	for _, s := range strings.Split(found[1], ".")[1:] {
		n, _ := strconv.Atoi(s)
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
	lib Library // the zero value before Load
}

// Load loads the library into the process, which cannot change to another one. Loading it again does nothing.
func Load(lib Library) error {
	loaded.Lock()
	defer loaded.Unlock()
	switch loaded.lib.Path {
	case "":
	case lib.Path:
		return nil
	default:
		return fmt.Errorf("%w: load %s: this process already uses %s; start a new one to change the library",
			ErrRuntime, lib.Path, loaded.lib.Path)
	}
	ort.SetSharedLibraryPath(lib.Path)
	// Whatever goes wrong comes back as an error; the runtime's own log on stderr would only say it a second time.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w: load %s: %v", ErrRuntime, lib.Path, err)
	}
	loaded.lib = lib
	return nil
}

// Loaded returns the library this process uses, and false before [Load].
func Loaded() (Library, bool) {
	loaded.Lock()
	defer loaded.Unlock()
	return loaded.lib, loaded.lib.Path != ""
}

package onnx

/*
#cgo linux LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#ifdef __linux__
#include <link.h>

static const char *vitft_origin(void *handle) {
	struct link_map *map;
	return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : "";
}
#else
static const char *vitft_origin(void *handle) { return ""; }
#endif
*/
import "C"

import (
	"debug/elf"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// The CUDA provider needs libraries of NVIDIA's that the loader finds in few places: people have them as pip packages,
// in a folder of their own or in a toolkit that LD_LIBRARY_PATH does not name. Loading them here, by path, lets the
// provider find them by name.

const (
	providerLibrary = "libonnxruntime_providers_cuda.so"
	driver          = "libcuda.so.1"
	cudnn           = "libcudnn.so.9" // a dependency up to version 1.27; later ones look for it when a node needs it
)

// nvidia are those libraries, for the ONNX Runtime library that this process uses.
var nvidia nvidiaLibraries

type nvidiaLibraries struct {
	sync.Mutex
	dir     string   // of the ONNX Runtime library; "" until that is loaded
	major   string   // of CUDA, such as "13"; "" if unknown
	missing []string // needed and not to be had
	paths   map[string]string
}

var nvidiaName = regexp.MustCompile(`^lib(cu|nv)\w*\.so\.\d+`)

// load loads what the provider needs, once, and returns the names of what is missing.
func (l *nvidiaLibraries) load() []string {
	l.Lock()
	defer l.Unlock()
	lib, ok := Loaded()
	if l.dir != "" || !ok || runtime.GOOS != "linux" {
		return l.missing
	}
	l.dir = filepath.Dir(lib.Path)
	l.loadFor(filepath.Join(l.dir, providerLibrary))
	return l.missing
}

// loadFor loads what a provider library needs.
func (l *nvidiaLibraries) loadFor(provider string) {
	f, err := elf.Open(provider)
	if err != nil {
		return // ONNX Runtime says it
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !nvidiaName.MatchString(name) })
	for _, name := range names {
		if major, ok := strings.CutPrefix(name, "libcudart.so."); ok {
			l.major = major
		}
	}
	optional := !slices.Contains(names, cudnn)
	for _, name := range []string{driver, cudnn} { // the CUDA runtime loads the driver
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	l.paths = map[string]string{}
	for before := len(names) + 1; len(names) < before; { // again while it helps: one of them may need another
		before = len(names)
		names = slices.DeleteFunc(names, l.open)
	}
	l.missing = names
	if optional && slices.Equal(l.missing, []string{cudnn}) {
		l.missing = nil // not every model needs it
	}
	if l.major != "" {
		l.open("libnvrtc.so." + l.major) // cuDNN compiles some of its kernels, if it can
	}
}

// open loads a library from beside ONNX Runtime, from where the loader looks, or from another usual place.
func (l *nvidiaLibraries) open(name string) bool {
	var paths []string
	if name == driver { // it comes with the driver, and toolkits have a stub of the same name
		paths = []string{name, "/usr/local/nvidia/lib64/" + name, "/usr/lib/wsl/lib/" + name,
			"/run/opengl-driver/lib/" + name}
	} else {
		paths = []string{filepath.Join(l.dir, name), name}
		for _, pattern := range l.places() {
			found, _ := filepath.Glob(filepath.Join(pattern, name))
			paths = append(paths, found...)
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil && filepath.IsAbs(path) {
			continue
		}
		// With all its symbols: what does not fit the others is refused here, and does not end the process later.
		if handle, err := dlopen(path, C.RTLD_NOW|C.RTLD_LOCAL); err == nil {
			l.paths[name] = C.GoString(C.vitft_origin(handle))
			return true
		}
	}
	return false
}

// places are patterns of folders where pip and NVIDIA's installers put libraries: "nvidia" beside ONNX Runtime or
// beside the Python package that it is part of, that of the active environment, and the toolkit.
func (l *nvidiaLibraries) places() []string {
	wheels := filepath.Join("nvidia", "*", "lib")
	ps := []string{filepath.Join(l.dir, wheels), filepath.Join(l.dir, "..", "..", wheels)}
	for _, env := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if root := os.Getenv(env); root != "" {
			ps = append(ps, filepath.Join(root, "lib", "python3*", "site-packages", wheels), filepath.Join(root, "lib"))
		}
	}
	return append(ps, "/usr/local/cuda-"+l.major+"*/lib64", "/usr/local/cuda/lib64")
}

// found lists the files that were loaded.
func (l *nvidiaLibraries) found() []string {
	l.Lock()
	defer l.Unlock()
	return slices.Sorted(maps.Values(l.paths))
}

// cure says how to get libraries.
func (l *nvidiaLibraries) cure(names []string) string {
	l.Lock()
	defer l.Unlock()
	var packages, cures []string
	for _, name := range names {
		if p := l.pip(name); p != "" && !slices.Contains(packages, p) {
			packages = append(packages, p)
		}
	}
	if len(packages) > 0 {
		if !strings.HasSuffix(filepath.ToSlash(l.dir), "site-packages/onnxruntime/capi") {
			packages = append([]string{"--target", l.dir}, packages...)
		}
		cures = append(cures, "pip install "+strings.Join(packages, " "))
	} else if !slices.Equal(names, []string{driver}) {
		cures = append(cures, "install the CUDA libraries of the versions in these names and add their folder to "+
			"LD_LIBRARY_PATH")
	}
	if slices.Contains(names, driver) {
		cures = append(cures, driverFix)
	}
	return strings.Join(cures, "; ")
}

// pip is the package that a library is in, with its version; "" if it is in none.
func (l *nvidiaLibraries) pip(name string) string {
	base, _, _ := strings.Cut(name, ".so.")
	base = map[string]string{
		"libcublas": "cublas", "libcublasLt": "cublas", "libcudart": "cuda-runtime", "libcurand": "curand",
		"libcufft": "cufft", "libnvrtc": "cuda-nvrtc", "libnvJitLink": "nvjitlink", "libcudnn": "cudnn",
	}[base]
	switch {
	case base == "" || l.major == "":
		return ""
	case base == "cudnn":
		return "nvidia-cudnn-cu" + l.major + "==9.*"
	}
	version := "==" + l.major + ".*"
	if base == "curand" || base == "cufft" { // they count otherwise
		version = ""
	}
	if l.major == "12" {
		base += "-cu12"
	}
	return "nvidia-" + base + version
}

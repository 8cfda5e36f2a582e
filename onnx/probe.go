package onnx

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// The head of onnxruntime_c_api.h's OrtApiBase: all that is needed to ask a library what it is, in any version.
typedef struct {
	const void *(*GetApi)(uint32_t version);
	const char *(*GetVersionString)(void);
} vitft_api_base;

static const char *vitft_version(void *get_base) {
	const vitft_api_base *base = ((const vitft_api_base *(*)(void))get_base)();
	return base ? base->GetVersionString() : NULL;
}

static int vitft_offers(void *get_base, uint32_t level) {
	const vitft_api_base *base = ((const vitft_api_base *(*)(void))get_base)();
	return base->GetApi(level) != NULL;
}
*/
import "C"

import (
	"cmp"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// probe loads a shared library to read its version and see that it offers MinAPI. One that does stays loaded, for use.
func probe(path string) (version string, err error) {
	if err := checkFile(path); err != nil {
		return "", err
	}
	handle, err := dlopen(path, C.RTLD_LAZY|C.RTLD_LOCAL)
	if err != nil {
		return "", fmt.Errorf("cannot be loaded: %w", err)
	}
	defer func() {
		if err != nil {
			C.dlclose(handle)
		}
	}()
	symbol := C.CString("OrtGetApiBase")
	defer C.free(unsafe.Pointer(symbol))
	getBase := C.dlsym(handle, symbol)
	if getBase == nil {
		return "", errors.New("not an ONNX Runtime library (it has no OrtGetApiBase)")
	}
	cVersion := C.vitft_version(getBase)
	if cVersion == nil {
		return "", errors.New("not an ONNX Runtime library (it gives no version)")
	}
	version = C.GoString(cVersion)
	if api := apiLevel(version); api < MinAPI {
		return "", fmt.Errorf("found version %s (API %d), need API %d or later", version, api, MinAPI)
	}
	if C.vitft_offers(getBase, MinAPI) == 0 {
		return "", fmt.Errorf("found version %s, which does not offer API %d", version, MinAPI)
	}
	return version, nil
}

func dlopen(path string, mode C.int) (unsafe.Pointer, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	// dlerror's text belongs to the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	handle := C.dlopen(name, mode)
	if handle == nil {
		return nil, errors.New(C.GoString(C.dlerror()))
	}
	return handle, nil
}

// checkFile refuses a file that the loader would give no clear word about, or that would end the process: mapping a
// truncated library succeeds, and touching what is missing raises SIGBUS.
func checkFile(path string) error {
	if runtime.GOOS == "darwin" {
		return checkMachO(path)
	}
	f, err := elf.Open(path)
	if err != nil {
		return unreadable(err)
	}
	defer f.Close()
	if err := checkMachine(f.Machine.String()); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Off+p.Filesz > uint64(info.Size()) {
			return fmt.Errorf("truncated: %d bytes, but its segments reach to %d", info.Size(), p.Off+p.Filesz)
		}
	}
	return nil
}

func checkMachO(path string) error {
	if fat, err := macho.OpenFat(path); err == nil { // a universal file; the loader picks its part
		return fat.Close()
	}
	f, err := macho.Open(path)
	if err != nil {
		return unreadable(err)
	}
	defer f.Close()
	return checkMachine(f.Cpu.String())
}

func unreadable(err error) error {
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return err
	}
	return fmt.Errorf("not a shared library, or corrupt: %w", err)
}

// checkMachine compares a processor, as the debug packages name it, with this program's if that has a library at all.
func checkMachine(name string) error {
	name = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(name, "EM_"), "Cpu"))
	name = cmp.Or(map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[name], name)
	if known := runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"; known && name != runtime.GOARCH {
		return fmt.Errorf("built for %s, this program for %s", name, runtime.GOARCH)
	}
	return nil
}

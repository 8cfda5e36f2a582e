package onnx

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// appendCUDA adds the CUDA provider to a session's options. It runs on the device that CUDA_VISIBLE_DEVICES puts first.
//
// Float32 means float32, not TF32, and the algorithm of a convolution comes from cuDNN's table for its shape, not from
// timing: training must be reproducible. (The option's value DEFAULT asks cuDNN for its fallback algorithms, which are
// slow.) Memory is taken from the device as the provider does by default, in blocks that double: runs on batches of
// many sizes, as a server has them, then settle on few blocks.
func appendCUDA(options *ort.SessionOptions) error {
	missing := nvidia.load()
	cuda, err := ort.NewCUDAProviderOptions() // succeeds on a library without CUDA too
	if err == nil {
		defer cuda.Destroy()
		err = cuda.Update(map[string]string{"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
	}
	if err == nil {
		err = options.AppendExecutionProviderCUDA(cuda)
	}
	if err == nil {
		return nil
	}
	return cudaError(err, missing)
}

const gpuBuild = "get a GPU build of ONNX Runtime with `vitft setup --gpu` and set " + LibraryEnv +
	" to what it prints"

const cudaFix = "check nvidia-smi, or use the provider cpu"

const driverFix = "install the NVIDIA driver; in a container, start it with the GPU (--gpus all)"

// faults are what ONNX Runtime and CUDA say, in lower case, of a machine that cannot run CUDA. The first fit wins.
var faults = []struct {
	said         []string // any of these
	missing, fix string
}{
	{[]string{"not enabled in this build", "not been enabled"},
		"this ONNX Runtime library is built without CUDA", gpuBuild},
	{[]string{"driver version is insufficient", "cuda failure 35:"},
		"the NVIDIA driver is missing or too old for this library's CUDA",
		"install a driver for that CUDA version (nvidia-smi shows the one that the present driver can), or take a " +
			"library built for an older CUDA (vitft setup --gpu --cuda 12)"},
	{[]string{"no cuda-capable device", "cuda failure 100:"}, "no CUDA device is visible",
		"check nvidia-smi and CUDA_VISIBLE_DEVICES (in a container, --gpus all), or use the provider cpu"},
	{[]string{"invalid device ordinal", "invalid device id"}, "there is no such CUDA device",
		"check CUDA_VISIBLE_DEVICES against nvidia-smi -L"},
	{[]string{"system not yet initialized", "cuda failure 802:"}, "the GPU system is not initialised",
		"start NVIDIA's fabric manager (systemctl start nvidia-fabricmanager)"},
	{[]string{"unsupported display driver", "cuda failure 803:", "cuda failure 804:",
		"forward compatibility was attempted"},
		"the NVIDIA driver and its user libraries (libcuda) are of different versions",
		"reboot after a driver update; in a container, remove its CUDA compat libraries"},
	{[]string{"no kernel image", "nokernelimage", "cuda failure 209:"}, "the library has no code for this GPU",
		"use a library built for the GPU's compute capability"},
	{[]string{"cudnn is not available", "cudnn library was not found"}, "cuDNN (libcudnn.so.9) is missing", ""},
	{[]string{"cudnn_status_not_initialized", "cudnn_status_sublibrary", "cudnn_status_version_mismatch", "libcudnn_"},
		"cuDNN does not start",
		"install all of cuDNN 9 in one place, of one version, and no other version in LD_LIBRARY_PATH"},
	{[]string{"undefined symbol", "not defined in file", "invalid elf header", "file too short"},
		"NVIDIA's libraries do not fit together",
		"keep libraries of one CUDA version in LD_LIBRARY_PATH, or take it out and install them beside the library"},
	{[]string{"out of memory", "failed to allocate memory", "cublas_status_alloc_failed"}, "GPU memory",
		"end other programs on the GPU (nvidia-smi lists them), or use a smaller batch"},
	{[]string{"cuda failure", "cuda error", "cudnn failure", "cublas failure"}, "CUDA fails", cudaFix},
}

var missingLibrary = regexp.MustCompile(`(lib[\w+-]+\.so[.\d]*): cannot open shared object file`)

// cudaError tells what is missing, from what ONNX Runtime said; missing are libraries that are known not to be there.
func cudaError(err error, missing []string) *ProviderError {
	return cmp.Or(cudaFault(err, missing), &ProviderError{CUDA, "CUDA does not start", cudaFix, err})
}

// cudaFault is cudaError for what is the machine's fault beyond doubt, and nil for the rest.
func cudaFault(err error, missing []string) *ProviderError {
	low := strings.ToLower(err.Error())
	lib := missingLibrary.FindStringSubmatch(err.Error())
	switch {
	case lib != nil && strings.HasPrefix(lib[1], "libonnxruntime"):
		return &ProviderError{CUDA, lib[1] + " is not beside the library", gpuBuild, err}
	case lib != nil && len(missing) == 0: // something that a library needs in its turn
		missing = lib[1:]
		fallthrough
	case lib != nil, slices.Contains(missing, driver) && strings.Contains(low, "driver version is insufficient"):
		return &ProviderError{CUDA, listed(missing) + " missing", nvidia.cure(missing), err}
	}
	for _, f := range faults {
		if slices.ContainsFunc(f.said, func(s string) bool { return strings.Contains(low, s) }) {
			return &ProviderError{CUDA, f.missing, cmp.Or(f.fix, nvidia.cure([]string{cudnn})), err}
		}
	}
	return nil
}

// listed is "a is", "a and b are", "a, b and c are".
func listed(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0] + " is"
	}
	return strings.Join(names[:last], ", ") + " and " + names[last] + " are"
}

package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// export is the cure for models in other formats.
const export = ": export the model to ONNX first"

// magics are what formats begin with, at an offset.
var magics = []struct {
	at          int
	begins, has string // has: what is somewhere in the beginning, besides
	is          string
}{
	{0, "version https://git-lfs", "", "it is a Git LFS pointer: run `git lfs pull` where it comes from"},
	{0, "PK\x03\x04", "model.weights.h5", "it is a Keras archive" + export},
	{0, "PK\x03\x04", "/data.pkl", "it is a PyTorch checkpoint" + export},
	{0, "PK\x03\x04", "/version", "it is a PyTorch archive" + export},
	{0, "PK\x03\x04", ".npy", "it is a NumPy archive" + export},
	{0, "PK\x03\x04", "", "it is a zip archive, or a PyTorch checkpoint: unpack it, or export the model to ONNX first"},
	{0, "\x80\x02\x8a\x0al\xfc\x9cF\xf9", "", "it is an old PyTorch checkpoint" + export},
	{0, "\x80", "", "it is a Python pickle, such as an old PyTorch checkpoint" + export},
	{0, "\x89HDF", "", "it is an HDF5 file, as Keras writes" + export},
	{4, "TFL3", "", "it is a TensorFlow Lite model" + export + " from what it was made of"},
	{4, "ORTM", "", "it is in ONNX Runtime's own format (.ort): give the .onnx file that it was made of"},
	{0, "\x08\x01\x12", "saved_model", "it is a TensorFlow SavedModel: convert its folder with tf2onnx first"},
	{0, "\x08\x01\x12", "VarHandleOp", "it is a TensorFlow SavedModel: convert its folder with tf2onnx first"},
	{0, "\x0a", "Placeholder", "it is a TensorFlow graph: convert it with tf2onnx first"},
	{0, "\x08", "coremltools", "it is a Core ML model" + export + " from what it was made of"},
	{0, "ftrt", "", "it is a TensorRT engine: give the .onnx file that it was built of"},
	{0, "ptrt", "", "it is a TensorRT engine: give the .onnx file that it was built of"},
	{0, "GGUF", "", "it is a GGUF file" + export + " from what it was made of"},
	{0, "\x93NUMPY", "", "it is a NumPy array" + export},
	{0, "7767517", "", "it is an ncnn model" + export + " from what it was made of"},
	{0, "\x1f\x8b", "", "it is compressed: unpack it with gunzip first"},
	{0, "\x28\xb5\x2f\xfd", "", "it is compressed: unpack it with unzstd first"},
	{0, "\xfd7zXZ", "", "it is compressed: unpack it with unxz first"},
	{0, "BZh", "", "it is compressed: unpack it with bunzip2 first"},
	{0, "7z\xbc\xaf", "", "it is an archive: unpack it with 7z first"},
	{0, "Rar!", "", "it is an archive: unpack it with unrar first"},
	{257, "ustar", "", "it is an archive: unpack it with tar first"},
}

// lookalike tells in brackets what a file is that people take for an ONNX model.
func lookalike(data []byte) string {
	if is := other(data[:min(len(data), 64<<10)]); is != "" {
		return " (" + is + ")"
	}
	return ""
}

// other says what a file is that begins so, "" if that is not known.
func other(data []byte) string {
	if len(data) == 0 {
		return "it is empty: the download or the copy was broken off"
	}
	for _, m := range magics {
		if len(data) > m.at && bytes.HasPrefix(data[m.at:], []byte(m.begins)) && bytes.Contains(data, []byte(m.has)) {
			return m.is
		}
	}
	if len(data) > 9 && data[8] == '{' {
		return "it is a safetensors file" + export
	}
	if !slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
		return "it begins with zeros: the download or the copy was broken off"
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff"))
	const failed = ": the download went wrong"
	switch small := strings.ToLower(text); {
	case strings.HasPrefix(small, "<!doctype html"), strings.HasPrefix(small, "<html"):
		return "it is a web page" + failed
	case strings.HasPrefix(small, "<") && strings.Contains(small, "<net"):
		return "it is an OpenVINO model (IR)" + export + ", from what it was made of"
	case strings.HasPrefix(small, "<") && strings.Contains(small, "<error"):
		return "it is an error message of a server" + failed
	case strings.HasPrefix(small, "<?xml"):
		return "it is an XML file, and no model is written so here"
	case strings.HasPrefix(text, "{") && json.Valid([]byte(text)), readable(text):
		line, _, _ := strings.Cut(text, "\n")
		if len(line) > 60 {
			line = strings.ToValidUTF8(line[:60], "") + "…"
		}
		return fmt.Sprintf("it is a text that begins %q; if it was to be downloaded, that went wrong", line)
	}
	return ""
}

// readable reports whether text is for people. Its end may be cut within a character.
func readable(text string) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && len(text) >= utf8.UTFMax || r != utf8.RuneError && !unicode.IsPrint(r) &&
			!strings.ContainsRune("\n\r\t", r) {
			return false
		}
		text = text[n:]
	}
	return true
}

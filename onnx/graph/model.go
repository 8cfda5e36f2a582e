package graph

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// ErrModel means that a file is no model, is damaged, or is one that cannot serve what is asked of it. The message
// gives the reason and the cure. Its kind is "data".
var ErrModel error = &dataError{"unsuitable model"}

type dataError struct{ text string }

func (e *dataError) Error() string { return e.text }

// Kind says what a caller can do: see to the data.
func (e *dataError) Kind() string { return "data" }

const (
	// maxFile is the size that a protobuf message, and so an ONNX file without external data, may have.
	maxFile = math.MaxInt32
	// maxDepth limits how deep graphs may be nested in If, Loop and Scan nodes.
	maxDepth = 32
)

// Model is an ONNX model in memory. Weights that the file keeps in other files (external data) stay there until
// [Model.Inline].
type Model struct {
	proto *onnxpb.ModelProto
	path  string   // "" when parsed from memory
	dir   string   // where external data is
	files []string // the files of external data that were there when it was read, relative to dir
	size  int64
}

// Read reads a model file and checks that its external data, if any, is all there.
func Read(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%w: %s is a folder; name the .onnx file in it", ErrModel, path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %s has %d bytes, and an ONNX file cannot exceed 2 GB; export it with external data", ErrModel, path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	m, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.path = path
	m.dir = filepath.Dir(path)
	if err := m.resolveExternal(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse decodes a model. A model with external data can be looked at, but neither run nor identified: use [Read].
func Parse(data []byte) (*Model, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: %d bytes, and an ONNX file cannot exceed 2 GB; export it with external data", ErrModel, len(data))
	}
	p := new(onnxpb.ModelProto)
	if err := (proto.UnmarshalOptions{RecursionLimit: 4 * maxDepth}).Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("%w: not an ONNX file, or damaged or cut short%s", ErrModel, lookalike(data))
	}
	if p.Graph == nil || len(p.Graph.Node) == 0 || len(p.Graph.Output) == 0 || len(p.OpsetImport) == 0 {
		return nil, fmt.Errorf("%w: not an ONNX file, or one without a graph%s", ErrModel, lookalike(data))
	}
	return &Model{proto: p, size: int64(len(data))}, nil
}

// lookalike tells what a file is that people mistake for an ONNX model.
func lookalike(data []byte) string {
	switch {
	case len(data) == 0:
		return " (it is empty)"
	case bytes.HasPrefix(data, []byte("version https://git-lfs")):
		return " (it is a Git LFS pointer: run `git lfs pull` where it comes from)"
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return " (it looks like a PyTorch checkpoint or a zip archive: export the model to ONNX first)"
	case bytes.HasPrefix(data, []byte("<")):
		return " (it looks like a web page: the download went wrong)"
	case bytes.HasPrefix(data, []byte("\x89HDF")):
		return " (it is an HDF5 file: export the model to ONNX first)"
	case len(data) > 9 && data[8] == '{':
		return " (it looks like a safetensors file: export the model to ONNX first)"
	}
	return ""
}

// Bytes serialises the model, always to the same bytes for the same model. External data stays outside.
func (m *Model) Bytes() ([]byte, error) {
	if size := proto.Size(m.proto); size > maxFile {
		return nil, fmt.Errorf("%w: it takes %d bytes, and an ONNX file cannot exceed 2 GB", ErrModel, size)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.proto)
	if err != nil {
		return nil, fmt.Errorf("serialise model: %w", err)
	}
	return data, nil
}

// Dir returns the folder that external data is relative to, "" when the model has none.
func (m *Model) Dir() string {
	if len(m.external()) == 0 {
		return ""
	}
	return m.dir
}

// Metadata returns the value of a metadata key.
func (m *Model) Metadata(key string) (string, bool) {
	for _, p := range m.proto.MetadataProps {
		if p.GetKey() == key {
			return p.GetValue(), true
		}
	}
	return "", false
}

// SetMetadata sets a metadata key.
func (m *Model) SetMetadata(key, value string) {
	for _, p := range m.proto.MetadataProps {
		if p.GetKey() == key {
			p.Value = &value
			return
		}
	}
	m.proto.MetadataProps = append(m.proto.MetadataProps, &onnxpb.StringStringEntryProto{Key: &key, Value: &value})
}

// Hash identifies the model: the SHA-256 of the file, followed by the name and content of every file of external data
// if there are any, in hexadecimal. For a model without external data it is what sha256sum prints.
func (m *Model) Hash() (string, error) {
	h := sha256.New()
	if m.path == "" {
		data, err := m.Bytes()
		if err != nil {
			return "", err
		}
		h.Write(data)
	} else if err := hashFile(h, m.path); err != nil {
		return "", err
	}
	files := slices.Clone(m.files)
	for _, t := range m.external() {
		loc, err := location(t)
		if err != nil {
			return "", err
		}
		files = append(files, loc.path)
	}
	slices.Sort(files)
	for _, f := range slices.Compact(files) {
		fmt.Fprintf(h, "\x00%s\x00", f)
		if err := hashFile(h, filepath.Join(m.dir, filepath.FromSlash(f))); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("identify model: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("identify model: read %s: %w", path, err)
	}
	return nil
}

// Clone returns a copy that shares nothing with m.
func (m *Model) Clone() *Model {
	c := *m
	c.proto = proto.Clone(m.proto).(*onnxpb.ModelProto)
	return &c
}

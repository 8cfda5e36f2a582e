package graph

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// extLocation is where a tensor's data is: the external_data entries of a TensorProto.
type extLocation struct {
	path           string // slash-separated, relative to the model's folder and never above it
	offset, length int64  // length is -1 for "to the end of the file"
}

// location reads and checks the external_data entries of a tensor.
func location(t *onnxpb.TensorProto) (extLocation, error) {
	loc := extLocation{length: -1}
	bad := func(format string, args ...any) (extLocation, error) {
		return extLocation{}, fmt.Errorf("%w: external data of tensor %q: %s", ErrModel, t.GetName(), fmt.Sprintf(format, args...))
	}
	for _, e := range t.ExternalData {
		var err error
		switch e.GetKey() {
		case "location":
			loc.path = e.GetValue()
		case "offset":
			loc.offset, err = strconv.ParseInt(e.GetValue(), 10, 64)
		case "length":
			loc.length, err = strconv.ParseInt(e.GetValue(), 10, 64)
			if err == nil && loc.length < 0 {
				err = errors.New("negative")
			}
		}
		if err != nil || loc.offset < 0 {
			return bad("%s %q is no number of bytes", e.GetKey(), e.GetValue())
		}
	}
	if loc.path == "" {
		return bad("no location given")
	}
	clean := path.Clean(strings.ReplaceAll(loc.path, `\`, "/"))
	if !filepath.IsLocal(filepath.FromSlash(clean)) || clean == "." {
		return bad("%q leads out of the model's folder", loc.path)
	}
	loc.path = clean
	return loc, nil
}

// external returns the tensors whose data is in other files.
func (m *Model) external() []*onnxpb.TensorProto {
	var ts []*onnxpb.TensorProto
	eachTensor(m.proto.Graph, func(t *onnxpb.TensorProto) {
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			ts = append(ts, t)
		}
	})
	return ts
}

// eachTensor calls f with every constant of a graph: initialisers, and tensors in attributes, in subgraphs too.
func eachTensor(g *onnxpb.GraphProto, f func(*onnxpb.TensorProto)) {
	for _, t := range g.GetInitializer() {
		f(t)
	}
	for _, n := range g.GetNode() {
		for _, a := range n.Attribute {
			if a.T != nil {
				f(a.T)
			}
			for _, t := range a.Tensors {
				f(t)
			}
			if a.G != nil {
				eachTensor(a.G, f)
			}
			for _, sub := range a.Graphs {
				eachTensor(sub, f)
			}
		}
	}
}

// smallTensor is the size in bytes up to which external data is loaded at once: shapes and axes, without which neither
// this package nor ONNX Runtime can infer shapes.
const smallTensor = 1024

// resolveExternal sees that every file of external data is there and long enough, and loads the small tensors.
func (m *Model) resolveExternal() error {
	for _, t := range m.external() {
		f, n, err := m.openExternal(t)
		if err != nil {
			return err
		}
		f.Close()
		if loc, _ := location(t); !slices.Contains(m.files, loc.path) {
			m.files = append(m.files, loc.path)
		}
		if n <= smallTensor {
			if err := m.load(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// openExternal opens the file with a tensor's data, at its beginning; n is the number of bytes to read. Symbolic links
// are followed: the Hugging Face cache keeps its files behind them.
func (m *Model) openExternal(t *onnxpb.TensorProto) (f *os.File, n int64, err error) {
	loc, err := location(t)
	if err != nil {
		return nil, 0, err
	}
	f, err = os.Open(filepath.Join(m.dir, filepath.FromSlash(loc.path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %s is missing: it holds the weights and belongs beside the model", ErrModel, loc.path)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("external data of tensor %q: %w", t.GetName(), err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("external data %s: %w", loc.path, err)
	}
	n = loc.length
	if n < 0 {
		n = info.Size() - loc.offset
	}
	if n < 0 || loc.offset > info.Size() || n > info.Size()-loc.offset {
		return nil, 0, fmt.Errorf("%w: %s has %d bytes, but tensor %q reaches to byte %d: the file is cut short or belongs to another model", ErrModel, loc.path, info.Size(), t.GetName(), loc.offset+max(n, 0))
	}
	if _, err := f.Seek(loc.offset, io.SeekStart); err != nil {
		return nil, 0, fmt.Errorf("external data %s: %w", loc.path, err)
	}
	return f, n, nil
}

// load puts a tensor's external data into the tensor.
func (m *Model) load(t *onnxpb.TensorProto) error {
	f, n, err := m.openExternal(t)
	if err != nil {
		return err
	}
	defer f.Close()
	raw := make([]byte, n)
	if _, err := io.ReadFull(f, raw); err != nil {
		return fmt.Errorf("external data of tensor %q: %w", t.GetName(), err)
	}
	t.RawData = raw
	t.ExternalData = nil
	t.DataLocation = nil
	return nil
}

// behindLinks reports whether external data is reached through symbolic links that leave the model's folder, as in the
// Hugging Face cache. ONNX Runtime does not follow those.
func (m *Model) behindLinks() bool {
	dir, err := filepath.EvalSymlinks(m.dir)
	if err != nil {
		return false
	}
	for _, t := range m.external() {
		loc, err := location(t)
		if err != nil {
			continue
		}
		real, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(loc.path)))
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(dir, real); err != nil || !filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// Inline loads all external data into the model, which can then be serialised as one file.
func (m *Model) Inline() error {
	whole := &Model{proto: proto.Clone(m.proto).(*onnxpb.ModelProto), path: m.path, dir: m.dir} // tensors may be shared
	tensors := whole.external()
	total := int64(proto.Size(m.proto))
	for _, t := range tensors {
		f, n, err := m.openExternal(t)
		if err != nil {
			return err
		}
		f.Close()
		if total += n; total > maxFile {
			return fmt.Errorf("%w: with its external data it has more than 2 GB, too much for one ONNX file", ErrModel)
		}
	}
	for _, t := range tensors {
		if err := whole.load(t); err != nil {
			return err
		}
	}
	m.proto = whole.proto
	return nil
}

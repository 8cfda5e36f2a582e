package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Dir returns the folder that external data is relative to, "" when the model has none.
func (m *Model) Dir() string {
	if len(m.external()) == 0 {
		return ""
	}
	return m.dir
}

// Inline loads all external data into the model, which can then be serialised as one file.
func (m *Model) Inline() error {
	whole := m.Clone() // tensors may be shared
	tensors := whole.external()
	places := make([]place, len(tensors))
	total := int64(proto.Size(m.proto))
	for i, t := range tensors {
		var err error
		if places[i], err = m.extent(t); err != nil {
			return err
		}
		if total += places[i].length; total > maxFile {
			return fmt.Errorf("%w: with its external data it has more than 2 GB, too much for one ONNX file", ErrModel)
		}
	}
	for i, t := range tensors {
		if err := m.load(t, places[i]); err != nil {
			return err
		}
	}
	m.proto = whole.proto
	return nil
}

// BehindLinks reports whether external data is reached through symbolic links that leave the model's folder, as in the
// Hugging Face cache. ONNX Runtime does not follow those.
func (m *Model) BehindLinks() bool {
	dir, err := filepath.EvalSymlinks(m.dir)
	if err != nil {
		return false
	}
	for _, t := range m.external() {
		loc, _ := location(t) // what is wrong with it others say
		real, missing := filepath.EvalSymlinks(m.file(loc))
		if rel, err := filepath.Rel(dir, real); missing == nil && (err != nil || !filepath.IsLocal(rel)) {
			return true
		}
	}
	return false
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
	} else if read, err := m.read.(hash.Cloner).Clone(); err != nil {
		return "", err
	} else {
		h = read // what the file had when it was read: it may be another by now
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
		if err := hashFile(h, m.file(place{path: f})); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(w io.Writer, path string) error {
	f, _, err := userfile.Open(path)
	if err == nil {
		defer f.Close()
		_, err = io.Copy(w, f)
	}
	if err != nil {
		return fmt.Errorf("identify model: %w", err)
	}
	return nil
}

// Unchanged refuses a model whose external data, which ONNX Runtime reads by itself, are others than when it was read.
func (m *Model) Unchanged() error {
	for path, was := range m.seen {
		info, err := os.Stat(path)
		if err != nil || !os.SameFile(info, was) || info.Size() != was.Size() ||
			!info.ModTime().Equal(was.ModTime()) {
			return fmt.Errorf("%w: %s has changed while it was used; begin anew", ErrModel, path)
		}
	}
	return nil
}

// place is where a tensor's data is: the external_data entries of a TensorProto.
type place struct {
	path           string // slash-separated, relative to the model's folder and never above it
	offset, length int64  // length is -1 for "to the end of the file"
}

// location reads and checks the external_data entries of a tensor.
func location(t *Tensor) (place, error) {
	loc := place{length: -1}
	bad := func(format string, args ...any) (place, error) {
		what := fmt.Sprintf(format, args...)
		return place{}, fmt.Errorf("%w: external data of tensor %q: %s", ErrModel, t.GetName(), what)
	}
	numbers := map[string]*int64{"offset": &loc.offset, "length": &loc.length}
	for _, e := range t.ExternalData {
		key, value := e.GetKey(), e.GetValue()
		if key == "location" {
			loc.path = value
		} else if at := numbers[key]; at != nil {
			n, err := strconv.ParseInt(value, 10, 64)
			if *at = n; err != nil || n < 0 {
				return bad("%s %q is no number of bytes", key, value)
			}
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
func (m *Model) external() []*Tensor {
	var ts []*Tensor
	EachTensor(m.proto.Graph, func(t *Tensor) {
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			ts = append(ts, t)
		}
	})
	return ts
}

// smallTensor is the size in bytes up to which external data is loaded at once: shapes and axes, without which neither
// this package nor ONNX Runtime can infer shapes.
const smallTensor = 1024

// resolveExternal sees that every file of external data is there and long enough, and loads the small tensors.
func (m *Model) resolveExternal() error {
	for _, t := range m.external() {
		loc, err := m.extent(t)
		if err != nil {
			return err
		}
		if !slices.Contains(m.files, loc.path) {
			m.files = append(m.files, loc.path)
		}
		if loc.length <= smallTensor {
			if err := m.load(t, loc); err != nil {
				return err
			}
		}
	}
	return nil
}

// extent is location with the length, after a look at the file, which in the Hugging Face cache is behind a link.
func (m *Model) extent(t *Tensor) (place, error) {
	loc, err := location(t)
	if err != nil {
		return loc, err
	}
	info, err := userfile.Regular(m.file(loc))
	if errors.Is(err, fs.ErrNotExist) {
		return loc, fmt.Errorf("%w: %s is missing: it holds the weights and belongs beside the model", ErrModel,
			loc.path)
	}
	if errors.As(err, new(userfile.Refusal)) {
		return loc, fmt.Errorf("%w: external data of tensor %q: %w", ErrModel, t.GetName(), err)
	} else if err != nil {
		return loc, fmt.Errorf("external data of tensor %q: %w", t.GetName(), err)
	}
	if m.seen != nil && m.seen[m.file(loc)] == nil {
		m.seen[m.file(loc)] = info
	}
	size := info.Size()
	if loc.length < 0 {
		loc.length = size - loc.offset
	}
	if loc.length < 0 || loc.offset > size || loc.length > size-loc.offset {
		return loc, fmt.Errorf("%w: %s has %d bytes, but tensor %q reaches to byte %d: the file is cut short or "+
			"belongs to another model", ErrModel, loc.path, size, t.GetName(), loc.offset+max(loc.length, 0))
	}
	return loc, nil
}

func (m *Model) file(loc place) string { return filepath.Join(m.dir, filepath.FromSlash(loc.path)) }

// load puts a tensor's external data into the tensor.
func (m *Model) load(t *Tensor, from place) error {
	raw := make([]byte, from.length)
	f, _, err := userfile.Open(m.file(from))
	if err == nil {
		defer f.Close()
		_, err = f.ReadAt(raw, from.offset)
	}
	if err != nil {
		return fmt.Errorf("external data of tensor %q: %w", t.GetName(), err)
	}
	t.RawData, t.ExternalData, t.DataLocation = raw, nil, nil
	return nil
}

package graph

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Node, Tensor, Attribute and Graph are the messages that an ONNX file consists of, by shorter names.
type (
	Graph     = onnxpb.GraphProto
	Node      = onnxpb.NodeProto
	Tensor    = onnxpb.TensorProto
	Attribute = onnxpb.AttributeProto
)

// ErrModel means that a file is no model, is damaged, or is one that cannot serve what is asked of it. The message
// gives the reason and the cure. Its kind is "data".
var ErrModel error = dataError("unsuitable model")

type dataError string

func (e dataError) Error() string { return string(e) }
func (dataError) Kind() string    { return "data" }

// maxFile is the size that a protobuf message, and so an ONNX file without external data, may have.
const maxFile = math.MaxInt32

// unmarshal limits how deep graphs may be nested in If, Loop and Scan nodes.
var unmarshal = proto.UnmarshalOptions{RecursionLimit: 128}

// Model is an ONNX model in memory. Weights in other files (external data) stay there until [Model.Inline].
type Model struct {
	proto *onnxpb.ModelProto
	path  string   // "" when parsed from memory
	dir   string   // where external data is
	files []string // the files of external data that were there when it was read, relative to dir
	size  int64    // of the file, in bytes; 0 when it has been built upon since

	read hash.Hash              // of the file, as it was read
	seen map[string]fs.FileInfo // what the files of external data looked like then
}

// New returns a model with an empty graph, in a version of the core operator set, to be filled with a [Builder].
func New(name string, opset int64) *Model {
	return &Model{proto: &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: &opset}},
		Graph:       &Graph{Name: &name},
	}}
}

// Read reads a model file, lets checks see its content, and checks that its external data, if any, is all there.
func Read(path string, checks ...func(path string, content []byte) error) (*Model, error) {
	info, err := userfile.Regular(path)
	if err == nil && info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w", path, tooLarge(info.Size()))
	}
	data, err := userfile.Read(path, maxFile)
	if errors.As(err, new(userfile.Refusal)) {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	} else if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	for _, check := range checks {
		if err := check(path, data); err != nil {
			return nil, err
		}
	}
	m, err := Parse(data)
	if of := externalName.FindStringSubmatch(filepath.Base(path)); err != nil && of != nil {
		err = fmt.Errorf("%w (by its name it holds the weights of %s: give that file)", err, of[1])
	}
	if err == nil {
		m.path, m.dir, m.read, m.seen = path, filepath.Dir(path), sha256.New(), map[string]fs.FileInfo{}
		m.read.Write(data)
		err = m.resolveExternal()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// externalName ends the names that exporters give files with the weights of a model, after that of the model.
var externalName = regexp.MustCompile(`^(.*\.onnx)[._]data(_\d+)?$`)

// Parse decodes a model. A model with external data can be looked at, but neither run nor identified: use [Read].
func Parse(data []byte) (*Model, error) {
	if len(data) > maxFile {
		return nil, tooLarge(int64(len(data)))
	}
	p := new(onnxpb.ModelProto)
	err := parse(data, p)
	if errors.Is(err, errParts) {
		return nil, err
	}
	if err != nil || len(p.Graph.GetNode()) == 0 || len(p.Graph.Output) == 0 || len(p.OpsetImport) == 0 {
		return nil, fmt.Errorf("%w: not an ONNX file, or damaged, cut short or without a graph%s", ErrModel,
			lookalike(data))
	}
	trim(p.Graph.Node)
	for _, f := range p.Functions {
		trim(f.Node)
	}
	return &Model{proto: p, size: int64(len(data))}, nil
}

// trim drops optional inputs that are left out at the end: they say nothing, and at a LayerNormalization without a bias
// ONNX Runtime 1.30 crashes.
func trim(nodes []*Node) {
	eachNode(nodes, func(n *Node) {
		for len(n.Input) > 0 && n.Input[len(n.Input)-1] == "" {
			n.Input = n.Input[:len(n.Input)-1]
		}
	})
}

func tooLarge(size int64) error {
	return fmt.Errorf("%w: %d bytes, and an ONNX file cannot exceed 2 GB; export it with external data", ErrModel, size)
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

// Sum is the SHA-256 of all that the model computes by, which is in it as a whole: the same for the same model on any
// machine, whichever file it was read from. Weights are hashed one by one, so that none are in memory twice.
func (m *Model) Sum() (string, error) {
	if m.Dir() != "" {
		return "", errors.New("sum of a model: its weights are in other files")
	}
	h, bare := sha256.New(), m.Copy()
	weights := bare.proto.Graph.Initializer
	bare.proto.Graph.Initializer, bare.proto.MetadataProps = nil, nil
	messages := []proto.Message{bare.proto}
	for _, t := range weights {
		messages = append(messages, t)
	}
	var text []byte
	for _, message := range messages {
		var err error
		if text, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(text[:0], message); err != nil {
			return "", fmt.Errorf("sum of a model: %w", err)
		}
		fmt.Fprintf(h, "%d\n", len(text))
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Proto returns the model as the file format has it. To change what it holds is to change the model.
func (m *Model) Proto() *onnxpb.ModelProto { return m.proto }

// Graph returns the main graph, which may be changed.
func (m *Model) Graph() *Graph { return m.proto.Graph }

// Opset returns the version of the core operator set, 0 if the model names none.
func (m *Model) Opset() int64 {
	for _, o := range m.proto.OpsetImport {
		if CoreDomain(o.GetDomain()) {
			return o.GetVersion()
		}
	}
	return 0
}

// CoreDomain reports whether a domain of operators is that of ONNX itself.
func CoreDomain(domain string) bool { return domain == "" || domain == "ai.onnx" }

// Metadata returns the value of a metadata key.
func (m *Model) Metadata(key string) (string, bool) {
	p := m.property(key)
	return p.GetValue(), p != nil
}

// SetMetadata sets a metadata key.
func (m *Model) SetMetadata(key, value string) {
	p := m.property(key)
	if p == nil {
		p = &onnxpb.StringStringEntryProto{Key: &key}
		m.proto.MetadataProps = append(m.proto.MetadataProps, p)
	}
	p.Value = &value
}

func (m *Model) property(key string) *onnxpb.StringStringEntryProto {
	for _, p := range m.proto.MetadataProps {
		if p.GetKey() == key {
			return p
		}
	}
	return nil
}

// Info is what a model says of itself.
type Info struct {
	Path         string           `json:"path,omitempty"`
	FileSize     int64            `json:"file_size"`               // bytes
	ExternalSize int64            `json:"external_size,omitempty"` // bytes of weights in other files
	Parameters   int64            `json:"parameters"`              // floating-point weights
	IRVersion    int64            `json:"ir_version"`
	Opset        int64            `json:"opset"`
	Opsets       map[string]int64 `json:"other_opsets,omitempty"` // by domain
	Producer     string           `json:"producer,omitempty"`
	Inputs       []Value          `json:"inputs"`
	Outputs      []Value          `json:"outputs"`
}

// Info returns what the model says of itself.
func (m *Model) Info() Info {
	in := Info{
		Path: m.path, FileSize: cmp.Or(m.size, int64(proto.Size(m.proto))),
		IRVersion: m.proto.GetIrVersion(), Opset: m.Opset(),
		Producer: strings.TrimSpace(m.proto.GetProducerName() + " " + m.proto.GetProducerVersion()),
		Inputs:   m.Inputs(), Outputs: m.Outputs(), Opsets: map[string]int64{},
	}
	for _, o := range m.proto.OpsetImport {
		if !CoreDomain(o.GetDomain()) {
			in.Opsets[o.GetDomain()] = o.GetVersion()
		}
	}
	EachTensor(m.proto.Graph, func(t *Tensor) {
		if slices.Contains([]string{"float32", "float16", "float64", "bfloat16"}, TypeOf(t)) {
			in.Parameters += max(Elements(t.Dims), 0)
		}
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			if loc, err := location(t); err == nil && loc.length > 0 {
				in.ExternalSize += loc.length
			}
		}
	})
	return in
}

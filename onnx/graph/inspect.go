package graph

import (
	"fmt"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Pooling says how a feature vector is made of what the model gives.
type Pooling string

const (
	PoolAuto    Pooling = "auto"         // the first of the others that fits; the zero value "" means the same
	PoolOutput  Pooling = "pooled"       // a tensor [B,D] as it is
	PoolCLS     Pooling = "cls"          // the first token of [B,N,D]
	PoolMean    Pooling = "mean"         // the mean over the patch tokens of [B,N,D], or over the positions of [B,D,h,w]
	PoolCLSMean Pooling = "cls+mean"     // both, one after the other: [B,2D]
	PoolLogits  Pooling = "logits-input" // what the classifier's last matrix product takes
)

// ParsePooling returns the pooling of that name.
func ParsePooling(name string) (Pooling, error) {
	switch p := Pooling(name); p {
	case "":
		return PoolAuto, nil
	case PoolAuto, PoolOutput, PoolCLS, PoolMean, PoolCLSMean, PoolLogits:
		return p, nil
	}
	return "", fmt.Errorf("unknown pooling %q; it must be auto, pooled, cls, mean, cls+mean or logits-input", name)
}

// FeatureChoice says what to take from a model. The zero value leaves everything to be found out.
type FeatureChoice struct {
	Tensor        string  // an output, or any tensor inside the graph; "" = find one
	Pooling       Pooling // default [PoolAuto]
	Width, Height int     // image size in pixels, for models that leave it open; 0 = as the model says
}

// Inspection says what a model is, what would be used of it, and why.
type Inspection struct {
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
	Image        ImageInput       `json:"image"`
	Feature      Feature          `json:"feature"`
	Reasons      []string         `json:"reasons"`            // for the choices, in order
	Problems     []string         `json:"problems,omitempty"` // why it cannot serve; empty if it can
}

// ImageInput describes how images enter the model.
type ImageInput struct {
	Input  string `json:"input"`
	Type   string `json:"type"`   // of the original input
	Layout string `json:"layout"` // "NCHW" or "NHWC"
	Batch  int64  `json:"batch"`  // -1 = any
	Width  int64  `json:"width"`  // -1 = any, must be chosen
	Height int64  `json:"height"`
}

// Feature describes the chosen feature.
type Feature struct {
	Tensor  string  `json:"tensor"`
	Shape   []int64 `json:"shape"` // of that tensor, -1 where not fixed
	Pooling Pooling `json:"pooling"`
	Prefix  int64   `json:"prefix_tokens"`    // tokens before the patches: 1 for a CLS token
	Layout  string  `json:"layout,omitempty"` // "NHWC" of a feature map [B,h,w,D]
	Dim     int64   `json:"dim"`              // D of the embedding, after pooling
}

// Inspect finds out what [Model.Backbone] would do. The inspection is filled as far as possible even when the model
// cannot serve; the error, which wraps [ErrModel], then holds its Problems.
func Inspect(m *Model, want FeatureChoice) (Inspection, error) {
	f := newFinder(m, want)
	f.find()
	in := f.result
	if f.failed() {
		return in, fmt.Errorf("%w: %s", ErrModel, strings.Join(in.Problems, "; "))
	}
	return in, nil
}

// Backbone returns the part of the model that maps images to features, with the input pixel_values, float32 [B,3,H,W],
// and the output embedding, float32 [B,D]. The model itself stays as it is; weights are shared, not copied. Metadata
// is kept; external data stays where it is, see [Model.Dir]. B is "batch" where it is dynamic; H, W and D are always
// fixed.
func (m *Model) Backbone(c FeatureChoice) (*Model, Inspection, error) {
	f := newFinder(m, c)
	f.find()
	if !f.failed() && (f.result.Image.Width < 1 || f.result.Image.Height < 1) {
		f.problem("the model takes images of any size: say which width and height")
	}
	in := f.result
	if f.failed() {
		return nil, in, fmt.Errorf("%w: %s", ErrModel, strings.Join(in.Problems, "; "))
	}
	cut, err := f.cut()
	if err != nil {
		return nil, in, err
	}
	if cut.behindLinks() {
		if err := cut.Inline(); err != nil {
			return nil, in, fmt.Errorf("%w (its external data is behind symbolic links, which ONNX Runtime does not follow: copy the files themselves into one folder)", err)
		}
	}
	return cut, in, nil
}

// finder gathers what is known of a model while the choices are made.
type finder struct {
	m        *Model
	want     FeatureChoice
	shapes   *shapes
	producer map[string]*onnxpb.NodeProto
	weights  map[string]*onnxpb.TensorProto // initialisers
	inputs   map[string]Value               // graph inputs that are no weights
	deps     map[string]uint64              // the inputs each tensor depends on
	stem     *onnxpb.NodeProto              // the convolution that the image enters; may be nil
	result   Inspection
}

func newFinder(m *Model, want FeatureChoice) *finder {
	f := &finder{m: m, want: want, producer: map[string]*onnxpb.NodeProto{}, weights: map[string]*onnxpb.TensorProto{}, inputs: map[string]Value{}}
	g := m.proto.Graph
	for _, t := range g.Initializer {
		f.weights[t.GetName()] = t
	}
	for _, t := range g.SparseInitializer {
		f.weights[t.GetValues().GetName()] = t.GetValues()
	}
	for _, n := range g.Node {
		for _, o := range n.Output {
			f.producer[o] = n
		}
	}
	f.shapes = inferShapes(m)
	in := &f.result
	in.Path, in.FileSize = m.path, m.size
	in.IRVersion, in.Opset = m.proto.GetIrVersion(), m.opset()
	in.Producer = strings.TrimSpace(m.proto.GetProducerName() + " " + m.proto.GetProducerVersion())
	for _, o := range m.proto.OpsetImport {
		if !coreDomain(o.GetDomain()) {
			if in.Opsets == nil {
				in.Opsets = map[string]int64{}
			}
			in.Opsets[o.GetDomain()] = o.GetVersion()
		}
	}
	in.Inputs, in.Outputs = []Value{}, []Value{}
	for _, info := range g.Input {
		if v := f.value(info); f.weights[v.Name] == nil {
			f.inputs[v.Name] = v
			in.Inputs = append(in.Inputs, v)
		}
	}
	for _, info := range g.Output {
		in.Outputs = append(in.Outputs, f.value(info))
	}
	f.count()
	return f
}

// value describes an input or output, with what inference adds to its declaration.
func (f *finder) value(info *onnxpb.ValueInfoProto) Value {
	v := valueOf(info)
	if s := f.shapes.of(v.Name); s != nil {
		v.Shape = s
	}
	return v
}

func (f *finder) count() {
	eachTensor(f.m.proto.Graph, func(t *onnxpb.TensorProto) {
		n := int64(1)
		for _, d := range t.Dims {
			n *= d
		}
		if isFloat(t.GetDataType()) && n > 0 {
			f.result.Parameters += n
		}
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			if loc, err := location(t); err == nil && loc.length > 0 {
				f.result.ExternalSize += loc.length
			}
		}
	})
}

func (f *finder) reason(format string, args ...any) {
	f.result.Reasons = append(f.result.Reasons, fmt.Sprintf(format, args...))
}

func (f *finder) problem(format string, args ...any) {
	f.result.Problems = append(f.result.Problems, fmt.Sprintf(format, args...))
}

func (f *finder) failed() bool { return len(f.result.Problems) > 0 }

func coreDomain(d string) bool { return d == "" || d == "ai.onnx" }

func isFloat(elem int32) bool {
	switch onnxpb.TensorProto_DataType(elem) {
	case onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_BFLOAT16:
		return true
	}
	return false
}

// opset returns the version of the core operator set.
func (m *Model) opset() int64 {
	for _, o := range m.proto.OpsetImport {
		if coreDomain(o.GetDomain()) {
			return o.GetVersion()
		}
	}
	return 0
}

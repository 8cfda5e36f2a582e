package grad

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// What is made of plainer operators before it is differentiated: functions of the model itself, what optimisers fused,
// what newer operator sets have one operator for, and numbers of other precisions.

// undone makes of a node others that give its first output, whose name they return.
var undone map[string]func(t *tape, n *graph.Node) (string, error)

func init() { // the table holds what uses it
	const ms = "com.microsoft."
	undone = map[string]func(t *tape, n *graph.Node) (string, error){
		"Gelu": gelu, ms + "Gelu": gelu, ms + "BiasGelu": gelu, ms + "FastGelu": gelu, ms + "QuickGelu": quickGelu,
		"Swish": swish, "HardSwish": hardSwish, "Mish": mish, "Selu": selu, "Softsign": softsign,
		"Max": pairs, "Min": pairs, "Mean": mean,

		"RMSNormalization": rmsNorm, "SimplifiedLayerNormalization": rmsNorm,
		ms + "SkipLayerNormalization": skipNorm, ms + "SkipSimplifiedLayerNormalization": skipNorm,
		"BatchNormalization": batchNorm, "InstanceNormalization": instanceNorm, "GroupNormalization": groupNorm,
		"LpNormalization": lpNorm,

		ms + "FusedMatMul": fusedMatMul, ms + "FusedGemm": fusedGemm,
		ms + "FusedConv": fusedConv,

		"Attention": attention, ms + "MultiHeadAttention": multiHead, ms + "Attention": packedAttention,
		"RotaryEmbedding": rotary, ms + "RotaryEmbedding": rotary,
	}
}

// Plain returns a model whose nodes of some operators, named with their domain if that is not ONNX's own, are made of
// plainer ones where they lie on the way from a tensor to another. The model stays as it is. The error, which wraps
// [graph.ErrModel], names those that cannot be.
func Plain(m *graph.Model, from, to string, operators ...string) (*graph.Model, error) {
	c := m.Copy()
	if err := c.Sort(); err != nil {
		return nil, err
	}
	return c, undo(c, to, []string{from}, operators...)
}

// undo replaces the nodes on the way from some tensors to another that are made of others, those of some operators if
// such are named, until there are none.
func undo(m *graph.Model, of string, wrt []string, operators ...string) error {
	for {
		t := newTape(m, "plain")
		replaced := map[*graph.Node]bool{}
		var refused []Refusal
		for _, n := range findPath(m, of, wrt).nodes {
			if len(operators) > 0 && !slices.Contains(operators, opName(n)) {
				continue
			}
			make := undone[opName(n)]
			if fn := m.Function(n); fn != nil {
				make = func(t *tape, n *graph.Node) (string, error) { return "", t.inline(n, fn) }
			}
			if make == nil || len(n.Input) < 3 && slices.Contains([]string{"Max", "Min"}, opName(n)) {
				continue
			}
			var out string
			err := valid(func() (err error) { out, err = make(t, n); return err })
			if err != nil {
				refused = append(refused, Refusal{opName(n), n.GetName(), err.Error()})
				continue
			}
			if out != "" {
				t.Node("Identity", []string{out}, n.Output[0])
			}
			replaced[n] = true
		}
		if len(refused) > 0 {
			return &UnsupportedError{of, refused}
		}
		if len(replaced) == 0 {
			return nil
		}
		g := m.Graph()
		g.Node = slices.DeleteFunc(g.Node, func(n *graph.Node) bool { return replaced[n] })
		if err := m.Sort(); err != nil {
			return err
		}
	}
}

// needs returns an error if a node has inputs, or outputs that are used, beyond those that are provided for.
func (t *tape) needs(n *graph.Node, inputs, outputs int) error {
	for i := inputs; i < len(n.Input); i++ {
		if n.Input[i] != "" {
			return fmt.Errorf("there is no rule for its input %q", n.Input[i])
		}
	}
	for i := outputs; i < len(n.Output); i++ {
		if name := n.Output[i]; name != "" && len(t.index.Consumers[name]) > 0 {
			return fmt.Errorf("there is no rule for its output %q", name)
		}
	}
	return nil
}

// inline puts the nodes of a function in the place of a node that calls it.
func (t *tape) inline(n *graph.Node, fn *onnxpb.FunctionProto) error {
	name := map[string]string{"": ""}
	for i, in := range fn.Input {
		name[in] = graph.Input(n, i)
	}
	for i, out := range fn.Output {
		if i < len(n.Output) && n.Output[i] != "" {
			name[out] = n.Output[i]
		}
	}
	to := func(list []string) []string {
		out := make([]string, len(list))
		for i, x := range list {
			if _, ok := name[x]; !ok {
				name[x] = t.Fresh()
			}
			out[i] = name[x]
		}
		return out
	}
	for _, inner := range fn.Node {
		c := proto.CloneOf(inner)
		if len(graph.Uses(c)) != len(c.Input) {
			return fmt.Errorf("the function has a %s with a graph of its own", c.GetOpType())
		}
		c.Input, c.Output = to(c.Input), to(c.Output)
		attrs := c.Attribute
		c.Attribute = nil
		for _, a := range attrs {
			if ref := a.GetRefAttrName(); ref != "" {
				given := graph.Attr(n, ref)
				for _, def := range fn.AttributeProto {
					if given == nil && def.GetName() == ref {
						given = def
					}
				}
				if given == nil {
					continue // left out, so that the operator's own default holds
				}
				at := proto.CloneOf(given)
				at.Name = a.Name
				a = at
			}
			c.Attribute = append(c.Attribute, a)
		}
		t.m.Graph().Node = append(t.m.Graph().Node, c)
	}
	return nil
}

// float32s makes a model compute in float32 throughout.
func float32s(m *graph.Model) error {
	g := m.Graph()
	for i, w := range g.Initializer {
		c, err := toFloat32(w)
		if err != nil {
			return err
		}
		g.Initializer[i] = c
	}
	for _, n := range g.Node {
		for i, a := range n.Attribute {
			switch {
			case n.GetOpType() == "Cast" && a.GetName() == "to" && toBecome(graph.CastTo(n)):
				n.Attribute = slices.Clone(n.Attribute)
				n.Attribute[i] = graph.CastAttr("float32")
			case a.T != nil:
				c, err := toFloat32(a.T)
				if err != nil {
					return err
				}
				if c != a.T {
					n.Attribute = slices.Clone(n.Attribute)
					n.Attribute[i] = graph.TensorAttr(a.GetName(), c)
				}
			}
		}
	}
	inputs := m.Inputs()
	for i, v := range inputs {
		if toBecome(v.Type) {
			inputs[i].Type = "float32"
		}
	}
	m.SetInputs(inputs...)
	return nil
}

// toBecome says of an element type whether float32 takes its place.
func toBecome(elem string) bool { return graph.IsFloat(elem) && elem != "float32" }

func toFloat32(w *graph.Tensor) (*graph.Tensor, error) {
	kind := graph.TypeOf(w)
	if !toBecome(kind) {
		return w, nil
	}
	if w.GetDataLocation() != 0 {
		return nil, fmt.Errorf("%w: weight %q is of %s and in another file", graph.ErrModel, w.GetName(), kind)
	}
	var v []float32
	var halves []uint16
	for _, x := range w.DoubleData {
		v = append(v, float32(x))
	}
	for _, bits := range w.Int32Data {
		halves = append(halves, uint16(bits))
	}
	raw := w.RawData
	for ; kind == "float64" && len(raw) >= 8; raw = raw[8:] {
		v = append(v, float32(math.Float64frombits(binary.LittleEndian.Uint64(raw))))
	}
	for ; kind != "float64" && len(raw) >= 2; raw = raw[2:] {
		halves = append(halves, binary.LittleEndian.Uint16(raw))
	}
	if kind == "bfloat16" {
		for _, bits := range halves {
			v = append(v, math.Float32frombits(uint32(bits)<<16))
		}
	} else if halves != nil {
		v = make([]float32, len(halves))
		vec.Widen(v, halves)
	}
	if int64(len(v)) != graph.Elements(w.Dims) {
		return nil, fmt.Errorf("%w: weight %q of %s %v has %d values", graph.ErrModel, w.GetName(), kind, w.Dims,
			len(v))
	}
	out := graph.FloatTensor(w.Dims, v)
	out.Name = w.Name
	return out, nil
}

package grad

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
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

// undo replaces the nodes on the way from some tensors to another that are made of others, until there are none.
func undo(m *graph.Model, of string, wrt []string) error {
	for {
		t := newTape(m, "plain")
		replaced := map[*graph.Node]bool{}
		var refused []Refusal
		for _, n := range findPath(m, of, wrt).nodes {
			make := undone[opName(n)]
			if fn := m.Function(n); fn != nil {
				make = func(t *tape, n *graph.Node) (string, error) { return "", t.inline(n, fn) }
			}
			if make == nil || len(n.Input) < 3 && slices.Contains([]string{"Max", "Min"}, opName(n)) {
				continue
			}
			out, err := make(t, n)
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

// floating are the element types that all become float32: float32, float16, float64, bfloat16.
var floating = []int32{1, 10, 11, 16}

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
			cast := n.GetOpType() == "Cast" && a.GetName() == "to" && slices.Contains(floating, int32(a.GetI()))
			switch {
			case cast && a.GetI() != 1:
				n.Attribute = slices.Clone(n.Attribute)
				n.Attribute[i] = graph.IntAttr("to", 1)
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
		if v.Type == "float16" || v.Type == "float64" || v.Type == "bfloat16" {
			inputs[i].Type = "float32"
		}
	}
	m.SetInputs(inputs...)
	return nil
}

func toFloat32(w *graph.Tensor) (*graph.Tensor, error) {
	kind := graph.TypeOf(w)
	if kind != "float16" && kind != "float64" && kind != "bfloat16" {
		return w, nil
	}
	if w.GetDataLocation() != 0 {
		return nil, fmt.Errorf("%w: weight %q is of %s and in another file", graph.ErrModel, w.GetName(), kind)
	}
	out := &graph.Tensor{Name: w.Name, Dims: w.Dims, DataType: proto.Int32(1)}
	put := func(v float32) { out.RawData = binary.LittleEndian.AppendUint32(out.RawData, math.Float32bits(v)) }
	half := func(bits uint16) {
		if kind == "bfloat16" {
			put(math.Float32frombits(uint32(bits) << 16))
			return
		}
		put(fromHalf(bits))
	}
	for _, v := range w.DoubleData {
		put(float32(v))
	}
	for _, v := range w.Int32Data {
		half(uint16(v))
	}
	for b := w.RawData; len(b) > 0; {
		if kind == "float64" {
			put(float32(math.Float64frombits(binary.LittleEndian.Uint64(b))))
			b = b[8:]
			continue
		}
		half(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	return out, nil
}

// fromHalf decodes a float16.
func fromHalf(bits uint16) float32 {
	sign, exponent, fraction := float64(1), int(bits>>10&31), float64(bits&1023)
	if bits>>15 == 1 {
		sign = -1
	}
	switch exponent {
	case 0:
		return float32(sign * math.Ldexp(fraction, -24))
	case 31:
		if fraction != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1024+fraction, exponent-25))
}

package grad

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

var dump = flag.String("dump", "", "a folder to write the models of all cases to, for testdata/oracle.py")

// oracle has y and the gradients of a case by PyTorch in float64: float32, in base64.
type oracle map[string]map[string]string

func (o oracle) get(t testing.TB, name, tensor string) []float32 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(o[name][tensor])
	if err != nil || len(raw) == 0 {
		t.Fatalf("testdata/oracle.json has no %q of %q: make it anew (%v)", tensor, name, err)
	}
	return decode(raw)
}

// tensors are the values of a model's inputs.
func tensors(inputs []graph.Value) (list []onnx.Tensor) {
	for _, v := range inputs {
		shape := fixed(v.Shape)
		list = append(list, onnx.Tensor{Shape: shape, Data: values(v.Name, shape)})
	}
	return list
}

// Every rule against PyTorch and against central differences, with ONNX Runtime's optimisations and without.
func TestRules(t *testing.T) {
	var want oracle
	if err := json.Unmarshal(testkit.ReadFile(t, "testdata", "oracle.json"), &want); err != nil {
		t.Fatal(err)
	}
	var worst, worstDifference float64
	single := 0
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, wrt := model(t, c.opset, c.text)
			y := m.Outputs()[0]
			g, err := Backward(m, "y", wrt, Options{Seed: "seed", Outputs: []string{"y"}})
			if err != nil {
				t.Fatal(err)
			}
			shapes := [][]int64{fixed(y.Shape)}
			for _, name := range wrt {
				shapes = append(shapes, fixed(valueOf(m, name).Shape))
			}
			in := tensors(g.Inputs())
			for _, o := range []onnx.SessionOptions{{}, {AsWritten: true}} {
				got, err := run(t, g.Model, o, in, shapes...)
				if err != nil {
					t.Fatal(err)
				}
				for i, name := range slices.Concat([]string{"y"}, wrt) {
					e := off(got[i], want.get(t, c.name, name))
					if !(e < 1e-5) {
						t.Errorf("%+v: %s is off by %.1e: %v, want %v", o, name, e, got[i], want.get(t, c.name, name))
					}
					worst = max(worst, e)
				}
				if o.AsWritten {
					continue
				}
				for i, name := range wrt {
					e, double := difference(t, m, wrt, in, name, got[i+1])
					limit := 1e-5
					if !double {
						single++
						limit = 2e-3
					} else {
						worstDifference = max(worstDifference, e)
					}
					if !(e < limit) {
						t.Errorf("%s is off by %.1e from central differences (float64: %v)", name, e, double)
					}
				}
			}
		})
	}
	t.Logf("%d cases; worst against PyTorch %.1e, against differences in float64 %.1e; %d tensors in float32 only",
		len(cases), worst, worstDifference, single)
}

func valueOf(m *graph.Model, name string) graph.Value {
	for _, v := range m.Inputs() {
		if v.Name == name {
			return v
		}
	}
	panic(name)
}

// difference compares the gradient by one input with a central difference along a random direction, in float64 where
// ONNX Runtime has every operator in that. The difference is computed within one graph, so that no rounding of its
// inputs and outputs to float32 gets between.
func difference(t *testing.T, m *graph.Model, wrt []string, in []onnx.Tensor, name string, got []float32) (
	float64, bool) {
	t.Helper()
	direction := values("direction of "+name, fixed(valueOf(m, name).Shape))
	var along, scale float64
	for i, d := range direction {
		along += float64(d) * float64(got[i])
		scale += math.Abs(float64(d) * float64(got[i]))
	}
	feed := append(slices.Clone(in), onnx.Tensor{Shape: fixed(valueOf(m, name).Shape), Data: direction})
	for _, elem := range []string{"float64", "float32"} {
		d, err := differences(m, wrt, name, elem)
		if err != nil {
			t.Fatal(err)
		}
		out, err := run(t, d, onnx.SessionOptions{AsWritten: true}, feed, []int64{1})
		if err != nil {
			if elem == "float64" && strings.Contains(err.Error(), "Could not find an implementation") {
				continue
			}
			t.Fatal(err)
		}
		return math.Abs(along-float64(out[0][0])) / max(scale, 1e-30), elem == "float64"
	}
	return 0, false
}

// differences is the graph of a central difference of Σ seed·y along a direction of one input.
func differences(m *graph.Model, wrt []string, name, elem string) (*graph.Model, error) {
	plain := m.Copy()
	if err := undo(plain, "y", wrt); err != nil {
		return nil, err
	}
	step := 1e-5
	if elem == "float32" {
		step = 1e-2
	}
	d := graph.New("difference", m.Opset())
	d.Proto().OpsetImport = m.Proto().OpsetImport
	inputs := append(m.Inputs(), graph.Value{Name: "seed", Type: "float32", Shape: m.Outputs()[0].Shape})
	inputs = append(inputs, graph.Value{Name: "direction", Type: "float32", Shape: valueOf(m, name).Shape})
	d.SetInputs(inputs...)
	b := graph.NewBuilder(d, "d")
	number := func(v float64) string {
		if elem == "float32" {
			return b.Floats(fmt.Sprint(v), nil, float32(v))
		}
		raw := binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
		return b.Raw(fmt.Sprint("double/", v), "float64", nil, raw)
	}
	var ends []string
	for _, side := range []float64{step, -step} {
		c := plain.Copy()
		to := map[string]string{}
		prefix := fmt.Sprint(side, "/")
		for i, w := range c.Graph().Initializer {
			to[w.GetName()] = prefix + w.GetName()
			if elem == "float64" && graph.TypeOf(w) == "float32" {
				c.Graph().Initializer[i] = toFloat64(w)
			}
		}
		for _, n := range c.Graph().Node {
			for _, o := range n.Output {
				if o != "" {
					to[o] = prefix + o
				}
			}
		}
		for _, v := range c.Inputs() {
			to[v.Name] = prefix + v.Name
			x := b.Cast(v.Name, "", elem)
			if v.Name == name {
				by := b.Node("Mul", []string{b.Cast("direction", "", elem), number(side)}, "")
				x = b.Node("Add", []string{x, by}, "")
			}
			b.Node("Identity", []string{x}, prefix+v.Name)
		}
		c.Rename(to)
		d.Graph().Initializer = append(d.Graph().Initializer, c.Graph().Initializer...)
		for _, n := range c.Graph().Node {
			n.Name = nil // both sides have it
			switch {
			case n.GetOpType() == "Cast" && elem == "float64":
				n.Attribute = nil
				n.OpType = proto.String("Identity")
				if graph.Attr(n, "to") != nil && !graph.IsFloat(graph.CastTo(n)) {
					panic(n)
				}
			case n.GetOpType() == "Erf" && elem == "float64":
				erf(b, number, n.Input[0], n.Output[0])
				continue
			}
			d.Graph().Node = append(d.Graph().Node, n)
		}
		product := b.Node("Mul", []string{prefix + "y", b.Cast("seed", "", elem)}, "")
		flat := b.Node("Reshape", []string{product, b.Int64s("all", []int64{1}, -1)}, "")
		ends = append(ends, b.Reduce("ReduceSum", flat, "", true, 0))
	}
	slope := b.Node("Div", []string{b.Node("Sub", ends, ""), number(2 * step)}, "")
	d.SetOutputs(graph.Value{Name: b.Cast(slope, "", "float32"), Type: "float32", Shape: []int64{1}})
	return d, nil
}

// erf is 2x/√π·∫exp(-(tx)²)dt over [0, 1], by Gauss's rule: ONNX Runtime has Erf in float32 only.
func erf(b *graph.Builder, number func(float64) string, x, out string) {
	const points = 32
	sum := ""
	for i := range points {
		z := math.Cos(math.Pi * (float64(i) + 0.75) / (points + 0.5)) // a root of Legendre's polynomial, by Newton
		slope := 0.0
		for range 50 {
			p, before := z, 1.0
			for k := 2.0; k <= points; k++ {
				p, before = ((2*k-1)*z*p-(k-1)*before)/k, p
			}
			slope = points * (z*p - before) / (z*z - 1)
			z -= p / slope
		}
		weight := 2 / ((1 - z*z) * slope * slope)
		tx := b.Node("Mul", []string{x, number((1 + z) / 2)}, "")
		e := b.Node("Exp", []string{b.Node("Neg", []string{b.Node("Mul", []string{tx, tx}, "")}, "")}, "")
		term := b.Node("Mul", []string{e, number(weight / math.Sqrt(math.Pi))}, "")
		if sum != "" {
			term = b.Node("Add", []string{sum, term}, "")
		}
		sum = term
	}
	b.Node("Mul", []string{sum, x}, out)
}

func toFloat64(w *graph.Tensor) *graph.Tensor {
	out := &graph.Tensor{Name: w.Name, Dims: w.Dims, DataType: proto.Int32(11)}
	for b := w.RawData; len(b) > 0; b = b[4:] {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		out.RawData = binary.LittleEndian.AppendUint64(out.RawData, math.Float64bits(v))
	}
	return out
}

// Whatever has a rule or is undone is in a case.
func TestEveryRuleHasACase(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases {
		m, _ := model(t, c.opset, c.text)
		for _, n := range m.Graph().Node {
			seen[opName(n)] = true
		}
	}
	for op := range rules {
		if !seen[op] {
			t.Errorf("no case has %s, which has a rule", op)
		}
	}
	for op := range undone {
		if !seen[op] {
			t.Errorf("no case has %s, which is undone", op)
		}
	}
}

// With -dump, the cases are written for testdata/oracle.py: each a model, and its inputs and the seed as weights.
func TestDump(t *testing.T) {
	if *dump == "" {
		t.Skip("name a folder by -dump")
	}
	for i, c := range cases {
		m, wrt := model(t, c.opset, c.text)
		m.SetMetadata("case", c.name)
		m.SetMetadata("wrt", strings.Join(wrt, " "))
		inputs := append(m.Inputs(), graph.Value{Name: "seed", Shape: m.Outputs()[0].Shape})
		for i, x := range tensors(inputs) {
			raw := []byte{}
			for _, v := range x.Data {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
			}
			w := &graph.Tensor{Name: &inputs[i].Name, Dims: x.Shape, DataType: proto.Int32(1), RawData: raw}
			m.Graph().Initializer = append(m.Graph().Initializer, w)
		}
		data, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*dump, fmt.Sprintf("%03d.onnx", i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

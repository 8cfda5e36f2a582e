package grad

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/onnx/graph"
)

// batch is the size of the open dimension in tests.
const batch = 2

// model builds a graph from a few lines of text:
//
//	x:B,5,8 w:8 !m:5,1           inputs; B is the open dimension; ! is one that no gradient is wanted of
//	a, b = Split<axis=1>(x, [2,3])
//	y = Mul(a, 0.5)              [] is a list of int64, 1 a scalar int64, 0.5 a float32, {1,0} a list of truth values
//
// The last line gives y.
func model(t testing.TB, opset int64, text string) (m *graph.Model, wrt []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	m = graph.New("case", opset)
	var inputs []graph.Value
	for _, in := range strings.Fields(lines[0]) {
		name, dims, _ := strings.Cut(in, ":")
		if kept, frozen := strings.CutPrefix(name, "!"); frozen {
			name = kept
		} else {
			wrt = append(wrt, name)
		}
		v := graph.Value{Name: name, Type: "float32", Shape: []int64{}}
		for d := range strings.SplitSeq(dims, ",") {
			switch d {
			case "":
			case "B":
				v.Shape = append(v.Shape, graph.Unknown)
			default:
				v.Shape = append(v.Shape, integer(t, d))
			}
		}
		inputs = append(inputs, v)
	}
	m.SetInputs(inputs...)
	m.Proto().OpsetImport = append(m.Proto().OpsetImport, proto.CloneOf(m.Proto().OpsetImport[0]))
	m.Proto().OpsetImport[1].Domain, m.Proto().OpsetImport[1].Version = proto.String("com.microsoft"), proto.Int64(1)
	b := graph.NewBuilder(m, "")
	for _, line := range lines[1:] {
		outs, call, _ := strings.Cut(strings.TrimSpace(line), " = ")
		head, args, ok := strings.Cut(call, "(")
		if !ok {
			t.Fatalf("no call: %s", line)
		}
		op, attrs, _ := strings.Cut(head, "<")
		dot := strings.LastIndex(op, ".")
		var list []*graph.Attribute
		for _, a := range commas(strings.TrimSuffix(attrs, ">")) {
			list = append(list, attribute(t, a))
		}
		var in []string
		for _, a := range commas(strings.TrimSuffix(args, ")")) {
			in = append(in, argument(t, b, a))
		}
		b.Nodes(op[dot+1:], in, commas(outs), list...)
		if dot > 0 {
			m.Graph().Node[len(m.Graph().Node)-1].Domain = proto.String(op[:dot])
		}
	}
	m.SetOutputs(graph.Value{Name: "y", Type: "float32"})
	dims, _ := infer(m)
	if dims["y"] == nil {
		t.Fatalf("shape of y unknown in %s", text)
	}
	m.SetOutputs(graph.Value{Name: "y", Type: "float32", Shape: declarable(dims["y"])})
	return m, wrt
}

// commas splits at commas that are in no brackets or quotes.
func commas(s string) (list []string) {
	depth, from, quoted := 0, 0, false
	for i, c := range s {
		switch {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("[{", c):
			depth++
		case strings.ContainsRune("]}", c):
			depth--
		case c == ',' && depth == 0:
			list = append(list, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	if s == "" {
		return nil
	}
	return append(list, strings.TrimSpace(s[from:]))
}

func integer(t testing.TB, s string) int64 {
	t.Helper()
	v, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func integers(t testing.TB, s string) []int64 {
	out := []int64{}
	for _, part := range commas(s[1 : len(s)-1]) {
		out = append(out, integer(t, part))
	}
	return out
}

func attribute(t testing.TB, s string) *graph.Attribute {
	name, v, _ := strings.Cut(s, "=")
	switch {
	case v[0] == '\'':
		return graph.StringAttr(name, strings.Trim(v, "'"))
	case v[0] == '[':
		return graph.IntsAttr(name, integers(t, v)...)
	case strings.Contains(v, "."):
		f, _ := strconv.ParseFloat(v, 32)
		return graph.FloatAttr(name, float32(f))
	}
	return graph.IntAttr(name, integer(t, v))
}

func argument(t testing.TB, b *graph.Builder, s string) string {
	switch {
	case s == "" || s[0] >= 'a' && s[0] <= 'z':
		return s
	case s[0] == '[':
		v := integers(t, s)
		return b.Int64s(s, []int64{int64(len(v))}, v...)
	case s[0] == '{':
		v := integers(t, s)
		raw := make([]byte, len(v))
		for i := range v {
			raw[i] = byte(v[i])
		}
		return b.Raw("bool/"+s, "bool", []int64{int64(len(v))}, raw)
	case strings.Contains(s, "."):
		f, err := strconv.ParseFloat(s, 32)
		if err != nil {
			t.Fatal(err)
		}
		return b.Floats(s, nil, float32(f))
	}
	return b.Raw("int/"+s, "int64", nil, binary.LittleEndian.AppendUint64(nil, uint64(integer(t, s))))
}

// values are what the inputs of a case are: normal numbers, far enough from 0 for a difference not to cross it.
func values(name string, shape []int64) []float32 {
	seed := uint64(len(name))
	for _, c := range name {
		seed = seed*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 7))
	v := make([]float32, graph.Elements(shape))
	for i := range v {
		x := r.NormFloat64()
		v[i] = float32(x + math.Copysign(0.1, x))
		if strings.HasPrefix(name, "pos") {
			v[i] = float32(math.Abs(x) + 0.3)
		}
	}
	return v
}

// fixed puts the batch of tests in the place of the open dimension.
func fixed(shape []int64) []int64 {
	out := slices.Clone(shape)
	for i := range out {
		switch {
		case out[i] == graph.Unknown:
			out[i] = batch
		case out[i] < 0:
			out[i] *= -batch
		}
	}
	return out
}

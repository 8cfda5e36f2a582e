package graph

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// chain is x → a = x·w → b = relu a → y = b + a, with a node and a weight that nothing needs.
func chain() *Model {
	m := New("chain", 17)
	m.SetInputs(Value{"x", "float32", []int64{Unknown, 2}})
	b := NewBuilder(m, "")
	b.Node("MatMul", []string{"x", b.Floats("w", []int64{2, 2}, 1, 2, 3, 4)}, "a")
	b.Node("Relu", []string{"a"}, "b")
	b.Node("Neg", []string{"b"}, "idle")
	b.Floats("idle", nil, 7)
	b.Node("Add", []string{"b", "a"}, "y")
	m.SetOutputs(Value{"y", "float32", []int64{Unknown, 2}})
	return m
}

func outputs(m *Model) []string {
	var list []string
	for _, n := range m.Graph().Node {
		list = append(list, n.Output...)
	}
	return list
}

func weights(m *Model) []string {
	var list []string
	for _, t := range m.Graph().Initializer {
		list = append(list, t.GetName())
	}
	return list
}

func TestKind(t *testing.T) {
	_, err := Parse(nil)
	var kind interface{ Kind() string }
	if !errors.As(err, &kind) || kind.Kind() != "data" {
		t.Errorf("kind of %v", err)
	}
}

func TestPrune(t *testing.T) {
	m := chain()
	own := func(name string) *onnxpb.FunctionProto {
		return &onnxpb.FunctionProto{Name: &name, Domain: proto.String("own"),
			Node: []*Node{{OpType: proto.String("Abs")}}}
	}
	outer := own("Outer") // uses Inner
	outer.Node[0].OpType, outer.Node[0].Domain = proto.String("Inner"), proto.String("own")
	m.Proto().Functions = []*onnxpb.FunctionProto{outer, own("Inner"), own("Unused")}
	m.Graph().Node[1].OpType, m.Graph().Node[1].Domain = proto.String("Outer"), proto.String("own")
	m.Graph().SparseInitializer = []*onnxpb.SparseTensorProto{{Values: &Tensor{Name: proto.String("sparse")}}}
	c := m.Copy()
	c.Prune()
	if got := outputs(c); !slices.Equal(got, []string{"a", "b", "y"}) {
		t.Errorf("nodes %v", got)
	}
	if got := weights(c); !slices.Equal(got, []string{"float/w"}) || len(c.Graph().SparseInitializer) != 0 {
		t.Errorf("weights %v, %v", got, c.Graph().SparseInitializer)
	}
	var functions []string
	for _, f := range c.Proto().Functions {
		functions = append(functions, f.GetName())
	}
	if !slices.Equal(functions, []string{"Outer", "Inner"}) {
		t.Errorf("functions %v", functions)
	}
	if len(m.Graph().Node) != 4 || len(weights(m)) != 2 || len(m.Proto().Functions) != 3 {
		t.Error("the model that was copied has changed")
	}
}

func TestCut(t *testing.T) {
	v := func(name string) Value { return Value{name, "float32", []int64{Unknown, 2}} }
	for _, tt := range []struct {
		name    string
		in, out []Value
		nodes   []string
		weights []string
		says    string
	}{
		{"all", []Value{v("x")}, []Value{v("y")}, []string{"a", "b", "y"}, []string{"float/w"}, ""},
		{"front", []Value{v("x")}, []Value{v("b")}, []string{"a", "b"}, []string{"float/w"}, ""},
		{"back", []Value{v("a")}, []Value{v("y")}, []string{"b", "y"}, nil, ""},
		{"two inputs", []Value{v("b"), v("a")}, []Value{v("y")}, []string{"y"}, nil, ""},
		{"too few inputs", []Value{v("b")}, []Value{v("y")}, nil, nil, `needs "x" too`},
		{"no such tensor", []Value{v("x")}, []Value{v("z")}, nil, nil, `no tensor "z"`},
	} {
		m := chain()
		before, _ := m.Bytes()
		c, err := m.Cut(tt.in, tt.out)
		if after, _ := m.Bytes(); string(before) != string(after) {
			t.Errorf("%s: the model that was cut has changed", tt.name)
		}
		if tt.says != "" {
			if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, should say %s", tt.name, err, tt.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := outputs(c); !slices.Equal(got, tt.nodes) || !slices.Equal(weights(c), tt.weights) {
			t.Errorf("%s: nodes %v, weights %v", tt.name, got, weights(c))
		}
		if !reflect.DeepEqual(c.Inputs(), tt.in) || !reflect.DeepEqual(c.Outputs(), tt.out) {
			t.Errorf("%s: inputs %v, outputs %v", tt.name, c.Inputs(), c.Outputs())
		}
	}
}

// A node with an output inside the cut and one before it stays, without the latter.
func TestCutThroughANode(t *testing.T) {
	m := New("split", 13)
	m.SetInputs(Value{"x", "float32", []int64{4}})
	b := NewBuilder(m, "")
	b.Nodes("Split", []string{"x"}, []string{"left", "right"})
	b.Node("Add", []string{"left", "right"}, "y")
	c, err := m.Cut([]Value{{"x", "float32", []int64{4}}, {"left", "float32", []int64{2}}},
		[]Value{{"y", "float32", []int64{2}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outputs(c); !slices.Equal(got, []string{"", "right", "y"}) {
		t.Errorf("outputs %q", got)
	}
}

func TestSort(t *testing.T) {
	m := chain()
	if n, _ := m.Unsorted(); n != nil {
		t.Fatalf("unsorted at %v", n)
	}
	want := outputs(m)
	if err := m.Sort(); err != nil || !slices.Equal(outputs(m), want) {
		t.Errorf("what was sorted became %v, %v", outputs(m), err)
	}
	slices.Reverse(m.Graph().Node)
	if n, name := m.Unsorted(); n.GetOpType() != "Add" || name != "b" {
		t.Errorf("unsorted at %v, %s", n, name)
	}
	if err := m.Sort(); err != nil {
		t.Fatal(err)
	}
	if n, _ := m.Unsorted(); n != nil || !slices.Equal(outputs(m), []string{"a", "b", "y", "idle"}) {
		t.Errorf("sorted: %v", outputs(m))
	}
	m.Graph().Node[0].Input[0] = "y" // a cycle
	if err := m.Sort(); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "or it itself") {
		t.Errorf("cycle: %v", err)
	}
	m.Graph().Node[0].Input[0] = "nothing"
	if err := m.Sort(); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), `reads "nothing"`) {
		t.Errorf("nothing: %v", err)
	}
}

func TestIndex(t *testing.T) {
	m := chain()
	m.Graph().SparseInitializer = []*onnxpb.SparseTensorProto{{Values: &Tensor{Name: proto.String("sparse")}}}
	m.Graph().Node[2].Input = []string{"b", "b", ""}
	x := m.Index()
	if x.Producer["y"].GetOpType() != "Add" || x.Producer["x"] != nil || x.Producer["float/w"] != nil ||
		x.Producer[""] != nil {
		t.Error("producers")
	}
	if x.Weight["float/w"] == nil || x.Weight["sparse"] == nil || x.Weight["y"] != nil {
		t.Error("weights")
	}
	var ops []string
	for _, n := range x.Consumers["b"] {
		ops = append(ops, n.GetOpType())
	}
	if !slices.Equal(ops, []string{"Neg", "Add"}) || x.Consumers["y"] != nil {
		t.Errorf("consumers %v", ops)
	}
}

// branching is a model with an If node, whose branches read a tensor, a weight and names of their own.
func branching() *Model {
	m := chain()
	branch := func(out string) *Graph {
		return &Graph{
			Input:       []*onnxpb.ValueInfoProto{Declare(Value{"given", "float32", nil})},
			Initializer: []*Tensor{{Name: proto.String("inner")}},
			Node: []*Node{{OpType: proto.String("Sum"), Input: []string{"a", "inner", "given"},
				Output: []string{out}}},
			Output: []*onnxpb.ValueInfoProto{Declare(Value{out, "float32", nil}),
				Declare(Value{"b", "float32", nil})},
		}
	}
	n := &Node{OpType: proto.String("If"), Input: []string{"y"}, Output: []string{"chosen", "second"},
		Attribute: []*Attribute{
			{Name: proto.String("then_branch"), G: branch("then")},
			{Name: proto.String("others"), Graphs: []*Graph{branch("else")}},
			{Name: proto.String("tensors"), T: &Tensor{Name: proto.String("t")},
				Tensors: []*Tensor{{Name: proto.String("ts")}}},
		}}
	m.Graph().Node = append(m.Graph().Node, n)
	return m
}

func TestSubgraphs(t *testing.T) {
	m := branching()
	n := m.Graph().Node[4]
	if got := Uses(n); !slices.Equal(got, []string{"y", "a", "b", "a", "b"}) {
		t.Errorf("uses %v", got)
	}
	var names []string
	EachTensor(m.Graph(), func(t *Tensor) { names = append(names, t.GetName()) })
	if !slices.Equal(names, []string{"float/w", "float/idle", "t", "ts", "inner", "inner"}) {
		t.Errorf("tensors %v", names)
	}
	before := proto.Clone(m.Proto())
	c := m.Copy()
	c.Rename(map[string]string{"a": "A", "inner": "I", "then": "T", "x": "X", "y": "Y", "float/w": "W"})
	if !proto.Equal(before, m.Proto()) {
		t.Error("renaming in a copy changed the model")
	}
	n = c.Graph().Node[4]
	g := n.Attribute[0].G
	if got := Uses(n); !slices.Equal(got, []string{"Y", "A", "b", "A", "b"}) || g.Node[0].Output[0] != "T" ||
		g.Output[0].GetName() != "T" || g.Initializer[0].GetName() != "I" {
		t.Errorf("renamed: uses %v, %v", got, g)
	}
	if c.Inputs()[0].Name != "X" || c.Outputs()[0].Name != "Y" || c.Outputs()[0].Type != "float32" ||
		weights(c)[0] != "W" || c.Graph().Node[0].Output[0] != "A" {
		t.Errorf("renamed: %v", c.Graph())
	}
}

func TestBuilder(t *testing.T) {
	m := chain()
	b := NewBuilder(m, "new")
	if b.Opset() != 17 || b.Name("n") != "new/n" || b.Fresh() != "new/1" || b.Fresh() != "new/2" {
		t.Error("names")
	}
	outs := b.Nodes("Split", []string{"y"}, []string{"", "last"}, IntAttr("axis", 1), IntsAttr("split", 1, 1))
	if !slices.Equal(outs, []string{"new/3", "last"}) {
		t.Errorf("outputs %v", outs)
	}
	n := m.Graph().Node[4]
	if n.GetName() != "new/Split/new/3" || AttrInt(n, "axis", 0) != 1 || AttrInt(n, "none", 5) != 5 ||
		!slices.Equal(Attr(n, "split").Ints, []int64{1, 1}) || Input(n, 0) != "y" || Input(n, 1) != "" {
		t.Errorf("node %v", n)
	}
	constant := &Tensor{Dims: []int64{1}, DataType: proto.Int32(7), Int64Data: []int64{3}}
	b.Node("Constant", nil, "c", TensorAttr("value", constant), FloatAttr("f", 0.5), StringAttr("s", "text"))
	n = m.Graph().Node[5]
	if Attr(n, "value").GetT().Int64Data[0] != 3 || Attr(n, "f").GetF() != 0.5 ||
		string(Attr(n, "s").GetS()) != "text" {
		t.Errorf("node %v", n)
	}
	b.Cast("y", "half", "float16")
	if got := AttrInt(m.Graph().Node[6], "to", 0); got != 10 { // TensorProto.FLOAT16
		t.Errorf("cast to %d", got)
	}

	// The same weight is there once; another of its name gets another name.
	w := b.Floats("pi", nil, math.Pi)
	if again := b.Floats("pi", nil, math.Pi); again != w || w != "new/float/pi" {
		t.Errorf("%s and %s", w, again)
	}
	if other := b.Floats("pi", nil, 3); other != "new/float/pi2" || b.Floats("pi", nil, 3) != other {
		t.Errorf("another one is %s", other)
	}
	if got := m.Index().Weight[w]; TypeOf(got) != "float32" ||
		!slices.Equal(got.RawData, []byte{0xdb, 0x0f, 0x49, 0x40}) {
		t.Errorf("π is %v", got)
	}
	two := b.Int64s("n", []int64{2}, 1, -1)
	if i := m.Index().Weight[two]; TypeOf(i) != "int64" || !slices.Equal(i.Int64Data, []int64{1, -1}) {
		t.Errorf("integers %v", i)
	}
	// A second builder of that name has names of its own.
	if got := NewBuilder(m, "new").Name("n"); got != "new2/n" {
		t.Errorf("the second builder's names are as %s", got)
	}
}

// Axes of reductions became inputs in operator set 18, those of ReduceSum in 13.
func TestReduce(t *testing.T) {
	for _, tt := range []struct {
		op     string
		opset  int64
		inputs int
	}{{"ReduceMean", 17, 1}, {"ReduceMean", 18, 2}, {"ReduceSum", 12, 1}, {"ReduceSum", 13, 2}, {"ReduceMax", 13, 1}} {
		for keep, keepdims := range map[bool]int64{false: 0, true: 1} {
			m := New("reduce", tt.opset)
			if out := NewBuilder(m, "b").Reduce(tt.op, "x", "", keep, 1, -1); out != "b/1" {
				t.Errorf("output %s", out)
			}
			n := m.Graph().Node[0]
			axes := Attr(n, "axes").GetInts()
			if tt.inputs == 2 {
				axes = m.Index().Weight[n.Input[1]].GetInt64Data()
			}
			if len(n.Input) != tt.inputs || !slices.Equal(axes, []int64{1, -1}) ||
				AttrInt(n, "keepdims", 1) != keepdims {
				t.Errorf("%s in operator set %d: %v", tt.op, tt.opset, n)
			}
		}
	}
}

func TestDeclare(t *testing.T) {
	for _, v := range []Value{
		{"x", "float32", []int64{Unknown, 3, Unknown}}, {"x", "float64", []int64{}}, {"x", "float16", nil},
		{"x", "int64", []int64{7}}, {"x", "bfloat16", []int64{1}}, {"x", "uint8", []int64{1}},
	} {
		if got := ValueOf(Declare(v)); !reflect.DeepEqual(got, v) {
			t.Errorf("%v became %v", v, got)
		}
	}
	symbols := func(info *onnxpb.ValueInfoProto) []string {
		var list []string
		for _, d := range info.GetType().GetTensorType().Shape.Dim {
			list = append(list, d.GetDimParam())
		}
		return list
	}
	v := Value{"x", "float32", []int64{Unknown, 3, Unknown}}
	if got := symbols(Declare(v)); !slices.Equal(got, []string{"batch", "", ""}) {
		t.Errorf("symbols %q", got)
	}
	if got := symbols(Declare(v, "n", "", "w")); !slices.Equal(got, []string{"n", "", "w"}) {
		t.Errorf("symbols %q", got)
	}
}

func TestInfo(t *testing.T) {
	m := read(t, "external.onnx")
	own := &onnxpb.OperatorSetIdProto{Domain: proto.String("own"), Version: proto.Int64(2)}
	m.Proto().OpsetImport = append(m.Proto().OpsetImport, own)
	in := m.Info()
	file, err := os.Stat(filepath.Join(fixtures, "external.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	// Its weights are those of make.py: patches, q, k and v, positions, CLS token, norm.
	const parameters = 8*3*4*4 + 8 + 3*8*8 + 17*8 + 8 + 2*8
	if in.FileSize != file.Size() || in.Parameters != parameters || in.Opset != 17 || in.Producer != "make.py" ||
		in.IRVersion != 8 {
		t.Errorf("%+v", in)
	}
	if in.ExternalSize != 4*8*3*4*4 || in.Opsets["own"] != 2 || len(in.Opsets) != 1 { // small ones are loaded at once
		t.Errorf("%+v", in)
	}
	if !reflect.DeepEqual(in.Inputs, []Value{{"pixel_values", "float32", []int64{Unknown, 3, 16, 16}}}) ||
		!reflect.DeepEqual(in.Outputs, []Value{{"embedding", "float32", []int64{Unknown, 8}}}) {
		t.Errorf("inputs %v, outputs %v", in.Inputs, in.Outputs)
	}
	// What has been built upon has another size, and none in a file; a model without operator sets has version 0.
	NewBuilder(m, "more").Floats("w", []int64{1000}, make([]float32, 1000)...)
	data, err := m.Bytes()
	if got := m.Info(); err != nil || got.FileSize != int64(len(data)) || got.Parameters != parameters+1000 {
		t.Errorf("%+v, %v; %d bytes", got, err, len(data))
	}
	m.Proto().OpsetImport = nil
	if m.Opset() != 0 {
		t.Error("an operator set from nowhere")
	}
}

func TestInline(t *testing.T) {
	m := read(t, "external.onnx")
	if m.BehindLinks() {
		t.Error("no links lead out of the folder")
	}
	c := m.Clone()
	if err := c.Inline(); err != nil {
		t.Fatal(err)
	}
	if m.Dir() == "" || c.Dir() != "" || c.Info().ExternalSize != 0 {
		t.Errorf("folders %q and %q", m.Dir(), c.Dir())
	}
	sizes := func(m *Model) (n int) {
		EachTensor(m.Graph(), func(t *Tensor) { n += len(t.RawData) })
		return n
	}
	if d := int64(sizes(c) - sizes(m)); d != m.Info().ExternalSize {
		t.Errorf("%d bytes were loaded, %d were outside", d, m.Info().ExternalSize)
	}
	for name, change := range map[string]func(*Tensor){
		"no file": func(t *Tensor) { t.ExternalData[0].Value = proto.String("absent.bin") },
		"nowhere": func(t *Tensor) { t.ExternalData = nil },
	} {
		bad := m.Clone()
		change(bad.external()[0])
		if err := bad.Inline(); !errors.Is(err, ErrModel) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := bad.Hash(); err == nil {
			t.Errorf("%s: it has a hash", name)
		}
	}
	other := m.Clone()
	other.path = ""
	if a, err := other.Hash(); err != nil || len(a) != 64 {
		t.Errorf("hash %s, %v", a, err)
	}
}

func TestBehindLinks(t *testing.T) {
	blobs, snapshot := t.TempDir(), t.TempDir()
	for _, name := range []string{"external.onnx", "external.onnx.data"} {
		copyFile(t, blobs, name)
		if err := os.Symlink(filepath.Join(blobs, name), filepath.Join(snapshot, name)); err != nil {
			t.Skip(err)
		}
	}
	m, err := Read(filepath.Join(snapshot, "external.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if !m.BehindLinks() {
		t.Error("the links were not seen")
	}
	for _, nowhere := range []string{"../up", "absent"} { // what is wrong with these others say
		bad := m.Clone()
		bad.external()[0].ExternalData[0].Value = &nowhere
		if bad.BehindLinks() {
			t.Errorf("%s is behind links", nowhere)
		}
	}
	if m.dir = filepath.Join(snapshot, "absent"); m.BehindLinks() {
		t.Error("links in a folder that is not there")
	}
}

func TestReadSignature(t *testing.T) {
	m := branching()
	m.SetMetadata("key", "value")
	m.Graph().Input = append(m.Graph().Input, Declare(Value{"float/w", "float32", nil})) // as up to IR version 3
	m.Proto().Functions = []*onnxpb.FunctionProto{{Name: proto.String("F"),
		Node: []*Node{{OpType: proto.String("Inside")}}}}
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := ReadSignature(data)
	if err != nil {
		t.Fatal(err)
	}
	want := Signature{
		Inputs: m.Inputs(), Outputs: m.Outputs(), Metadata: map[string]string{"key": "value"},
		Ops: map[string]bool{"MatMul": true, "Relu": true, "Neg": true, "Add": true, "If": true, "Sum": true,
			"Inside": true},
	}
	if !reflect.DeepEqual(sig, want) || len(sig.Inputs) != 1 {
		t.Errorf("%+v, want %+v", sig, want)
	}
	for _, cast := range []bool{false, true} { // a float16 weight that is cast at once does not count
		m := chain()
		b := NewBuilder(m, "half")
		h := b.Raw("h", "float16", []int64{1}, []byte{0, 0})
		if cast {
			h = b.Cast(h, "", "float32")
		}
		b.Node("Neg", []string{h}, "")
		data, _ := m.Bytes()
		if sig, err := ReadSignature(data); err != nil || sig.Float16 == cast {
			t.Errorf("cast %v: %+v, %v", cast, sig, err)
		}
	}
	for name, bad := range map[string][]byte{
		"tag": {0xff}, "length": {7<<3 | 2, 5, 1}, "varint": {1 << 3, 0xff}, "fixed": {1<<3 | 1, 0},
		"input": {7<<3 | 2, 3, 11<<3 | 2, 1, 0xff}, "metadata": {14<<3 | 2, 1, 0xff},
	} {
		if _, err := ReadSignature(bad); !errors.Is(err, ErrModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := &Graph{Node: []*Node{{OpType: proto.String("Abs")}}}
	for range 50 {
		deep = &Graph{Node: []*Node{{Attribute: []*Attribute{{G: deep}}}}}
	}
	data, _ = proto.Marshal(&onnxpb.ModelProto{Graph: deep})
	if _, err := ReadSignature(data); !errors.Is(err, ErrModel) {
		t.Errorf("deep: %v", err)
	}
}

package adapt_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"github.com/vitft/vitft/onnx/shape"
	"github.com/vitft/vitft/onnx/vision"
)

func backbone(t testing.TB, path string) *graph.Model {
	t.Helper()
	m, err := graph.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMain(m *testing.M) {
	if l, err := onnx.Find(""); err == nil {
		if err := onnx.Load(l); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func run(t testing.TB, m *graph.Model, inputs map[string]onnx.Tensor, size int) []float32 {
	t.Helper()
	out, err := tried(t, m, inputs, size)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tried(t testing.TB, m *graph.Model, inputs map[string]onnx.Tensor, size int) ([]float32, error) {
	t.Helper()
	data, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	s, err := onnx.NewSession(data, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var in []onnx.Tensor
	for _, v := range s.Inputs() {
		x, ok := inputs[v.Name]
		if !ok {
			t.Fatalf("no input %s", v.Name)
		}
		in = append(in, x)
	}
	out := make([]float32, size)
	b := in[0].Shape[0]
	return out, s.Run(t.Context(), in, []onnx.Tensor{{Shape: []int64{b, int64(size) / b}, Data: out}})
}

func noise(seed uint64, n int, scale float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(scale * r.NormFloat64())
	}
	return v
}

// params gives parameters values around their start, and puts them among the inputs of a part.
func params(a *adapt.Adapted, in map[string]onnx.Tensor, scale float64) (values [][]float32) {
	for i, p := range a.Params() {
		v := noise(uint64(i), p.Size(), scale)
		for j, start := range p.Start() {
			v[j] += start
		}
		values = append(values, v)
		in[p.Input()] = onnx.Tensor{Shape: p.Shape, Data: v}
	}
	return values
}

func apart(a, b []float32) float64 {
	d, top := 0.0, 0.0
	for i := range a {
		d, top = max(d, math.Abs(float64(a[i]-b[i]))), max(top, math.Abs(float64(a[i])))
	}
	if d == 0 {
		return 0
	}
	return d / top
}

// The parts of the real ViT-Tiny, put together, give the embedding of the whole, with parameters at their start and far
// from it, for every kind.
func TestParts(t *testing.T) {
	ort.Need(t)
	whole := backbone(t, testkit.Model(t))
	f, err := adapt.Find(whole)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Blocks) != 12 || f.Tokens != 197 || f.Dim != 192 {
		t.Fatalf("%d blocks of %d tokens of %d", len(f.Blocks), f.Tokens, f.Dim)
	}
	const n = 2
	pixels := onnx.Tensor{Shape: []int64{n, 3, 224, 224}, Data: noise(1, n*3*224*224, 1)}
	want := run(t, whole, map[string]onnx.Tensor{vision.PixelValues: pixels}, n*192)
	for _, kind := range adapt.Kinds() {
		for _, blocks := range []int{1, 3, 0} {
			t.Run(fmt.Sprint(kind, blocks), func(t *testing.T) {
				a, err := f.Insert(adapt.Options{Kind: kind, Blocks: blocks, Rank: 4, Seed: 5})
				if err != nil {
					t.Fatal(err)
				}
				if !a.ByClassToken() {
					t.Fatal("not by class token")
				}
				frozen, err := a.Frozen()
				if err != nil {
					t.Fatal(err)
				}
				tokens := run(t, frozen, map[string]onnx.Tensor{vision.PixelValues: pixels}, n*197*192)
				for _, scale := range []float64{0, 0.02} {
					far := scale > 0
					inputs := map[string]onnx.Tensor{adapt.Tokens: {Shape: []int64{n, 197, 192}, Data: tokens}}
					baked, err := a.Bake(params(a, inputs, scale))
					if err != nil {
						t.Fatal(err)
					}
					whole := run(t, baked, map[string]onnx.Tensor{vision.PixelValues: pixels}, n*192)
					if d := apart(want, whole); d > 1e-5 != far {
						t.Errorf("far %v: baked is %g from the backbone", far, d)
					}
					for _, part := range []adapt.Part{{}, {ClassToken: true}} {
						m, err := a.Trained(part)
						if err != nil {
							t.Fatal(err)
						}
						if d := apart(whole, run(t, m, inputs, n*192)); d > 1e-5 {
							t.Errorf("%+v, far %v: %g from the whole", part, far, d)
						}
					}
				}
				some, err := a.Trained(adapt.Part{Tokens: 66, ClassToken: true})
				if err != nil {
					t.Fatal(err)
				}
				// The last block is of one token, from its attention on.
				in := some.Inputs()
				in[0].Shape[0] = n
				shapes := shape.Infer(some, in...)
				for _, name := range []string{f.Blocks[11].Mid, f.Blocks[11].Out} {
					if s := shapes[name]; !slices.Equal(s, []int64{n, 1, 192}) {
						t.Errorf("%s is %v", name, s)
					}
				}
			})
		}
	}
}

// A backbone that computes in float16, and nodes that lack inputs, are refused by name: neither can be trained.
func TestFindRefuses(t *testing.T) {
	path := filepath.Join(testkit.Root(), "models", "micro_vit.onnx")
	half := backbone(t, path)
	graph.EachTensor(half.Graph(), func(w *graph.Tensor) {
		values, ok := graph.Floats(w)
		if !ok {
			return
		}
		w.DataType, w.RawData, w.FloatData = proto.Int32(int32(onnxpb.TensorProto_FLOAT16)), nil, nil
		for _, v := range values {
			bits, _ := vec.Half(v)
			w.RawData = binary.LittleEndian.AppendUint16(w.RawData, bits)
		}
	})
	if _, err := adapt.Find(half); !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), "float16") {
		t.Errorf("in float16: %v", err)
	}
	seen := map[string]int{}
	for i, n := range backbone(t, path).Graph().Node {
		if seen[n.GetOpType()]++; seen[n.GetOpType()] > 8 {
			continue
		}
		for left := range n.Input {
			m := backbone(t, path)
			m.Graph().Node[i].Input = n.Input[:left]
			if f, err := adapt.Find(m); err == nil { // another operator, which the runtime would refuse
				_, _ = f.Support()
			} else if !errors.Is(err, graph.ErrModel) {
				t.Errorf("%s with %d inputs: %v", n.GetName(), left, err)
			}
		}
	}
}

// Weights in other files are read for training alone, and only where they are trained.
func TestExternalWeights(t *testing.T) {
	m, err := graph.Read(filepath.Join(testkit.Root(), "models", "micro_vit.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := m.Index().Weight["block3.q.weight"]
	raw := w.RawData
	testkit.WriteFile(t, filepath.Join(dir, "weights.bin"), raw)
	entry := func(key, value string) *onnxpb.StringStringEntryProto {
		return &onnxpb.StringStringEntryProto{Key: &key, Value: &value}
	}
	w.RawData, w.DataLocation = nil, onnxpb.TensorProto_EXTERNAL.Enum()
	w.ExternalData = []*onnxpb.StringStringEntryProto{entry("location", "weights.bin"),
		entry("length", fmt.Sprint(len(raw)))}
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b := backbone(t, testkit.WriteFile(t, filepath.Join(dir, "model.onnx"), data))
	f, err := adapt.Find(b)
	if err != nil {
		t.Fatal(err)
	}
	if kinds, err := f.Support(); err != nil || len(kinds) != 4 {
		t.Errorf("%v can be trained, %v", kinds, err)
	}
	full := adapt.Options{Kind: adapt.Full, Blocks: 1}
	if _, err := f.Insert(full); !errors.Is(err, graph.ErrModel) || !strings.Contains(err.Error(), "another file") {
		t.Errorf("training what is in another file: %v", err)
	}
	if err := b.Inline(); err != nil {
		t.Fatal(err)
	}
	if f, err = adapt.Find(b); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Insert(full); err != nil {
		t.Error(err)
	}
}

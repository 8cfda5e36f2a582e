package vision

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx/graph"
)

func TestQuantise(t *testing.T) {
	const rows, columns = 40, 7
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, rows*columns)
	for i := range v {
		if c := i % columns; c != 3 { // column 3 is all zero
			v[i] = float32(r.NormFloat64() * math.Pow(10, float64(c-3)))
		}
	}
	for name, channel := range map[string]func(int) int{"columns": func(i int) int { return i % columns },
		"rows": func(i int) int { return i / columns }} {
		q, scales, ok := quantise(v, max(rows, columns), channel)
		if !ok {
			t.Fatalf("%s: refused", name)
		}
		for i, x := range v {
			s := float64(scales[channel(i)])
			if d := math.Abs(float64(x) - float64(int8(q[i]))*s); d > s*0.5001 {
				t.Errorf("%s: %v became %v with a scale of %v", name, x, float64(int8(q[i]))*s, s)
			}
		}
	}
	v[5] = float32(math.NaN())
	if _, _, ok := quantise(v, columns, func(i int) int { return i % columns }); ok {
		t.Error("it quantised what is no number")
	}
}

// A model without large float32 weights has nothing to store otherwise.
func TestNothingToStoreOtherwise(t *testing.T) {
	for name, convert := range map[string]func(*graph.Model) (int, error){"half": HalfWeights,
		"int8": QuantizeWeights} {
		if n, err := convert(read(t, "float16.onnx")); n != 0 || !errors.Is(err, graph.ErrModel) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// dense is a model of two matrix products with weights of 32 inputs and 40 outputs, x·a and x·bᵀ, and one that no
// product takes.
func dense(values []float32) *graph.Model {
	m := graph.New("dense", 17)
	m.SetInputs(float32s("x", -1, 32))
	b := graph.NewBuilder(m, "")
	a := b.Floats("a", []int64{32, 40}, values...)
	transposed := make([]float32, len(values))
	for i, v := range values {
		transposed[i%40*32+i/40] = v
	}
	rows := b.Floats("b", []int64{40, 32}, transposed...)
	b.Node("MatMul", []string{"x", a}, "y")
	b.Node("Gemm", []string{"x", rows}, "z", graph.IntAttr("transB", 1))
	b.Node("Add", []string{"y", b.Floats("few", []int64{40}, make([]float32, 40)...)}, "sum")
	b.Node("Mul", []string{"x", b.Floats("vitft_head/own", []int64{1280}, make([]float32, 1280)...)}, "w")
	m.SetOutputs(float32s("sum", -1, 40), float32s("z", -1, 40))
	return m
}

func ramp() []float32 {
	v := make([]float32, 32*40)
	for i := range v {
		v[i] = float32(i%41) / 8
	}
	return v
}

func TestHalfWeights(t *testing.T) {
	m := dense(ramp())
	n, err := HalfWeights(m)
	if err != nil || n != 2*32*40+1280 {
		t.Fatalf("%d, %v", n, err)
	}
	if got := added(m, "vitft_half/"); !strings.HasPrefix(got, "Cast float/a → float/a\nCast float/b → float/b\n") {
		t.Errorf("nodes\n%s", got)
	}
	w := m.Index().Weight["vitft_half/float/a"]
	for i, v := range ramp() { // all of them are float16 exactly
		var got [1]float32
		vec.Widen(got[:], []uint16{binary.LittleEndian.Uint16(w.RawData[2*i:])})
		if got[0] != v {
			t.Fatalf("value %d is %v, was %v", i, got[0], v)
		}
	}
	if few := m.Index().Weight["float/few"]; few == nil || graph.TypeOf(few) != "float32" {
		t.Errorf("a short weight is %v", few)
	}
	large := ramp()
	large[7] = 70000
	m = dense(large)
	if n, err := HalfWeights(m); err != nil || n != 1280 || graph.TypeOf(m.Index().Weight["float/a"]) != "float32" {
		t.Errorf("beyond the range of float16: %d, %v", n, err)
	}
}

func TestQuantizeWeights(t *testing.T) {
	values := ramp()
	m := dense(values)
	n, err := QuantizeWeights(m)
	if err != nil || n != 2*32*40 {
		t.Fatalf("%d, %v", n, err)
	}
	const want = "Cast float/a → whole/float/a\nMul whole/float/a float/scale/float/a → float/a\n" +
		"Cast float/b → whole/float/b\nMul whole/float/b float/scale/float/b → float/b\n"
	if got := added(m, "vitft_int8/"); got != want {
		t.Errorf("nodes\n%swant\n%s", got, want)
	}
	for name, at := range map[string]func(i int) (int, int){
		"a": func(i int) (int, int) { return i, i % 40 }, "b": func(i int) (int, int) { return i%40*32 + i/40, i % 40 },
	} {
		q, scale := m.Index().Weight["vitft_int8/float/"+name], m.Index().Weight["vitft_int8/float/scale/float/"+name]
		if shape := map[string][]int64{"a": {40}, "b": {40, 1}}[name]; !slices.Equal(scale.Dims, shape) {
			t.Errorf("%s: scales %v, want %v", name, scale.Dims, shape)
		}
		for i, v := range values {
			k, channel := at(i)
			s := math.Float32frombits(binary.LittleEndian.Uint32(scale.RawData[4*channel:]))
			if got := float32(int8(q.RawData[k])) * s; math.Abs(float64(got-v)) > 0.5001*float64(s) {
				t.Fatalf("%s: value %d is %v with a scale of %v, was %v", name, i, got, s, v)
			}
		}
	}
	values[3] = float32(math.Inf(1))
	if _, err := QuantizeWeights(dense(values)); !errors.Is(err, graph.ErrModel) {
		t.Errorf("infinity: %v", err)
	}
}

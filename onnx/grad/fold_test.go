package grad

import (
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
)

// Scales and shifts are moved from the tokens to the weights: what is left to be computed for each of them, forward and
// for the gradient by the tokens.
func TestFold(t *testing.T) {
	const norm = `x:B,5,4 !g:4 !s:4 !w:4,3 !b:3
n = LayerNormalization<epsilon=0.00001>(x, g, s)
a = MatMul(n, w)
y = Add(a, b)`
	const gelu = `x:B,5,4 !w:4,6 !b:6 !p:6,3
a = MatMul(x, w)
u = Add(a, b)
z = Div(u, 1.41421356)
e = Erf(z)
v = Add(e, 1.0)
c = Mul(u, v)
d = Mul(c, 0.5)
y = MatMul(d, p)`
	for _, tt := range []struct{ text, asked, left string }{
		{norm, "", "LayerNormalization MatMul Add MatMul Mul ReduceMean ReduceMean Sub Mul Sub Mul"},
		// A tensor that is asked for must hold what it held.
		{norm, "n", "LayerNormalization MatMul Add MatMul Sub Mul Mul Mul ReduceMean ReduceMean Sub Mul Sub Mul"},
		{gelu, "", "MatMul Add Erf Add Mul Mul MatMul MatMul Mul Mul Sub Exp Mul Add Mul MatMul"},
		{gelu, "u", "MatMul Add Div Erf Add Mul Mul MatMul MatMul Mul Mul Sub Exp Mul Add Mul Div MatMul"},
	} {
		m, _ := model(t, 17, tt.text)
		outputs := []string{"y"}
		if tt.asked != "" {
			outputs = append(outputs, tt.asked)
		}
		g, err := Backward(m, "y", []string{"x"}, Options{Seed: "seed", Outputs: outputs})
		if err != nil {
			t.Fatal(err)
		}
		dims, _ := infer(g.Model)
		var left []string
		for _, n := range g.Graph().Node {
			if d := dims[n.Output[0]]; len(d) > 0 && d[0] < 0 && n.GetOpType() != "Identity" {
				left = append(left, n.GetOpType())
			}
		}
		if want := strings.Fields(tt.left); !slices.Equal(left, want) {
			t.Errorf("asked for %q:\n%v, want\n%v", tt.asked, left, want)
		}
	}
}

// What is made of weights alone is made in both halves, and not handed from one to the other.
func TestSplitHandsOverNoWeights(t *testing.T) {
	m, _ := lastBlocks(t, 2)
	wrt := adapt(m, 2)
	if err := m.Sort(); err != nil {
		t.Fatal(err)
	}
	g, err := Backward(m, "embedding", wrt, Options{Seed: "seed", Outputs: []string{"embedding"}})
	if err != nil {
		t.Fatal(err)
	}
	forward, _, err := Split(g.Model, "seed")
	if err != nil {
		t.Fatal(err)
	}
	dims, _ := infer(forward)
	kept := graph.Names(forward.Outputs())
	for _, name := range kept {
		if n := size(dims[name]); n > width*width/2 {
			t.Errorf("%s %v has no batch", name, dims[name])
		}
	}
	if len(kept) < 20 {
		t.Errorf("%d tensors are kept", len(kept))
	}
}

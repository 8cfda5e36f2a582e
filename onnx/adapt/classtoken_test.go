package adapt_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
)

// The last block of the real ViT-Tiny by the class token alone has the gradients that it has by all tokens, with
// parameters of every kind far from their start; and it makes neither keys nor values.
func TestClassTokenGradients(t *testing.T) {
	ort.Need(t)
	const n = 2
	f, err := adapt.Find(backbone(t, testkit.Model(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range adapt.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			a, err := f.Insert(adapt.Options{Kind: kind, Blocks: 2, Rank: 4, Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]onnx.Tensor{adapt.Tokens: {Shape: []int64{n, 197, 192}, Data: noise(1, n*197*192, 3)},
				"seed": {Shape: []int64{n, 192}, Data: noise(2, n*192, 1)}}
			params(a, in, 0.02)
			want, _ := gradients(t, a, adapt.Part{}, in)
			got, m := gradients(t, a, adapt.Part{ClassToken: true}, in)
			for i, p := range a.Params() {
				if d := apart(want[1+i], got[1+i]); !(d < 1e-4) {
					t.Errorf("%s is %g from that by all tokens", p.Name, d)
				}
			}
			for _, product := range []string{"11.k.mm", "11.v.mm", "11.q.mm"} {
				if m.Index().Producer[product] != nil {
					t.Errorf("%s is computed", product)
				}
			}
		})
	}
}

// A sum that another node passes on, with the stream as its second operand, is computed for the class token too.
func TestClassTokenBehindIdentity(t *testing.T) {
	ort.Need(t)
	const n = 2
	b := backbone(t, testkit.Model(t))
	f, err := adapt.Find(b)
	if err != nil {
		t.Fatal(err)
	}
	last := f.Blocks[11]
	sum := b.Index().Producer[last.Mid]
	if sum.Input[0] == last.In {
		slices.Reverse(sum.Input)
	}
	sum.Output[0] = "passed on"
	graph.NewBuilder(b, "").Node("Identity", []string{"passed on"}, last.Mid)
	if err := b.Sort(); err != nil {
		t.Fatal(err)
	}
	if f, err = adapt.Find(b); err != nil {
		t.Fatal(err)
	}
	a, err := f.Insert(adapt.Options{Kind: adapt.Norm, Blocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]onnx.Tensor{adapt.Tokens: {Shape: []int64{n, 197, 192}, Data: noise(1, n*197*192, 3)}}
	params(a, in, 0.02)
	var of [2][]float32
	for i, p := range []adapt.Part{{}, {ClassToken: true}} {
		m, err := a.Trained(p)
		if err != nil {
			t.Fatal(err)
		}
		of[i] = run(t, m, in, n*192)
	}
	if d := apart(of[0], of[1]); !(d < 1e-4) {
		t.Errorf("%g apart", d)
	}
}

// Streams of tokens first, attentions of PyTorch's own and queries, keys and values that are cut apart at computed
// places: the last block is computed for the class token alone, tokens can be left out, in any order, and lora has
// queries and values by themselves.
func TestTokensLeftOutOfExports(t *testing.T) {
	ort.Need(t)
	const n, kept = 2, 9
	for _, name := range []string{"sequence-first", "post-norm", "torchvision", "vit-pytorch", "vit"} {
		for _, how := range []string{"trace-17", "dynamo-18"} {
			f, err := adapt.Find(backbone(t, filepath.Join(testkit.Root(), "onnx", "grad", "testdata", "exports",
				name+"-"+how+".onnx")))
			if err != nil {
				t.Fatal(name, how, err)
			}
			a, err := f.Insert(adapt.Options{Kind: adapt.LoRA, Rank: 2})
			if err != nil {
				t.Fatal(name, how, err)
			}
			of := func(x []float32, p adapt.Part) []float32 {
				t.Helper()
				m, err := a.Trained(p)
				if err != nil {
					t.Fatal(name, how, err)
				}
				shape := []int64{n, int64(len(x)) / n / f.Dim, f.Dim}
				in := map[string]onnx.Tensor{adapt.Tokens: {Shape: shape, Data: x}}
				params(a, in, 0.05)
				return run(t, m, in, n*int(f.Dim))
			}
			x := noise(3, n*int(f.Tokens*f.Dim), 1)
			if !a.ByClassToken() {
				t.Errorf("%s %s: not by the class token", name, how)
			} else if d := apart(of(x, adapt.Part{}), of(x, adapt.Part{ClassToken: true})); !(d < 1e-4) {
				t.Errorf("%s %s: by the class token it is %g from the whole", name, how, d)
			}
			x, part := noise(4, n*kept*int(f.Dim), 1), adapt.Part{Tokens: kept}
			want, second := of(x, part), int(f.Dim)
			for i := range second { // the first two patches of the first image change places
				x[second+i], x[2*second+i] = x[2*second+i], x[second+i]
			}
			if d := apart(want, of(x, part)); !(d < 1e-4) {
				t.Errorf("%s %s: with two patches in each other's places it is %g from what it was", name, how, d)
			}
			for _, p := range a.Params() {
				if p.Shape[0] != f.Dim && p.Shape[1] != f.Dim || p.Size() != 2*int(f.Dim) {
					t.Errorf("%s %s: %s has the shape %v", name, how, p.Name, p.Shape)
				}
			}
		}
	}
}

// Lora, which has a place in one attention of a block, is refused where two are added at once.
func TestTwoAttentions(t *testing.T) {
	for _, how := range []string{"trace-17", "dynamo-18"} {
		f, err := adapt.Find(backbone(t, filepath.Join(testkit.Root(), "onnx", "grad", "testdata", "exports",
			"two-attentions-"+how+".onnx")))
		if err != nil {
			t.Fatal(how, err)
		}
		kinds, why := f.Support()
		if !slices.Equal(kinds, []adapt.Kind{adapt.Adapter, adapt.Norm, adapt.Full}) ||
			!errors.Is(why, graph.ErrModel) || !strings.Contains(why.Error(), "block 0 has 2 attentions side by side") {
			t.Errorf("%s: %v, %v", how, kinds, why)
		}
	}
}

// Of norms behind the sums those of a block are its own, as those before attention and MLP are.
func TestNormsBehindSums(t *testing.T) {
	of := func(name string) (names []string) {
		f, err := adapt.Find(backbone(t, filepath.Join(testkit.Root(), "onnx", "grad", "testdata", "exports",
			name+"-dynamo-18.onnx")))
		if err != nil {
			t.Fatal(name, err)
		}
		for blocks := range f.Blocks {
			a, err := f.Insert(adapt.Options{Kind: adapt.Norm, Blocks: blocks + 1})
			if err != nil {
				t.Fatal(name, err)
			}
			names = append(names, fmt.Sprint(len(a.Params())))
		}
		return names
	}
	if before, behind := of("sequence-first"), of("post-norm"); !slices.Equal(before, behind) {
		t.Errorf("one and two blocks have %v vectors with norms before, and %v with norms behind", before, behind)
	}
}

// gradients runs a part, to the embedding and the gradients by the parameters.
func gradients(t *testing.T, a *adapt.Adapted, p adapt.Part, in map[string]onnx.Tensor) ([][]float32, *graph.Model) {
	t.Helper()
	m, err := a.Gradients(p, "seed")
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	s, err := onnx.NewSession(data, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var feed, out []onnx.Tensor
	for _, v := range s.Inputs() {
		feed = append(feed, in[v.Name])
	}
	shapes := [][]int64{in["seed"].Shape}
	for _, p := range a.Params() {
		shapes = append(shapes, p.Shape)
	}
	var values [][]float32
	for _, shape := range shapes {
		values = append(values, make([]float32, graph.Elements(shape)))
		out = append(out, onnx.Tensor{Shape: slices.Clone(shape), Data: values[len(values)-1]})
	}
	if err := s.Run(t.Context(), feed, out); err != nil {
		t.Fatal(err)
	}
	return values, m
}

package adapt

import (
	"slices"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
)

// What changes nothing is left out, and nothing else: not what rounds, widens, masks something or is an output.
func TestWithoutNeutral(t *testing.T) {
	float := func(shape ...int64) graph.Value { return graph.Value{Name: "x", Type: "float32", Shape: shape} }
	for name, c := range map[string]struct {
		make func(b *graph.Builder, x string) string
		left []string
	}{
		"cast": {func(b *graph.Builder, x string) string { return b.Cast(x, "", "float32") }, []string{"Neg", "Exp"}},
		"rounds": {func(b *graph.Builder, x string) string { return b.Cast(b.Cast(x, "", "float16"), "", "float32") },
			[]string{"Neg", "Cast", "Cast", "Exp"}},
		"zeros": {func(b *graph.Builder, x string) string {
			return b.Node("Add", []string{b.Floats("zeros", []int64{1, 4}, 0, 0, 0, 0), x}, "")
		}, []string{"Neg", "Exp"}},
		"not all zeros": {func(b *graph.Builder, x string) string {
			return b.Node("Add", []string{x, b.Floats("some", []int64{1, 4}, 0, 0, 0, 1)}, "")
		}, []string{"Neg", "Add", "Exp"}},
		"widens": {func(b *graph.Builder, x string) string {
			return b.Node("Add", []string{x, b.Floats("more", []int64{3, 1, 4}, make([]float32, 12)...)}, "")
		}, []string{"Neg", "Add", "Exp"}},
		"a mask of nothing": {func(b *graph.Builder, x string) string {
			all := b.Raw("all", "bool", []int64{1, 4}, []byte{1, 1, 1, 1})
			mask := b.Node("Where", []string{all, b.Floats("zero", nil, 0), b.Floats("low", nil, -1e9)}, "")
			deeper := b.Node("Unsqueeze", []string{mask, b.Int64s("at", []int64{1}, 0)}, "")
			return b.Node("Add", []string{x, deeper}, "")
		}, []string{"Neg", "Where", "Unsqueeze", "Add", "Exp"}}, // whose rank is another than x's
		"the same of its rank": {func(b *graph.Builder, x string) string {
			all := b.Raw("all", "bool", []int64{4}, []byte{1, 1, 1, 1})
			mask := b.Node("Where", []string{all, b.Floats("zero", nil, 0), b.Floats("low", nil, -1e9)}, "")
			deeper := b.Node("Unsqueeze", []string{mask, b.Int64s("at", []int64{1}, 0)}, "")
			return b.Node("Add", []string{x, deeper}, "")
		}, []string{"Neg", "Exp"}},
		"a mask of one": {func(b *graph.Builder, x string) string {
			some := b.Raw("some", "bool", []int64{1, 4}, []byte{1, 1, 0, 1})
			return b.Node("Where", []string{some, x, b.Floats("low", nil, -1e9)}, "")
		}, []string{"Neg", "Where", "Exp"}},
	} {
		m := graph.New(name, 17)
		m.SetInputs(float(graph.Unknown, 4))
		b := graph.NewBuilder(m, "t")
		y := c.make(b, b.Node("Neg", []string{"x"}, ""))
		out := b.Node("Exp", []string{y}, "")
		m.SetOutputs(graph.Value{Name: out, Type: "float32", Shape: []int64{graph.Unknown, 4}})
		withoutNeutral(m)
		var left []string
		for _, n := range m.Graph().Node {
			left = append(left, n.GetOpType())
		}
		if !slices.Equal(left, c.left) {
			t.Errorf("%s: %v are left, not %v", name, left, c.left)
		}
	}
	m := graph.New("output", 17)
	m.SetInputs(float(graph.Unknown, 4))
	out := graph.NewBuilder(m, "t").Cast("x", "", "float32")
	m.SetOutputs(graph.Value{Name: out, Type: "float32", Shape: []int64{graph.Unknown, 4}})
	if withoutNeutral(m); len(m.Graph().Node) != 1 {
		t.Errorf("nothing gives the output any more: %v", m.Graph().Node)
	}
}

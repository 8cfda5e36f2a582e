package onnx

import (
	"math"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx/graph"
)

// The node where a model goes wrong is named, not one of those that only pass it on.
func TestFirstNotFinite(t *testing.T) {
	needRuntime(t)
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		nodes func(b *graph.Builder, x string) string
		want  []string
	}{
		"sound": {func(b *graph.Builder, x string) string { return b.Node("Exp", []string{x}, "") }, nil},
		"overflow": {func(b *graph.Builder, x string) string {
			big := b.Node("Mul", []string{x, b.Floats("big", nil, 1000)}, "scaled")
			e := b.Node("Exp", []string{big}, "grown")
			return b.Node("Sub", []string{e, e}, "")
		}, []string{"test/Exp/grown", "(Exp)", "+Inf"}},
		"half": {func(b *graph.Builder, x string) string {
			big := b.Node("Mul", []string{x, b.Floats("big", nil, 1e5)}, "")
			return b.Cast(b.Cast(big, "narrow", "float16"), "wide", "float32")
		}, []string{"test/Cast/narrow", "(Cast)", "+Inf"}},
		"weight": {func(b *graph.Builder, x string) string {
			y := b.Node("Add", []string{x, b.Floats("shift", []int64{3}, 0, nan, 0)}, "shifted")
			return b.Node("Relu", []string{b.Node("Neg", []string{y}, "")}, "")
		}, []string{"test/Add/shifted", "(Add)", "NaN", "float/shift"}},
		"a mask before it": {func(b *graph.Builder, x string) string {
			masked := b.Node("Add", []string{x, b.Floats("mask", []int64{3}, 0, 0, float32(math.Inf(-1)))}, "masked")
			s := b.Node("Softmax", []string{masked}, "")
			return b.Node("Log", []string{b.Node("Neg", []string{s}, "")}, "log")
		}, []string{"test/Log/log", "(Log)", "NaN"}},
		"minus infinity alone": {func(b *graph.Builder, x string) string {
			return b.Node("Log", []string{b.Node("Sub", []string{x, x}, "")}, "log")
		}, []string{"test/Log/log", "-Inf"}},
	} {
		m := graph.New("test", 13)
		b := graph.NewBuilder(m, "test")
		b.Node("Identity", []string{c.nodes(b, b.Node("Flatten", []string{"pixel_values"}, ""))}, "embedding")
		m.SetInputs(graph.Value{Name: "pixel_values", Type: "float32", Shape: []int64{-1, 3, 1, 1}})
		m.SetOutputs(graph.Value{Name: "embedding", Type: "float32", Shape: []int64{-1, 3}})
		o := SessionOptions{Provider: CPU}
		got, err := FirstNotFinite(t.Context(), m, o, []float32{1, 2, 3}, []int64{1, 3, 1, 1})
		if err != nil || (got == "") != (c.want == nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q does not name %s", name, got, want)
			}
		}
	}
}

package grad

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

var exports = flag.String("exports", "", "a folder of further models to differentiate, made by testdata/exports.py")

func TestMain(m *testing.M) { ort.Main(m) }

// floats reads a file of float32.
func floats(t testing.TB, path string) []float32 {
	t.Helper()
	raw := testkit.ReadFile(t, path)
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// run runs a model on inputs, in the order of the model's, and returns its outputs, of shapes that are given.
func run(t testing.TB, m *graph.Model, o onnx.SessionOptions, in []onnx.Tensor, shapes ...[]int64) ([][]float32,
	error) {
	t.Helper()
	if err := onnx.Load(ort.Need(t)); err != nil {
		t.Fatal(err)
	}
	data, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	o.Provider = onnx.CPU
	s, err := onnx.NewSession(data, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var out []onnx.Tensor
	var list [][]float32
	for _, shape := range shapes {
		v := make([]float32, graph.Elements(shape))
		list, out = append(list, v), append(out, onnx.Tensor{Shape: shape, Data: v})
	}
	return list, s.Run(context.Background(), in, out)
}

// off is the largest difference, relative to the largest value wanted.
func off(got, want []float32) float64 {
	var diff, most float64
	for i := range want {
		diff = math.Max(diff, math.Abs(float64(got[i])-float64(want[i])))
		most = math.Max(most, math.Abs(float64(want[i])))
		if math.IsNaN(float64(got[i])) {
			return math.NaN()
		}
	}
	return diff / math.Max(most, 1e-30)
}

// differentiateExport compares the gradient by the pixels with PyTorch's.
func differentiateExport(t testing.TB, base string, o onnx.SessionOptions) (feature, gradient float64, err error) {
	var shapes struct{ X, Y []int64 }
	if err := json.Unmarshal(testkit.ReadFile(t, base+".json"), &shapes); err != nil {
		t.Fatal(err)
	}
	m, err := graph.Read(base + ".onnx")
	if err != nil {
		return 0, 0, err
	}
	g, err := Backward(m, "embedding", []string{"pixel_values"}, Options{Seed: "seed", Outputs: []string{"embedding"}})
	if err != nil {
		return 0, 0, err
	}
	in := []onnx.Tensor{{Shape: shapes.X, Data: floats(t, base+".x")}, {Shape: shapes.Y, Data: floats(t, base+".seed")}}
	got, err := run(t, g.Model, o, in, shapes.Y, shapes.X)
	if err != nil {
		return 0, 0, err
	}
	return off(got[0], floats(t, base+".y")), off(got[1], floats(t, base+".d")), nil
}

func TestSurvey(t *testing.T) {
	if *exports == "" {
		t.Skip("name a folder of models by -exports")
	}
	files, _ := filepath.Glob(filepath.Join(*exports, "*.json"))
	counts := map[string]int{}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".json")
		feature, gradient, err := differentiateExport(t, base, onnx.SessionOptions{})
		var unsupported *UnsupportedError
		switch {
		case errors.As(err, &unsupported):
			counts["refused"]++
			fmt.Fprintln(os.Stderr, "refused", filepath.Base(base), unsupported)
		case err != nil:
			counts["failed"]++
			fmt.Fprintln(os.Stderr, "FAILED", filepath.Base(base), err)
		case !(feature < 1e-4) || !(gradient < 1e-3):
			counts["wrong"]++
			fmt.Fprintln(os.Stderr, "WRONG", filepath.Base(base), feature, gradient)
		default:
			counts["right"]++
			fmt.Fprintln(os.Stderr, "right", filepath.Base(base), feature, gradient)
		}
	}
	fmt.Fprintln(os.Stderr, counts)
}

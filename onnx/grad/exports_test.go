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

// decode reads float32 from bytes.
func decode(raw []byte) []float32 {
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// run runs a model on inputs, in the order of the model's, and returns its outputs, of shapes that are given.
func run(t testing.TB, m *graph.Model, o onnx.SessionOptions, in []onnx.Tensor, shapes ...[]int64) (
	[][]float32, error) {
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

// differentiateExport compares feature and gradient by the pixels with PyTorch's. A gradient jumps where something like
// ReLU bends: apart is the share of the pixels where it is off by more than 1e-4 of the largest.
func differentiateExport(t testing.TB, base string, o onnx.SessionOptions) (feature, gradient, apart float64,
	err error) {
	var want struct {
		X, Y                            []int64
		Pixels, Seed, Feature, Gradient []byte
	}
	if err := json.Unmarshal(testkit.ReadFile(t, base+".json"), &want); err != nil {
		t.Fatal(err)
	}
	if want.Pixels == nil { // all models of the folder have the same
		want.Pixels = testkit.ReadFile(t, filepath.Dir(base), "pixels.f32")
	}
	m, err := graph.Read(base + ".onnx")
	if err == nil {
		err = errors.Join(onnx.Load(ort.Need(t)), onnx.Fold(m)) // as before a training
	}
	if err != nil {
		return 0, 0, 0, err
	}
	of := m.Outputs()[0].Name
	g, err := Backward(m, of, []string{"pixel_values"}, Options{Seed: "seed", Outputs: []string{of}})
	if err != nil {
		return 0, 0, 0, err
	}
	in := []onnx.Tensor{{Shape: want.X, Data: decode(want.Pixels)}, {Shape: want.Y, Data: decode(want.Seed)}}
	got, err := run(t, g.Model, o, in, want.Y, want.X)
	if err != nil {
		return 0, 0, 0, err
	}
	exact := decode(want.Gradient)
	var most float64
	for _, v := range exact {
		most = max(most, math.Abs(float64(v)))
	}
	for i, v := range exact {
		if !(math.Abs(float64(v)-float64(got[1][i])) <= 1e-4*most) {
			apart += 1 / float64(len(exact))
		}
	}
	return off(got[0], decode(want.Feature)), off(got[1], exact), apart, nil
}

// What exporters write, small: a block or two of each kind, as testdata/exports.py has made them.
func TestExports(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("testdata", "exports", "*.json"))
	if len(files) < 20 {
		t.Fatalf("%d models, have they gone?", len(files))
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".json")
		for _, o := range []onnx.SessionOptions{{}, {AsWritten: true}} {
			feature, gradient, _, err := differentiateExport(t, base, o)
			if err != nil || !(feature < 1e-5) || !(gradient < 1e-4) {
				t.Errorf("%s, %+v: feature is off by %.1e, gradient by %.1e: %v", base, o, feature, gradient, err)
			}
		}
	}
}

func TestSurvey(t *testing.T) {
	if *exports == "" {
		t.Skip("name a folder of models by -exports")
	}
	files, _ := filepath.Glob(filepath.Join(*exports, "*.json"))
	counts := map[string]int{}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".json")
		feature, gradient, apart, err := differentiateExport(t, base, onnx.SessionOptions{})
		var unsupported *UnsupportedError
		switch {
		case errors.As(err, &unsupported):
			counts["refused"]++
			fmt.Fprintln(os.Stderr, "refused", filepath.Base(base), unsupported)
		case err != nil:
			counts["failed"]++
			fmt.Fprintln(os.Stderr, "FAILED", filepath.Base(base), err)
		case !(feature < 1e-4) || !(apart < 0.02):
			counts["wrong"]++
			fmt.Fprintln(os.Stderr, "WRONG", filepath.Base(base), feature, gradient, apart)
		case !(gradient < 1e-4):
			counts["right but for a bend"]++
			fmt.Fprintln(os.Stderr, "bend", filepath.Base(base), feature, gradient, apart)
		default:
			counts["right"]++
		}
	}
	fmt.Fprintln(os.Stderr, len(files), "models:", counts)
}

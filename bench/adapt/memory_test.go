package adapt_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

// BenchmarkMemory takes a step of adapters in all blocks of a ViT-B/16 with random weights, all tokens, by the size of
// the micro-batch. "MB" is the most that the process has had in memory until then; sizes ascend.
func BenchmarkMemory(b *testing.B) {
	if err := onnx.Load(ort.Need(b)); err != nil {
		b.Fatal(err)
	}
	for _, images := range []int64{1, 4, 8, 16} {
		b.Run(fmt.Sprintf("images=%d", images), func(b *testing.B) {
			s := stepOf(b, large(b), 12, images)
			kept, err := s.model.Kept(s.in)
			if err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			for b.Loop() {
				s.run(b)
			}
			b.ReportMetric(peak(b), "MB")
			b.ReportMetric(float64(kept)/1e6, "MB-kept")
		})
	}
}

// large makes a ViT-B/16 of a ViT-Tiny/16, which has a quarter of its width and of its heads.
func large(b *testing.B) *graph.Model {
	m, err := graph.Read(testkit.Model(b))
	if err != nil {
		b.Fatal(err)
	}
	wider := func(dims []int64) []int64 {
		var out []int64
		for _, d := range dims {
			if d == 192 || d == 768 {
				d *= 4
			}
			out = append(out, d)
		}
		return out
	}
	m.Graph().ValueInfo = nil
	for i, t := range m.Graph().Initializer {
		var to *graph.Tensor
		if ints, ok := graph.Ints(t); ok {
			ints = wider(ints)
			if t.GetName() == "sh_h" {
				ints[2] *= 4
			}
			to = &graph.Tensor{Dims: t.Dims, DataType: t.DataType, Int64Data: ints}
		} else if dims := wider(t.Dims); len(dims) > 0 {
			values := noise(uint64(i), graph.Elements(dims))
			for k := range values {
				values[k] *= 0.02
			}
			to = graph.FloatTensor(dims, values)
		} else {
			continue
		}
		to.Name = t.Name
		m.Graph().Initializer[i] = to
	}
	outputs := m.Outputs()
	for i := range outputs {
		outputs[i].Shape = wider(outputs[i].Shape)
	}
	m.SetOutputs(outputs...)
	return m
}

// peak is the most memory that this process has had, in MB.
func peak(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	var kB float64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kB); err == nil {
			break
		}
	}
	return kB * 1024 / 1e6
}

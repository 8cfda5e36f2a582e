package adapt_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/graph"
)

var (
	memory = flag.String("memory", "", "train inside a ViT-B/16: adapter, lora, norm or full")
	blocks = flag.String("blocks", "6", "in how many of its blocks")
	micro  = flag.Int("micro-batch", 16, "images at a time")
	keep   = flag.String("keep-tokens", "1", "share of the patch tokens")
)

// BenchmarkMemory trains inside a ViT-B/16 with random weights for an epoch of one batch, as finetune does, with all
// that comes before and after. "GB" is the most that the process has had in memory.
func BenchmarkMemory(b *testing.B) {
	if *memory == "" {
		b.Skip("it takes up to 12 GB: ask for it with -args -memory KIND")
	}
	ort.Need(b)
	o := engine.FinetuneOptions{
		Data:     dataset.Sources{Train: testkit.Folder(b, 1, 8, 8, 8, 8), Test: testkit.Folder(b, 2, 2, 2, 2, 2)},
		Backbone: backbone.Options{Name: written(b, large(b))},
		Device:   device.Options{Provider: "cpu"},
		Features: feature.Options{Cache: b.TempDir()},
		Adapt:    inside.Options{Kind: *memory, Blocks: *blocks, Micro: *micro, Keep: *keep},
		Training: head.Settings{Epochs: 1},
		Out:      filepath.Join(b.TempDir(), "run"),
	}
	debug.FreeOSMemory() // that making the model took
	for b.Loop() {
		if _, err := engine.Finetune(b.Context(), o, event.Events{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(peak(b)/1e3, "GB")
}

// written is the file of a model.
func written(b *testing.B, m *graph.Model) string {
	data, err := m.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	return testkit.WriteFile(b, filepath.Join(b.TempDir(), "vit_b.onnx"), data)
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

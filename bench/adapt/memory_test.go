package adapt_test

import (
	"flag"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/graph"
)

var (
	memory = flag.String("memory", "", "train inside a ViT-B/16: adapter, lora, norm or full; or none")
	blocks = flag.String("blocks", "6", "in how many of its blocks")
	micro  = flag.Int("micro-batch", 16, "images at a time")
	keep   = flag.String("keep-tokens", "auto", "share of the patch tokens")
)

// BenchmarkMemory lets finetune train inside a ViT-B/16 with random weights for an epoch of one batch, with all that
// comes before and after. "GB" is the most that the program has had in memory.
func BenchmarkMemory(b *testing.B) {
	if *memory == "" {
		b.Skip("it takes up to 9 GB: ask for it with -args -memory KIND")
	}
	ort.Need(b)
	program := filepath.Join(b.TempDir(), "vitft")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/vitft").CombinedOutput(); err != nil {
		b.Fatalf("build vitft: %v: %s", err, out)
	}
	args := []string{"finetune", "--backbone", written(b, large(b)), "--train", testkit.Folder(b, 1, 8, 8, 8, 8),
		"--test", testkit.Folder(b, 2, 2, 2, 2, 2), "--provider", "cpu", "--epochs", "1"}
	if *memory != "none" {
		args = append(args, "--adapt", *memory, "--adapt-blocks", *blocks, "--micro-batch", strconv.Itoa(*micro),
			"--keep-tokens", *keep)
	}
	var most float64
	for b.Loop() {
		own := []string{"--cache", b.TempDir(), "--out", filepath.Join(b.TempDir(), "run")}
		cmd := exec.Command(program, append(args, own...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		kB := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
		most = max(most, float64(kB)*1024/1e9)
	}
	b.ReportMetric(most, "GB")
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

package adapt_test

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

var python = flag.String("python", "", "a Python that has torch and onnx; nothing is compared without")

const images, rank, dim = 16, 4, 192

// spent is time by the clock and of the processor.
type spent struct{ wall, processor float64 }

// BenchmarkTorch is described in doc.go. "× eager" is how many times as fast a step here is as PyTorch's, by the clock
// and in processor time; each is the median of ratios of neighbours.
func BenchmarkTorch(b *testing.B) {
	if *python == "" {
		b.Skip("it needs PyTorch: ask for it with -args -python PYTHON")
	}
	if err := onnx.Load(ort.Need(b)); err != nil {
		b.Fatal(err)
	}
	for _, blocks := range []int{3, 6, 12} {
		b.Run(fmt.Sprintf("blocks=%d", blocks), func(b *testing.B) { besideTorch(b, blocks) })
	}
}

func besideTorch(b *testing.B, blocks int) {
	s := newStep(b, testkit.Model(b), blocks)
	folder := b.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	for _, x := range s.in { // the scale of what is trained, away from the start, where gradients are 0
		for i := range x.Data {
			x.Data[i] += float32(0.05 * r.NormFloat64())
		}
	}
	var params []float32
	for _, x := range s.in[1:] {
		params = append(params, x.Data...)
	}
	write(b, filepath.Join(folder, "params"), params)
	write(b, filepath.Join(folder, "tokens"), s.in[0].Data)
	write(b, filepath.Join(folder, "seed"), s.seed)
	torch := startTorch(b, folder, blocks)
	s.run(b)
	ways := []string{"eager", "compiled", "class"}
	var ours []float32
	for _, g := range s.grads {
		ours = append(ours, g.Data...)
	}
	for _, way := range ways {
		if d := apart(ours, read(b, filepath.Join(folder, "gradients."+way))); !(d < 1e-4) {
			b.Fatalf("the gradients are %g from PyTorch's, %s", d, way)
		}
	}
	ratios := map[string][]float64{}
	note := func(name string, ours, theirs spent) {
		ratios["×"+name] = append(ratios["×"+name], theirs.wall/ours.wall)
		ratios["×"+name+"-cpu"] = append(ratios["×"+name+"-cpu"], theirs.processor/ours.processor)
	}
	for b.Loop() {
		mine := s.run(b)
		for _, way := range ways {
			note(way, mine, torch(way))
		}
		ratios["ms"] = append(ratios["ms"], 1000*mine.wall)
	}
	b.ReportMetric(0, "ns/op")
	for name, list := range ratios {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2], name)
	}
}

// startTorch starts PyTorch and returns how it takes a step.
func startTorch(b *testing.B, folder string, blocks int) func(way string) spent {
	cmd := exec.Command(*python, "torch_step.py", testkit.Model(b), folder,
		fmt.Sprint(12-blocks), fmt.Sprint(rank), fmt.Sprint(images), fmt.Sprint(runtime.GOMAXPROCS(0)))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "OMP_WAIT_POLICY=PASSIVE") // neither side spins while it waits
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "ready") {
		b.Fatalf("PyTorch does not run: %q", lines.Text())
	}
	b.Logf("PyTorch %s", strings.TrimPrefix(lines.Text(), "ready "))
	return func(way string) (s spent) {
		io.WriteString(in, way+"\n")
		lines.Scan()
		if _, err := fmt.Sscan(lines.Text(), &s.wall, &s.processor); err != nil {
			b.Fatalf("PyTorch answers %q: %v", lines.Text(), err)
		}
		return s
	}
}

// step is a training step of adapters in the last blocks, as vitft takes it.
type step struct {
	model *onnx.GradientModel
	in    []onnx.Tensor // tokens, parameters
	seed  []float32
	out   []float32
	grads []onnx.Tensor
}

func newStep(b *testing.B, path string, blocks int) *step {
	whole, err := graph.Read(path)
	if err != nil {
		b.Fatal(err)
	}
	return stepOf(b, whole, blocks, images)
}

func stepOf(b *testing.B, m *graph.Model, blocks int, images int64) *step {
	backbone, _, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil {
		b.Fatal(err)
	}
	t, err := adapt.Find(backbone)
	if err != nil {
		b.Fatal(err)
	}
	a, err := t.Insert(adapt.Options{Kind: adapt.Adapter, Blocks: blocks, Rank: rank})
	if err != nil {
		b.Fatal(err)
	}
	g, err := a.Gradients(adapt.Part{ClassToken: true}, "seed")
	if err != nil {
		b.Fatal(err)
	}
	forward, backward, err := grad.Split(g, "seed")
	if err != nil {
		b.Fatal(err)
	}
	s := &step{seed: noise(2, images*t.Dim), out: make([]float32, images*t.Dim)}
	if s.model, err = onnx.NewGradientModel(forward, backward, "seed",
		onnx.SessionOptions{Provider: onnx.CPU}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.model.Close() })
	s.in = append(s.in, onnx.Tensor{Shape: []int64{images, t.Tokens, t.Dim}, Data: noise(1, images*t.Tokens*t.Dim)})
	for _, p := range a.Params() {
		s.in = append(s.in, onnx.Tensor{Shape: p.Shape, Data: p.Start()})
		s.grads = append(s.grads, onnx.Tensor{Shape: p.Shape, Data: make([]float32, p.Size())})
	}
	return s
}

func (s *step) run(b *testing.B) spent {
	wall, processor := time.Now(), used(b)
	n := int(s.in[0].Shape[0])
	if err := s.model.Forward(b.Context(), s.in, n, s.out); err != nil {
		b.Fatal(err)
	}
	if err := s.model.Backward(b.Context(), s.seed, n, s.grads); err != nil {
		b.Fatal(err)
	}
	return spent{time.Since(wall).Seconds(), used(b) - processor}
}

// used is the processor time of this process.
func used(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func noise(seed uint64, n int64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// apart is the largest difference, relative to the largest value.
func apart(a, b []float32) float64 {
	d, top := 0.0, 0.0
	for i := range a {
		d, top = max(d, math.Abs(float64(a[i]-b[i]))), max(top, math.Abs(float64(a[i])))
	}
	return d / top
}

func write(b *testing.B, path string, v []float32) {
	data, err := binary.Append(nil, binary.LittleEndian, v)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func read(b *testing.B, path string) []float32 {
	data := testkit.ReadFile(b, path)
	v := make([]float32, len(data)/4)
	if _, err := binary.Decode(data, binary.LittleEndian, v); err != nil {
		b.Fatal(err)
	}
	return v
}

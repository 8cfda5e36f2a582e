package gpu_test

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// load loads the runtime library, or skips the test.
func load(t *testing.T) {
	t.Helper()
	library := ort.Need(t)
	if err := onnx.Load(library); err != nil {
		t.Fatal(err)
	}
	t.Setenv(onnx.LibraryEnv, library.Path) // for the programs that are started
}

// TestRun runs all of it, small and with the CPU against itself.
func TestRun(t *testing.T) {
	load(t)
	vitft := filepath.Join(t.TempDir(), "vitft")
	if out, err := exec.Command("go", "build", "-o", vitft, "../../cmd/vitft").CombinedOutput(); err != nil {
		t.Skipf("cannot build vitft: %v: %s", err, out)
	}
	var report bytes.Buffer
	measure(&bench{TB: t, ctx: t.Context(), out: &report, dir: t.TempDir(), options: options{
		provider: onnx.CPU, vitft: vitft, seconds: 0.05, rounds: 1, images: 250, quick: true}})
	for _, want := range []string{"vitft doctor: passed", "engine.Encode", "Classifier, 64 goroutines, JPEGs",
		"its gradient", "as vitft chooses", "Ctrl-C during vitft encode: passed", "vitft serve: passed"} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(report.String(), "FAILED") || strings.Contains(report.String(), "NaN") {
		t.Errorf("%s", report.String())
	}
}

// failing is a test that only remembers what failed.
type failing struct {
	testing.TB
	failed []string
}

func (f *failing) Errorf(format string, v ...any) {
	f.failed = append(f.failed, fmt.Sprintf(format, v...))
}

// TestRunFails checks that what fails is said and counts.
func TestRunFails(t *testing.T) {
	var out bytes.Buffer
	f := &failing{TB: t}
	b := &bench{TB: f, out: &out}
	b.check("good", atMost(0.5, bound*1000))
	b.check("large", atMost(0.5, bound))
	b.check("not a number", atMost(relative([]float32{1, 2}, []float32{1, float32(math.NaN())}), bound))
	if len(f.failed) != 2 || f.failed[0] != "FAILED: large: 0.5 is more than 0.001" ||
		strings.Count(out.String(), "passed") != 1 {
		t.Errorf("%q\n%s", f.failed, out.String())
	}
}

// TestRandomViT checks the model against its definition where that is simple, and that it is used as it is meant.
func TestRandomViT(t *testing.T) {
	load(t)
	s := vitShape{image: 16, patch: 8, dim: 24, heads: 3, layers: 2, mlp: 32}
	b := &bench{TB: t, ctx: t.Context(), dir: t.TempDir()}
	file := b.randomViT(s)
	m, err := graph.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	_, in, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil || in.Feature.Dim != 24 || in.Feature.Tensor != "embedding" || in.Image.Width != 16 {
		t.Fatalf("%+v, %v", in, err)
	}
	e, err := onnx.NewFeatureModel(b.subject("test", file, 5).backbone, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const n = 5
	size := 3 * 16 * 16
	pixels := normals(1, n*size)
	all, one := make([]float32, n*24), make([]float32, 24)
	if err := e.Run(t.Context(), pixels, n, all); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		row := all[i*24 : (i+1)*24]
		if err := e.Run(t.Context(), pixels[i*size:(i+1)*size], 1, one); err != nil {
			t.Fatal(err)
		}
		if d := relative(row, one); !(d < 1e-5) {
			t.Errorf("image %d: alone it differs by %g", i, d)
		}
		// The last layer norm has scale 1 and bias 0.
		mean, square := 0.0, 0.0
		for _, v := range row {
			mean, square = mean+float64(v)/24, square+float64(v)*float64(v)/24
		}
		if math.Abs(mean) > 1e-5 || math.Abs(square-1) > 1e-2 {
			t.Errorf("image %d: mean %g, mean square %g", i, mean, square)
		}
	}
	if d := relative(all[:24], all[24:48]); !(d > 1e-3) {
		t.Errorf("two images have the same feature")
	}
}

package gpu_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/onnx"
)

// options are what the flags set. The zero value is not useful; see the flags.
type options struct {
	provider onnx.Provider // compared with the CPU
	tiny     string        // path of a ViT-Tiny; "" to leave it out
	vitft    string        // path of the vitft program; "" to leave it out
	seconds  float64       // of a measurement
	rounds   int           // of which the median counts
	images   int           // pictures that are made, and encoded at most
	quick    bool          // models and data so small that the figures mean nothing
}

var (
	given  options
	report = flag.String("report", "", "file for the report (default standard output)")
	limit  = flag.Duration("limit", 8*time.Minute, "give up after this time")
)

func init() {
	flag.StringVar((*string)(&given.provider), "provider", "",
		"what to compare with the CPU; nothing is measured without")
	flag.StringVar(&given.tiny, "tiny", "", "a ViT-Tiny in ONNX form (left out by default)")
	flag.StringVar(&given.vitft, "vitft", "", "the vitft program (its commands are not tried by default)")
	flag.Float64Var(&given.seconds, "seconds", 1, "length of a measurement")
	flag.IntVar(&given.rounds, "rounds", 3, "measurements of which the median counts")
	flag.IntVar(&given.images, "images", 2048, "pictures to make, and to encode at most")
	flag.BoolVar(&given.quick, "quick", false, "sizes that only test this program")
}

// BenchmarkProvider writes a Markdown report: the machine, images a second of two models (bare session runs on batches
// that are ready, engine.Encode from files, a Classifier that 64 goroutines ask, training steps inside the backbone),
// training of heads, and single matrix products, on the CPU and on the other provider in alternating rounds. Then it
// starts vitft itself: doctor, encode with a Ctrl-C, serve. A check that fails is named, and the benchmark fails.
//
//	go test ./bench/gpu -run '^$' -bench . -args -provider cuda
//
// With -provider cpu it compares the CPU with the CPU, which tests the program. Paths are relative to this folder.
func BenchmarkProvider(b *testing.B) {
	if given.provider == "" {
		b.Skip("it takes minutes: ask for it with -args -provider cuda")
	}
	out := os.Stdout
	if *report != "" {
		var err error
		if out, err = os.Create(*report); err != nil {
			b.Fatal(err)
		}
		defer out.Close()
	}
	ctx, cancel := context.WithTimeout(b.Context(), *limit)
	defer cancel()
	defer func() {
		if ctx.Err() != nil {
			b.Errorf("not done after %v; -limit allows more", *limit)
		}
	}()
	measure(&bench{TB: b, options: given, ctx: ctx, out: out, dir: b.TempDir()})
	b.ReportMetric(0, "ns/op") // which would only be how long this took
}

// bench is one measurement. What cannot be measured ends it, a check that fails does not.
type bench struct {
	testing.TB
	options
	ctx context.Context
	out io.Writer
	dir string // for everything that is written
}

// measure measures everything, checks included.
func measure(b *bench) {
	library, err := onnx.Find("")
	b.must(err)
	b.must(onnx.Load(library))
	begin := time.Now()
	b.machine(library)
	if b.vitft != "" {
		b.check("vitft doctor", b.doctor())
		b.printf("\n")
	}
	if status := onnx.Probe(b.provider); !status.Works {
		b.Fatalf("provider %s: %s; %s (%s)", status.Provider, status.Missing, status.Fix, status.Detail)
	}
	pictures, subjects := b.makePictures(), b.subjects()
	for _, s := range subjects {
		b.speed(s, pictures)
	}
	b.products()
	b.training()
	if b.vitft != "" {
		last := subjects[len(subjects)-1]
		b.printf("\n## Commands\n\n")
		b.check("Ctrl-C during vitft encode", b.interrupt(last, pictures))
		b.check("vitft serve", b.serve(last, pictures))
	}
	b.printf("\nTook %.0f s.\n", time.Since(begin).Seconds())
}

func (b *bench) printf(format string, v ...any) { fmt.Fprintf(b.out, format, v...) }

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// must ends the measurement if something went wrong.
func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// check notes what failed and goes on.
func (b *bench) check(what string, err error) {
	b.Helper()
	if err == nil {
		b.printf("- %s: passed\n", what)
		return
	}
	b.printf("- %s: **FAILED**: %v\n", what, err)
	b.Errorf("FAILED: %s: %v", what, err)
}

// atMost is the check that a difference is in bounds; NaN is not.
func atMost(difference, bound float64) error {
	if difference <= bound {
		return nil
	}
	return fmt.Errorf("%.2g is more than %g", difference, bound)
}

func (b *bench) machine(library onnx.Library) {
	b.printf("# %s against the CPU\n\n", strings.ToUpper(string(b.provider)))
	b.printf("- measured on %s with vitft %s, ONNX Runtime %s, %s\n", time.Now().UTC().Format(time.DateOnly),
		run.Version(), library.Version, runtime.Version())
	b.printf("- CPU: %s, GOMAXPROCS %d\n", processor(), runtime.GOMAXPROCS(0))
	if gpu := nvidiaSMI("name,driver_version,memory.total"); gpu != "" {
		b.printf("- GPU, driver, memory: %s\n", gpu)
	} else {
		b.printf("- GPU: nvidia-smi does not answer\n")
	}
	b.printf("- each figure is the median of %d rounds of %g s, the providers in turns\n", b.rounds, b.seconds)
	if b.quick {
		b.printf("- **quick: the sizes only test the program, the figures mean nothing**\n")
	}
	b.printf("\n")
}

// processor is what Linux calls it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// nvidiaSMI asks for a comma-separated list of properties; "" without an answer.
func nvidiaSMI(what string) string {
	out, err := exec.Command("nvidia-smi", "--query-gpu="+what, "--format=csv,noheader").Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), "; ")
}

// memory tells how full the GPU is.
func (b *bench) memory(when string) {
	if used := nvidiaSMI("memory.used"); used != "" {
		b.printf("\nGPU memory in use %s: %s\n", when, used)
	}
}

// inTurns measures the CPU and the other provider so many times, in alternating order, and returns the medians of each
// figure that measure gives.
func (b *bench) inTurns(measure func(p onnx.Provider) ([]float64, error)) (cpu, other []float64) {
	b.Helper()
	var got [2][][]float64 // by provider, figure and round
	providers := []onnx.Provider{onnx.CPU, b.provider}
	for round := range b.rounds {
		for k := range providers {
			k = (k + round) % 2
			b.must(b.ctx.Err())
			figures, err := measure(providers[k])
			if err != nil {
				b.Fatalf("on %s: %v", providers[k], err)
			}
			if got[k] == nil {
				got[k] = make([][]float64, len(figures))
			}
			for i, v := range figures {
				got[k][i] = append(got[k][i], v)
			}
		}
	}
	medians := func(rounds [][]float64) []float64 {
		m := make([]float64, len(rounds))
		for i, v := range rounds {
			m[i] = median(v)
		}
		return m
	}
	return medians(got[0]), medians(got[1])
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// Command gpubench measures what CUDA is worth to vitft on this machine, and checks that it gives the results of the
// CPU. bench/gpu/run starts it; docs/gpu.md says how, and what the figures mean.
//
// It writes a Markdown report to standard output: the machine, images a second of two models (bare session runs on
// batches that are ready, engine.Encode from files, a Classifier that 64 goroutines ask), training of heads, and single
// matrix products, on the CPU and on the other provider in alternating rounds. Then it starts vitft itself: doctor,
// encode with a Ctrl-C, serve. A check that fails is named, and the exit code is 1.
//
// With -provider cpu it compares the CPU with the CPU, which tests the program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/onnx"
)

// options are what the flags set. The zero value is not useful; see main.
type options struct {
	provider onnx.Provider // compared with the CPU
	tiny     string        // path of a ViT-Tiny; "" to leave it out
	vitft    string        // path of the vitft program; "" to leave it out
	seconds  float64       // of a measurement
	rounds   int           // of which the median counts
	images   int           // pictures that are made, and encoded at most
	quick    bool          // models and data so small that the figures mean nothing
}

func main() {
	var o options
	provider := flag.String("provider", "cuda", "what to compare with the CPU")
	flag.StringVar(&o.tiny, "tiny", "", "a ViT-Tiny in ONNX form (left out by default)")
	flag.StringVar(&o.vitft, "vitft", "", "the vitft program (its commands are not tried by default)")
	flag.Float64Var(&o.seconds, "seconds", 1, "length of a measurement")
	flag.IntVar(&o.rounds, "rounds", 3, "measurements of which the median counts")
	flag.IntVar(&o.images, "images", 2048, "pictures to make, and to encode at most")
	flag.BoolVar(&o.quick, "quick", false, "sizes that only test this program")
	limit := flag.Duration("limit", 8*time.Minute, "give up after this time")
	flag.Parse()
	o.provider = onnx.Provider(*provider)
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	err := measure(ctx, o, os.Stdout)
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v; --limit allows more: %w", *limit, err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpubench:", err)
		os.Exit(1)
	}
}

// bench is one run of the program.
type bench struct {
	options
	out    io.Writer
	dir    string // for everything that is written
	failed []error
}

// run measures everything, checks included, and returns what failed.
func measure(ctx context.Context, o options, out io.Writer) error {
	library, err := onnx.Find("")
	if err == nil {
		err = onnx.Load(library)
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gpubench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, out: out, dir: dir}
	begin := time.Now()
	b.machine(library)
	if b.vitft != "" {
		b.check("vitft doctor", b.doctor(ctx))
		b.printf("\n")
	}
	if status := onnx.Probe(b.provider); !status.Works {
		return fmt.Errorf("provider %s: %s; %s (%s)", status.Provider, status.Missing, status.Fix, status.Detail)
	}
	if err := b.measure(ctx); err != nil {
		return errors.Join(append(b.failed, err)...)
	}
	b.printf("\nTook %.0f s.\n", time.Since(begin).Seconds())
	return errors.Join(b.failed...)
}

func (b *bench) measure(ctx context.Context) error {
	pictures, err := b.makePictures()
	if err != nil {
		return err
	}
	subjects, err := b.subjects()
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if err := b.speed(ctx, s, pictures); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := b.products(ctx); err != nil {
		return fmt.Errorf("matrix products: %w", err)
	}
	if err := b.training(ctx); err != nil {
		return fmt.Errorf("head training: %w", err)
	}
	if b.vitft == "" {
		return nil
	}
	last := subjects[len(subjects)-1]
	b.printf("\n## Commands\n\n")
	b.check("Ctrl-C during vitft encode", b.interrupt(ctx, last, pictures))
	b.check("vitft serve", b.serve(ctx, last, pictures))
	return nil
}

func (b *bench) printf(format string, v ...any) { fmt.Fprintf(b.out, format, v...) }

// check notes what failed and goes on.
func (b *bench) check(what string, err error) {
	if err == nil {
		b.printf("- %s: passed\n", what)
		return
	}
	b.printf("- %s: **FAILED**: %v\n", what, err)
	b.failed = append(b.failed, fmt.Errorf("FAILED: %s: %w", what, err))
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
func (b *bench) inTurns(ctx context.Context, measure func(p onnx.Provider) ([]float64, error)) (cpu, other []float64,
	err error) {
	var got [2][][]float64 // by provider, figure and round
	providers := []onnx.Provider{onnx.CPU, b.provider}
	for round := range b.rounds {
		for k := range providers {
			k = (k + round) % 2
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			figures, err := measure(providers[k])
			if err != nil {
				return nil, nil, fmt.Errorf("on %s: %w", providers[k], err)
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
	return medians(got[0]), medians(got[1]), nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func (b *bench) path(parts ...string) string {
	return filepath.Join(append([]string{b.dir}, parts...)...)
}

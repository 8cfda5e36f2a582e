package far_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
)

var (
	rows    = flag.Int("rows", 20_000, "features")
	dim     = flag.Int("dim", 192, "values of each")
	classes = flag.Int("classes", 1000, "classes")
	epochs  = flag.Int("epochs", 2, "epochs")
	shuffle = flag.Int("shuffle", 65536, "features that are shuffled at a time")
	dir     = flag.String("dir", "", "folder of the store and of what is laid out; a temporary one if none is named")
	where   = flag.String("where", "disk", "where features are in training: disk or memory")
)

// kept are features in a store, without what makes them.
type kept struct {
	*store.Store
	feature.Source // has nothing else
}

func (k kept) Dim() int                           { return k.Key().Dim }
func (k kept) Stored(ids []store.ID, _ int) []int { return k.Store.Stored(ids) }
func (k kept) Gather(ctx context.Context, ids []store.ID, _ int, dst []float32) error {
	return k.Store.Gather(ctx, ids, dst)
}

func BenchmarkTraining(b *testing.B) {
	library := ort.Need(b)
	if err := onnx.Load(library); err != nil {
		b.Fatal(err)
	}
	if *dir == "" {
		*dir = b.TempDir()
	}
	key := store.Key{Backbone: "drawn", Preprocess: "none", Feature: "drawn", Precision: "float32", Provider: "cpu",
		Dim: *dim}
	b.Cleanup(func() { b.ReportMetric(0, "ns/op") })
	step := stopwatch(b)
	write(b, key)
	step("written")
	ctx := b.Context()
	s, report, err := store.Open(ctx, bucket.Dir(filepath.Join(*dir, "features")), key)
	if err != nil || report.Features != *rows {
		b.Fatalf("%+v, %v", report, err)
	}
	defer s.Close()
	ids, labels := inOrder()
	step("opened")
	if bad, err := s.Verify(ctx, ids); err != nil || len(bad) > 0 {
		b.Fatal(bad, err)
	}
	step("verified")
	d := head.Data{Y: labels, Dim: *dim, Classes: *classes}
	if *where == "memory" {
		d.X, err = feature.Interleaved(ctx, kept{Store: s}, ids, 1)
	} else {
		laid, failed := feature.Lay(ctx, kept{Store: s}, ids, 1, *dir, func(int, int) {})
		if err = failed; err == nil {
			defer laid.Close()
			d.Far = &head.Far{Rows: laid}
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	step("laid out")
	gemm, err := onnx.NewGemm(0, onnx.CPU)
	if err != nil {
		b.Fatal(err)
	}
	defer gemm.Close()
	set := head.Settings{Epochs: *epochs, Shuffle: head.Shuffle(*shuffle), Gemm: gemm}
	var last head.Epoch
	set.Events.Epoch = func(e head.Epoch, _ *head.State) {
		last = e
		step(fmt.Sprintf("epoch %d, %.1f s of it in updates", e.Number, e.Seconds))
	}
	r, err := head.Train(ctx, d, set)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.New()
	_ = binary.Write(sum, binary.LittleEndian, r.Head.W)
	b.Logf("head %x, balanced accuracy in training %.4f", sum.Sum(nil)[:8], *last.Train.Balanced)
}

// stopwatch logs what each step took since the last one.
func stopwatch(b *testing.B) func(what string) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	at, cpu := time.Now(), used()
	return func(what string) {
		text, _ := os.ReadFile("/proc/self/status")
		var peak, now, anonymous int
		for line := range strings.Lines(string(text)) {
			_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
			_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &now)
			_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &anonymous)
		}
		b.Logf("%-40s %7.1f s, %7.1f s of processors; %5d MB resident, %5d of them anonymous, %5d at most", what,
			time.Since(at).Seconds(), (used() - cpu).Seconds(), now/1000, anonymous/1000, peak/1000)
		at, cpu = time.Now(), used()
	}
}

func id(i int) store.ID { return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i))) }

// label is the class of the i-th feature: they come class by class, the most frequent one first, and the rarest has a
// hundredth of that.
func label(i int) int {
	tail := math.Log(100)
	share := 1 - (1-math.Exp(-tail))*float64(i)/float64(*rows)
	return min(*classes-1, int(-math.Log(share)/tail*float64(*classes)))
}

// inOrder are the ids in the order of learning, with the labels.
func inOrder() ([]store.ID, []int) {
	type one struct {
		id    store.ID
		label int
	}
	all := make([]one, *rows)
	for i := range all {
		all[i] = one{id(i), label(i)}
	}
	slices.SortFunc(all, func(a, b one) int { return slices.Compare(a.id[:], b.id[:]) })
	ids, labels := make([]store.ID, *rows), make([]int, *rows)
	for i, o := range all {
		ids[i], labels[i] = o.id, o.label
	}
	return ids, labels
}

// write sees to the blocks.
func write(b *testing.B, key store.Key) {
	s, report, err := store.Open(b.Context(), bucket.Dir(filepath.Join(*dir, "features")), key)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if report.Features == *rows {
		return
	}
	w, err := s.Writer(b.Context(), store.WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	centre, row := make([]float32, *dim), make([]float32, *dim)
	class := -1
	rng := rand.New(rand.NewPCG(1, 0))
	for i := range *rows {
		if y := label(i); y != class {
			class = y
			of := rand.New(rand.NewPCG(2, uint64(y)))
			for d := range centre {
				centre[d] = 0.25 * float32(of.NormFloat64())
			}
		}
		for d := range row {
			row[d] = centre[d] + float32(rng.NormFloat64())
		}
		err = errors.Join(err, w.Append(b.Context(), id(i), "", row))
	}
	if err := errors.Join(err, w.Close(b.Context())); err != nil {
		b.Fatal(err)
	}
}

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/bench/scale/sim"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/work"
	"github.com/vitft/vitft/internal/testkit"
)

// tiny is a ViT-Tiny, skipped aloud where it is absent.
func tiny(t testing.TB) *backbone.Backbone {
	of, err := backbone.Open(backbone.Options{Name: testkit.Model(t)}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { of.Close() })
	return of
}

// times are the records of all tasks that are done: images, and seconds of decoding and encoding them, but for those in
// which the worker was still at the task before.
func (r *real) times() (images, seconds []float64) {
	b, err := bucket.Open(r.t.Context(), r.cache, "jobs", r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	defer b.Close()
	names, err := b.List(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	var all []work.Record
	for _, name := range names {
		if !strings.Contains(name, "/done/") {
			continue
		}
		o, err := b.Open(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		text, err := bucket.Content(o)
		var record work.Record
		if err == nil {
			err = json.Unmarshal(text, &record)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		o.Close()
		all = append(all, record)
	}
	slices.SortFunc(all, func(a, b work.Record) int {
		return cmp.Or(cmp.Compare(a.Worker, b.Worker), a.At.Compare(b.At))
	})
	for i, record := range all {
		alone := record.Seconds
		if i > 0 && all[i-1].Worker == record.Worker {
			alone = min(alone, record.At.Sub(all[i-1].At).Seconds())
		}
		images, seconds = append(images, float64(len(record.Images))), append(seconds, alone)
	}
	return images, seconds
}

// BenchmarkTasks measures tasks of several sizes, done by one worker with one thread: images/s that they read, decode
// and encode; scatter, the standard deviation of the logarithm of their times; and overhead-s, what a task takes
// beside, with an S3 server on the same machine.
func BenchmarkTasks(b *testing.B) {
	for _, c := range []struct {
		name   string
		open   func(testing.TB) *backbone.Backbone
		images int
		sizes  []int
	}{{"micro", micro, 3072, []int{32, 128, 512}}, {"tiny", tiny, 256, []int{8, 32}}} {
		for _, size := range c.sizes {
			b.Run(fmt.Sprintf("%s/images=%d", c.name, size), func(b *testing.B) {
				of := c.open(b)
				images := testkit.Folder(b, 1, c.images/2, c.images/2)
				testkit.Age(b, images)
				for b.Loop() {
					r := newReal(b)
					r.worker()
					begun := time.Now()
					for r.jetstream().Consumers == 0 {
						time.Sleep(time.Millisecond)
					}
					b.ReportMetric(time.Since(begun).Seconds(), "start-s")
					took := r.submit(images, of, size, 1).Seconds()
					n, seconds := r.times()
					var all, sum, logs, squares float64
					for i, s := range seconds {
						all += n[i]
						sum += s
						l := math.Log(s / n[i])
						logs, squares = logs+l, squares+l*l
					}
					tasks := float64(len(seconds))
					b.ReportMetric(all/sum, "images/s")
					b.ReportMetric((took-sum)/tasks, "overhead-s")
					b.ReportMetric(math.Sqrt(max(0, squares/tasks-(logs/tasks)*(logs/tasks))), "scatter")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkKills has workers die as those of a simulation do, by SIGKILL, and compares: makespan in earnest, and mean
// and standard deviation of 200 simulated ones; likewise of how often tasks were given out. Times of tasks are
// those of the records of this very run.
func BenchmarkKills(b *testing.B) {
	const workers, size, count, replaced = 3, 4, 200, 2
	perHour := 120.0 // deaths of a worker
	in, err := parse(nil)
	if err != nil {
		b.Fatal(err)
	}
	of := tiny(b)
	images := testkit.Folder(b, 1, size*count/2, size*count/2)
	testkit.Age(b, images)
	for i := 0; b.Loop(); i++ {
		r := newReal(b)
		r.worker().Process.Kill() // which has begun, so that files of the program are in memory
		var all sync.WaitGroup
		random := rand.New(rand.NewPCG(uint64(i), 3))
		ended := make(chan struct{})
		deaths := 0
		var mu sync.Mutex
		life := func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return time.Duration(random.ExpFloat64() * 3600 / perHour * float64(time.Second))
		}
		for range workers {
			all.Go(func() {
				for {
					w := r.worker()
					select {
					case <-ended:
						w.Process.Kill()
						w.Wait()
						return
					case <-time.After(life()):
					}
					w.Process.Kill()
					w.Wait()
					mu.Lock()
					deaths++
					mu.Unlock()
					select {
					case <-ended:
						return
					case <-time.After(replaced * time.Second):
					}
				}
			})
		}
		took := r.submit(images, of, size, 1).Seconds()
		close(ended)
		all.Wait()
		_, given, _ := r.tasks()
		n, seconds := r.times()
		if len(n) != count {
			b.Errorf("%d records of %d tasks", len(n), count)
		}
		var sum float64
		for _, s := range seconds {
			sum += s
		}
		plan := sim.Plan{Images: size * count, TaskImages: size, Views: 1, Dim: 192, Workers: workers,
			Rate: float64(size*count) / sum, Overhead: in.of("overhead"), Scatter: in.of("scatter"),
			Startup: in.of("start"), Latency: 0.01, Preempted: perHour, Replaced: replaced}
		const runs = 200
		var makespan, times, died [runs]float64
		for k := range runs {
			out := sim.Run(plan, uint64(k))
			makespan[k], times[k], died[k] = out.Makespan-out.Frozen, float64(out.Delivered), float64(out.Deaths)
		}
		report := func(what string, real float64, simulated []float64) {
			var mean, squares float64
			for _, v := range simulated {
				mean += v / runs
				squares += v * v / runs
			}
			fmt.Fprintf(os.Stderr, "%s: %.4g in earnest, %.4g ± %.2g simulated\n", what, real, mean,
				math.Sqrt(max(0, squares-mean*mean)))
			b.ReportMetric(real/mean, what+"/simulated")
		}
		report("makespan", took, makespan[:])
		report("given", float64(given), times[:])
		report("deaths", float64(deaths), died[:])
	}
	b.ReportMetric(0, "ns/op")
}

package work

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/vision"
)

// BenchmarkEmbedded encodes images through the embedded queue and, by turns, without: plain/queue is the speed of the
// first in that of the second, by the clock and by processor time.
func BenchmarkEmbedded(b *testing.B) {
	ort.Need(b)
	images := testkit.Folder(b, 1, 2000, 2000)
	testkit.Age(b, images)
	of, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer of.Close()
	set, _, err := dataset.Open(images, dataset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var took, used [2]time.Duration
	turn := func(queued int) {
		x, err := feature.Open(b.Context(), of, vision.Views(1), feature.Options{Cache: b.TempDir()}, event.Events{})
		if err != nil {
			b.Fatal(err)
		}
		defer x.Close()
		begun, before := time.Now(), spent(b)
		if queued == 1 {
			job := Submission{Images: &dataset.Sets{Train: set}, Backbone: of, Features: x, Views: 1}
			err = Submit(b.Context(), job, Queue{URL: Embedded}, event.Events{})
			if err == nil {
				err = x.Reopen(b.Context())
			}
		}
		if err == nil {
			_, err = x.Ensure(b.Context(), "train", set, 1)
		}
		if err != nil {
			b.Fatal(err)
		}
		took[queued] += time.Since(begun)
		used[queued] += spent(b) - before
	}
	turn(1)
	took[1], used[1] = 0, 0
	for i := 0; b.Loop(); i++ {
		turn(i % 2)
		turn((i + 1) % 2)
	}
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "plain/queue")
	b.ReportMetric(used[0].Seconds()/used[1].Seconds(), "plain/queue-cpu")
	b.ReportMetric(float64(b.N*len(set.Items))/took[1].Seconds(), "images/s")
}

// BenchmarkEmbeddedBesideProcesses has two worker processes of one thread and, by turns, one of two do the same job:
// two/one is the speed of the first in that of the second. Workers are there, with the backbone open, before the clock
// starts.
func BenchmarkEmbeddedBesideProcesses(b *testing.B) {
	ort.Need(b)
	images := testkit.Folder(b, 1, 2000, 2000)
	few := testkit.Folder(b, 1, 20, 20)
	testkit.Age(b, images)
	testkit.Age(b, few)
	of, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer of.Close()
	queue := newServer(b, &server.Options{}).queue()
	turn := func(workers int) time.Duration {
		cache := b.TempDir()
		for range workers {
			w := process{URL: queue.URL, Cache: cache, Threads: 2 / workers, Patience: queue.Patience, Quiet: true,
				Processors: 2 / workers}.start(b)
			defer func() { _ = w.Process.Kill(); _ = w.Wait() }()
		}
		submit := func(folder string, most int) time.Duration {
			set, _, err := dataset.Open(folder, dataset.Options{})
			if err != nil {
				b.Fatal(err)
			}
			x, err := feature.Open(b.Context(), of, vision.Views(1), feature.Options{Cache: cache}, event.Events{})
			if err != nil {
				b.Fatal(err)
			}
			defer x.Close()
			begun := time.Now().UTC()
			job := Submission{Images: &dataset.Sets{Train: set}, Backbone: of, Features: x, Views: 1, TaskImages: most}
			if err := Submit(b.Context(), job, queue, event.Events{}); err != nil {
				b.Fatal(err)
			}
			status, err := ReadStatus(b.Context(), StatusOptions{Features: feature.Options{Cache: cache}})
			if err != nil {
				b.Fatal(err)
			}
			return status.Jobs[0].Last.Sub(begun)
		}
		for { // until each worker has had a task
			submit(few, 1+rand.IntN(3))
			status, err := ReadStatus(b.Context(), StatusOptions{Queue: queue, Features: feature.Options{Cache: cache}})
			if err != nil {
				b.Fatal(err)
			}
			ready := 0
			for _, w := range status.Workers {
				if w.Answers && w.Tasks > 0 {
					ready++
				}
			}
			if ready == workers {
				break
			}
			_ = os.RemoveAll(filepath.Join(cache, "jobs", status.Jobs[0].Job))
		}
		return submit(images, 100)
	}
	var took [3]time.Duration
	for i := 0; b.Loop(); i++ {
		took[1+i%2] += turn(1 + i%2)
		took[2-i%2] += turn(2 - i%2)
	}
	b.ReportMetric(took[1].Seconds()/took[2].Seconds(), "two/one")
	b.ReportMetric(float64(b.N*4000)/took[2].Seconds(), "images/s")
}

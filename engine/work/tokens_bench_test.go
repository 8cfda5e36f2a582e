package work

import (
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/adapter"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/vision"
)

// BenchmarkTokensEmbedded encodes 1,000 photos into the tokens before the last six blocks of ViT-Tiny through the
// embedded queue and, by turns, without: plain/queue is the speed of the first in that of the second, by the clock and
// by processor time.
func BenchmarkTokensEmbedded(b *testing.B) {
	ort.Need(b)
	whole, err := backbone.Open(backbone.Options{Name: testkit.Model(b)}, device.Options{Provider: "cpu"},
		event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer whole.Close()
	o := inside.Options{Kind: "adapter", Blocks: "6"}
	if err := setting.Complete(o.Fields()); err != nil {
		b.Fatal(err)
	}
	plan, err := adapter.NewPlan(whole, 100, 0, o)
	if err != nil {
		b.Fatal(err)
	}
	of, err := plan.Tokens(event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer of.Close()
	list := testkit.Manifest(b, testkit.Unpacked(b, "cifar100", "test"), 100, func(int) int { return 10 })
	set, _, err := dataset.Open(list, dataset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var clock, processor [2]time.Duration
	turn := func(queued int) {
		x, err := feature.Open(b.Context(), of, vision.Views(1), feature.Options{Cache: b.TempDir()}, event.Events{})
		if err != nil {
			b.Fatal(err)
		}
		defer x.Close()
		begun, used := time.Now(), processorTime(b)
		if queued == 1 {
			job := Submission{Images: &dataset.Sets{Train: set}, Backbone: of, Features: x, Views: 1}
			if err = Submit(b.Context(), job, Queue{URL: Embedded}, event.Events{}); err == nil {
				err = x.Reopen(b.Context())
			}
		}
		if err == nil {
			_, err = x.Ensure(b.Context(), "train", set, 1)
		}
		if err != nil {
			b.Fatal(err)
		}
		clock[queued] += time.Since(begun)
		processor[queued] += processorTime(b) - used
	}
	turn(1)
	clock[1], processor[1] = 0, 0
	for i := 0; b.Loop(); i++ {
		turn(i % 2)
		turn((i + 1) % 2)
	}
	b.ReportMetric(clock[0].Seconds()/clock[1].Seconds(), "plain/queue")
	b.ReportMetric(processor[0].Seconds()/processor[1].Seconds(), "plain/queue-processor")
	b.ReportMetric(float64(b.N*len(set.Items))/clock[1].Seconds(), "images/s")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

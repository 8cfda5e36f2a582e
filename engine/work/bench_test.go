package work

import (
	"testing"
	"time"

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
// first in that of the second.
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
	var took [2]time.Duration
	turn := func(queued int) {
		x, err := feature.Open(b.Context(), of, vision.Views(1), feature.Options{Cache: b.TempDir()}, event.Events{})
		if err != nil {
			b.Fatal(err)
		}
		defer x.Close()
		begun := time.Now()
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
	}
	turn(1)
	took[1] = 0
	for i := 0; b.Loop(); i++ {
		turn(i % 2)
		turn((i + 1) % 2)
	}
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "plain/queue")
	b.ReportMetric(float64(b.N*len(set.Items))/took[1].Seconds(), "images/s")
}

package feature

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// part is n real photos from all over a set.
func part(b *testing.B, n int, name ...string) *dataset.Dataset {
	b.Helper()
	d, _, err := dataset.Open(testkit.Unpacked(b, name...), dataset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	some := make([]int, n)
	for i := range some {
		some[i] = i * len(d.Items) / n
	}
	return d.Select(some)
}

// encodeSeconds is the time that encoding takes with an empty cache, in views after views.
func encodeSeconds(b *testing.B, bb *backbone.Backbone, d *dataset.Dataset, views []vision.View,
	counts ...int) float64 {
	b.Helper()
	x, err := Open(context.Background(), bb, views, Options{Cache: b.TempDir()}, event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	begin := time.Now()
	for _, n := range counts {
		ensure(b, x, d, n)
	}
	return time.Since(begin).Seconds()
}

// BenchmarkViews measures encoding photos in two views against one, cold, in alternating rounds: both at once, each
// image decoded once ("of-one"), and one after the other ("apart-of-one").
func BenchmarkViews(b *testing.B) {
	const images, rounds = 96, 3
	d := part(b, images, "caltech101", "train")
	bb := openBackbone(b, testkit.Model(b))
	for _, two := range [][]vision.View{vision.Views(2), {{}, {Zoom: 8.0 / 7}}} {
		b.Run(two[1].String(), func(b *testing.B) {
			var together, apart []float64
			for b.Loop() {
				for range rounds {
					one := encodeSeconds(b, bb, d, two, 1)
					together = append(together, encodeSeconds(b, bb, d, two, 2)/one)
					apart = append(apart, encodeSeconds(b, bb, d, two, 1, 2)/one)
				}
			}
			b.ReportMetric(median(together), "of-one")
			b.ReportMetric(median(apart), "apart-of-one")
		})
	}
}

// BenchmarkEncodePhotos measures encoding from image files into a cold store against bare session runs on preloaded
// tensors: same model, batch, threads and moment. The metric "of-bare" is the ratio of their rates, the median over
// alternating rounds.
func BenchmarkEncodePhotos(b *testing.B) {
	const images, rounds = 192, 5
	bb := openBackbone(b, testkit.Model(b))
	for _, source := range [][]string{{"cifar100", "train_ir100.csv"}, {"caltech101", "train"}} {
		b.Run(source[0], func(b *testing.B) {
			d := part(b, images, source...)
			var ratios, rates []float64
			for b.Loop() {
				for range rounds {
					bare := bareSeconds(b, bb, d, 16)
					full := encodeSeconds(b, bb, d, vision.Views(1), 1)
					ratios, rates = append(ratios, bare/full), append(rates, images/full)
				}
			}
			b.ReportMetric(median(ratios), "of-bare")
			b.ReportMetric(median(rates), "images/s")
		})
	}
}

// BenchmarkWarm measures what is left to do for a set whose features are all there: with the scan index no image is
// read, without it all are, as before there was one.
func BenchmarkWarm(b *testing.B) {
	d, _, err := dataset.Open(testkit.Unpacked(b, "cifar100", "test"), dataset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "scan")
	for name, open := range map[string]func() *dataset.Index{
		"index":    func() *dataset.Index { return dataset.OpenIndex(dir) },
		"no index": func() *dataset.Index { return nil }} {
		b.Run(name, func(b *testing.B) {
			for range 2 {
				x := open()
				if _, err := d.Scan(b.Context(), dataset.ScanOptions{Index: x}); err != nil {
					b.Fatal(err)
				}
				if err := x.Save(); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := d.Scan(b.Context(), dataset.ScanOptions{Index: open()}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(d.Items)*b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// bareSeconds runs the session as often as the data set needs, on one batch of real pixels that is ready.
func bareSeconds(b *testing.B, bb *backbone.Backbone, d *dataset.Dataset, batch int) float64 {
	size := bb.Preprocess.Size()
	pixels := make([]float32, batch*size)
	for i := range batch {
		data, err := d.Items[i].Bytes()
		if err == nil {
			err = bb.Preprocess.Bytes(data, pixels[i*size:(i+1)*size])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	features := make([]float32, batch*bb.Session.Dim())
	var model vit.Model = bb.Session
	begin := time.Now()
	for done := 0; done < len(d.Items); done += batch {
		if err := model.Run(context.Background(), pixels, min(batch, len(d.Items)-done), features); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin).Seconds()
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

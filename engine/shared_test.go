package engine

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// shared is the folder with a real ViT and real photos, which lies beside the
// checkout or where VITFT_SHARED says. Tests that need it are skipped without.
func shared(t testing.TB, name ...string) string {
	t.Helper()
	needRuntime(t)
	dir := os.Getenv("VITFT_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(append([]string{dir}, name...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real data are missing: %v (set VITFT_SHARED to the folder that has them)", err)
	}
	return path
}

func sharedModel(t testing.TB) string {
	return shared(t, "models", "vit_tiny_patch16_224.onnx")
}

var unpackOnce sync.Once

// unpacked is the folder with caltech101 and cifar100, from VITFT_DATA or
// unpacked for this test run.
func unpacked(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("VITFT_DATA"); dir != "" {
		return dir
	}
	script := shared(t, "unpack")
	dir := filepath.Join(os.TempDir(), "vitft-test-data-"+strconv.Itoa(os.Getpid()))
	unpackOnce.Do(func() {
		unpackedDir = dir
		if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	})
	return dir
}

var unpackedDir string

func TestMain(m *testing.M) {
	if _, err := onnx.Find(""); err != nil { // an example cannot skip itself
		fmt.Fprintln(os.Stderr, "examples are skipped: ONNX Runtime is missing (make setup)")
		if err := flag.Set("test.skip", "^Example"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if unpackedDir != "" {
		os.RemoveAll(unpackedDir)
	}
	os.Exit(code)
}

// The ImageNet ViT names 20 photos when preprocessing is right.
func TestRealViTNamesPhotos(t *testing.T) {
	photos := shared(t, "data", "imagenet_sanity20")
	c := Config{Backbone: sharedModel(t), Provider: "cpu"}
	c.EnsureDefaults()
	model, sum, err := readModel(c)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := findPreprocess(c, model, sum)
	if err != nil {
		t.Fatal(err)
	}
	if err := loadRuntime(c, Events{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	session, err := onnx.NewSession(text, onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	rows, err := csv.NewReader(strings.NewReader(content(t, photos, "labels.csv"))).ReadAll()
	if err != nil || len(rows) != 20 {
		t.Fatalf("labels.csv: %d rows, %v", len(rows), err)
	}
	pixels := make([]float32, p.Size())
	embedding, hidden, logits := make([]float32, 192), make([]float32, 197*192), make([]float32, 1000)
	for _, row := range rows {
		name, class := row[0], row[1]
		want, err := strconv.Atoi(class)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Bytes([]byte(content(t, photos, name)), pixels); err != nil {
			t.Fatal(err)
		}
		err = session.Run(context.Background(), []onnx.Tensor{{Shape: []int64{1, 3, 224, 224}, Data: pixels}}, []onnx.Tensor{
			{Shape: []int64{1, 192}, Data: embedding}, {Shape: []int64{1, 197, 192}, Data: hidden}, {Shape: []int64{1, 1000}, Data: logits}})
		if err != nil {
			t.Fatal(err)
		}
		if rank := rankOf(logits, want); rank >= 5 {
			t.Errorf("%s: class %d is at rank %d, want the top 5", name, want, rank+1)
		}
	}
}

// slice writes a manifest with at most most(k) images of the k-th of the first
// classes of a source.
func slice(t testing.TB, source string, classes int, most func(k int) int) string {
	t.Helper()
	d, _, err := dataset.Open(source, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "slice.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	w.Write([]string{"path", "label"})
	taken := make([]int, len(d.Classes))
	for _, item := range d.Items {
		if k := item.Class; k < classes && taken[k] < most(k) {
			taken[k]++
			file, err := filepath.Abs(item.Path)
			if err != nil {
				t.Fatal(err)
			}
			w.Write([]string{file, d.Classes[k]})
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// On a slice of both photo sets, with a real ViT, CVS comes near what the whole
// sets reach and is no worse than CE on the rare classes. (So few images train
// so little that the gap of the whole sets, docs/method.md, does not show.)
func TestRealViTOnRealPhotos(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 400 photos")
	}
	model, data := sharedModel(t), unpacked(t)
	longTail := func(k int) int { return max(2, 30>>k) } // 30, 15, 7, 3, 2, 2, …
	for _, x := range []struct {
		name, train, test string
		least             float64
	}{
		{"caltech101", filepath.Join(data, "caltech101", "train"), filepath.Join(data, "caltech101", "test"), 0.9},
		{"cifar100", filepath.Join(data, "cifar100", "train_ir10.csv"), filepath.Join(data, "cifar100", "test"), 0.75},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := Config{
				Backbone: model, Provider: "cpu", Cache: t.TempDir(), Out: filepath.Join(t.TempDir(), "run"),
				Train: slice(t, x.train, 10, longTail), Test: slice(t, x.test, 10, func(int) int { return 12 }),
			}
			cvs := finetune(t, c).Metrics
			c.Loss, c.Out = "ce", filepath.Join(t.TempDir(), "run")
			ce := finetune(t, c).Metrics
			t.Logf("balanced accuracy: cvs %.3f, ce %.3f; few: cvs %.3f, ce %.3f",
				cvs.BalancedAccuracy, ce.BalancedAccuracy, cvs.Groups.Few.Accuracy, ce.Groups.Few.Accuracy)
			if float64(cvs.BalancedAccuracy) < x.least {
				t.Errorf("balanced accuracy %.3f, want %.2f or more", cvs.BalancedAccuracy, x.least)
			}
			if cvs.Groups.Few.Accuracy < ce.Groups.Few.Accuracy {
				t.Errorf("on rare classes cvs has %.3f, ce %.3f", cvs.Groups.Few.Accuracy, ce.Groups.Few.Accuracy)
			}
		})
	}
}

// With a real ViT, too, the exported model alone gives the calibrated mean over
// the views that the run gave.
func TestRealViTWithViews(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 100 photos")
	}
	data := filepath.Join(unpacked(t), "caltech101")
	c := Config{
		Backbone: sharedModel(t), Provider: "cpu", Cache: t.TempDir(), Out: filepath.Join(t.TempDir(), "run"),
		Train: slice(t, filepath.Join(data, "train"), 5, func(int) int { return 4 }), Test: slice(t, filepath.Join(data, "test"), 5, func(int) int { return 2 }),
		Views: 2, TTA: 4, Calibration: "classwise", Folds: 2,
	}
	r := finetune(t, c)
	checkModel(t, filepath.Join(r.Run, modelFile), content(t, r.Run, predictionsFile))
	m, err := Evaluate(context.Background(), r.Run, Config{Test: c.Test, Cache: c.Cache, Provider: "cpu"}, Events{})
	if err != nil || m.NLL != r.Metrics.NLL || m.Seconds.Encode != 0 {
		t.Errorf("evaluate gives NLL %v after %v seconds of encoding (%v), want %v from the stores of the run", m.NLL, m.Seconds.Encode, err, r.Metrics.NLL)
	}
}

// BenchmarkViews measures encoding photos in two views against one, cold, in
// alternating rounds: both at once, each image decoded once ("of-one"), and one
// after the other ("apart-of-one").
func BenchmarkViews(b *testing.B) {
	model, data := sharedModel(b), unpacked(b)
	const images, rounds = 96, 3
	c := Config{Backbone: model, Provider: "cpu", Train: slice(b, filepath.Join(data, "caltech101", "train"), 24, func(int) int { return images / 24 })}
	c.EnsureDefaults()
	for _, two := range [][]vision.View{vision.Views(2), {{}, {Zoom: 8.0 / 7}}} {
		b.Run(two[1].String(), func(b *testing.B) {
			bb, err := openBackbone(c, Events{})
			if err != nil {
				b.Fatal(err)
			}
			defer bb.encoder.Close()
			d, _, err := dataset.Open(c.Train, dataset.Options{})
			if err != nil {
				b.Fatal(err)
			}
			seconds := func(counts ...int) float64 {
				c.Cache = b.TempDir()
				e, err := bb.encoding(bb.key(), two, c, Events{})
				if err != nil {
					b.Fatal(err)
				}
				begin := time.Now()
				for _, n := range counts {
					if _, err := e.encode(context.Background(), "train", d, n); err != nil {
						b.Fatal(err)
					}
				}
				s := time.Since(begin).Seconds()
				for _, v := range e.views {
					if err := v.close(); err != nil {
						b.Fatal(err)
					}
				}
				return s
			}
			var together, apart []float64
			for b.Loop() {
				for range rounds {
					one := seconds(1)
					together, apart = append(together, seconds(2)/one), append(apart, seconds(1, 2)/one)
				}
			}
			slices.Sort(together)
			slices.Sort(apart)
			b.ReportMetric(together[len(together)/2], "of-one")
			b.ReportMetric(apart[len(apart)/2], "apart-of-one")
		})
	}
}

// BenchmarkEncodePhotos measures encoding from image files into a cold store
// against bare session runs on preloaded tensors: same model, batch, threads
// and moment. The metric "of-bare" is the ratio of their rates, the median over
// alternating rounds.
func BenchmarkEncodePhotos(b *testing.B) {
	model, data := sharedModel(b), unpacked(b)
	const images, rounds = 192, 5
	for name, source := range map[string]string{
		"cifar100":   filepath.Join(data, "cifar100", "train_ir100.csv"),
		"caltech101": filepath.Join(data, "caltech101", "train"),
	} {
		b.Run(name, func(b *testing.B) {
			c := Config{Backbone: model, Provider: "cpu", Train: slice(b, source, 48, func(int) int { return images / 48 })}
			c.EnsureDefaults()
			bb, err := openBackbone(c, Events{})
			if err != nil {
				b.Fatal(err)
			}
			defer bb.encoder.Close()
			d, _, err := dataset.Open(c.Train, dataset.Options{})
			if err != nil {
				b.Fatal(err)
			}
			var ratios, rates []float64
			for b.Loop() {
				for range rounds {
					bare := bareSeconds(b, bb, d, c.Batch)
					c.Cache = b.TempDir()
					e, err := bb.encoding(bb.key(), vision.Views(1), c, Events{})
					if err != nil {
						b.Fatal(err)
					}
					begin := time.Now()
					if _, err := e.encode(context.Background(), "train", d, 1); err != nil {
						b.Fatal(err)
					}
					full := time.Since(begin).Seconds()
					e.views[0].close()
					ratios = append(ratios, bare/full)
					rates = append(rates, float64(len(d.Items))/full)
				}
			}
			slices.Sort(ratios)
			slices.Sort(rates)
			b.ReportMetric(ratios[len(ratios)/2], "of-bare")
			b.ReportMetric(rates[len(rates)/2], "images/s")
		})
	}
}

// bareSeconds runs the session as often as the data set needs, on one batch of
// real pixels that is ready.
func bareSeconds(b *testing.B, bb *backbone, d *dataset.Dataset, batch int) float64 {
	size := bb.preprocess.Size()
	pixels := make([]float32, batch*size)
	for i := range batch {
		data, err := d.Items[i].Bytes()
		if err == nil {
			err = bb.preprocess.Bytes(data, pixels[i*size:(i+1)*size])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	features := make([]float32, batch*bb.encoder.Dim())
	var model vit.Model = bb.encoder
	begin := time.Now()
	for done := 0; done < len(d.Items); done += batch {
		if err := model.Run(context.Background(), pixels, min(batch, len(d.Items)-done), features); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin).Seconds()
}

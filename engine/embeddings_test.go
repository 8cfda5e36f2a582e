package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
)

// embed writes embeddings of the images of a job.
func embed(t testing.TB, o options, ext string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "features"+ext)
	by := engine.EmbedOptions{Data: o.Data, Backbone: o.Backbone, Device: o.Device, Features: o.Features,
		Views: engine.Views{Test: o.Views.Test}, Seed: o.Training.Seed, Out: out}
	_, err := engine.Embed(context.Background(), by, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// on is a job on embeddings in the place of its images.
func on(t testing.TB, o options, train string) options {
	o = elsewhere(t, o)
	o.Data.Train, o.Data.Test, o.Backbone, o.Views = train, "", backbone.Options{}, engine.Views{}
	return o
}

// A head that is trained on a file of embeddings is the head that is trained on the images, bit for bit, with all that
// comes of it, whatever chooses among the images.
func TestEmbeddingsGiveTheHeadOfTheirImages(t *testing.T) {
	plain := job(t)
	plain.Calibration.Method = "classwise"
	chosen := plain
	chosen.Data.Val, chosen.Data.Imbalance, chosen.Training.EarlyStop = "0.2", "exp:8", 3
	chosen.Training.Loss, chosen.Training.Seed = "cvs", 3
	for name, o := range map[string]options{"plain": plain, "chosen": chosen} {
		images := finetune(t, elsewhere(t, o)).Run
		o.Data.Val, o.Data.Imbalance = "", ""
		for _, ext := range embedding.Extensions() {
			given := on(t, o, embed(t, o, ext))
			if name == "chosen" {
				given.Data.Val, given.Data.Imbalance = chosen.Data.Val, chosen.Data.Imbalance
			}
			same(t, name+" "+ext, finetune(t, given).Run, images,
				run.HeadFile, run.PredictionsFile, run.KappaFile, run.LabelsFile)
		}
	}
}

// Classes that have an order of their own, as in an IDX file, keep it in each format.
func TestEmbeddingsKeepTheOrderOfClasses(t *testing.T) {
	o := job(t)
	dir := t.TempDir()
	images := binary.BigEndian.AppendUint32(nil, 0x803)
	labels := binary.BigEndian.AppendUint32(nil, 0x801)
	const n = 30
	for _, v := range []uint32{n, 8, 8} {
		images = binary.BigEndian.AppendUint32(images, v)
	}
	labels = binary.BigEndian.AppendUint32(labels, n)
	for i := range n {
		labels = append(labels, byte(i%3))
		for k := range 64 {
			images = append(images, byte(k*(1+i%3)*3+i))
		}
	}
	testkit.WriteFile(t, filepath.Join(dir, "train-images-idx3-ubyte"), images)
	testkit.WriteFile(t, filepath.Join(dir, "train-labels-idx1-ubyte"), labels)
	testkit.WriteFile(t, filepath.Join(dir, "classes.txt"), []byte("zebra\nant\nmole\n"))
	o.Data.Train, o.Data.Test = filepath.Join(dir, "train-images-idx3-ubyte"), ""
	want := finetune(t, o).Run
	for _, ext := range embedding.Extensions() {
		same(t, ext, finetune(t, on(t, o, embed(t, o, ext))).Run, want, run.HeadFile, run.LabelsFile)
	}
}

// What a run on embeddings leaves is whole: its model is a head alone, and evaluate, export, resume and verify know.
func TestARunOnEmbeddings(t *testing.T) {
	o := job(t)
	file := embed(t, o, ".parquet")
	given := on(t, o, file)
	interrupt(t, given, 5)
	dir := resume(t, given.Out).Run
	uninterrupted := finetune(t, on(t, o, file)).Run
	same(t, "resumed", dir, uninterrupted, run.HeadFile, run.PredictionsFile)
	config := read(t, dir, run.ConfigFile)
	if config.Text("test") != file || strings.Contains(content(t, dir, run.ConfigFile), "backbone") {
		t.Errorf("config.yaml: %s", content(t, dir, run.ConfigFile))
	}
	for _, says := range []string{"`embedding` [batch, 448]", "vitft-micro-28", "head alone"} {
		if !strings.Contains(content(t, dir, run.CardFile), says) {
			t.Errorf("the card does not say %s", says)
		}
	}

	c, err := classify.Open(dir, classify.Options{Device: cpu})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table, err := embedding.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	test := slices.IndexFunc(table.Rows, func(r embedding.Row) bool { return r.Split == "test" })
	said, err := c.ClassifyEmbeddings(context.Background(), table.Vectors[test*table.Dim:], len(table.Rows)-test)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range columns(t, content(t, dir, run.PredictionsFile))["predicted"] {
		if said[i].Label != want {
			t.Errorf("row %d is %s, not %s", i, said[i].Label, want)
		}
	}
	if _, err := c.ClassifyBytes(context.Background(), testkit.PNG(t, testkit.Picture(0, 1, 1))); err == nil ||
		!strings.Contains(err.Error(), "takes embeddings, not images") {
		t.Errorf("an image: %v", err)
	}

	measured := evaluate(t, engine.EvaluateOptions{Run: dir, Test: file, Device: cpu}).Metrics
	if m := read(t, dir, run.MetricsFile); measured.Top1 != m.Top1 || measured.ECE != m.ECE {
		t.Errorf("evaluate: %v, not %v", measured.Scores, m.Scores)
	}
	out := filepath.Join(t.TempDir(), "head.onnx")
	export := engine.ExportOptions{Run: dir, Out: out, Device: cpu}
	done, err := engine.Export(context.Background(), export, event.Events{})
	if err != nil || done.Agreement.Same != 24 {
		t.Errorf("export: %+v, %v", done, err)
	}

	// Of other embeddings, and of images, it says why not.
	other := on(t, o, file)
	tta := o
	tta.Views.Test = 2
	mean := embed(t, tta, ".npz")
	narrow := write(t, &embedding.Table{Dim: 3, Rows: []embedding.Row{{Label: "a"}}, Vectors: []float32{1, 2, 3}})
	for test, says := range map[string]string{
		o.Data.Test: "make embeddings of them as those of the run were made: vitft embed --test",
		mean:        "its vectors were not made as those that the run in " + dir + " learned from",
		narrow:      "labels that the training set does not have",
	} {
		_, err := engine.Evaluate(context.Background(), engine.EvaluateOptions{Run: dir, Test: test, Device: cpu},
			event.Events{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", test, err)
		}
	}
	images := finetune(t, elsewhere(t, o)).Run
	_, err = engine.Evaluate(context.Background(), engine.EvaluateOptions{Run: images, Test: file, Device: cpu},
		event.Events{})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "learned from images") {
		t.Errorf("images against embeddings: %v", err)
	}
	other.Data.Test = mean
	_, err = engine.Finetune(context.Background(), other, event.Events{})
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "were made by vitft-micro-28") {
		t.Errorf("two kinds of embeddings: %v", err)
	}
}

// write writes a table as a safetensors file.
func write(t testing.TB, table *embedding.Table) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := embedding.Write(path, table, table.Gather); err != nil {
		t.Fatal(err)
	}
	return path
}

// two is a table of two classes that nothing is known of, one vector for each split.
func two(dim int, splits ...string) *embedding.Table {
	t := &embedding.Table{Dim: dim}
	for i, s := range splits {
		t.Rows = append(t.Rows, embedding.Row{Label: []string{"a", "b"}[i%2], Split: s})
		for k := range dim {
			t.Vectors = append(t.Vectors, float32((i%2*2-1)*k)+float32(i)/8)
		}
	}
	return t
}

func TestSplitsOfEmbeddings(t *testing.T) {
	all := write(t, two(4, "train", "train", "train", "train", "validation", "valid", "test", "test", "test", "extra"))
	o := on(t, job(t), all)
	var notes strings.Builder
	ev := event.Events{Note: func(_ event.Level, m string, kv ...any) { fmt.Fprintln(&notes, m, kv) }}
	r, err := engine.Finetune(context.Background(), o, ev)
	if err != nil {
		t.Fatal(err)
	}
	if r.Metrics.Split != "test" || r.Metrics.Samples != 3 || r.Metrics.PerClass[0].TrainCount != 2 {
		t.Errorf("%d samples of %s", r.Metrics.Samples, r.Metrics.Split)
	}
	for _, says := range []string{"set val rows 2", "set test rows 3", "are left out [file " + all + " rows 1]"} {
		if !strings.Contains(notes.String(), says) {
			t.Errorf("nothing says %q: %s", says, notes.String())
		}
	}
	// A file of one split is a whole set, whatever it is called.
	test := write(t, two(4, "train", "train"))
	if m := evaluate(t, engine.EvaluateOptions{Run: r.Run, Test: test, Device: cpu}).Metrics; m.Samples != 2 {
		t.Errorf("%d samples of one split", m.Samples)
	}
	_, err = engine.Evaluate(context.Background(), engine.EvaluateOptions{Run: r.Run,
		Test: write(t, two(4, "train", "val")), Device: cpu}, event.Events{})
	if err == nil || !strings.Contains(err.Error(), "has no rows for test: its split column has train, val") {
		t.Errorf("a file without a test split: %v", err)
	}
	_, err = engine.Evaluate(context.Background(), engine.EvaluateOptions{Run: r.Run,
		Test: write(t, two(5, "test", "test")), Device: cpu}, event.Events{})
	if err == nil || !strings.Contains(err.Error(), "its vectors have 5 values, those of the run in "+r.Run+" 4") {
		t.Errorf("other vectors: %v", err)
	}
}

func TestEmbeddingsRefuse(t *testing.T) {
	base := job(t)
	file := write(t, two(4, "train", "train", "train", "train"))
	for name, c := range map[string]struct {
		change func(o *options)
		kind   fault.Kind
		says   string
	}{
		"adapt":    {func(o *options) { o.Adapt.Kind = "lora" }, fault.Config, "adapt: embeddings are"},
		"views":    {func(o *options) { o.Views.Train = 2 }, fault.Config, "views: embeddings are"},
		"tta":      {func(o *options) { o.Views.Test = 2 }, fault.Config, "tta: embeddings are"},
		"backbone": {func(o *options) { o.Backbone.Name = "x.onnx" }, fault.Config, "backbone: embeddings are"},
		"mixed":    {func(o *options) { o.Data.Test = base.Data.Test }, fault.Config, "cannot be used together"},
		"gone":     {func(o *options) { o.Data.Test = "gone.npz" }, fault.Data, "test: no such file or folder: /"},
		"narrow": {func(o *options) { o.Data.Test = write(t, two(5, "test", "test")) }, fault.Data,
			"its vectors have 5 values, the others 4"},
		"sound": {func(*options) {}, fault.Other, ""},
	} {
		o := on(t, base, file)
		c.change(&o)
		_, err := engine.Finetune(context.Background(), o, event.Events{})
		if c.says == "" && err == nil {
			continue
		}
		if err == nil || fault.Of(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(o.Out); err == nil {
			t.Errorf("%s: there is a run folder", name)
		}
	}
	// The same image cannot have two vectors.
	double := two(4, "", "")
	double.Rows[0].ID, double.Rows[1].ID = dataset.ID{1}, dataset.ID{1}
	_, err := engine.Finetune(context.Background(), on(t, base, write(t, double)), event.Events{})
	if err == nil || !strings.Contains(err.Error(), "row 1 (from 0) has another vector than") {
		t.Errorf("two vectors of an image: %v", err)
	}
	encode := engine.EncodeOptions{Data: dataset.Sources{Train: file}}
	_, err = engine.Encode(context.Background(), encode, event.Events{})
	if err == nil || !strings.Contains(err.Error(), "embeddings already") {
		t.Errorf("encode: %v", err)
	}
}

// A sweep on embeddings has the heads of a sweep on their images.
func TestSweepOnEmbeddings(t *testing.T) {
	o := job(t)
	sweepOn := func(data dataset.Sources, grid string) (*engine.SweepResult, error) {
		x, shared, err := engine.ParseSweep([]byte("epochs: 3\nseeds: [0, 1]\nselection: cv\ngrid: " + grid))
		if err != nil {
			t.Fatal(err)
		}
		s := engine.SweepOptions{Data: data, Device: cpu, Features: o.Features, Experiment: x,
			Out: filepath.Join(t.TempDir(), "sweep")}
		set(t, s.Fields(), shared)
		return engine.Sweep(context.Background(), s, event.Events{})
	}
	images, err := sweepOn(o.Data, "[{loss: [ce, cvs]}]")
	if err != nil {
		t.Fatal(err)
	}
	file := embed(t, o, ".parquet")
	given, err := sweepOn(dataset.Sources{Train: file, Test: file}, "[{loss: [ce, cvs]}]")
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range images.Summary.Heads {
		if g := given.Summary.Heads[i]; g.Metrics.Scores != h.Metrics.Scores {
			t.Errorf("head %d: %v, not %v", i, g.Metrics.Scores, h.Metrics.Scores)
		}
	}
	_, err = sweepOn(dataset.Sources{Train: file, Test: file}, "[{loss: [ce], adapt: [none, lora]}]")
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "adapt: embeddings are learned") {
		t.Errorf("adapt: %v", err)
	}
}

// Embeddings of a run are those of its backbone, in its views.
func TestEmbedByARun(t *testing.T) {
	o := job(t)
	o.Views.Test = 2
	dir := finetune(t, o).Run
	want, err := embedding.Read(embed(t, o, ".npz"))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.npz")
	by := engine.EmbedOptions{Data: o.Data, Run: dir, Device: cpu, Features: o.Features, Out: out}
	counts := map[string]int{}
	if _, err := engine.Embed(context.Background(), by, encoded(counts)); err != nil {
		t.Fatal(err)
	}
	got, err := embedding.Read(out)
	if err != nil || !slices.Equal(got.Vectors, want.Vectors) || len(counts) > 0 || got.Made.Views != 2 {
		t.Errorf("other vectors (%v), or encoded once more: %v", err, counts)
	}
	by.Views.Test = 2
	if _, err := engine.Embed(context.Background(), by, event.Events{}); err == nil || fault.Of(err) != fault.Config {
		t.Errorf("views of a run and others: %v", err)
	}
}

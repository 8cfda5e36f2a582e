package run

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/testkit"
)

// reads expects a file to read back as it was written.
func reads[T any](t *testing.T, f Typed[T], d Folder, want T) {
	t.Helper()
	got, err := f.Read(d)
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || err != nil { // printed, because NaN is not NaN
		t.Errorf("%s reads as %+v (%v), want %+v", f.Name, got, err, want)
	}
}

func TestEveryFileReadsBack(t *testing.T) {
	d := finished(t)
	reads(t, SkippedFile, d, []Skipped{{"test", "/p/bad.jpg", "unexpected EOF"}})
	reads(t, LabelsFile, d, classes)
	reads(t, PredictionsFile, d, Predict(paths, labels, logits, classes, scaling))
	reads(t, PicturesFile, d, illustrated)
	reads(t, WarningsFile, d, []string{"one", "two; n: 3"})
	reads(t, AdapterFile, d, []byte("adapter"))
	reads(t, ModelFile, d, []byte("onnx"))
	reads(t, ReportFile, d, []byte("<html>"))
	h, err := HeadFile.Read(d)
	if err != nil || !reflect.DeepEqual(h, trained) {
		t.Errorf("the head is %+v (%v)", h.Head, err)
	}
	done, err := HistoryFile.Read(d)
	if err != nil || len(done) != 3 || *done[1].Val.Few != 0.25 || done[2].Loss != 1 || done[0].Val != nil {
		t.Errorf("history %+v (%v)", done, err)
	}
	reads(t, KappaFile, d, []KappaRow{
		{1, "mla", classes[0], epochs[0].Kappa[0]},
		{1, "mla", classes[1], epochs[0].Kappa[1]},
		{1, "mla", classes[2], epochs[0].Kappa[2]},
		{3, "cla", classes[0], epochs[2].Kappa[0]},
		{3, "cla", classes[1], epochs[2].Kappa[1]},
		{3, "cla", classes[2], epochs[2].Kappa[2]},
	})
	c, err := CheckpointFile.Read(d)
	if err != nil || c.Images != "0123" || c.Seconds != 2.5 || len(c.State.History) != 3 ||
		!math.IsNaN(float64(c.State.Values("weight")[0])) || !slices.Equal(c.State.Best[0], []float32{0.1, 2}) {
		t.Errorf("checkpoint %+v (%v)", c, err)
	}
	var old bytes.Buffer // as it was once, in one piece
	must(t, gob.NewEncoder(&old).Encode(c))
	testkit.WriteFile(t, CheckpointFile.Path(d), append(old.Bytes(), artifact.SumOf(old.Bytes())...))
	if again, err := CheckpointFile.Read(d); err != nil || again.Images != c.Images ||
		fmt.Sprint(again.State.Params, again.State.Best) != fmt.Sprint(c.State.Params, c.State.Best) {
		t.Errorf("an old checkpoint: %+v (%v), want %+v", again, err, c)
	}
	for _, f := range Files {
		if f.Is&Run != 0 && !f.Exists(d) {
			t.Errorf("%s is not written, or not where its name says", f.Name)
		}
	}
}

// The bytes are a contract with programs outside.
func TestForms(t *testing.T) {
	d := finished(t)
	for name, want := range map[string]string{
		"config.yaml": "train: /secret/place/photos\nkappa: slope\nepochs: 3\nthreads: 0\nlr: 0\nseed: 0\n" +
			"nesterov: false\n",
		"history.jsonl": `{"epoch":1,"phase":"mla","loss":1.5,"lr":0.02,"seconds":0,"train":{"top1":0.5,"balanced_accuracy":null,"many":null,"medium":null,"few":null}}
{"epoch":2,"phase":"cla","loss":1.25,"lr":0.01,"seconds":0,"train":{"top1":null,"balanced_accuracy":null,"many":null,"medium":null,"few":null},"val":{"top1":null,"balanced_accuracy":null,"many":null,"medium":null,"few":0.25}}
{"epoch":3,"phase":"cla","loss":1,"lr":0,"seconds":0,"train":{"top1":null,"balanced_accuracy":null,"many":null,"medium":null,"few":null}}
`,
		"kappa.csv": `epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk
1,mla,a|b <i>,1,0.1,9,3,false,true
1,mla,dog,0.25,,0,0,true,false
1,mla,rare,2,0,0,0,false,false
3,cla,a|b <i>,1,0,0,0,false,false
3,cla,dog,1,0,0,0,false,false
3,cla,rare,1,0,0,0,false,false
`,
		"labels.txt":   "a|b <i>\ndog\nrare\n",
		"warnings.txt": "one\ntwo; n: 3\n",
		"skipped.csv":  "set,path,reason\ntest,/p/bad.jpg,unexpected EOF\n",
		"predictions.csv": `path,label,predicted,confidence,confidence_before
/p/0.png,a|b <i>,a|b <i>,0.9614284,0.909443
/p/1.png,a|b <i>,dog,0.5577339,0.5064804
"/p,2.png",dog,dog,0.98921674,0.96466315
idx#3,rare,a|b <i>,0.7431974,0.66524094
`,
	} {
		if got := string(testkit.ReadFile(t, string(d), name)); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
	text := string(testkit.ReadFile(t, string(d), "environment.json"))
	for _, want := range []string{"{\n  \"vitft\": \"v1\",", `"feature_store": {
    "key": "0123",
    "fields": {
      "backbone": "abc",
      "dim": 2
    }
  },
  "tta": [
    {},`} {
		if !strings.Contains(text, want) {
			t.Errorf("environment.json lacks %s:\n%s", want, text)
		}
	}
}

// What cannot be told apart in YAML comes back all the same.
func TestConfigIsExact(t *testing.T) {
	for _, text := range []string{"yes", "null", "~", "0.1", "1e3", "2026-01-01", "a: b", "#x", " lead", "two\nlines",
		"slope:by=label,bins=3", "日本", `C:\photos`, "'"} {
		o := options{Train: text, Epochs: 1e6, LR: 0.1 + 0.2, Switch: new(0.0), Seed: math.MaxUint64, Nesterov: true,
			Tags: []string{"1", text}, Library: "/lib"}
		d := Folder(t.TempDir())
		must(t, ConfigFile.Write(d, configOf(t, o)))
		c, err := ConfigFile.Read(d)
		must(t, err)
		var back options
		if err := setting.Set(back.Fields(), c.Values()); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		o.Library = "" // belongs to the machine
		if !reflect.DeepEqual(back, o) {
			t.Errorf("%q: %+v came back as %+v", text, o, back)
		}
		if c.Text("train") != text || c.Text("switch") != "0" || c.Text("epochs") != "1000000" || c.Text("val") != "" {
			t.Errorf("%q: as text %+v", text, c)
		}
	}
}

func TestSweepConfig(t *testing.T) {
	d, _ := swept(t)
	if got, want := string(testkit.ReadFile(t, string(d), "sweep.yaml")), `train: t.csv
epochs: 0
threads: 0
lr: 0
seed: 0
nesterov: false
name: trial
grid:
  - loss: [ce, la]
seeds: [0, 1]
baseline: {loss: ce}
selection: none
`; got != want {
		t.Errorf("sweep.yaml is\n%s", got)
	}
	c, err := SweepFile.Read(d)
	must(t, err)
	if c.Text("grid") != "{loss: [ce, la]}" || c.Text("seeds") != "[0, 1]" {
		t.Errorf("as text: %+v", c)
	}
	if _, err := c.With(3); err == nil {
		t.Error("a number is added to settings")
	}
}

func TestCreateKeepsWhatWasTrained(t *testing.T) {
	d := finished(t)
	var notes []string
	ev := event.Events{Note: func(_ event.Level, message string, kv ...any) {
		notes = append(notes, fmt.Sprint(message, kv))
	}}
	for i := 1; i <= 2; i++ {
		lock, err := d.Create(configOf(t, options{Seed: uint64(i)}), ev)
		must(t, err)
		if _, err := d.Create(nil, ev); err == nil || !strings.Contains(err.Error(), "another run is writing") {
			t.Errorf("a folder that is written to: %v", err)
		}
		must(t, lock.Close(), CheckpointFile.Write(d, new(Checkpoint)))
	}
	if _, err := Open(string(d) + ".1"); err != nil {
		t.Errorf("the finished run was not kept whole: %v", err)
	}
	if !CheckpointFile.Exists(d+".2") || len(notes) != 2 || !strings.Contains(notes[1], "kept") {
		t.Errorf("the interrupted run was not kept; notes %q", notes)
	}
}

// A run that had trained nothing leaves nothing that the next one could take for its own.
func TestCreateClears(t *testing.T) {
	d := finished(t)
	must(t, os.Remove(MetricsFile.Path(d)), os.Remove(CheckpointFile.Path(d)))
	lock, err := d.Create(configOf(t, options{}), event.Events{})
	must(t, err, lock.Close())
	for _, f := range []File{HistoryFile.File, KappaFile.File, SkippedFile.File, WarningsFile.File, ReportFile.File} {
		if f.Exists(d) {
			t.Errorf("%s is still there", f.Name)
		}
	}
	s, _ := swept(t)
	lock, err = s.CreateSweep(configOf(t, options{}))
	must(t, err, lock.Close())
	if HeadsFile.Exists(s) || SummaryFile.Exists(s) || SummaryTextFile.Exists(s) {
		t.Error("the tables of the earlier sweep are still there")
	}
	if h, err := SweepHeadFile("a").Read(s); err != nil || h.ID != "a" || len(h.Predicted) != 4 {
		t.Errorf("the head of the earlier sweep is %+v (%v)", h, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	foreign := t.TempDir()
	testkit.WriteFile(t, filepath.Join(foreign, "thesis.tex"), nil)
	file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "file"), nil)
	for _, create := range []func(Folder) error{
		func(d Folder) error { _, err := d.Create(nil, event.Events{}); return err },
		func(d Folder) error { _, err := d.CreateSweep(nil); return err },
	} {
		for path, want := range map[string]string{foreign: "is not empty", file: "cannot be used"} {
			if err := create(Folder(path)); err == nil || fault.Of(err) != fault.Config ||
				!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", path, err)
			}
		}
		if err := create(Folder(filepath.Join(file, "inside"))); err == nil {
			t.Error("a folder in a file is made")
		}
	}
}

// A failed write leaves the file as it was, and nothing half-made.
func TestFailedWrites(t *testing.T) {
	d := finished(t)
	boom := errors.New("disk full")
	restore := disk.SetFault(func(s disk.Op, _ string) error {
		if s == disk.Sync {
			return boom
		}
		return nil
	})
	defer restore()
	before := testkit.ReadFile(t, MetricsFile.Path(d))
	if err := MetricsFile.Write(d, measured()); !errors.Is(err, boom) ||
		!strings.Contains(err.Error(), "metrics.json") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(before, testkit.ReadFile(t, MetricsFile.Path(d))) {
		t.Error("metrics.json has changed")
	}
	if err := d.BeginHistory(classes); !errors.Is(err, boom) {
		t.Errorf("history: %v", err)
	}
	if _, err := d.Create(nil, event.Events{}); !errors.Is(err, boom) {
		t.Errorf("create: %v", err)
	}
}

// Whatever an interrupted run has left, history agrees with the state that is resumed.
func TestHistoryBeginsAnew(t *testing.T) {
	d := finished(t)
	whole := testkit.ReadFile(t, HistoryFile.Path(d))
	kappa := testkit.ReadFile(t, KappaFile.Path(d))
	testkit.WriteFile(t, HistoryFile.Path(d), whole[:len(whole)-7])
	must(t, d.BeginHistory(classes, epochs[:2]...), d.AddEpoch(classes, epochs[2]))
	if !slices.Equal(testkit.ReadFile(t, HistoryFile.Path(d)), whole) ||
		!slices.Equal(testkit.ReadFile(t, KappaFile.Path(d)), kappa) {
		t.Error("a resumed history differs from one in one go")
	}
	if err := Folder(t.TempDir()).AddEpoch(classes, epochs[2]); err == nil ||
		!strings.Contains(err.Error(), "history.jsonl") {
		t.Errorf("an epoch of no history: %v", err)
	}
	if err := d.AddEpoch(classes, head.Epoch{Loss: math.NaN()}); err == nil {
		t.Error("NaN is added to history")
	}
	if err := d.BeginHistory(classes, head.Epoch{Loss: math.NaN()}); err == nil ||
		!strings.Contains(err.Error(), "history.jsonl") {
		t.Errorf("NaN in history: %v", err)
	}
}

func TestOpen(t *testing.T) {
	d := finished(t)
	r, err := Open(string(d))
	must(t, err)
	if !slices.Equal(r.Classes, classes) || !slices.Equal(r.Counts, counts) || r.Metrics.Loss != "cvs" ||
		r.Scaling.Temperature[0] != scaling.Temperature[0] ||
		r.Environment.Backbone.Feature.Dim != 2 || r.Head.Dim != 2 || r.Folder != d {
		t.Errorf("%+v", r)
	}
	m := measured()
	m.PerClass = m.PerClass[:2]
	must(t, MetricsFile.Write(d, m))
	misfits := []string{"number of classes is 3, not 2"}
	check := func() {
		t.Helper()
		if _, err := Open(string(d)); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), misfits[0]) || !strings.Contains(err.Error(), "head.safetensors") {
			t.Errorf("%v, want %q", err, misfits[0])
		}
	}
	check()
	m = measured()
	m.Calibration = nil
	must(t, MetricsFile.Write(d, m))
	misfits[0] = "temperature"
	check()
	env := environment
	env.Backbone.Feature.Dim = 3
	must(t, EnvironmentFile.Write(d, env), MetricsFile.Write(d, measured()))
	misfits[0] = "length of features is 2, not 3"
	check()
}

func TestOpenSweep(t *testing.T) {
	d, want := swept(t)
	got, c, err := OpenSweep(string(d))
	must(t, err)
	if fmt.Sprint(got.CSV()) != fmt.Sprint(want.CSV()) || c.Text("name") != "trial" || got.Failed() != 1 {
		t.Errorf("%v", got.CSV())
	}
	if len(got.Heads) != 4 || got.Heads[3].Error != "diverged" ||
		got.Heads[0].Scores["top1"] != float64(measured().Top1) || got.Heads[1].Seed != 1 {
		t.Errorf("heads %+v", got.Heads)
	}
	for _, x := range []struct{ file, text, names string }{
		{"summary.csv", "a,b\n", "no configuration"}, {"heads.csv", "id\n", "no configuration"}, {"heads.csv",
			"id,configuration,seed,status,error\na,other,0,done,\n", "\"other\" is no configuration of summary.csv"},
		{"sweep.yaml", "- a\n", "keys"},
	} {
		d, _ := swept(t)
		testkit.WriteFile(t, filepath.Join(string(d), x.file), []byte(x.text))
		if _, _, err := OpenSweep(string(d)); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), x.file) || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%s with %q: %v", x.file, x.text, err)
		}
	}
	must(t, os.Remove(SummaryFile.Path(d)), os.Remove(HeadsFile.Path(d)))
	if _, _, err := OpenSweep(string(d)); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "no summary.csv, heads.csv") {
		t.Errorf("%v", err)
	}
}

func TestMissingAndDamagedFiles(t *testing.T) {
	empty := Folder(t.TempDir())
	if _, err := Open(string(empty)); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "no finished run: it has no metrics.json, environment.json") {
		t.Errorf("%v", err)
	}
	if _, err := MetricsFile.Read(empty); err == nil || fault.Of(err) != fault.Data {
		t.Errorf("%v", err)
	}
	if c, err := CheckpointFile.Read(empty); c != nil || err != nil {
		t.Errorf("a checkpoint of nothing: %v, %v", c, err)
	}
	read := map[string]func(Folder) error{}
	add := func(name string, f func(Folder) error) { read[name] = f }
	add("config.yaml", func(d Folder) error { _, err := ConfigFile.Read(d); return err })
	add("environment.json", func(d Folder) error { _, err := EnvironmentFile.Read(d); return err })
	add("history.jsonl", func(d Folder) error { _, err := HistoryFile.Read(d); return err })
	add("kappa.csv", func(d Folder) error { _, err := KappaFile.Read(d); return err })
	add("predictions.csv", func(d Folder) error { _, err := PredictionsFile.Read(d); return err })
	add("skipped.csv", func(d Folder) error { _, err := SkippedFile.Read(d); return err })
	add("head.safetensors", func(d Folder) error { _, err := HeadFile.Read(d); return err })
	add("metrics.json", func(d Folder) error { _, err := MetricsFile.Read(d); return err })
	add("checkpoint/state.gob", func(d Folder) error { _, err := CheckpointFile.Read(d); return err })
	const kappa = "epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk\n"
	for _, x := range []struct{ file, text, names string }{
		{"config.yaml", "", "empty"}, {"config.yaml", "- a\n", "keys"}, {"config.yaml", "a: [\n", "not YAML"},
		{"config.yaml", "a: &a [{b: *a}]", "contains itself"}, {"config.yaml", "a: 1\na: 2\n", "line 2"},
		{"environment.json", "[]", "array"},
		{"metrics.json", "{", "JSON"}, {"metrics.json", "{}", "no classes"},
		{"history.jsonl", "{\"epoch\":1}\n{\n", "after 1 epochs"},
		{"kappa.csv", "epoch\n", "header"}, {"kappa.csv", kappa + "1,mla,a,Inf,,1,1,false,false\n",
			`line 2: kappa "Inf"`},
		{"kappa.csv", kappa + "1,mla,a,1,x,1,1,false,false\n", "line 2"},
		{"predictions.csv", "path,label\n", "header"},
		{"predictions.csv", "path,label,predicted,confidence\na,b,c,NaN\n", `line 2: confidence "NaN"`},
		{"predictions.csv", "path,label,predicted,confidence,confidence_before\na,b,c,0.5,2\n",
			`confidence_before "2"`},
		{"skipped.csv", "set,path,reason\na\n", "fields"},
		{"head.safetensors", "x", "too short"},
		{"checkpoint/state.gob", "x", "without --resume"},
	} {
		d := finished(t)
		testkit.WriteFile(t, filepath.Join(string(d), x.file), []byte(x.text))
		err := read[x.file](d)
		if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), x.names) ||
			!strings.Contains(err.Error(), filepath.Join(string(d), x.file)) {
			t.Errorf("%s with %q: %v, want it to name %q", x.file, x.text, err, x.names)
		}
	}
	for what, h := range map[string]Head{
		"weights": {&head.Head{Classes: 3, Dim: 1, W: []float32{1, 2, 3}, B: []float32{1, 2, 3}, Mean: []float32{1},
			InvStd: []float32{1}, Transform: []float32{}}, scaling},
		"temperature": {&head.Head{Classes: 3, Dim: 1, W: []float32{1, 2, 3}, B: []float32{1, 2, 3}, Mean: []float32{1},
			InvStd: []float32{1}}, scaling},
	} {
		if what == "temperature" {
			h.Scaling.Temperature = []float64{1, 2}
		} else {
			h.Head.Transform = []float32{1}
			h.Head.Mean = nil
			h.Head.Dim = 0
			h.Head.W, h.Head.InvStd, h.Head.Transform = nil, nil, nil
		}
		d := Folder(t.TempDir())
		must(t, HeadFile.Write(d, h))
		if _, err := HeadFile.Read(d); err == nil || !strings.Contains(err.Error(), "do not fit together") {
			t.Errorf("a head with wrong %s: %v", what, err)
		}
	}
}

// A head that lacks a tensor is refused, whichever it is.
func TestHeadWithoutATensor(t *testing.T) {
	h := Head{Head: &head.Head{Classes: 2, Dim: 3, W: make([]float32, 6), B: make([]float32, 2),
		Mean: make([]float32, 3), InvStd: make([]float32, 3)}}
	h.Scaling.Temperature = []float64{1.25, 0.8}
	whole := Folder(t.TempDir())
	must(t, HeadFile.Write(whole, h))
	back, err := HeadFile.Read(whole)
	if err != nil || !reflect.DeepEqual(back, h) {
		t.Fatalf("read back %+v, %v", back, err)
	}
	for _, name := range []string{"weight", "bias", "mean", "inv_std"} {
		f, err := safetensors.Read(HeadFile.Path(whole))
		must(t, err)
		f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })
		var b bytes.Buffer
		_, err = f.WriteTo(&b)
		must(t, err)
		d := Folder(t.TempDir())
		path := testkit.WriteFile(t, HeadFile.Path(d), b.Bytes())
		if _, err := HeadFile.Read(d); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("a head without %s: %v, want a data error", name, err)
		}
	}
}

// A file more is a row with its two forms: it is written, read, cleared, missed and found damaged like the others.
func TestOneFileMore(t *testing.T) {
	files := Files
	defer func() { Files = files }()
	notes := declare("notes.txt", Run|Required|Cleared, "what came to mind", toLines, func(text []byte) ([]string,
		error) {
		if strings.HasPrefix(string(text), "!") {
			return nil, errors.New("it shouts")
		}
		return fromLines(text)
	})
	d := finished(t)
	if _, err := notes.Read(d); err == nil || !strings.Contains(err.Error(), "it has no notes.txt") {
		t.Errorf("missing: %v", err)
	}
	must(t, notes.Write(d, []string{"a", "b"}))
	reads(t, notes, d, []string{"a", "b"})
	testkit.WriteFile(t, notes.Path(d), []byte("!"))
	if _, err := notes.Read(d); err == nil || !strings.HasSuffix(err.Error(), "notes.txt is damaged: it shouts") {
		t.Errorf("damaged: %v", err)
	}
	must(t, os.Remove(MetricsFile.Path(d)), os.Remove(CheckpointFile.Path(d)))
	lock, err := d.Create(nil, event.Events{})
	must(t, err, lock.Close())
	if notes.Exists(d) {
		t.Error("it is not cleared")
	}
}

func TestPredictions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eval.csv")
	p := Predict(paths, labels, logits, classes, trained.Scaling)
	must(t, p.WriteFile(path))
	if text := string(testkit.ReadFile(t, path)); !strings.HasPrefix(text,
		"path,label,predicted,confidence,confidence_before\n") {
		t.Errorf("%s", text)
	}
	p = Predict(paths, labels, logits, classes, Head{}.Scaling)
	must(t, p.WriteFile(path))
	if text := string(testkit.ReadFile(t, path)); !strings.Contains(text,
		"confidence\n/p/0.png,a|b <i>,a|b <i>,0.909443\n") {
		t.Errorf("%s", text)
	}
}

// A table that memory has no room for is not damaged.
func TestShortOfMemory(t *testing.T) {
	d := finished(t)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64))
	for _, read := range []func() error{
		func() error { _, err := PredictionsFile.Read(d); return err },
		func() error { _, err := KappaFile.Read(d); return err },
		func() error { _, err := SkippedFile.Read(d); return err },
	} {
		err := read()
		if err == nil || fault.Of(err) != fault.Config || strings.Contains(err.Error(), "damaged") ||
			!strings.Contains(err.Error(), ".csv: a table of ") {
			t.Errorf("%v", err)
		}
	}
}

func TestCard(t *testing.T) {
	d := finished(t)
	text := string(testkit.ReadFile(t, string(d), "README.md"))
	for _, want := range []string{
		"# run\n", "355 training images of 3 classes",
		"300 of the most frequent (a\\|b &lt;i>), 5 of the rarest (rare)", "these are the training images",
		"| Balanced accuracy | **50.0 %** |", "| ECE | 0.", "here rare |", "`temperature`, fitted on val images",
		"Loss `cvs`, 3 epochs, second phase from epoch 1", "from `photos`",
		"fewer than 20 training images (few) | 1 | 5 | 0.0 % |", "- 1 classes have fewer than 20 training images;",
		"`vit.onnx`. Its licence is not known", "looks at 2 views",
		"[batch, 3, 28, 28]", "vitft predict --model model.onnx",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	m := measured()
	m.Calibration, m.ECE = nil, m.Seconds.Encode
	odd, err := newCard("odd", configOf(t, options{}), Environment{}, &m, false).text()
	must(t, err)
	for _, want := range []string{"error of –", "head.safetensors` has the head"} {
		if !strings.Contains(string(odd), want) {
			t.Errorf("that of an odd run lacks %q", want)
		}
	}
	for _, leak := range []string{"NaN", "<no value>", "{{", "secret", "\n\n\n"} {
		if strings.Contains(text+string(odd), leak) {
			t.Errorf("it has %q", leak)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", text, odd)
	}
}

func TestHere(t *testing.T) {
	if e := Here(); e.Vitft == "" || !strings.HasPrefix(e.Go, "go1") || e.Cores < 1 || e.OS == "" || e.Arch == "" {
		t.Errorf("%+v", e)
	}
}

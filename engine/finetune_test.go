package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/testkit"
)

func TestFinetuneLeavesACompleteRunFolder(t *testing.T) {
	r := finetune(t, job(t))
	if r.Metrics.Split != "test" || r.Metrics.Samples != 24 {
		t.Errorf("measured on %q with %d samples, want test with 24", r.Metrics.Split, r.Metrics.Samples)
	}
	if got := float64(r.Metrics.BalancedAccuracy); got < 0.6 {
		t.Errorf("balanced accuracy %.3f on stripes that a nearest neighbour tells apart, want 0.6 or more", got)
	}
	for _, f := range run.Files {
		info, err := os.Stat(f.Path(run.Folder(r.Run)))
		none := slices.Contains([]string{run.SkippedFile.Name, run.WarningsFile.Name, run.AdapterFile.Name}, f.Name)
		if none || f.Is&run.Run == 0 {
			if err == nil {
				t.Errorf("there is a file %s, but nothing to say in it", f.Name)
			}
		} else if err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, want a file with something in it", f.Name, err)
		}
	}
	if got, want := content(t, r.Run, run.LabelsFile), "class-a\nclass-b\nclass-c\nclass-d\n"; got != want {
		t.Errorf("labels.txt is %q, want %q", got, want)
	}
	predictions := content(t, r.Run, run.PredictionsFile)
	header, rows, _ := strings.Cut(predictions, "\n")
	if header != "path,label,predicted,confidence" || strings.Count(rows, "\n") != 24 {
		t.Errorf("predictions.csv:\n%s", predictions)
	}
	right := 0
	for _, p := range read(t, r.Run, run.PredictionsFile).Rows {
		if p.Label == p.Predicted {
			right++
		}
	}
	if got := metric.Number(float64(right) / 24); got != r.Metrics.Top1 {
		t.Errorf("predictions.csv has accuracy %v, metrics.json %v", got, r.Metrics.Top1)
	}
	lines := strings.Split(strings.TrimSpace(content(t, r.Run, run.HistoryFile)), "\n")
	if len(lines) != 12 {
		t.Errorf("history.jsonl has %d lines for 12 epochs", len(lines))
	}
	var epoch map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &epoch); err != nil || epoch["phase"] != "mla" {
		t.Errorf("the first epoch of cvs is %v (%v), want phase mla", epoch, err)
	}
	// A group without classes has nothing to compute its accuracy from.
	if text := content(t, r.Run, run.MetricsFile); !strings.Contains(text, `"many": {
      "classes": 0,
      "accuracy": null,
      "ece": null`) {
		t.Errorf("metrics.json does not say null for the empty group many:\n%s", text[:800])
	}
}

// Whatever decides speed only must not change a bit of the head.
func TestSameSeedSameHead(t *testing.T) {
	o := job(t)
	first := finetune(t, o)
	for name, change := range map[string]func(o *options){
		"warm store":  func(*options) {},
		"cold store":  func(o *options) { o.Features.Cache = t.TempDir() },
		"batch of 1":  func(o *options) { o.Features.Cache, o.Features.Batch = t.TempDir(), 1 },
		"batch of 33": func(o *options) { o.Features.Cache, o.Features.Batch = t.TempDir(), 33 },
	} {
		other := elsewhere(t, o)
		change(&other)
		r := finetune(t, other)
		same(t, name, r.Run, first.Run, run.HeadFile)
		if name == "warm store" {
			same(t, name, r.Run, first.Run, run.ModelFile)
		}
	}
	other := elsewhere(t, o)
	other.Training.Seed = 7
	if content(t, finetune(t, other).Run, run.HeadFile) == content(t, first.Run, run.HeadFile) {
		t.Error("another seed gave the same head: the seed is not used")
	}
}

func TestConfigOfARunReproducesIt(t *testing.T) {
	o := job(t)
	o.Data.Val, o.Data.Imbalance, o.Data.ImbalanceSeed = "0.2", "exp:4", 3
	first := finetune(t, o)
	var again engine.FinetuneOptions
	set(t, again.Fields(), read(t, first.Run, run.ConfigFile).Values())
	second := finetune(t, elsewhere(t, again))
	same(t, "from its config.yaml", second.Run, first.Run,
		run.HeadFile, run.PredictionsFile, run.KappaFile, run.ConfigFile, run.LabelsFile)
}

// An interrupted run, resumed as often as need be, ends as if nothing had happened.
func TestResumeGivesTheSameHead(t *testing.T) {
	o := job(t)
	want := finetune(t, o)
	o = elsewhere(t, o)
	interrupt(t, o, 2)
	for _, epoch := range []int{6, 10} {
		interrupt(t, engine.FinetuneOptions{Out: o.Out, Resume: true}, epoch)
	}
	resume(t, o.Out)
	same(t, "interrupted", o.Out, want.Run, run.HeadFile, run.PredictionsFile, run.KappaFile)
	if got := len(read(t, o.Out, run.HistoryFile)); got != 12 {
		t.Errorf("history.jsonl has %d lines, want 12", got)
	}
}

// A process that dies in mid-epoch leaves files that do not agree with the last checkpoint; going on from it mends
// them.
func TestResumeAfterKill(t *testing.T) {
	o := job(t)
	want := finetune(t, o)
	o = elsewhere(t, o)
	interrupt(t, o, 5)
	for _, file := range []named{run.HistoryFile, run.KappaFile} {
		f, err := os.OpenFile(file.Path(run.Folder(o.Out)), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "a line of an epoch after the checkpoint\nhalf a li")
		f.Close()
	}
	resume(t, o.Out)
	same(t, "killed", o.Out, want.Run, run.HeadFile, run.KappaFile)
}

func TestResumeRefusesOtherSettings(t *testing.T) {
	o := job(t)
	finetune(t, o)
	again := engine.FinetuneOptions{Out: o.Out, Resume: true, Training: head.Settings{Loss: "ce"}}
	_, err := engine.Finetune(t.Context(), again, event.Events{})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "loss is ce, was cvs") {
		t.Errorf("resuming with another loss: %v, want a configuration error that names it", err)
	}
	again.Training.Loss = "cvs"
	if _, err := engine.Finetune(t.Context(), again, event.Events{}); err != nil {
		t.Errorf("resuming a finished run with its own loss: %v", err)
	}
}

func TestResumeWithoutARun(t *testing.T) {
	o := engine.FinetuneOptions{Out: filepath.Join(t.TempDir(), "nowhere"), Resume: true}
	_, err := engine.Finetune(t.Context(), o, event.Events{})
	if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "there is no run to go on with") {
		t.Errorf("resuming nothing: %v, want a configuration error", err)
	}
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("it made a folder")
	}
}

func TestEarlierRunIsKept(t *testing.T) {
	o := job(t)
	finetune(t, o)
	old := content(t, o.Out, run.HeadFile)
	o.Training.Seed = 5
	finetune(t, o)
	if content(t, o.Out+".1", run.HeadFile) != old {
		t.Error("the earlier run is not in run.1")
	}
	o.Out = testkit.Folder(t, 3, 1)
	if _, err := engine.Finetune(t.Context(), o, event.Events{}); err == nil || fault.Of(err) != fault.Config {
		t.Errorf("a run into a folder of photos: %v, want a configuration error", err)
	}
}

func TestUnreadableImages(t *testing.T) {
	o := job(t)
	good := testkit.ReadFile(t, o.Data.Train, "class-a", "000.jpg")
	bad := map[string][]byte{"cut.jpg": good[:len(good)/2], "empty.png": nil, "text.jpg": []byte("hello")}
	for name, content := range bad {
		testkit.WriteFile(t, filepath.Join(o.Data.Train, "class-a", name), content)
	}
	_, err := engine.Finetune(t.Context(), o, event.Events{})
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "3 of 77") {
		t.Errorf("with 4 %% of the images unreadable: %v, want a data error that counts them", err)
	}
	o.Features.MaxUnreadable = new(0.1)
	finetune(t, o)
	skipped := read(t, o.Out, run.SkippedFile)
	if len(skipped) != 3 {
		t.Fatalf("skipped.csv: %v, want three images", skipped)
	}
	for _, s := range skipped {
		if s.Set != "train" || s.Reason == "" {
			t.Errorf("skipped.csv: %v, want the set and a reason", s)
		}
	}
	if !strings.Contains(content(t, o.Out, run.WarningsFile), "unreadable images are skipped") {
		t.Error("warnings.txt does not mention the skipped images")
	}
}

func TestBadInput(t *testing.T) {
	o := job(t)
	empty := t.TempDir()
	notAModel := testkit.WriteFile(t, filepath.Join(empty, "text.onnx"), []byte("no model"))
	unknown, lone := testkit.Folder(t, 4, 2, 2, 2, 2, 2), testkit.Folder(t, 5, 3)
	for name, x := range map[string]struct {
		change func(o *options)
		kind   fault.Kind
		names  string
	}{
		"no training set": {func(o *options) { o.Data.Train = "" }, fault.Config, "train"},
		"missing folder":  {func(o *options) { o.Data.Train = "/no/such/folder" }, fault.Data, "/no/such/folder"},
		"missing test":    {func(o *options) { o.Data.Test = "/no/such/test.csv" }, fault.Data, "/no/such/test.csv"},
		"no images":       {func(o *options) { o.Data.Train = empty }, fault.Data, empty},
		"one class":       {func(o *options) { o.Data.Train = lone }, fault.Data, "class-a"},
		"unknown label":   {func(o *options) { o.Data.Test = unknown }, fault.Data, "class-e"},
		"no model":        {func(o *options) { o.Backbone.Name = notAModel }, fault.Data, "text.onnx"},
		"unknown model":   {func(o *options) { o.Backbone.Name = "vitft-macro" }, fault.Data, "vitft-micro-28"},
		"wrong feature":   {func(o *options) { o.Backbone.Feature = "no_such_tensor" }, fault.Data, "no_such_tensor"},
		"unknown loss":    {func(o *options) { o.Training.Loss = "crossentropy" }, fault.Config, "crossentropy"},
		"bad imbalance":   {func(o *options) { o.Data.Imbalance = "exp:0" }, fault.Config, "exp:0"},
		"bad hold-out":    {func(o *options) { o.Data.Val = "1.5" }, fault.Config, "val"},
		"no provider":     {func(o *options) { o.Device.Provider = "tpu" }, fault.Config, "tpu"},
		"no cache folder": {func(o *options) { o.Features.Cache = notAModel }, fault.Data, notAModel},
	} {
		bad := elsewhere(t, o)
		x.change(&bad)
		_, err := engine.Finetune(t.Context(), bad, event.Events{})
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if fault.Of(err) != x.kind || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%s: %v (kind %q), want kind %q naming %s", name, err, fault.Of(err), x.kind, x.names)
		}
		if _, statErr := os.Stat(bad.Out); statErr == nil {
			t.Errorf("%s: left a run folder", name)
		}
	}
	// What is made from its text is refused when that is set.
	var e engine.EncodeOptions
	for key, text := range map[string]string{"kappa": "median", "shard": "3/2"} {
		f, known := setting.Find(append(o.Fields(), e.Fields()...), key)
		if !known {
			t.Fatalf("no setting %s", key)
		}
		err := f.Set(text)
		if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), text) {
			t.Errorf("%s %s: %v", key, text, err)
		}
	}
}

// A learning rate with which training diverges is a wrong setting: to try again would not help.
func TestDivergence(t *testing.T) {
	o := job(t)
	o.Training = head.Settings{Head: "linear", Loss: "ce", LR: 1000, WeightDecay: new(1000.0), Epochs: 30}
	_, err := engine.Finetune(t.Context(), o, event.Events{})
	diverged, is := errors.AsType[*head.DivergedError](err)
	if !is || diverged.Epoch < 1 || fault.Of(err) != fault.Config || fault.Of(err).Consequence().Exit != 2 {
		t.Errorf("%v of kind %q, want a configuration error", err, fault.Of(err))
	}
	if run.MetricsFile.Exists(run.Folder(o.Out)) {
		t.Error("the run is finished all the same")
	}
}

// A disk that fills up while the run folder is written fails the run, and the features are still there for the next
// try.
func TestFullDisk(t *testing.T) {
	o := job(t)
	restore := disk.SetFault(func(_ disk.Op, target string) error {
		if filepath.Base(target) == run.ModelFile.Name {
			return syscall.ENOSPC
		}
		return nil
	})
	_, err := engine.Finetune(t.Context(), o, event.Events{})
	restore()
	if !errors.Is(err, syscall.ENOSPC) || fault.Of(err) != fault.Other {
		t.Fatalf("full disk: %v", err)
	}
	if run.MetricsFile.Exists(run.Folder(o.Out)) {
		t.Error("a failed run has metrics.json")
	}
	counts := map[string]int{}
	_, err = engine.Finetune(t.Context(), engine.FinetuneOptions{Out: o.Out, Resume: true}, encoded(counts))
	if err != nil || len(counts) > 0 {
		t.Errorf("resumed after the disk was full: %v, encoded again: %v", err, counts)
	}
}

func TestOneRunAtATime(t *testing.T) {
	o := job(t)
	tried := false
	second := o
	o.OnEpoch = func(e head.Epoch) {
		if e.Number != 2 {
			return
		}
		tried = true
		for _, second.Resume = range []bool{false, true} {
			_, err := engine.Finetune(context.Background(), second, event.Events{})
			if err == nil || !strings.Contains(err.Error(), "another run") || !strings.Contains(err.Error(), o.Out) {
				t.Errorf("a second run into the folder (resume %v): %v, want it refused", second.Resume, err)
			}
		}
	}
	finetune(t, o)
	if !tried {
		t.Fatal("no second run was tried")
	}
	o.OnEpoch = nil
	finetune(t, o) // after the end of the first
}

// Every task whose context has ended says so, with what goes on from there, and what it left is gone on with.
func TestInterruption(t *testing.T) {
	o := job(t)
	r := finetune(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	none := event.Events{}
	again := elsewhere(t, o)
	swept := engine.SweepOptions{
		Data: o.Data, Device: o.Device, Features: o.Features,
		Experiment: parse(t, "{grid: [{loss: ce}]}"), Out: filepath.Join(t.TempDir(), "sweep"),
	}
	exported := engine.ExportOptions{
		Run: r.Run, Out: filepath.Join(t.TempDir(), "model.onnx"), Device: o.Device, Features: o.Features,
	}
	for name, call := range map[string]func() error{
		"finetune": func() error { _, err := engine.Finetune(ctx, again, none); return err },
		"encode": func() error {
			o := engine.EncodeOptions{Data: o.Data, Device: o.Device, Features: o.Features}
			_, err := engine.Encode(ctx, o, none)
			return err
		},
		"evaluate": func() error { _, err := engine.Evaluate(ctx, evaluation(r.Run, o), none); return err },
		"export":   func() error { _, err := engine.Export(ctx, exported, none); return err },
		"sweep":    func() error { _, err := engine.Sweep(ctx, swept, none); return err },
	} {
		err := call()
		if err == nil || fault.Of(err) != fault.Interrupted || !errors.Is(err, context.Canceled) ||
			!strings.Contains(err.Error(), "the same command goes on") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(again.Out); err == nil {
		t.Error("what never began left a run folder")
	}
	runSweep(t, swept, none)
	if _, err := engine.Export(t.Context(), exported, none); err != nil {
		t.Error(err)
	}

	// Once the folder is there, it is gone on with.
	again.Features.Cache = t.TempDir()
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	_, err := engine.Finetune(ctx, again, event.Events{Progress: func(stage event.Stage, _ string, done, _ int) {
		if stage == event.Encode && done == 20 {
			cancel()
		}
	}})
	if err == nil || fault.Of(err) != fault.Interrupted || !strings.Contains(err.Error(), "go on with --resume") {
		t.Errorf("interrupted at an image: %v", err)
	}
	same(t, "interrupted at an image", resume(t, again.Out).Run, r.Run, run.HeadFile, run.PredictionsFile)
}

// A run that is resumed continues only what it began: the same images, labels and settings.
func TestResumeContinuesOnlyWhatItBegan(t *testing.T) {
	for name, x := range map[string]struct {
		change func(o options)
		names  string
	}{
		"another label": {func(o options) {
			a, b := filepath.Join(o.Data.Train, "class-a", "000.jpg"),
				filepath.Join(o.Data.Train, "class-b", "moved.jpg")
			if err := os.Rename(a, b); err != nil {
				t.Fatal(err)
			}
		}, "labels"},
		"another image": {func(o options) {
			path := filepath.Join(o.Data.Train, "class-a", "000.jpg")
			testkit.WriteFile(t, path, testkit.ReadFile(t, o.Data.Train, "class-a", "002.jpg"))
		}, "images"},
		"another setting": {func(o options) {
			path := run.ConfigFile.Path(run.Folder(o.Out))
			text := strings.Replace(string(testkit.ReadFile(t, path)), "lr: 0.02", "lr: 0.03", 1)
			testkit.WriteFile(t, path, []byte(text))
		}, "lr is 0.03, was 0.02"},
	} {
		t.Run(name, func(t *testing.T) {
			o := job(t)
			interrupt(t, o, 5)
			x.change(o)
			_, err := engine.Finetune(t.Context(), options{Out: o.Out, Resume: true}, event.Events{})
			if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), x.names) {
				t.Errorf("%v, want it refused naming %q", err, x.names)
			}
		})
	}
}

// A model.onnx that is not the run's is refused before it makes a feature, so that no store takes harm.
func TestDamagedModelPoisonsNoStore(t *testing.T) {
	o := job(t)
	dir := finetune(t, o).Run
	path := run.ModelFile.Path(run.Folder(dir))
	model := testkit.ReadFile(t, path)
	model[len(model)/2] ^= 0x40
	testkit.WriteFile(t, path, model)
	e := evaluation(dir, o)
	e.Features.Cache = t.TempDir()
	if _, err := engine.Evaluate(t.Context(), e, event.Events{}); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "model.onnx") {
		t.Errorf("evaluate: %v", err)
	}
	if _, err := classify.Open(dir, classify.Options{Device: cpu}); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "model.onnx is damaged") {
		t.Errorf("classify: %v", err)
	}
	again := elsewhere(t, o)
	again.Features.Cache = e.Features.Cache
	same(t, "after a damaged model", finetune(t, again).Run, dir, run.HeadFile)
}

// A run that was interrupted before there was some setting goes on with the default of that, and with nothing else.
func TestResumeFromBeforeASetting(t *testing.T) {
	o := job(t)
	o.Training.Epochs = 3
	whole := finetune(t, o)
	other := elsewhere(t, o)
	interrupt(t, other, 1)
	dir := run.Folder(other.Out)
	checkpoint := read(t, other.Out, run.CheckpointFile)
	for _, key := range []string{"average", "early-stop", "augment"} {
		delete(checkpoint.Config, key)
	}
	if err := run.CheckpointFile.Write(dir, checkpoint); err != nil {
		t.Fatal(err)
	}
	config := testkit.ReadFile(t, run.ConfigFile.Path(dir))
	if !bytes.Contains(config, []byte("average: 0\n")) {
		t.Fatalf("no average in %s", config)
	}
	set := func(line string) {
		testkit.WriteFile(t, run.ConfigFile.Path(dir), bytes.Replace(config, []byte("average: 0\n"), []byte(line), 1))
	}
	set("average: 2\n")
	_, err := engine.Finetune(t.Context(), engine.FinetuneOptions{Out: other.Out, Resume: true}, event.Events{})
	if err == nil || !strings.Contains(err.Error(), "average is 2, was 0") {
		t.Errorf("with another average: %v", err)
	}
	set("")
	resume(t, other.Out)
	same(t, "resumed", other.Out, whole.Run, run.HeadFile, run.PredictionsFile)
}

// A line of history that cannot be written ends the run, whichever epoch it is of, and --resume goes on.
func TestHistoryThatCannotBeWritten(t *testing.T) {
	o := job(t)
	want := finetune(t, o)
	for _, epoch := range []int{3, o.Training.Epochs} {
		o, lines := elsewhere(t, o), 0
		restore := disk.SetFault(func(op disk.Op, path string) error {
			if op == disk.Tear && filepath.Base(path) == run.HistoryFile.Name {
				if lines++; lines == epoch {
					return syscall.ENOSPC
				}
			}
			return nil
		})
		_, err := engine.Finetune(t.Context(), o, event.Events{})
		restore()
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("epoch %d: %v", epoch, err)
		}
		same(t, "resumed", resume(t, o.Out).Run, want.Run, run.HeadFile, run.PredictionsFile)
	}
}

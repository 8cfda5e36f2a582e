package engine_test

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// Options with every setting set survive config.yaml, which has all of them but those of one call or machine.
func TestOptionsSurviveTheirFile(t *testing.T) {
	kappa, err := calib.New("slope:by=label,shrink=50")
	if err != nil {
		t.Fatal(err)
	}
	o := engine.FinetuneOptions{
		Data: dataset.Sources{Train: "photos", Val: "0.1", Test: "more.csv", Imbalance: "exp:50",
			ImbalanceSeed: 1<<64 - 1},
		Backbone: backbone.Options{Name: "vit.onnx", Preprocess: "p.json", Feature: "tokens:cls+mean",
			ImageSize: 56, Adapter: "adapter.safetensors"},
		Device:      device.Options{Provider: "cuda", Threads: 3, Library: "here.so"},
		Features:    feature.Options{MaxUnreadable: new(0.0), Copies: "20GB"},
		Calibration: engine.Calibration{Method: metric.Classwise},
		Adapt:       inside.Options{Micro: 8},
		Training: head.Settings{
			Loss: "vs", LearnScale: true, Nesterov: true, Warmup: 2, Average: 3, EarlyStop: 4,
			Tau: new(0.0), LR: 1e-7, Noise: 0.1, Experts: 2, Diversity: 0.3, Seed: 1 << 63, Kappa: kappa,
			Shuffle: 1000,
		},
		Out: "runs/1", Resume: true, TakeOver: true, DryRun: true,
	}
	if err := setting.Complete(o.Fields()); err != nil {
		t.Fatal(err)
	}
	dir := run.Folder(t.TempDir())
	config, err := run.ConfigOf(o.Fields())
	if err != nil {
		t.Fatal(err)
	}
	if err := run.ConfigFile.Write(dir, config); err != nil {
		t.Fatal(err)
	}
	config = read(t, string(dir), run.ConfigFile)
	for _, f := range o.Fields() {
		if !f.IsSet() {
			t.Errorf("%s is not set, so that this test does not try it", f.Key)
		}
		if got, want := config.Text(f.Key), f.Text(); f.Local && got != "" || !f.Local && got != want {
			t.Errorf("config.yaml has %s %q, want %q; belongs to the machine: %v", f.Key, got, want, f.Local)
		}
	}
	back := engine.FinetuneOptions{Out: o.Out, Resume: o.Resume, TakeOver: o.TakeOver, DryRun: o.DryRun}
	back.Device.Library, back.Features.Copies = o.Device.Library, o.Features.Copies
	set(t, back.Fields(), config.Values())
	if !reflect.DeepEqual(back, o) {
		t.Errorf("came back as %+v, was %+v\n%s", back, o, content(t, string(dir), run.ConfigFile))
	}
}

// What is wrong is reported at once, each fault once and by its key.
func TestEveryFaultIsReported(t *testing.T) {
	t.Chdir(t.TempDir())
	data := dataset.Sources{Train: "photos", Val: "2", Imbalance: "exp"}
	model := backbone.Options{ImageSize: -1}
	runtime := device.Options{Provider: "tpu", Threads: -1}
	features := feature.Options{Batch: -1, MaxUnreadable: new(1.5)}
	views, calibration := engine.Views{Train: 99, Test: -1}, engine.Calibration{Method: "platt", Folds: 1}
	finetune := engine.FinetuneOptions{
		Data: data, Backbone: model, Device: runtime, Features: features, Views: views, Calibration: calibration,
		Training: head.Settings{Loss: "hinge", Epochs: -1, LR: -2, Shrinkage: 2, Tau: new(-1.0), Experts: -3},
	}
	encode := engine.EncodeOptions{
		Data: data, Backbone: model, Device: runtime, Features: features, Views: views, Calibration: calibration,
	}
	sweep := engine.SweepOptions{
		Data: data, Backbone: model, Device: runtime, Features: features, Views: views, Calibration: calibration,
		Experiment: parse(t, "{grid: [{loss: ce}]}"),
	}
	evaluate := engine.EvaluateOptions{Run: "run", Test: "photos", Device: runtime, Features: features}
	export := engine.ExportOptions{
		Run: "run", Out: "model.onnx", Precision: "int4", Images: -1, NearTie: new(2.0), Device: runtime,
		Features: features,
	}
	ctx, none := t.Context(), event.Events{}
	shared := []string{"val", "imbalance", "image-size", "provider", "threads", "batch", "max-unreadable", "views",
		"tta", "calibration", "folds"}
	for name, x := range map[string]struct {
		call func() error
		keys []string
	}{
		"finetune": {func() error { _, err := engine.Finetune(ctx, finetune, none); return err },
			append([]string{"loss", "epochs", "lr", "shrinkage", "tau", "experts"}, shared...)},
		"encode": {func() error { _, err := engine.Encode(ctx, encode, none); return err }, shared},
		"sweep":  {func() error { _, err := engine.Sweep(ctx, sweep, none); return err }, shared},
		"evaluate": {func() error { _, err := engine.Evaluate(ctx, evaluate, none); return err },
			[]string{"provider", "threads", "batch", "max-unreadable"}},
		"export": {func() error { _, err := engine.Export(ctx, export, none); return err },
			[]string{"precision", "images", "near-tie", "provider", "threads", "batch", "max-unreadable"}},
	} {
		err := x.call()
		if err == nil || fault.Of(err) != fault.Config {
			t.Errorf("%s: %v is no configuration error", name, err)
			continue
		}
		for _, key := range x.keys {
			if n := strings.Count("\n"+err.Error(), "\n"+key+": "); n != 1 {
				t.Errorf("%s: %s is wrong, but the error says so %d times:\n%v", name, key, n, err)
			}
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
}

// The zero value of all options works, or is refused for what must be named: nothing panics.
func TestZeroOptions(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	ctx, none := t.Context(), event.Events{}
	for name, call := range map[string]func() error{
		"finetune": func() error { _, err := engine.Finetune(ctx, engine.FinetuneOptions{}, none); return err },
		"resume": func() error {
			_, err := engine.Finetune(ctx, engine.FinetuneOptions{Resume: true}, none)
			return err
		},
		"encode":   func() error { _, err := engine.Encode(ctx, engine.EncodeOptions{}, none); return err },
		"evaluate": func() error { _, err := engine.Evaluate(ctx, engine.EvaluateOptions{}, none); return err },
		"export":   func() error { _, err := engine.Export(ctx, engine.ExportOptions{}, none); return err },
		"sweep":    func() error { _, err := engine.Sweep(ctx, engine.SweepOptions{}, none); return err },
		"pull":     func() error { _, err := engine.Pull(ctx, engine.PullOptions{}, none); return err },
		"serve":    func() error { _, err := serve.New(serve.Options{}); return err },
	} {
		if err := call(); err == nil || fault.Of(err) != fault.Config {
			t.Errorf("%s: %v, want a configuration error", name, err)
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
	ort.Need(t)
	if _, err := backbone.Inspect(backbone.Options{}); err != nil {
		t.Error(err)
	}
	b, err := backbone.Open(backbone.Options{}, device.Options{}, none)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()

	// What must be named is enough.
	images := testkit.Folder(t, 8, 6, 4)
	var e engine.EncodeOptions
	e.Data.Test = images
	if r, err := engine.Encode(ctx, e, none); err != nil || len(r.Sets) != 1 || r.Sets[0].Encoded != 10 {
		t.Errorf("%+v, %v", r, err)
	}
	var o engine.FinetuneOptions
	o.Data.Train = images
	r := finetune(t, o)
	if r.Run != "run" || r.Metrics.Split != "train" || r.Metrics.Epochs != 30 || r.Metrics.Loss != "cvs" {
		t.Errorf("%s: %+v", r.Run, r.Metrics)
	}
	if m := evaluate(t, engine.EvaluateOptions{Run: r.Run, Test: images}).Metrics; m.NLL != r.Metrics.NLL {
		t.Errorf("evaluated %+v, trained %+v", m, r.Metrics)
	}
	done, err := engine.Export(ctx, engine.ExportOptions{Run: r.Run, Out: "model.onnx"}, none)
	if err != nil || done.Agreement.Same != 10 {
		t.Errorf("%+v, %v", done, err)
	}
	s := engine.SweepOptions{Experiment: parse(t, "{grid: [{loss: ce}]}")}
	s.Data.Train, s.Data.Test = images, images
	if r, err := engine.Sweep(ctx, s, none); err != nil || len(r.Summary.Heads) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	c, err := classify.Open("model.onnx", classify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	server, err := serve.New(serve.Options{Models: []string{"run"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

// More memory than can be is refused before there is a run folder.
func TestFinetuneRefusesHugeHeads(t *testing.T) {
	o := job(t)
	o.Training.Experts = 10_000_000
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // lest it fill the memory
	defer cancel()
	_, err := engine.Finetune(ctx, o, event.Events{})
	if fault.Of(err) != fault.Config || !strings.HasPrefix(err.Error(), "experts: training 10000000 of ") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(o.Out); !os.IsNotExist(err) {
		t.Errorf("there is a run folder: %v", err)
	}
}

// Whoever numbers parts from 0 writes +1 and need not reckon.
func TestParseShard(t *testing.T) {
	for text, want := range map[string]engine.Shard{"": {}, "1/4": {0, 4}, "4/4": {3, 4}, "0+1/4": {0, 4},
		"3+1/4": {3, 4}, "0+1/1": {0, 1}} {
		if got, err := engine.ParseShard(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0/4", "5/4", "4+1/4", "-1+1/4", "+1/4", "1+1", "1+2/4", "0+1+1/4", "1/0", "a/4",
		"/4", "$(JOB_COMPLETION_INDEX)+1/4"} {
		if got, err := engine.ParseShard(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

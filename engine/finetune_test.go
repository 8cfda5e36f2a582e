package engine

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/internal/atomicfile"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/head"
)

// job is a small run on drawn images with the embedded backbone.
func job(t testing.TB) Config {
	needRuntime(t)
	dir := t.TempDir()
	return Config{
		Train: writeImages(t, 1, 40, 22, 8, 4), Test: writeImages(t, 2, 6, 6, 6, 6),
		Out: filepath.Join(dir, "run"), Cache: filepath.Join(dir, "cache"), Provider: "cpu",
		Training: Training{Epochs: 12, HeadBatch: 16},
	}
}

func finetune(t testing.TB, c Config) *Result {
	t.Helper()
	r, err := Finetune(context.Background(), c, false, Events{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func content(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFinetuneLeavesACompleteRunFolder(t *testing.T) {
	c := job(t)
	r := finetune(t, c)
	if r.Metrics.Split != "test" || r.Metrics.Samples != 24 {
		t.Errorf("measured on %q with %d samples, want test with 24", r.Metrics.Split, r.Metrics.Samples)
	}
	if got := float64(r.Metrics.BalancedAccuracy); got < 0.6 {
		t.Errorf("balanced accuracy %.3f on stripes that a nearest neighbour tells apart, want 0.6 or more", got)
	}
	for _, name := range []string{configFile, environmentFile, historyFile, kappaFile, metricsFile, predictionsFile, labelsFile, headFile, modelFile, checkpointFile} {
		if info, err := os.Stat(filepath.Join(r.Run, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, want a file with something in it", name, err)
		}
	}
	if got, want := content(t, r.Run, labelsFile), "class-a\nclass-b\nclass-c\nclass-d\n"; got != want {
		t.Errorf("labels.txt is %q, want %q", got, want)
	}
	rows, err := csv.NewReader(strings.NewReader(content(t, r.Run, predictionsFile))).ReadAll()
	if err != nil || len(rows) != 25 || strings.Join(rows[0], ",") != "path,label,predicted,confidence" {
		t.Errorf("predictions.csv has %d rows with header %v (%v)", len(rows), rows[0], err)
	}
	right := 0
	for _, row := range rows[1:] {
		if row[1] == row[2] {
			right++
		}
	}
	if got := ratio(right, 24); got != r.Metrics.Top1 {
		t.Errorf("predictions.csv has accuracy %v, metrics.json %v", got, r.Metrics.Top1)
	}
	lines := strings.Split(strings.TrimSpace(content(t, r.Run, historyFile)), "\n")
	if len(lines) != 12 {
		t.Errorf("history.jsonl has %d lines for 12 epochs", len(lines))
	}
	var epoch map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &epoch); err != nil || epoch["phase"] != "mla" {
		t.Errorf("the first epoch of cvs is %v (%v), want phase mla", epoch, err)
	}
	// A group without classes has nothing to compute its accuracy from.
	if text := content(t, r.Run, metricsFile); !strings.Contains(text, `"many": {
      "classes": 0,
      "accuracy": null,
      "ece": null`) {
		t.Errorf("metrics.json does not say null for the empty group many:\n%s", text[:800])
	}
}

// Whatever decides speed only must not change a bit of the head.
func TestSameSeedSameHead(t *testing.T) {
	c := job(t)
	first := finetune(t, c)
	want := content(t, first.Run, headFile)
	for name, change := range map[string]func(c *Config){
		"warm store":  func(*Config) {},
		"cold store":  func(c *Config) { c.Cache = t.TempDir() },
		"batch of 1":  func(c *Config) { c.Cache, c.Batch = t.TempDir(), 1 },
		"batch of 33": func(c *Config) { c.Cache, c.Batch = t.TempDir(), 33 },
	} {
		other := c
		other.Out = filepath.Join(t.TempDir(), "again")
		change(&other)
		r := finetune(t, other)
		if got := content(t, r.Run, headFile); got != want {
			t.Errorf("%s: another head.safetensors", name)
		}
		if name == "warm store" && content(t, r.Run, modelFile) != content(t, first.Run, modelFile) {
			t.Errorf("%s: another model.onnx", name)
		}
	}
	other := c
	other.Out, other.Seed = filepath.Join(t.TempDir(), "again"), 7
	if content(t, finetune(t, other).Run, headFile) == want {
		t.Error("another seed gave the same head: the seed is not used")
	}
}

func TestConfigOfARunReproducesIt(t *testing.T) {
	c := job(t)
	c.Val, c.Imbalance, c.ImbalanceSeed = "0.2", "exp:4", 3
	first := finetune(t, c)
	again := Config{Out: filepath.Join(t.TempDir(), "again")}
	if _, err := runFolder(first.Run).continueWith(&Config{Out: first.Run}); err != nil {
		t.Fatal(err)
	}
	parsed := readConfig(t, filepath.Join(first.Run, configFile))
	parsed.Out = again.Out
	second := finetune(t, parsed)
	for _, name := range []string{headFile, predictionsFile, kappaFile, configFile, labelsFile} {
		if content(t, first.Run, name) != content(t, second.Run, name) {
			t.Errorf("%s differs", name)
		}
	}
}

// An interrupted run, resumed as often as need be, ends as if nothing had
// happened.
func TestResumeGivesTheSameHead(t *testing.T) {
	c := job(t)
	want := finetune(t, c)
	c.Out = filepath.Join(t.TempDir(), "interrupted")
	resume := false
	for stop := 2; ; stop += 4 {
		ctx, cancel := context.WithCancel(context.Background())
		events := Events{Epoch: func(e head.Epoch) {
			if e.Number == stop {
				cancel()
			}
		}}
		_, err := Finetune(ctx, c, resume, events)
		cancel()
		if err == nil {
			break
		}
		if KindOf(err) != KindInterrupted {
			t.Fatalf("interrupted in epoch %d: %v (kind %d)", stop, err, KindOf(err))
		}
		c, resume = Config{Out: c.Out}, true
	}
	for _, name := range []string{headFile, predictionsFile, kappaFile} {
		if content(t, want.Run, name) != content(t, c.Out, name) {
			t.Errorf("%s differs from the uninterrupted run", name)
		}
	}
	if got := strings.Count(content(t, c.Out, historyFile), "\n"); got != 12 {
		t.Errorf("history.jsonl has %d lines, want 12", got)
	}
}

// A process that dies in mid-epoch leaves files that do not agree with the last
// checkpoint; going on from it mends them.
func TestResumeAfterKill(t *testing.T) {
	c := job(t)
	want := finetune(t, c)
	c.Out = filepath.Join(t.TempDir(), "killed")
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Finetune(ctx, c, false, Events{Epoch: func(e head.Epoch) {
		if e.Number == 5 {
			cancel()
		}
	}})
	if KindOf(err) != KindInterrupted {
		t.Fatal(err)
	}
	for _, name := range []string{historyFile, kappaFile} {
		f, err := os.OpenFile(filepath.Join(c.Out, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "a line of an epoch after the checkpoint\nhalf a li")
		f.Close()
	}
	if _, err := Finetune(context.Background(), Config{Out: c.Out}, true, Events{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{headFile, kappaFile} {
		if content(t, want.Run, name) != content(t, c.Out, name) {
			t.Errorf("%s differs from the uninterrupted run", name)
		}
	}
}

func TestResumeRefusesOtherSettings(t *testing.T) {
	c := job(t)
	finetune(t, c)
	_, err := Finetune(context.Background(), Config{Out: c.Out, Training: Training{Loss: "ce"}}, true, Events{})
	if KindOf(err) != KindConfig || !strings.Contains(err.Error(), "loss is ce, was cvs") {
		t.Errorf("resuming with another loss: %v, want a configuration error that names it", err)
	}
	if _, err := Finetune(context.Background(), Config{Out: c.Out, Training: Training{Loss: "cvs"}}, true, Events{}); err != nil {
		t.Errorf("resuming a finished run with its own loss: %v", err)
	}
}

func TestResumeWithoutARun(t *testing.T) {
	_, err := Finetune(context.Background(), Config{Out: filepath.Join(t.TempDir(), "nowhere")}, true, Events{})
	if KindOf(err) != KindConfig || !strings.Contains(err.Error(), "there is no run to go on with") {
		t.Errorf("resuming nothing: %v, want a configuration error", err)
	}
}

func TestEarlierRunIsKept(t *testing.T) {
	c := job(t)
	finetune(t, c)
	old := content(t, c.Out, headFile)
	c.Seed = 5
	finetune(t, c)
	if content(t, c.Out+".1", headFile) != old {
		t.Error("the earlier run is not in run.1")
	}
	c.Out = writeImages(t, 3, 1)
	if _, err := Finetune(context.Background(), c, false, Events{}); KindOf(err) != KindConfig {
		t.Errorf("a run into a folder of photos: %v, want a configuration error", err)
	}
}

func TestUnreadableImages(t *testing.T) {
	c := job(t)
	good := content(t, c.Train, "class-a", "000.jpg")
	for name, bytes := range map[string]string{"cut.jpg": good[:len(good)/2], "empty.png": "", "text.jpg": "hello"} {
		if err := os.WriteFile(filepath.Join(c.Train, "class-a", name), []byte(bytes), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Finetune(context.Background(), c, false, Events{})
	if KindOf(err) != KindData || !strings.Contains(err.Error(), "3 of 77") {
		t.Errorf("with 4 %% of the images unreadable: %v, want a data error that counts them", err)
	}
	c.MaxUnreadable = new(0.1)
	finetune(t, c)
	rows, err := csv.NewReader(strings.NewReader(content(t, c.Out, skippedFile))).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("skipped.csv: %v, %v; want a header and three images", rows, err)
	}
	for _, row := range rows[1:] {
		if row[0] != "train" || row[2] == "" {
			t.Errorf("skipped.csv: %v, want the set and a reason", row)
		}
	}
	if !strings.Contains(content(t, c.Out, warningsFile), "unreadable images are skipped") {
		t.Error("warnings.txt does not mention the skipped images")
	}
}

func TestBadInput(t *testing.T) {
	c := job(t)
	empty := t.TempDir()
	notAModel := filepath.Join(empty, "text.onnx")
	if err := os.WriteFile(notAModel, []byte("no model"), 0o644); err != nil {
		t.Fatal(err)
	}
	unknown := writeImages(t, 4, 2, 2, 2, 2, 2)
	for name, x := range map[string]struct {
		change func(c *Config)
		kind   Kind
		names  string
	}{
		"no training set": {func(c *Config) { c.Train = "" }, KindConfig, "train"},
		"missing folder":  {func(c *Config) { c.Train = "/no/such/folder" }, KindData, "/no/such/folder"},
		"missing test":    {func(c *Config) { c.Test = "/no/such/test.csv" }, KindData, "/no/such/test.csv"},
		"no images":       {func(c *Config) { c.Train = empty }, KindData, empty},
		"one class":       {func(c *Config) { c.Train = writeImages(t, 5, 3) }, KindData, "class-a"},
		"unknown label":   {func(c *Config) { c.Test = unknown }, KindData, "class-e"},
		"no model":        {func(c *Config) { c.Backbone = notAModel }, KindData, "text.onnx"},
		"unknown model":   {func(c *Config) { c.Backbone = "vitft-macro" }, KindData, "vitft-micro-28"},
		"unknown loss":    {func(c *Config) { c.Loss = "crossentropy" }, KindConfig, "crossentropy"},
		"unknown kappa":   {func(c *Config) { c.Kappa = "median" }, KindConfig, "median"},
		"bad imbalance":   {func(c *Config) { c.Imbalance = "exp:0" }, KindConfig, "exp:0"},
		"bad hold-out":    {func(c *Config) { c.Val = "1.5" }, KindConfig, "val"},
		"no provider":     {func(c *Config) { c.Provider = "tpu" }, KindConfig, "tpu"},
		"wrong feature":   {func(c *Config) { c.Feature = "no_such_tensor" }, KindData, "no_such_tensor"},
		"no cache folder": {func(c *Config) { c.Cache = notAModel }, KindOther, notAModel},
	} {
		bad := c
		bad.Out = filepath.Join(t.TempDir(), "run")
		x.change(&bad)
		_, err := Finetune(context.Background(), bad, false, Events{})
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if KindOf(err) != x.kind || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%s: %v (kind %d), want kind %d naming %s", name, err, KindOf(err), x.kind, x.names)
		}
		if _, statErr := os.Stat(bad.Out); statErr == nil {
			t.Errorf("%s: left a run folder", name)
		}
	}
}

// A disk that fills up while the run folder is written fails the run, and the
// features are still there for the next try.
func TestFullDisk(t *testing.T) {
	c := job(t)
	restore := atomicfile.SetFailpoint(func(_ atomicfile.Step, target string) error {
		if filepath.Base(target) == modelFile {
			return syscall.ENOSPC
		}
		return nil
	})
	_, err := Finetune(context.Background(), c, false, Events{})
	restore()
	if !errors.Is(err, syscall.ENOSPC) || KindOf(err) != KindOther {
		t.Fatalf("full disk: %v", err)
	}
	if runFolder(c.Out).has(metricsFile) {
		t.Error("a failed run has metrics.json")
	}
	encoded := 0
	_, err = Finetune(context.Background(), Config{Out: c.Out}, true, Events{Progress: func(stage, _ string, _, _ int) {
		if stage == "encode" {
			encoded++
		}
	}})
	if err != nil || encoded > 0 {
		t.Errorf("resumed after the disk was full: %v, %d images encoded again", err, encoded)
	}
}

func TestEvaluateNeedsOnlyTheRunFolder(t *testing.T) {
	c := job(t)
	r := finetune(t, c)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(r.Run, moved); err != nil {
		t.Fatal(err)
	}
	for name, cache := range map[string]string{"warm store": c.Cache, "cold store": t.TempDir()} {
		m, err := Evaluate(context.Background(), moved, Config{Test: c.Test, Cache: cache, Provider: "cpu"}, Events{})
		if err != nil {
			t.Fatal(err)
		}
		if m.NLL != r.Metrics.NLL || m.BalancedAccuracy != r.Metrics.BalancedAccuracy || m.Groups.Few != r.Metrics.Groups.Few {
			t.Errorf("%s: evaluate gives %+v, the run gave %+v", name, m, r.Metrics)
		}
		if encoded := m.Seconds.Encode > 0; encoded != (name == "cold store") {
			t.Errorf("%s: %v seconds of encoding", name, m.Seconds.Encode)
		}
	}
}

func TestEncodeInShards(t *testing.T) {
	c := job(t)
	seen := 0
	for i := range 3 {
		results, err := Encode(context.Background(), Config{Train: c.Train, Cache: c.Cache, Provider: "cpu"}, Shard{i, 3}, Events{})
		if err != nil {
			t.Fatal(err)
		}
		seen += results[0].Encoded
	}
	if seen != 74 {
		t.Errorf("three shards encoded %d images of 74", seen)
	}
	results, err := Encode(context.Background(), Config{Train: c.Train, Cache: c.Cache, Provider: "cpu"}, Shard{}, Events{})
	if err != nil || results[0].Cached != 74 || results[0].Encoded != 0 {
		t.Errorf("after the shards: %+v, %v; want all 74 from the store", results, err)
	}
}

func TestHeadFileRefusesDamage(t *testing.T) {
	run := runFolder(t.TempDir())
	h := &head.Head{Classes: 2, Dim: 3, W: make([]float32, 6), B: make([]float32, 2), Mean: make([]float32, 3), InvStd: make([]float32, 3)}
	if err := run.writeHead(h, calib.Scaling{Temperature: []float64{1.25, 0.8}}); err != nil {
		t.Fatal(err)
	}
	back, scaling, err := run.readHead()
	if err != nil || back.Classes != 2 || back.Dim != 3 || !slices.Equal(scaling.Temperature, []float64{1.25, 0.8}) {
		t.Fatalf("read back %+v, %v, %v", back, scaling, err)
	}
	f, err := safetensors.Read(run.path(headFile))
	if err != nil {
		t.Fatal(err)
	}
	missing := f.Tensors[1]
	f.Tensors = slices.Delete(f.Tensors, 1, 2)
	var b bytes.Buffer
	if _, err := f.WriteTo(io.Writer(&b)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(run.path(headFile), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run.readHead(); KindOf(err) != KindData {
		t.Errorf("a head without %s: %v, want a data error", missing.Name, err)
	}
}

// An IDX folder holds both halves: the training set takes one, the test set the
// other, in encode as in finetune.
func TestEncodeTakesTheTestHalfOfAnIDXFolder(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	write := func(name string, header []byte, n, size int, value func(i int) byte) {
		data := append(header, make([]byte, n*size)...)
		for i := range n * size {
			data[len(header)+i] = value(i)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for half, n := range map[string]int{"train": 6, "t10k": 4} {
		write(half+"-images-idx3-ubyte", []byte{0, 0, 8, 3, 0, 0, 0, byte(n), 0, 0, 0, 28, 0, 0, 0, 28}, n, 28*28,
			func(i int) byte { return byte(i*n + i/784*31) })
		write(half+"-labels-idx1-ubyte", []byte{0, 0, 8, 1, 0, 0, 0, byte(n)}, n, 1, func(i int) byte { return byte(i % 2) })
	}
	results, err := Encode(context.Background(), Config{Train: dir, Test: dir, Cache: t.TempDir(), Provider: "cpu"}, Shard{}, Events{})
	if err != nil || len(results) != 2 || results[0].Encoded != 6 || results[1].Encoded != 4 {
		t.Errorf("%+v, %v; want 6 training and 4 test images", results, err)
	}
}

// --image-size holds wherever the preprocessing comes from, and what does not
// fit the model is refused.
func TestImageSize(t *testing.T) {
	c := Config{ImageSize: 56}
	c.EnsureDefaults()
	model, sum, err := readModel(c)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := findPreprocess(c, model, sum)
	if err != nil || p.Width != 56 || p.Height != 56 || p.ResizeTo != 56 {
		t.Errorf("preprocessing for 56 pixels: %+v, %v", p, err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := Inspect(Config{ImageSize: -3}); KindOf(err) != KindConfig {
		t.Errorf("a negative image size: %v, want a configuration error", err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/onnx"
)

// vitft runs one command line.
func vitft(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// photos makes two classes of plain pictures.
func photos(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for k, class := range []string{"dark", "light"} {
		if err := os.MkdirAll(filepath.Join(dir, class), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			img := image.NewGray(image.Rect(0, 0, 30, 30))
			for p := range img.Pix {
				img.Pix[p] = byte(20 + 180*k + (p*7+i*13)%30)
			}
			img.SetGray(i, i, color.Gray{Y: 128})
			var b bytes.Buffer
			if err := png.Encode(&b, img); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, class, strconv.Itoa(i)+".png"), b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func needRuntime(t *testing.T) {
	t.Helper()
	if _, err := onnx.Find(""); err != nil {
		t.Skipf("ONNX Runtime is missing (make setup): %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.yaml")
	if err := os.WriteFile(text, []byte("losss: ce\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := photos(t, 2)
	t.Chdir(t.TempDir()) // for what is written by mistake
	for _, x := range []struct {
		args  []string
		code  int
		names string // what standard error must name
	}{
		{[]string{"--help"}, exitDone, ""},
		{[]string{"models", "list"}, exitDone, ""},
		{[]string{"frobnicate"}, exitUsage, "frobnicate"},
		{[]string{"finetune", "--frobnicate"}, exitUsage, "frobnicate"},
		{[]string{"finetune", "surplus"}, exitUsage, "surplus"},
		{[]string{"finetune"}, exitUsage, "train"},
		{[]string{"finetune", "--train", dir, "--loss", "hinge"}, exitUsage, "hinge"},
		{[]string{"finetune", "--train", dir, "--log-format", "xml"}, exitUsage, "xml"},
		{[]string{"finetune", "--config", text}, exitUsage, "losss"},
		{[]string{"finetune", "--config", "/no/such.yaml"}, exitUsage, "/no/such.yaml"},
		{[]string{"finetune", "--train", "/no/such/photos"}, exitData, "/no/such/photos"},
		{[]string{"finetune", "--train", dir, "--backbone", "/no/such.onnx"}, exitData, "/no/such.onnx"},
		{[]string{"finetune", "--train", dir, "--ort-lib", "/no/such.so"}, exitRuntime, "/no/such.so"},
		{[]string{"encode", "--train", dir, "--shard", "3/2"}, exitUsage, "3/2"},
		{[]string{"evaluate", "--run", dir, "--test", dir}, exitData, dir},
		{[]string{"inspect", text}, exitData, "text.yaml"},
		{[]string{"doctor", "--ort-lib", "/no/such.so"}, exitRuntime, "/no/such.so"},
	} {
		code, _, stderr := vitft(t, x.args...)
		if code != x.code || !strings.Contains(stderr, x.names) {
			t.Errorf("vitft %s: exit code %d, want %d; standard error %q, want it to name %q", strings.Join(x.args, " "), code, x.code, stderr, x.names)
		}
		if strings.Contains(stderr, "goroutine ") {
			t.Errorf("vitft %s: a stack trace on standard error", strings.Join(x.args, " "))
		}
	}
}

func TestFinetuneThenEvaluate(t *testing.T) {
	needRuntime(t)
	dir, work := photos(t, 8), t.TempDir()
	out, cache := filepath.Join(work, "out"), filepath.Join(work, "cache")
	t.Chdir(work)
	code, stdout, stderr := vitft(t, "finetune", "--train", dir, "--val", "0.25", "--out", out, "--cache", cache, "--epochs", "3", "--provider", "cpu", "--log-format", "json")
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"val: 4 samples", "all             2", "run folder: " + out} {
		if !strings.Contains(stdout, want) {
			t.Errorf("standard output lacks %q:\n%s", want, stdout)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(stderr), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("with --log-format json: %q", line)
		}
	}
	code, stdout, stderr = vitft(t, "evaluate", "--run", out, "--test", dir, "--cache", cache, "--json", "--quiet")
	var m map[string]any
	if err := json.Unmarshal([]byte(stdout), &m); code != exitDone || err != nil {
		t.Fatalf("evaluate: exit code %d, %v, %s", code, err, stderr)
	}
	if m["samples"] != 16.0 || m["loss"] != "cvs" || m["epochs"] != 3.0 {
		t.Errorf("evaluate prints %v", m)
	}
	if _, err := os.Stat("run"); err == nil {
		t.Error("evaluate has written something called run")
	}
	if stderr != "" {
		t.Errorf("--quiet, yet standard error has %q", stderr)
	}
}

// Flag > environment > file > default.
func TestPrecedenceOfSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("epochs: 11\nloss: ce\nhead-batch: 31\ngamma: 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VITFT_LOSS", "la")
	t.Setenv("VITFT_HEAD_BATCH", "77")
	var got [3]any
	a := &app{stdout: os.Stdout, stderr: os.Stderr, settings: newSettings()}
	cmd := a.finetuneCommand()
	cmd.Flags().String("config", "", "")
	cmd.Flags().String("ort-lib", "", "")
	if err := cmd.ParseFlags([]string{"--config", file, "--head-batch", "99"}); err != nil {
		t.Fatal(err)
	}
	if err := a.readSettings(cmd); err != nil {
		t.Fatal(err)
	}
	c, err := a.config()
	if err != nil {
		t.Fatal(err)
	}
	got = [3]any{c.Epochs, c.Loss, c.HeadBatch}
	if want := [3]any{11, "la", 99}; got != want {
		t.Errorf("epochs (file), loss (environment), head-batch (flag) are %v, want %v", got, want)
	}
	if c.Gamma == nil || *c.Gamma != 0 {
		t.Errorf("gamma: 0 in the file is read as %v", c.Gamma)
	}
	if c.Tau != nil || c.Scale != 0 {
		t.Errorf("what nobody sets is not left to the engine: tau %v, scale %v", c.Tau, c.Scale)
	}
}

func TestEnvironmentIsChecked(t *testing.T) {
	t.Setenv("VITFT_EPOCHS", "many")
	code, _, stderr := vitft(t, "finetune", "--train", photos(t, 2))
	if code != exitUsage || !strings.Contains(stderr, "epochs") {
		t.Errorf("VITFT_EPOCHS=many: exit code %d, %q", code, stderr)
	}
}

func TestInspectEmbedded(t *testing.T) {
	code, stdout, stderr := vitft(t, "inspect", "vitft-micro-28", "--json")
	var r struct {
		Feature    struct{ Dim int }
		Preprocess struct{ Width int }
		SHA256     string
	}
	if err := json.Unmarshal([]byte(stdout), &r); code != exitDone || err != nil {
		t.Fatalf("exit code %d, %v, %s", code, err, stderr)
	}
	if r.Feature.Dim == 0 || r.Preprocess.Width != 28 || len(r.SHA256) != 64 {
		t.Errorf("inspect says %+v", r)
	}
}

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

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
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
		{[]string{"--help"}, 0, ""},
		{[]string{"models", "list"}, 0, ""},
		{[]string{"frobnicate"}, 2, "frobnicate"},
		{[]string{"finetune", "--frobnicate"}, 2, "frobnicate"},
		{[]string{"finetune", "surplus"}, 2, "surplus"},
		{[]string{"finetune"}, 2, "train"},
		{[]string{"finetune", "--train", dir, "--loss", "hinge"}, 2, "hinge"},
		{[]string{"finetune", "--train", dir, "--log-format", "xml"}, 2, "xml"},
		{[]string{"finetune", "--config", text}, 2, "losss"},
		{[]string{"finetune", "--config", "/no/such.yaml"}, 2, "/no/such.yaml"},
		{[]string{"finetune", "--train", "/no/such/photos"}, 3, "/no/such/photos"},
		{[]string{"finetune", "--train", dir, "--backbone", "/no/such.onnx"}, 3, "/no/such.onnx"},
		{[]string{"finetune", "--train", dir, "--ort-lib", "/no/such.so"}, 4, "/no/such.so"},
		{[]string{"encode", "--train", dir, "--shard", "3/2"}, 2, "3/2"},
		{[]string{"evaluate", "--run", dir, "--test", dir}, 3, dir},
		{[]string{"inspect", text}, 3, "text.yaml"},
		{[]string{"doctor", "--ort-lib", "/no/such.so"}, 4, "/no/such.so"},
	} {
		code, _, stderr := vitft(t, x.args...)
		if code != x.code || !strings.Contains(stderr, x.names) {
			t.Errorf("vitft %s: exit code %d, want %d; standard error %q, want it to name %q",
				strings.Join(x.args, " "), code, x.code, stderr, x.names)
		}
		if strings.Contains(stderr, "goroutine ") {
			t.Errorf("vitft %s: a stack trace on standard error", strings.Join(x.args, " "))
		}
	}
}

func TestFinetuneThenEvaluate(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	out, cache := filepath.Join(work, "out"), filepath.Join(work, "cache")
	t.Chdir(work)
	code, stdout, stderr := vitft(t, "finetune", "--train", dir, "--val", "0.25", "--out", out, "--cache", cache,
		"--epochs", "3", "--provider", "cpu", "--log-format", "json")
	if code != 0 {
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
	if err := json.Unmarshal([]byte(stdout), &m); code != 0 || err != nil {
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

// evaluate takes from a file what it reads, whatever has become of the rest; VITFT_RUN and run: name a run as --run
// does; a training that diverges would do so again.
func TestTasksTakeOnlyTheirOwnSettings(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 6), t.TempDir()
	train, out, cache := filepath.Join(work, "train"), filepath.Join(work, "out"), filepath.Join(work, "cache")
	if err := os.CopyFS(train, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	common := []string{"--cache", cache, "--provider", "cpu", "--quiet"}
	if code, _, stderr := vitft(t,
		append([]string{"finetune", "--train", train, "--out", out, "--epochs", "2"}, common...)...); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if err := os.RemoveAll(train); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(out, "config.yaml")
	bad := testkit.WriteFile(t, filepath.Join(work, "bad.yaml"), []byte("loss: hinge\nrun: "+out+"\n"))
	for _, args := range [][]string{{"--config", config, "--run", out}, {"--config", bad}} {
		if code, stdout, stderr := vitft(t,
			append(append([]string{"evaluate", "--test", dir}, args...), common...)...); code != 0 ||
			!strings.Contains(stdout, "12 samples") {
			t.Errorf("evaluate %v: exit code %d, %q, %s", args, code, stdout, stderr)
		}
	}
	t.Setenv("VITFT_RUN", out)
	if code, _, stderr := vitft(t, append([]string{"evaluate", "--test", dir}, common...)...); code != 0 {
		t.Errorf("VITFT_RUN: exit code %d, %s", code, stderr)
	}
	diverges := []string{"finetune", "--train", dir, "--out", filepath.Join(work, "diverges"), "--loss", "ce", "--lr",
		"1", "--weight-decay", "1000"}
	if code, _, stderr := vitft(t, append(diverges, common...)...); code != 2 ||
		!strings.Contains(stderr, "learning rate") {
		t.Errorf("a training that diverges: exit code %d, %q", code, stderr)
	}
}

func TestInspectEmbedded(t *testing.T) {
	code, stdout, stderr := vitft(t, "inspect", "vitft-micro-28", "--json")
	var r struct {
		Feature    struct{ Dim int }
		Preprocess struct{ Width int }
		SHA256     string
	}
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v, %s", code, err, stderr)
	}
	if r.Feature.Dim == 0 || r.Preprocess.Width != 28 || len(r.SHA256) != 64 {
		t.Errorf("inspect says %+v", r)
	}
}

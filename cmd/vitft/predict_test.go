package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit/ort"
)

// prediction is a line of predict, read back.
type prediction struct {
	Path, Label, Error string
	Confidence         float64
	Top                []struct {
		Label      string
		Confidence float64
	}
}

func predictions(t *testing.T, stdout string) []prediction {
	t.Helper()
	var ps []prediction
	for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		var p prediction
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestPredictAndExport(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	run := filepath.Join(work, "run")
	common := []string{"--provider", "cpu", "--quiet", "--cache", filepath.Join(work, "cache")}
	if code, _, stderr := vitft(t,
		append([]string{"finetune", "--train", dir, "--out", run, "--epochs", "3"}, common...)...); code != 0 {
		t.Fatal(stderr)
	}

	model := filepath.Join(work, "model.onnx")
	code, stdout, stderr := vitft(t,
		append([]string{"export", "--run", run, "--out", model, "--precision", "float16", "--hf"}, common...)...)
	if code != 0 || !strings.Contains(stdout, "checked on   16 images of "+dir) ||
		!strings.Contains(stdout, "preprocessor_config.json") {
		t.Errorf("export: exit code %d\n%s%s", code, stdout, stderr)
	}

	// A folder is walked in order, what fails has its line, and the rest goes on.
	broken := filepath.Join(dir, "dark", "5.png")
	if err := os.WriteFile(broken, []byte("\x89PNG\r\n\x1a\n and no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notes.txt", ".hidden.png"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	absent := filepath.Join(dir, "absent.png")
	first := filepath.Join(dir, "light", "7.png")
	for _, m := range []string{run, model} {
		code, stdout, stderr = vitft(t, "predict", "--model", m, "--provider", "cpu", "--quiet", "--top", "1", first,
			dir, absent)
		got := predictions(t, stdout)
		if code != 3 || len(got) != 18 || !strings.Contains(stderr, "2 of 18") {
			t.Fatalf("predict: exit code %d, %d lines, %s", code, len(got), stderr)
		}
		if got[0].Path != first || got[17].Path != absent || got[17].Error == "" {
			t.Errorf("the first is %+v, the last %+v", got[0], got[17])
		}
		for i, p := range got[1:17] {
			class, name := "dark", i
			if i >= 8 {
				class, name = "light", i-8
			}
			want := filepath.Join(dir, class, string(rune('0'+name))+".png")
			switch {
			case p.Path != want:
				t.Errorf("line %d is of %s, want %s", i+1, p.Path, want)
			case want == broken:
				if p.Error == "" || p.Label != "" {
					t.Errorf("the broken file: %+v", p)
				}
			case p.Label != class || len(p.Top) != 1 || p.Top[0].Label != class || p.Top[0].Confidence != p.Confidence:
				t.Errorf("%s: %+v", want, p)
			}
		}
	}

	// A list of paths on standard input.
	var out, errs bytes.Buffer
	_, root := newApp(&out, &errs)
	root.SetArgs([]string{"predict", "--model", run, "--provider", "cpu", "--quiet", "-"})
	root.SetIn(strings.NewReader(first + "\r\n\n" + filepath.Join(dir, "light") + "\n"))
	if err := root.ExecuteContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := predictions(t, out.String()); len(got) != 9 || got[0].Path != first || len(got[0].Top) != 2 {
		t.Errorf("from a list: %+v", got)
	}
	if errs.Len() > 0 {
		t.Errorf("--quiet, yet standard error has %q", errs.String())
	}
}

func TestPredictExitCodes(t *testing.T) {
	empty := t.TempDir()
	for _, x := range []struct {
		args  []string
		code  int
		names string
	}{
		{[]string{"predict", "--model", empty}, 2, "arg"},
		{[]string{"predict", "photo.jpg"}, 2, "model: name a run folder"},
		{[]string{"predict", "--model", empty, "--top", "0", "photo.jpg"}, 2, "top"},
		{[]string{"predict", "--model", empty, "photo.jpg"}, 3, "no finished run"},
		{[]string{"predict", "--model", "/no/such.onnx", "photo.jpg"}, 3, "/no/such.onnx"},
		{[]string{"export"}, 2, "run"},
		{[]string{"export", "--run", empty, "--out", "m.onnx", "--precision", "int4"}, 2, "int4"},
		{[]string{"export", "--run", empty, "--out", "m.onnx"}, 3, "no finished run"},
	} {
		code, _, stderr := vitft(t, x.args...)
		if code != x.code || !strings.Contains(stderr, x.names) {
			t.Errorf("vitft %s: exit code %d, want %d; standard error %q, want it to name %q",
				strings.Join(x.args, " "), code, x.code, stderr, x.names)
		}
	}
}

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

func experiment(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSweep(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	t.Chdir(work)
	if err := os.Symlink(dir, "photos"); err != nil {
		t.Fatal(err)
	}
	// Paths in the file count from the working directory, and flags win over the file.
	file := experiment(t,
		"train: photos\ntest: nowhere\nepochs: 9\nprovider: cpu\ncache: cache\ngrid: [{loss: [ce, la]}]\nseeds: [0, "+
			"1]\nbaseline: {loss: ce}\n")
	args := []string{"sweep", file, "--test", "photos", "--epochs", "3"}
	code, stdout, stderr := vitft(t, args...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"ce (baseline)", "\nla ", "difference [95 %]", "sweep folder: sweep-small\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("standard output lacks %q:\n%s", want, stdout)
		}
	}
	if strings.Count(stderr, " head ") != 4 {
		t.Errorf("standard error does not name each of four heads:\n%s", stderr)
	}
	for _, name := range []string{"heads.csv", "summary.csv", "summary.md", "sweep.yaml", "report.html"} {
		if text, err := os.ReadFile(filepath.Join("sweep-small", name)); err != nil || len(text) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	page := filepath.Join("sweep-small", "report.html")
	first, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(page); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := vitft(t, "report", "sweep-small"); code != 0 || stdout != "report: "+page+"\n" {
		t.Fatalf("report: exit code %d, %q, %s", code, stdout, stderr)
	}
	if again, err := os.ReadFile(page); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the report written anew differs from the one the sweep wrote (%v)", err)
	}
	code, stdout, stderr = vitft(t, append(args, "--json", "--quiet")...)
	var summary struct {
		Configurations []struct {
			Configuration string
			Settings      map[string]any
			Difference    *struct{ Low float64 }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &summary); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v, %s", code, err, stderr)
	}
	if c := summary.Configurations; len(c) != 2 || c[0].Settings["epochs"] != 3.0 || c[0].Difference != nil ||
		c[1].Difference == nil {
		t.Errorf("--json prints %s", stdout)
	}
	if strings.Contains(stderr, "head") {
		t.Errorf("heads were trained again: %s", stderr)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	if code := execute(ctx, append(args, "--seed", "4", "--out", "other"), &out, &errs); code != 130 ||
		!strings.Contains(errs.String(), "the same command goes on") {
		t.Errorf("interrupted: exit code %d, %s", code, errs.String())
	}
}

func TestSweepExitCodes(t *testing.T) {
	dir := photos(t, 2)
	for _, x := range []struct {
		file  string
		args  []string
		code  int
		names []string
	}{
		{"grid: [{loss: ce}, {gama: 1}]", nil, 2, []string{"small.yaml", "block 2", `"gama"`, "gamma"}},
		{"grid: [{loss: [ce, hinge]}]", []string{"--train", dir, "--test", dir}, 2,
			[]string{"block 1", "hinge", "is none of ce, focal"}},
		{"grid: [{loss: ce}]\nepohcs: 3", nil, 2, []string{"small.yaml", "epohcs"}},
		{"grid: [{loss: ce}]\nbatch: many", []string{"--train", dir, "--test", dir}, 2, []string{"batch"}},
		{"grid: [{loss: ce}]", []string{"--train", dir}, 2, []string{"test"}},
		{"grid: [{loss: ce}]", []string{"--train", dir, "--test", "/no/such"}, 3, []string{"/no/such"}},
	} {
		code, _, stderr := vitft(t, append([]string{"sweep", experiment(t, x.file)}, x.args...)...)
		if code != x.code {
			t.Errorf("%s: exit code %d, want %d: %s", x.file, code, x.code, stderr)
		}
		for _, name := range x.names {
			if !strings.Contains(stderr, name) {
				t.Errorf("%s: standard error does not name %q: %s", x.file, name, stderr)
			}
		}
	}
	if code, _, stderr := vitft(t, "sweep", "/no/such.yaml"); code != 2 || !strings.Contains(stderr, "/no/such.yaml") {
		t.Errorf("no file: exit code %d, %s", code, stderr)
	}
	if code, _, _ := vitft(t, "sweep"); code != 2 {
		t.Errorf("no argument: exit code %d", code)
	}
}

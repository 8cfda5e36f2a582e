package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit/ort"
)

func TestReport(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	out := filepath.Join(work, "run")
	code, _, stderr := vitft(t, "finetune", "--train", dir, "--test", dir, "--out", out, "--cache",
		filepath.Join(work, "cache"), "--epochs", "3", "--provider", "cpu", "--quiet")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	path := filepath.Join(out, "report.html")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("finetune leaves no report: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := vitft(t, "report", out)
	if code != 0 || stdout != "report: "+path+"\n" {
		t.Fatalf("exit code %d, %q, %s", code, stdout, stderr)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(first) {
		t.Errorf("the report written anew differs from the one finetune wrote (%v)", err)
	}
}

func TestReportOfNoRun(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := vitft(t, "report", dir)
	if code != 3 || !strings.Contains(stderr, dir) || !strings.Contains(stderr, "metrics.json") {
		t.Errorf("exit code %d, %q; want %d and what is missing", code, stderr, 3)
	}
	if code, _, _ := vitft(t, "report"); code != 2 {
		t.Errorf("without a folder: exit code %d, want %d", code, 2)
	}
}

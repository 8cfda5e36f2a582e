package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// The file that init writes names every setting of finetune, and finetune runs on it as it stands; with every default
// uncommented it is the same run.
func TestInit(t *testing.T) {
	ort.Need(t)
	work := t.TempDir()
	t.Chdir(work)
	if err := os.MkdirAll("photos", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(photos(t, 4), filepath.Join("photos", "train")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join("photos", "test"), os.DirFS(filepath.Join("photos", "train"))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VITFT_CACHE", filepath.Join(work, "cache"))
	code, stdout, stderr := vitft(t, "init", "--epochs", "3", "--quiet")
	if code != 0 || !strings.Contains(stdout, "vitft finetune --config config.yaml") || stderr != "" {
		t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
	}
	text := string(testkit.ReadFile(t, "config.yaml"))
	for key := range prepared(t, "finetune") {
		set := regexp.MustCompile(`(?m)^#?` + key + `:`).MatchString(text)
		if inFile := key != "resume" && key != "take-over" && key != "dry-run" && key != "watch"; set != inFile {
			t.Errorf("%s is in the file: %v\n", key, set)
		}
	}
	for _, want := range []string{"\ntrain: photos/train\n", "\ntest: photos/test\n", "\nepochs: 3\n",
		"\n#loss: cvs\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if code, _, stderr := vitft(t, "init"); code != 2 || !strings.Contains(stderr, "config.yaml is there already") {
		t.Errorf("again: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := vitft(t, "finetune", "--config", "config.yaml", "--quiet"); code != 0 {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	full := regexp.MustCompile(`(?m)^#(\S+: \S)`).ReplaceAllString(text, "$1")
	testkit.WriteFile(t, "full.yaml", []byte(full))
	if code, _, stderr := vitft(t, "finetune", "--config", "full.yaml", "--out", "full", "--quiet"); code != 0 {
		t.Fatalf("exit code %d, %s\n%s", code, stderr, full)
	}
	if a, b := testkit.ReadFile(t, "run/config.yaml"), testkit.ReadFile(t, "full/config.yaml"); string(a) != string(b) {
		t.Errorf("the defaults in the file are others:\n%s\n%s", a, b)
	}
}

// Without photos the file says so, and finetune on it names what is missing.
func TestInitWithoutPhotos(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, _, stderr := vitft(t, "init", "mine.yaml"); code != 0 || !strings.Contains(stderr, "no images yet") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if code, _, stderr := vitft(t, "finetune", "--config", "mine.yaml"); code != 3 ||
		!strings.Contains(stderr, "photos/train") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

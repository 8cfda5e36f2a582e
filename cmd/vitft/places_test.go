package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// A new training setting is a field and a row, two places in one file: the program is built with both put in by an
// overlay, and the setting is then a flag, an environment variable, a key of files, an axis of a sweep, recorded by a
// run and compared when one is resumed.
func TestAddingASettingTouchesTwoPlaces(t *testing.T) {
	ort.Need(t)
	if testing.Short() {
		t.Skip("builds the program")
	}
	dir := photos(t, 8)
	work := t.TempDir()
	program := filepath.Join(work, "vitft")
	settings := filepath.Join(testkit.Root(), "head", "settings.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {settings: patched(t, work, settings,
		"\tSeed uint64\n", "\tSeed uint64\n\tFake float64\n",
		"\t\tsetting.Number(\"seed\"",
		"\t\tsetting.Number(\"fake\", &s.Fake, 1.5, positive, \"nothing\"),\n\t\tsetting.Number(\"seed\"",
	)}})
	if err != nil {
		t.Fatal(err)
	}
	list := testkit.WriteFile(t, filepath.Join(work, "overlay.json"), overlay)
	if out, err := exec.Command("go", "build", "-overlay", list, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	vitft := func(environment string, args ...string) (string, error) {
		cmd := exec.Command(program,
			append(args, "--cache", filepath.Join(work, "cache"), "--provider", "cpu", "--quiet")...)
		cmd.Env = append(os.Environ(), environment)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	finetune := []string{"finetune", "--train", dir, "--epochs", "2", "--out"}
	for _, way := range []struct{ name, environment, want string }{
		{"default", "", "fake: 1.5\n"}, {"environment", "VITFT_FAKE=2.5", "fake: 2.5\n"},
	} {
		run := filepath.Join(work, way.name)
		if out, err := vitft(way.environment, append(finetune, run)...); err != nil {
			t.Fatalf("%s: %v\n%s", way.name, err, out)
		}
		if config := string(testkit.ReadFile(t, run, "config.yaml")); !strings.Contains(config, way.want) {
			t.Errorf("%s: config.yaml lacks %q:\n%s", way.name, way.want, config)
		}
	}
	again := filepath.Join(work, "again")
	if out, err := vitft("", "finetune", "--config", filepath.Join(work, "environment", "config.yaml"), "--out",
		again); err != nil {
		t.Fatalf("file: %v\n%s", err, out)
	}
	if config := string(testkit.ReadFile(t, again, "config.yaml")); !strings.Contains(config, "fake: 2.5\n") {
		t.Errorf("file: config.yaml has\n%s", config)
	}
	if out, err := vitft("", "finetune", "--fake", "-1", "--train", dir); err == nil ||
		!strings.Contains(out, "fake: -1 is not above 0") {
		t.Errorf("flag: %v\n%s", err, out)
	}
	if out, err := vitft("", "finetune", "--resume", "--out", again, "--fake", "3"); err == nil ||
		!strings.Contains(out, "fake is 3, was 2.5") {
		t.Errorf("resume: %v\n%s", err, out)
	}
	grid := testkit.WriteFile(t, filepath.Join(work, "grid.yaml"),
		[]byte("epochs: 2\ngrid: [{loss: ce, fake: [1, 2]}]\n"))
	out, err := vitft("", "sweep", grid, "--train", dir, "--test", dir, "--out", filepath.Join(work, "sweep"))
	if err != nil || !strings.Contains(out, "ce fake=1") || !strings.Contains(out, "ce fake=2") {
		t.Errorf("sweep: %v\n%s", err, out)
	}
}

// patched is a copy of a file with some texts, each of which is there once, replaced.
func patched(t *testing.T, dir, path string, oldnew ...string) string {
	t.Helper()
	text := string(testkit.ReadFile(t, path))
	for i := 0; i < len(oldnew); i += 2 {
		if strings.Count(text, oldnew[i]) != 1 {
			t.Fatalf("%s has %q %d times", path, oldnew[i], strings.Count(text, oldnew[i]))
		}
		text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
	}
	return testkit.WriteFile(t, filepath.Join(dir, filepath.Base(path)), []byte(text))
}

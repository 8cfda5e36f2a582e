package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// A folder in which one file is another run's, empty, cut short, a folder or gone is read without a panic, also one
// that is caught, and refused as bad data; or the file is not needed, and nothing changes. Without SHA256SUMS, as
// folders of older versions are, what files say of each other must do.
func TestForeignFilesInRuns(t *testing.T) {
	ort.Need(t)
	work := t.TempDir()
	t.Chdir(work)
	images := photos(t, 6)
	make := func(name, images string, more ...string) string {
		out := filepath.Join(work, name)
		args := append([]string{"finetune", "--train", images, "--out", out, "--cache", "cache", "--provider", "cpu",
			"--epochs", "2", "--val", "0.3", "--quiet"}, more...)
		if code, _, stderr := vitft(t, args...); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		return out
	}
	others := filepath.Join(work, "others") // more classes, under other names
	for _, class := range []string{"a", "b", "c"} {
		from := filepath.Join(images, map[string]string{"a": "dark", "b": "light", "c": "light"}[class])
		if err := os.CopyFS(filepath.Join(others, class), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	sound := make("sound", images, "--calibration", "temperature")
	replacements := map[string]string{
		"of other classes":  make("other", others),
		"of other settings": make("again", images, "--loss", "ce", "--seed", "3"),
		"empty":             "", "cut": "", "folder": "", "gone": "",
	}
	photo := filepath.Join(images, "dark", "0.png")
	commands := [][]string{
		{"evaluate", "--run", "x", "--test", images, "--cache", "cache", "--provider", "cpu", "--quiet"},
		{"predict", "--model", "x", photo, "--provider", "cpu", "--quiet"},
		{"export", "--run", "x", "--out", "out.onnx", "--cache", "cache", "--provider", "cpu", "--quiet"},
		{"report", "x"},
		{"finetune", "--resume", "--out", "x", "--cache", "cache", "--quiet"},
	}
	usual := map[string]string{}
	if err := os.CopyFS("x", os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	for _, args := range commands {
		code, stdout, stderr := vitft(t, args...)
		if usual[args[0]] = stdout; code != 0 {
			t.Fatalf("%s of a sound folder: %s", args[0], stderr)
		}
	}
	var names []string
	for _, f := range run.Files {
		if f.Is&run.Run != 0 && f.Exists(run.Folder(sound)) {
			names = append(names, f.Name)
		}
	}
	for _, name := range append(names, artifact.SumsFile) {
		for what, from := range replacements {
			for _, sums := range []bool{true, false} {
				if !sums && (name == artifact.SumsFile || testing.Short()) {
					continue
				}
				if err := os.RemoveAll("x"); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS("x", os.DirFS(sound)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("x", filepath.FromSlash(name))
				content := testkit.ReadFile(t, path)
				os.Remove(path)
				switch what {
				case "empty":
					testkit.WriteFile(t, path, nil)
				case "cut":
					testkit.WriteFile(t, path, content[:len(content)/2])
				case "folder":
					if err := os.Mkdir(path, 0o755); err != nil {
						t.Fatal(err)
					}
				case "gone":
				default:
					if foreign := filepath.Join(from, filepath.FromSlash(name)); run.Folder(from) != "" {
						if content, err := os.ReadFile(foreign); err == nil {
							testkit.WriteFile(t, path, content)
						}
					}
				}
				if !sums {
					os.Remove(filepath.Join("x", artifact.SumsFile))
				}
				for _, args := range commands {
					code, stdout, stderr := vitft(t, args...)
					about := args[0] + " with " + name + " " + what
					if !sums {
						about += ", without sums"
					}
					switch {
					case strings.Contains(stderr, "internal error") || strings.Contains(stderr, "goroutine "):
						t.Errorf("%s: a panic: %s", about, stderr)
					case !slices.Contains([]int{0, 2, 3}, code):
						t.Errorf("%s: exit code %d: %s", about, code, stderr)
					case code == 0 && sums && name != artifact.SumsFile && stdout != usual[args[0]]:
						t.Errorf("%s changes what is said, silently: %s", about, stdout)
					}
				}
			}
		}
	}
}

//go:build unix

package main

import (
	"encoding/json"
	neturl "net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
)

func init() {
	balanced := trains(4, "across", "down")
	for name, verdict := range map[string]func(*testing.T, outcome){
		"csv-backslash":            balanced,
		"csv-blank-rows":           balanced,
		"csv-filename-header":      balanced,
		"csv-semicolon":            balanced,
		"hf-metadata-csv":          balanced,
		"imagenet-lt-txt":          trains(4, "0", "1"),
		"jfif-extension":           trains(3, "across", "down"),
		"synology-eadir":           trains(3, "across", "down"),
		"unicode-nfc-nfd":          isOneText,
		"csv-split-column":         takesParts("all.csv", "all.csv"),
		"root-in-place-of-train":   takesParts(filepath.Join("ds", "train"), filepath.Join("ds", "test")),
		"csv-url":                  refuses(3, "example.org", "not fetched"),
		"fifo-in-folder":           refuses(0, "pipe.jpg", "is a pipe"), // the exit code is that of what follows
		"predict-list-bom":         classifies("a.jpg"),
		"latin1-file-name-in-json": classifies("p/a.jpg", "p/caf\xe9.jpg"),
	} {
		expected[name] = verdict
	}
}

// trains is the verdict that a run has learned from so many images of each of the classes.
func trains(images int, classes ...string) func(*testing.T, outcome) {
	return func(t *testing.T, s outcome) {
		t.Helper()
		succeeds(t, s)
		r := finished(t, s)
		if !slices.Equal(r.Classes, classes) || !slices.Equal(r.Counts, slices.Repeat([]int{images}, len(classes))) {
			t.Errorf("%v images of %q, where %d of each of %q belong", r.Counts, r.Classes, images, classes)
		}
	}
}

func finished(t *testing.T, s outcome) *run.Finished {
	t.Helper()
	r, err := run.Open(filepath.Join(s.dir, "out"))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.stderr)
	}
	return r
}

// takesParts is the verdict that a run has found the parts of a data set, and that its settings name them.
func takesParts(train, test string) func(*testing.T, outcome) {
	return func(t *testing.T, s outcome) {
		succeeds(t, s)
		r := finished(t, s)
		config, err := run.ConfigFile.Read(r.Folder)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"train": train, "test": test} {
			if got := config.Text(key); got != filepath.Join(s.dir, want) {
				t.Errorf("%s is %s", key, got)
			}
		}
		d, _, err := dataset.Open(config.Text("train"), dataset.Options{Part: "train"})
		if err != nil || !slices.Equal(d.Counts(), r.Counts) || !slices.Equal(r.Classes, []string{"across", "down"}) {
			t.Errorf("%v images of %q, %v", r.Counts, r.Classes, err)
		}
	}
}

// isOneText is the verdict that a class in two normal forms is one, and that this is said.
func isOneText(t *testing.T, s outcome) {
	succeeds(t, s)
	if m := string(testkit.ReadFile(t, s.dir, "out", "warnings.txt")); !strings.Contains(m, "normal form of Unicode") {
		t.Errorf("the warnings are %q", m)
	}
}

// refuses is the verdict that a command ends with a code and a message.
func refuses(code int, says ...string) func(*testing.T, outcome) {
	return func(t *testing.T, s outcome) {
		if s.code != code || strings.Contains(s.stdout, "STILL RUNNING") {
			t.Errorf("exit code %d: %s", s.code, s.stdout)
		}
		for _, want := range says {
			if !strings.Contains(s.stderr, want) {
				t.Errorf("it does not say %q: %s", want, s.stderr)
			}
		}
	}
}

// classifies is the verdict that lines of a prediction lead to these files, and have labels.
func classifies(files ...string) func(*testing.T, outcome) {
	return func(t *testing.T, s outcome) {
		succeeds(t, s)
		var got []string
		for line := range strings.Lines(s.stdout) {
			var p struct{ Path, Label, PathURL string }
			var raw map[string]any
			if err := json.Unmarshal([]byte(line), &raw); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			p.Path, _ = raw["path"].(string)
			if p.PathURL, _ = raw["path_url"].(string); p.PathURL != "" {
				path, err := neturl.PathUnescape(p.PathURL)
				if err != nil {
					t.Error(err)
				}
				p.Path = path
			}
			if _, err := os.Stat(filepath.Join(s.dir, p.Path)); err != nil || raw["label"] == nil {
				t.Errorf("%s: %v", line, err)
			}
			got = append(got, p.Path)
		}
		if !slices.Equal(got, files) {
			t.Errorf("the files are %q, not %q", got, files)
		}
	}
}

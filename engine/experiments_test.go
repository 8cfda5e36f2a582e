package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/sweep"
)

// experimentFile reads a file of the folder experiments.
func experimentFile(t testing.TB, path string) (sweep.Experiment, Config) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x, _, err := ParseSweep(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return x, readConfigAmong(t, path)
}

// Every experiment is one: its grid expands, and its baseline is in it.
func TestExperimentFiles(t *testing.T) {
	files, err := filepath.Glob("../experiments/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no experiments: %v", err)
	}
	found := map[string]*sweep.Plan{}
	for _, path := range files {
		if text, err := os.ReadFile(path); err != nil || !bytes.Contains(text, []byte("\ngrid:")) {
			continue
		}
		x, c := experimentFile(t, path)
		plan, err := x.Plan(c.Training.resolve)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		found[filepath.Base(path)] = plan
		if x.Name == "" || c.Train == "" || c.Test == "" {
			t.Errorf("%s does not run as it is: name %q, train %q, test %q", path, x.Name, c.Train, c.Test)
		}
	}
	for _, name := range []string{"fig1_miscalibration.yaml", "t0_sweep.yaml", "ablation.yaml", "kappa.yaml", "losses.yaml", "tuned.yaml", "light.yaml"} {
		if found[name] == nil {
			t.Fatalf("experiments/%s is missing", name)
		}
	}
	for _, name := range []string{"losses.yaml", "tuned.yaml"} {
		var have []string
		for _, c := range found[name].Configurations {
			have = append(have, c.Settings["loss"].(string))
		}
		for _, loss := range Losses() {
			if !slices.Contains(have, loss) {
				t.Errorf("%s lacks %s", name, loss)
			}
		}
	}
	if p := found["ablation.yaml"]; p != nil && (len(p.Configurations) < 48 || len(p.Configurations[0].Seeds) < 3) {
		t.Errorf("ablation.yaml has %d configurations with %d seeds, want 48 with 3 or more", len(p.Configurations), len(p.Configurations[0].Seeds))
	}
}

// The light experiment runs, on drawn images and on a part of CIFAR-100-LT.
func TestLightExperiment(t *testing.T) {
	run := func(t *testing.T, train, test string) {
		x, c := experimentFile(t, "../experiments/light.yaml")
		work := t.TempDir()
		c.Train, c.Test, c.Imbalance = train, test, ""
		c.Out, c.Cache, c.Provider = filepath.Join(work, "sweep"), filepath.Join(work, "cache"), "cpu"
		s := runSweep(t, c, x, Events{})
		if s.Failed() > 0 || len(s.Heads) != 22 {
			t.Errorf("%d of %d heads failed", s.Failed(), len(s.Heads))
		}
		t.Log("\n" + s.Text())
	}
	t.Run("drawn", func(t *testing.T) {
		needRuntime(t)
		run(t, writeImages(t, 1, 40, 22, 8, 4), writeImages(t, 2, 6, 6, 6, 6))
	})
	t.Run("CIFAR-100-LT", func(t *testing.T) {
		dir := filepath.Join(unpacked(t), "cifar100")
		run(t, part(t, filepath.Join(dir, "train"), 10, 60), part(t, filepath.Join(dir, "test"), 10, 30))
	})
}

// part writes a manifest of so many classes of a folder: the first with so many
// images, each with a tenth fewer than the one before.
func part(t testing.TB, dir string, classes, images int) string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(folders) < classes {
		t.Fatalf("%s: %d classes (%v)", dir, len(folders), err)
	}
	var lines strings.Builder
	lines.WriteString("path,label\n")
	for k, folder := range folders[:classes] {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files[:min(len(files), images*(10-k)/10)] {
			fmt.Fprintf(&lines, "%s,%s\n", f, filepath.Base(folder))
		}
	}
	path := filepath.Join(t.TempDir(), "part.csv")
	if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

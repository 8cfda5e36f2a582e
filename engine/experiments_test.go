package engine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// experimentFile reads a file of the folder experiments.
func experimentFile(t testing.TB, path string) (o engine.SweepOptions) {
	t.Helper()
	x, shared, err := engine.ParseSweep(testkit.ReadFile(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	set(t, o.Fields(), shared)
	o.Experiment = x
	return o
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
		o := experimentFile(t, path)
		plan, err := o.Experiment.Plan(sweep.Resolver(o.Recipe()))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		found[filepath.Base(path)] = plan
		if o.Experiment.Name == "" || o.Data.Train == "" || o.Data.Test == "" {
			t.Errorf("%s does not run as it is: name %q, train %q, test %q", path, o.Experiment.Name, o.Data.Train,
				o.Data.Test)
		}
	}
	for _, name := range []string{"fig1_miscalibration.yaml", "t0_sweep.yaml", "ablation.yaml", "kappa.yaml",
		"losses.yaml", "tuned.yaml", "light.yaml"} {
		if found[name] == nil {
			t.Fatalf("experiments/%s is missing", name)
		}
	}
	for _, name := range []string{"losses.yaml", "tuned.yaml"} {
		var have []string
		for _, c := range found[name].Configurations {
			have = append(have, c.Settings["loss"].(string))
		}
		for _, loss := range head.Losses() {
			if !slices.Contains(have, loss) {
				t.Errorf("%s lacks %s", name, loss)
			}
		}
	}
	if all := found["ablation.yaml"].Configurations; len(all) < 48 || len(all[0].Seeds) < 3 {
		t.Errorf("ablation.yaml has %d configurations with %d seeds, want 48 with 3 or more", len(all),
			len(all[0].Seeds))
	}
}

// The light experiment runs, on drawn images and on a part of CIFAR-100-LT.
func TestLightExperiment(t *testing.T) {
	light := func(t *testing.T, train, test string) {
		ort.Need(t)
		o := experimentFile(t, "../experiments/light.yaml")
		work := t.TempDir()
		o.Data.Train, o.Data.Test, o.Data.Imbalance = train, test, ""
		o.Device, o.Out, o.Features.Cache = cpu, filepath.Join(work, "sweep"), filepath.Join(work, "cache")
		s := runSweep(t, o, event.Events{})
		if s.Failed() > 0 || len(s.Heads) != 22 {
			t.Errorf("%d of %d heads failed", s.Failed(), len(s.Heads))
		}
		t.Log("\n" + s.Text())
	}
	t.Run("drawn", func(t *testing.T) {
		light(t, testkit.Folder(t, 1, 40, 22, 8, 4), testkit.Folder(t, 2, 6, 6, 6, 6))
	})
	t.Run("CIFAR-100-LT", func(t *testing.T) {
		part := func(name string, images int) string {
			fewer := func(k int) int { return images * (10 - k) / 10 }
			return testkit.Manifest(t, testkit.Unpacked(t, "cifar100", name), 10, fewer)
		}
		light(t, part("train", 60), part("test", 30))
	})
}

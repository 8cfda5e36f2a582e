package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
)

// other is the embedded backbone, and one with other weights.
func otherBackbone(t *testing.T) (sound, other []byte) {
	t.Helper()
	sound, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := graph.Parse(sound)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	graph.EachTensor(m.Graph(), func(w *graph.Tensor) {
		if len(w.RawData) > 1000 && graph.TypeOf(w) == "float32" {
			for at := 1; at < len(w.RawData); at += 40 {
				w.RawData[at] ^= 0x7f // of the fraction
			}
			changed++
		}
	})
	if other, err = m.Bytes(); err != nil || changed == 0 {
		t.Fatal(changed, err)
	}
	return sound, other
}

// A run folder of others may say of any model.onnx that it has the nodes of a backbone. What that makes is kept apart
// from the backbone's features.
func TestForeignRunFolderPoisonsNoStore(t *testing.T) {
	o := job(t)
	victim := finetune(t, o).Run
	_, other := otherBackbone(t)
	p := elsewhere(t, o)
	p.Features.Cache = t.TempDir()
	p.Backbone.Name = testkit.WriteFile(t, filepath.Join(t.TempDir(), "other.onnx"), other)
	foreign := finetune(t, p).Run

	hostile := filepath.Join(t.TempDir(), "hostile")
	if err := os.CopyFS(hostile, os.DirFS(victim)); err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, filepath.Join(hostile, run.ModelFile.Name), testkit.ReadFile(t, foreign, run.ModelFile.Name))
	if err := os.Remove(filepath.Join(hostile, artifact.SumsFile)); err != nil {
		t.Fatal(err)
	}
	for what, seal := range map[string]bool{"without sums": false, "with sums that fit": true} {
		if seal {
			if err := run.Folder(hostile).Seal(); err != nil {
				t.Fatal(err)
			}
		}
		e := evaluation(hostile, o)
		e.Features.Cache = t.TempDir()
		_, _ = engine.Evaluate(t.Context(), e, event.Events{}) // it may be refused
		again := elsewhere(t, o)
		again.Features.Cache = e.Features.Cache
		same(t, "after a foreign run folder "+what, finetune(t, again).Run, victim, run.HeadFile, run.PredictionsFile)
	}
}

// A backbone whose file is replaced while a run begins is the one that was read, by its hash and its features.
func TestBackboneReplacedMeanwhile(t *testing.T) {
	o := job(t)
	want := finetune(t, o).Run
	sound, other := otherBackbone(t)
	p := elsewhere(t, o)
	p.Features.Cache = t.TempDir()
	p.Backbone.Name = testkit.WriteFile(t, filepath.Join(t.TempDir(), "backbone.onnx"), sound)
	said := false
	ev := event.Events{Note: func(_ event.Level, message string, _ ...any) {
		if message == "backbone" {
			said = true
			testkit.WriteFile(t, p.Backbone.Name, other)
		}
	}}
	r, err := engine.Finetune(t.Context(), p, ev)
	if err != nil || !said {
		t.Fatal(said, err)
	}
	same(t, "replaced meanwhile", r.Run, want, run.HeadFile)
	if a, b := read(t, r.Run, run.EnvironmentFile), read(t, want, run.EnvironmentFile); a.Store.Key != b.Store.Key {
		t.Errorf("filed under %s, not %s", a.Store.Key, b.Store.Key)
	}
}

package engine_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
)

// A data set that is named as a whole gives the run that its parts give, named one by one: trained, from its settings,
// resumed, evaluated.
func TestRunOfAWholeDataSet(t *testing.T) {
	o := job(t)
	root := filepath.Join(t.TempDir(), "ds")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"Train": o.Data.Train, "test": o.Data.Test} {
		if err := os.Symlink(from, filepath.Join(root, name)); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
	}
	head := func(dir string) []byte { return []byte(content(t, dir, run.HeadFile)) }
	want := head(finetune(t, o).Run)

	whole := elsewhere(t, o)
	whole.Data = dataset.Sources{Train: root}
	interrupt(t, whole, 4)
	whole.Resume = true
	finetune(t, whole)
	if !bytes.Equal(head(whole.Out), want) {
		t.Error("resumed, the head is another")
	}
	config := read(t, whole.Out, run.ConfigFile)
	again := elsewhere(t, o)
	again.Data = dataset.Sources{Train: config.Text("train"), Test: config.Text("test")}
	if again.Data.Train != filepath.Join(root, "Train") || again.Data.Test != filepath.Join(root, "test") {
		t.Errorf("its settings are %+v", again.Data)
	}
	if !bytes.Equal(head(finetune(t, again).Run), want) {
		t.Error("from its settings, the head is another")
	}
	e := evaluation(whole.Out, o)
	e.Test = root
	r, err := engine.Evaluate(context.Background(), e, event.Events{})
	if err != nil || r.Metrics.Split != "test" || r.Metrics.Samples != 24 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A path that is no UTF-8 comes back from the files of a run that have to lead to it; all others are texts.
func TestRunOfNamesThatAreNoText(t *testing.T) {
	o := job(t)
	odd := filepath.Join(t.TempDir(), "caf\xe9")
	if err := os.Symlink(o.Data.Test, odd); err != nil {
		t.Skip("names are texts here, or there are no symbolic links: ", err)
	}
	if err := os.WriteFile(filepath.Join(odd, "class-0", "bad\xff.png"), []byte("no image"), 0o644); err != nil {
		t.Skip("names are texts here: ", err)
	}
	o.Data.Test, o.Features.MaxUnreadable = odd, new(0.5)
	dir := finetune(t, o).Run
	for _, f := range []named{run.MetricsFile, run.ReportFile, run.CardFile, run.ConfigFile, run.EnvironmentFile,
		run.WarningsFile, run.LabelsFile} {
		if text := content(t, dir, f); !utf8.ValidString(text) {
			t.Errorf("%v is no UTF-8: %q", f, text)
		}
	}
	if said := content(t, dir, run.WarningsFile); !strings.Contains(said, `caf\xe9/class-0/bad\xff.png`) {
		t.Error(said)
	}
	if got := read(t, dir, run.ConfigFile).Text("test"); got != odd {
		t.Errorf("the settings name %q", got)
	}
	for _, row := range read(t, dir, run.PredictionsFile).Rows {
		if _, err := os.Stat(row.Path); err != nil {
			t.Error(err)
		}
	}
	e := evaluation(dir, o)
	e.Test = run.PredictionsFile.Path(run.Folder(dir))
	if r, err := engine.Evaluate(context.Background(), e, event.Events{}); err != nil || r.Metrics.Samples != 24 {
		t.Errorf("%+v, %v", r, err)
	}
}

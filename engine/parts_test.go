package engine_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

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

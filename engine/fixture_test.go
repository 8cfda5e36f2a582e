package engine_test

import (
	"context"
	"encoding/csv"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

func TestMain(m *testing.M) { ort.Main(m) }

var cpu = device.Options{Provider: "cpu"}

type options = engine.FinetuneOptions

// job is a small run on drawn images with the embedded backbone.
func job(t testing.TB) engine.FinetuneOptions {
	t.Helper()
	ort.Need(t)
	dir := t.TempDir()
	return engine.FinetuneOptions{
		Data:     dataset.Sources{Train: testkit.Folder(t, 1, 40, 22, 8, 4), Test: testkit.Folder(t, 2, 6, 6, 6, 6)},
		Device:   cpu,
		Features: feature.Options{Cache: filepath.Join(dir, "cache")},
		Training: head.Settings{Epochs: 12, Batch: 16},
		Out:      filepath.Join(dir, "run"),
	}
}

// elsewhere is o with a run folder of its own.
func elsewhere(t testing.TB, o engine.FinetuneOptions) engine.FinetuneOptions {
	o.Out = filepath.Join(t.TempDir(), "run")
	return o
}

func finetune(t testing.TB, o engine.FinetuneOptions) *engine.FinetuneResult {
	t.Helper()
	r, err := engine.Finetune(context.Background(), o, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// interrupt is finetune, ended by its context in an epoch.
func interrupt(t testing.TB, o engine.FinetuneOptions, epoch int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.OnEpoch = func(e head.Epoch) {
		if e.Number == epoch {
			cancel()
		}
	}
	if _, err := engine.Finetune(ctx, o, event.Events{}); err == nil || fault.Of(err) != fault.Interrupted {
		t.Fatalf("interrupted in epoch %d: %v", epoch, err)
	}
}

// resume goes on with the run in a folder.
func resume(t testing.TB, dir string) *engine.FinetuneResult {
	t.Helper()
	return finetune(t, engine.FinetuneOptions{Out: dir, Resume: true})
}

// evaluation measures a run on what its job was measured on, with its features.
func evaluation(dir string, o engine.FinetuneOptions) engine.EvaluateOptions {
	return engine.EvaluateOptions{Run: dir, Test: o.Data.Test, Device: o.Device, Features: o.Features}
}

func evaluate(t testing.TB, o engine.EvaluateOptions) *engine.EvaluateResult {
	t.Helper()
	r, err := engine.Evaluate(context.Background(), o, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// named is a file of a run's or a sweep's folder.
type named interface{ Path(dir run.Folder) string }

// content is what is in a file.
func content(t testing.TB, dir string, f named) string {
	t.Helper()
	return string(testkit.ReadFile(t, f.Path(run.Folder(dir))))
}

// same expects files of two runs to be the same to the bit.
func same(t testing.TB, what, got, want string, files ...named) {
	t.Helper()
	for _, f := range files {
		if content(t, got, f) != content(t, want, f) {
			t.Errorf("%s: another %s", what, f.Path(""))
		}
	}
}

// set sets fields by their keys.
func set(t testing.TB, fields []setting.Field, values map[string]any) {
	t.Helper()
	if err := setting.Set(fields, values); err != nil {
		t.Fatal(err)
	}
}

// read is the content of a file of a folder.
func read[T any](t testing.TB, dir string, f run.Typed[T]) T {
	t.Helper()
	content, err := f.Read(run.Folder(dir))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// encoded counts images that are encoded, by set.
func encoded(counts map[string]int) event.Events {
	return event.Events{Progress: func(stage event.Stage, what string, _, _ int) {
		if stage == event.Encode {
			counts[what]++
		}
	}}
}

// columns are the cells of a CSV file, by column.
func columns(t testing.TB, text string) map[string][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%d lines (%v) of %s", len(rows), err, text)
	}
	cells := map[string][]string{}
	for _, row := range rows[1:] {
		for j, cell := range row {
			cells[rows[0][j]] = append(cells[rows[0][j]], cell)
		}
	}
	return cells
}

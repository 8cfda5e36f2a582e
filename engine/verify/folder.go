package verify

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/onnx/graph"
)

// folder checks the folder of a run or a sweep: every file by its sum and by its content, and whether files fit
// together.
func (c *checker) folder(d run.Folder, kind run.Trait) error {
	lock, err := atomicfile.Lock(string(d))
	if errors.Is(err, atomicfile.ErrLocked) {
		return fmt.Errorf("verify: somebody is writing to %s; wait for the end", d)
	} else if err != nil {
		return err
	}
	defer lock.Close()
	for _, inner := range []string{"", "checkpoint", "heads"} {
		c.temporary(filepath.Join(string(d), inner))
	}
	again := fmt.Sprintf("it cannot be repaired: take the folder from a copy, or run again (vitft finetune --config "+
		"%s --out ANOTHER, with a sound copy of config.yaml)", run.ConfigFile.Path(d))
	last, goesOn := run.MetricsFile.File, "--resume goes on with it"
	if kind == run.Sweep {
		again = "the same vitft sweep command makes it anew, and uses the heads that are sound"
		last, goesOn = run.SummaryFile.File, "the same vitft sweep command goes on with it"
	}
	present, err := d.Present()
	if err != nil {
		return err
	}
	sums, err := artifact.ReadSums(string(d))
	if err != nil {
		c.found(filepath.Join(string(d), artifact.SumsFile), err, again, nil, "")
		return nil
	}
	finished := last.Exists(d)
	if !finished && sums == nil {
		c.State = "not finished; " + goesOn
	}
	names := map[string]bool{}
	var derived []run.File
	for _, f := range present {
		names[f.Name] = true
		if f.Is&kind == 0 || !finished && f.Is&run.Cleared != 0 { // which is begun anew
			continue
		}
		c.Files++
		switch err := f.Check(d); {
		case err == nil:
		case f.Name == run.ReportFile.Name || kind == run.Run && f.Name == run.LabelsFile.Name:
			derived = append(derived, f)
		case f.Name == run.CheckpointFile.Name && finished:
			c.found(f.Path(d), err, "a finished run does not need it; to train on, run again", nil, "")
		default:
			c.found(f.Path(d), err, again, nil, "")
		}
	}
	if kind == run.Run && c.lost == 0 {
		c.continues(d)
	}
	for name := range sums {
		if !names[name] {
			c.found(filepath.Join(string(d), name), errors.New("it is missing"), again, nil, "")
		}
	}
	for _, f := range run.Files {
		if finished && f.Is&kind != 0 && f.Is&run.Required != 0 && !names[f.Name] && sums[f.Name] == "" {
			c.found(f.Path(d), errors.New("it is missing"), again, nil, "")
		}
	}
	for _, f := range derived {
		mend := func() error { return c.write(d, f) }
		if c.lost > 0 || !finished {
			mend = nil // for lack of sound files to make it of
		}
		c.found(f.Path(d), f.Check(d), again, mend, "writes it anew from the other files")
	}
	if c.lost > 0 || !finished || derived != nil && !c.repair {
		return nil
	}
	if kind == run.Sweep {
		_, _, err = run.OpenSweep(string(d))
	} else {
		err = fit(d)
	}
	if err != nil {
		c.found(string(d), err, again, nil, "")
	} else if sums == nil {
		why := fmt.Errorf("it has no %s: it is older than these, or was killed at its end", artifact.SumsFile)
		c.found(string(d), why, "", d.Seal, "writes the sums of its files, which fit together")
	}
	return nil
}

// continues finds a checkpoint that is not of the run's settings.
func (c *checker) continues(d run.Folder) {
	checkpoint, err := run.CheckpointFile.Read(d)
	config, configErr := run.ConfigFile.Read(d)
	if err = errors.Join(err, configErr); err != nil || checkpoint == nil {
		return // which is found already
	}
	for _, e := range config {
		if was := checkpoint.Config[e.Key]; was != e.Text && run.Decides(e.Key) {
			c.found(run.CheckpointFile.Path(d), fmt.Errorf("it is of another run than %s: %s is %s there, not %s",
				run.ConfigFile.Name, e.Key, e.Text, was), "start the run anew without --resume", nil, "")
			return
		}
	}
}

// write writes a file that others tell.
func (c *checker) write(d run.Folder, f run.File) error {
	if f.Name == run.ReportFile.Name {
		_, err := report.Save(string(d))
		return err
	}
	m, err := run.MetricsFile.Read(d)
	if err != nil {
		return err
	}
	var labels []string
	for _, class := range m.PerClass {
		labels = append(labels, class.Label)
	}
	return run.LabelsFile.Write(d, labels)
}

// fit says what in a finished run does not fit together: classes, head, model, predictions and metrics.
func fit(d run.Folder) error {
	r, err := run.Open(string(d))
	if err != nil {
		return err
	}
	misfit := func(f run.File, format string, a ...any) error {
		return fault.Data.Errorf("%s does not fit the other files: %s", f.Path(d), fmt.Sprintf(format, a...))
	}
	predictions, err := run.PredictionsFile.Read(d)
	if err != nil {
		return err
	}
	right := 0
	for _, row := range predictions.Rows {
		if !slices.Contains(r.Classes, row.Label) || !slices.Contains(r.Classes, row.Predicted) {
			return misfit(run.PredictionsFile.File, "%q or %q is no class", row.Label, row.Predicted)
		}
		if row.Label == row.Predicted {
			right++
		}
	}
	if n := len(predictions.Rows); n != r.Metrics.Samples ||
		math.Abs(float64(right)/float64(n)-float64(r.Metrics.Top1)) > 1e-9 {
		return misfit(run.PredictionsFile.File, "%d of %d images are right, top1 of %d is %v in %s", right, n,
			r.Metrics.Samples, r.Metrics.Top1, run.MetricsFile.Name)
	}
	if !run.ModelFile.Exists(d) {
		return nil // it would not have fitted into an ONNX file
	}
	path := run.ModelFile.Path(d)
	says, err := describe(path)
	if err != nil {
		return misfit(run.ModelFile.File, "%v", err)
	}
	if !slices.Equal(says.Labels, r.Classes) {
		return misfit(run.ModelFile.File, "its classes are %q, not %q", says.Labels, r.Classes)
	}
	if !says.HeadAlone && says.Preprocess.Key() != r.Environment.Backbone.Preprocess.Resolved().Key() {
		return misfit(run.ModelFile.File, "its preprocessing is not that in %s", run.EnvironmentFile.Name)
	}
	m, err := graph.Read(path)
	if err != nil {
		return err
	}
	weight, found := safetensors.New("weight", []int{r.Head.Classes, r.Head.Dim}, r.Head.W), false
	graph.EachTensor(m.Graph(), func(t *graph.Tensor) { found = found || bytes.Equal(t.RawData, weight.Data) })
	if !found {
		return misfit(run.ModelFile.File, "its head is not that of %s", run.HeadFile.Name)
	}
	return nil
}

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// Result is a finished run.
type Result struct {
	Run     string // the run folder
	Metrics Metrics
}

// Finetune trains a head for c and leaves the run folder c.Out. With resume it
// goes on with the interrupted run in c.Out; c may then leave everything else
// at its zero value.
//
// When ctx is cancelled the features encoded and the epochs trained so far are
// on disk, and the error wraps ctx.Err().
func Finetune(ctx context.Context, c Config, resume bool, ev Events) (_ *Result, err error) {
	defer func() { err = interruption(ctx, err, "go on with --resume") }()
	var warnings []string
	ev = ev.recording(&warnings)
	setDefault(&c.Out, defaultOut)
	if resume {
		lock, err := runFolder(c.Out).lock()
		if err == nil {
			defer lock.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if m, err := runFolder(c.Out).continueWith(&c); err != nil {
			return nil, err
		} else if m != nil {
			ev.info("the run is finished already", "run", c.Out)
			return &Result{c.Out, *m}, nil
		}
	}
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Train == "" {
		return nil, configError("train: name the training images: a folder of class folders, a .csv or .jsonl manifest, or an IDX file")
	}
	if err := c.checkSources(); err != nil {
		return nil, err
	}
	images, err := openData(c, ev)
	if err != nil {
		return nil, err
	}
	enc, err := openEncoding(c, ev)
	if err != nil {
		return nil, err
	}
	defer enc.close()
	run := runFolder(c.Out)
	if !resume {
		lock, err := run.create(c, ev)
		if err != nil {
			return nil, err
		}
		defer lock.Close()
	}
	if err := run.writeJSON(environmentFile, describe(c, enc)); err != nil {
		return nil, err
	}
	sets, err := enc.encodeAll(ctx, images)
	if sets != nil {
		if skipErr := run.writeSkipped(sets); err == nil {
			err = skipErr
		}
	}
	if err != nil {
		return nil, err
	}

	gemm, err := onnx.NewGemm(c.Threads, onnx.Provider(enc.backbone.encoder.Provider()))
	if err != nil {
		return nil, err
	}
	defer gemm.Close()
	t := training{run: run, config: c, enc: enc, sets: sets, gemm: gemm, events: ev}
	h, err := t.train(ctx)
	if err != nil {
		return nil, err
	}
	fit, err := t.calibrate(ctx, h)
	if err != nil {
		return nil, err
	}

	begin := time.Now()
	set := sets.evaluated()
	logits, err := enc.logits(h, set, gemm)
	if err != nil {
		return nil, err
	}
	m := fit.measure(logits, set.labels(), set.data.Classes, sets.train.data.Counts())
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seed = set.what, c.Loss, c.Epochs, t.settings.SwitchEpoch(), c.Seed
	m.Seconds = Seconds{Encode: Number(enc.seconds), Train: Number(t.seconds), Evaluate: Number(time.Since(begin).Seconds())}

	ev.info("exporting", "model", run.path(modelFile))
	model, err := enc.backbone.export(h, vision.Views(c.TTA), fit.scaling, set.data.Classes)
	switch {
	case errors.Is(err, graph.ErrModel): // more than an ONNX file can hold; the rest of the run is good
		ev.warn("there is no model.onnx", "reason", err)
	case err != nil:
		return nil, fmt.Errorf("export the model: %w", err)
	default:
		if err := enc.checkExport(ctx, model, set, logits, fit.scaling); err != nil {
			return nil, err
		}
	}
	if err := run.finish(c, h, fit.scaling, model, set, logits, m, warnings); err != nil {
		return nil, err
	}
	return &Result{c.Out, m}, nil
}

// finish writes what a finished run leaves, metrics.json last.
func (r runFolder) finish(c Config, h *head.Head, scaling calib.Scaling, model []byte, set *encodedSet, logits []float32, m Metrics, warnings []string) error {
	classes := set.data.Classes
	steps := []func() error{
		func() error { return r.writeHead(h, scaling) },
		func() error { return r.writeLines(labelsFile, classes) },
		func() error { return r.writeCSV(predictionsFile, predictions(set, logits, scaling)) },
		func() error { return r.writeLines(warningsFile, warnings) },
		func() error {
			if model == nil {
				return nil
			}
			return r.write(modelFile, model)
		},
		func() error { return r.writeCard(c, m) },
		func() error { return r.writeReport(m) },
		func() error { return r.writeJSON(metricsFile, m) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// predictions are the rows of predictions.csv. confidence_before is there if
// confidence is calibrated.
func predictions(set *encodedSet, logits []float32, scaling calib.Scaling) [][]string {
	classes := set.data.Classes
	columns := [][]float32{probabilities(logits, len(classes), scaling)}
	rows := [][]string{{"path", "label", "predicted", "confidence"}}
	if len(scaling.Temperature) > 0 {
		columns = append(columns, probabilities(logits, len(classes), calib.Scaling{}))
		rows[0] = append(rows[0], "confidence_before")
	}
	for i, item := range set.data.Items {
		best := argmax(logits[i*len(classes) : (i+1)*len(classes)])
		row := []string{item.Path, classes[item.Class], classes[best]}
		for _, p := range columns {
			row = append(row, strconv.FormatFloat(float64(p[i*len(classes)+best]), 'g', -1, 32))
		}
		rows = append(rows, row)
	}
	return rows
}

// writeReport writes report.html from the other files and the metrics to come.
func (r runFolder) writeReport(m Metrics) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	run, err := report.LoadWith(string(r), text)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return run.Save()
}

// writeSkipped lists the images that were left out, if any.
func (r runFolder) writeSkipped(sets *encodedSets) error {
	rows := [][]string{{"set", "path", "reason"}}
	for _, set := range sets.all() {
		for _, u := range set.unreadable {
			rows = append(rows, []string{set.what, u.path, u.reason})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	return r.writeCSV(skippedFile, rows)
}

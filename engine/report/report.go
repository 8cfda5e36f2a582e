// Package report writes report.html: one finished run, or one sweep, for people.
//
// # Basics
//
//	path, err := report.Save("run") // run/report.html, of a run or of a sweep
//
// [Load] reads nothing but the files of the run folder, and [Run.Write] the images that predictions.csv names, for the
// pictures of the worst mistakes. [LoadSweep] reads sweep.yaml, summary.csv and heads.csv. The same files give the same
// bytes. What files hold and what metrics are is said by the packages run and metric alone.
//
// The page is one file without outside references; it refuses to load any by its own content security policy. It
// follows the reader's light or dark setting, needs no script (a small one sorts tables) and prints in light. Plots are
// SVG whose colours are variables of the page's style sheet.
//
// # Caveats
//
// predictions.csv has the confidence of the predicted class only, so reliability is that of the top label. Beyond 200
// classes the plot by class shows runs of neighbours, beyond 1,000 the table only the least accurate. The plots of a
// sweep show its 150 most accurate configurations, an order that the test images make and that is no selection; its
// table 1,000.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
)

// Save writes the report of the finished run or sweep in the folder dir into that folder, and returns its path.
func Save(dir string) (path string, err error) {
	d := run.Folder(dir)
	path = run.ReportFile.Path(d)
	if run.SweepFile.Exists(d) {
		s, err := LoadSweep(dir)
		if err != nil {
			return "", err
		}
		return path, save(d, s.Write)
	}
	r, err := Load(dir)
	if err != nil {
		return "", err
	}
	return path, r.Save()
}

func save(dir run.Folder, write func(io.Writer) error) error {
	var page bytes.Buffer
	if err := write(&page); err != nil {
		return fmt.Errorf("report of %s: %w", dir, err)
	}
	return run.ReportFile.Write(dir, page.Bytes())
}

// A Run is what the files of one run folder say.
type Run struct {
	// Open returns the content of an image that predictions.csv names. By default it is read from its file, or from
	// the IDX file that it is in.
	Open func(path string) ([]byte, error)

	dir         run.Folder
	metrics     metric.Metrics
	config      run.Config
	environment run.Environment
	history     []head.Epoch
	kappa       []kappaEpoch
	predictions []prediction
	warnings    []string
	skipped     []run.Skipped
}

// prediction is a line of predictions.csv with the indices of its classes.
type prediction struct {
	run.Prediction
	label, predicted int
}

// Load reads the finished run in the folder dir.
func Load(dir string) (*Run, error) {
	d := run.Folder(dir)
	err := d.Complete(run.ConfigFile.File, run.EnvironmentFile.File, run.PredictionsFile.File, run.MetricsFile.File)
	if err != nil {
		return nil, err
	}
	m, err := run.MetricsFile.Read(d)
	if err != nil {
		return nil, err
	}
	return LoadWith(dir, m)
}

// LoadWith reads a run whose metrics.json, which comes last, is still to be written.
func LoadWith(dir string, m metric.Metrics) (*Run, error) {
	d := run.Folder(dir)
	r := &Run{dir: d, metrics: m}
	var errs [7]error
	var predictions run.Predictions
	var kappa []run.KappaRow
	r.config, errs[0] = run.ConfigFile.Read(d)
	r.environment, errs[1] = run.EnvironmentFile.Read(d)
	predictions, errs[2] = run.PredictionsFile.Read(d)
	r.history, errs[3] = run.HistoryFile.Read(d)
	kappa, errs[4] = run.KappaFile.Read(d)
	r.warnings, errs[5] = run.WarningsFile.Read(d)
	r.skipped, errs[6] = run.SkippedFile.Read(d)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if err := r.addPredictions(predictions); err != nil {
		return nil, run.PredictionsFile.Damaged(d, err)
	}
	if err := r.addKappa(kappa); err != nil {
		return nil, run.KappaFile.Damaged(d, err)
	}
	return r, nil
}

// Save writes the report into the run folder.
func (r *Run) Save() error { return save(r.dir, r.Write) }

// Write writes the report.
func (r *Run) Write(w io.Writer) error { return document.Execute(w, r.page()) }

func (r *Run) addPredictions(p run.Predictions) error {
	if r.metrics.Calibration != nil && !p.Calibrated {
		return errors.New("it has no confidence_before, but the run is calibrated")
	}
	index := r.classIndex()
	for _, row := range p.Rows {
		label, known := index[row.Label]
		predicted, also := index[row.Predicted]
		if !known || !also {
			return fmt.Errorf("label %q or %q of %s is no class of the metrics", row.Label, row.Predicted, row.Path)
		}
		r.predictions = append(r.predictions, prediction{row, label, predicted})
	}
	return nil
}

func (r *Run) classIndex() map[string]int {
	index := make(map[string]int, len(r.metrics.PerClass))
	for k, c := range r.metrics.PerClass {
		index[c.Label] = k
	}
	return index
}

// A Sweep is what the tables of one sweep's folder say.
type Sweep struct {
	dir            run.Folder
	config         run.Config
	summary        *sweep.Summary
	configurations []*configuration
	seeds          []string // of the heads, distinct
	failures       []failure
}

// configuration is a line of summary.csv with the balanced accuracies of its heads.
type configuration struct {
	sweep.Line
	difference sweep.Comparison // NaN where there is none
	accuracies []float64
}

// failure is a head that could not be trained.
type failure struct{ Configuration, Seed, Why string }

// balanced names balanced accuracy among the metrics.
const balanced = "balanced_accuracy"

func (c *configuration) balanced() sweep.Spread { return c.Metrics[balanced] }

// LoadSweep reads the finished sweep in the folder dir.
func LoadSweep(dir string) (*Sweep, error) {
	summary, config, err := run.OpenSweep(dir)
	if err != nil {
		return nil, err
	}
	s := &Sweep{dir: run.Folder(dir), config: config, summary: summary}
	byName := map[string]*configuration{}
	nan := math.NaN()
	for _, l := range summary.Configurations {
		c := &configuration{Line: l, difference: sweep.Comparison{Difference: nan, Low: nan, High: nan, SeedStd: nan}}
		if l.Difference != nil {
			c.difference = *l.Difference
		}
		s.configurations = append(s.configurations, c)
		byName[c.Configuration] = c
	}
	for _, h := range summary.Heads {
		c, seed := byName[h.Configuration], sweep.Format(h.Seed)
		if !slices.Contains(s.seeds, seed) {
			s.seeds = append(s.seeds, seed)
		}
		if h.Error != "" {
			s.failures = append(s.failures, failure{c.Configuration, seed, h.Error})
		} else if v := h.Scores[balanced]; drawable(v) {
			c.accuracies = append(c.accuracies, v)
		}
	}
	return s, nil
}

// Write writes the report.
func (s *Sweep) Write(w io.Writer) error { return sweepDocument.Execute(w, s.page()) }

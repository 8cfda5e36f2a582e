// Package report writes report.html: one finished run, or one sweep, for people.
//
// # Basics
//
//	path, err := report.Save("run") // run/report.html, of a run or of a sweep
//
// [Load] reads nothing but the files of the run folder, pictures.json with small copies of photos and a map of features
// among them, which [Gather] makes. Of a run without that file [Run.Write] reads the images of the worst mistakes,
// which predictions.csv names. [LoadSweep] reads sweep.yaml, summary.csv and heads.csv. The same files give the same
// bytes. What files hold and what metrics are is said by the packages run and metric alone.
//
// The page is one file without outside references; it refuses to load any by its own content security policy. It
// follows the reader's light or dark setting, needs no script (a small one sorts tables, says at once what a mark is
// and moves between marks by arrow keys) and prints in light. Plots are SVG whose colours are variables of the page's
// style sheet. Of a path it names the last two elements only.
//
// # Caveats
//
// predictions.csv has the confidence of the predicted class only, so reliability is that of the top label. Beyond 120
// classes the matrix shows those with most mistakes, beyond 200 the plot by class runs of neighbours, beyond 1,000 the
// table only the least accurate; the map has 1,500 images, and of photos there are 1,000 of the training and 1,000 of
// mistakes at most. The page has 2 MB for 100 classes of 100 images, 4 MB for 1,000. The plots of a
// sweep show its 150 most accurate configurations, an order that the test images make and that is no selection; its
// table 1,000.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/plaintext"
)

// Save writes the report of the finished run or sweep in the folder dir, which may be in an object store, into that
// folder, and returns its path.
func Save(dir string) (path string, err error) {
	name, err := place.Named(dir)
	if err == nil {
		dir, err = place.Fetch(dir)
	}
	if err != nil {
		return "", err
	}
	d := run.Folder(dir)
	var page interface{ Write(io.Writer) error }
	if run.SweepFile.Exists(d) {
		page, err = LoadSweep(dir)
	} else {
		page, err = Load(dir)
	}
	if err == nil {
		err = save(d, page.Write)
	}
	if err != nil || !place.IsURL(name) {
		return run.ReportFile.Path(d), err
	}
	path = place.Join(name, run.ReportFile.Name)
	err = place.Put(path, run.ReportFile.Path(d))
	sums := filepath.Join(dir, artifact.SumsFile)
	if _, older := os.Stat(sums); err == nil && older == nil {
		err = place.Put(place.Join(name, artifact.SumsFile), sums)
	}
	return path, err
}

func save(dir run.Folder, write func(io.Writer) error) error {
	var page bytes.Buffer
	if err := write(&page); err != nil {
		return fmt.Errorf("report of %s: %w", dir, err)
	}
	return run.ReportFile.Write(dir, []byte(plaintext.Valid(page.String()))) // names of files may be any bytes
}

// A Run is what the files of one run folder say.
type Run struct {
	// Open returns the content of an image that predictions.csv names. By default it is read from its file, or from
	// the file that it is in.
	Open func(path string) ([]byte, error)

	dir         run.Folder
	metrics     metric.Metrics
	config      run.Config
	environment run.Environment
	history     []head.Epoch
	kappa       []kappaEpoch
	predictions []run.Prediction
	classes     map[string]metric.ClassMetrics
	warnings    []string
	skipped     []run.Skipped
	pictures    run.Pictures
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
	r := &Run{dir: d, metrics: m, classes: map[string]metric.ClassMetrics{}}
	for _, c := range m.PerClass {
		r.classes[c.Label] = c
	}
	var predictions run.Predictions
	var kappa []run.KappaRow
	err := errors.Join(
		run.ConfigFile.Into(&r.config, d),
		run.EnvironmentFile.Into(&r.environment, d),
		run.PredictionsFile.Into(&predictions, d),
		run.HistoryFile.Into(&r.history, d),
		run.KappaFile.Into(&kappa, d),
		run.WarningsFile.Into(&r.warnings, d),
		run.SkippedFile.Into(&r.skipped, d),
		run.PicturesFile.Into(&r.pictures, d),
	)
	if err != nil {
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
	for _, row := range p.Rows {
		_, known := r.classes[row.Label]
		if _, also := r.classes[row.Predicted]; !known || !also {
			return fmt.Errorf("label %q or %q of %s is no class of the metrics", row.Label, row.Predicted, row.Path)
		}
	}
	r.predictions = p.Rows
	return nil
}

// A Sweep is what the tables of one sweep's folder say.
type Sweep struct {
	dir            run.Folder
	config         run.Config
	summary        *sweep.Summary
	configurations []*configuration
	base           *configuration // that others are compared with; nil: none
	seeds          []uint64       // of the heads, distinct
	failures       []sweep.HeadRow
	doubtful       []sweep.HeadRow // with warnings
}

// configuration is a line of summary.csv with the balanced accuracies of its heads.
type configuration struct {
	sweep.Line
	accuracies []float64
}

// balanced names balanced accuracy among the metrics.
const balanced = "balanced_accuracy"

func (c *configuration) balanced() sweep.Spread { return c.Metrics[balanced] }

// within is balanced accuracy with its deviation on either side, if there is one.
func (c *configuration) within() (low, high float64) {
	b := c.balanced()
	return b.Mean - orZero(b.Std), b.Mean + orZero(b.Std)
}

// LoadSweep reads the finished sweep in the folder dir.
func LoadSweep(dir string) (*Sweep, error) {
	summary, config, err := run.OpenSweep(dir)
	if err != nil {
		return nil, err
	}
	s := &Sweep{dir: run.Folder(dir), config: config, summary: summary}
	byName := map[string]*configuration{}
	for _, l := range summary.Configurations {
		c := &configuration{Line: l}
		s.configurations = append(s.configurations, c)
		byName[c.Configuration] = c
		if c.Baseline && s.base == nil {
			s.base = c
		}
	}
	for _, h := range summary.Heads {
		c := byName[h.Configuration]
		if !slices.Contains(s.seeds, h.Seed) {
			s.seeds = append(s.seeds, h.Seed)
		}
		if h.Error != "" {
			s.failures = append(s.failures, h)
		} else if v := h.Scores[balanced]; drawable(v) {
			c.accuracies = append(c.accuracies, v)
		}
		if h.Warnings != "" {
			s.doubtful = append(s.doubtful, h)
		}
	}
	return s, nil
}

// Write writes the report.
func (s *Sweep) Write(w io.Writer) error { return sweepDocument.Execute(w, s.page()) }

// Package report writes report.html: one finished run, or one sweep, for people.
//
// # Basics
//
//	run, err := report.Load("run")
//	err = run.Save()                // run/report.html
//	err = report.SaveSweep("sweep") // sweep/report.html
//
// [Load] reads nothing but the files of the run folder (config.yaml,
// environment.json, metrics.json, predictions.csv and, where there are, history.jsonl,
// kappa.csv, warnings.txt, skipped.csv), and [Run.Write] the images that
// predictions.csv names, for the pictures of the worst mistakes. [LoadSweep] reads
// sweep.yaml, summary.csv and heads.csv. The same files give the same bytes.
//
// The page is one file without outside references; it refuses to load any by
// its own content security policy. It follows the reader's light or dark
// setting, needs no script (a small one sorts tables) and prints in light. Plots are SVG whose colours are variables of the page's style sheet.
//
// # Caveats
//
// predictions.csv has the confidence of the predicted class only, so
// reliability is that of the top label. Beyond 200 classes the plot by class
// shows runs of neighbours, beyond 1,000 the table only the least accurate. The
// plots of a sweep show its 150 most accurate configurations, an order that the
// test images make and that is no selection; its table 1,000.
package report

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/vitft/vitft/engine/internal/atomicfile"
)

// File is the report's name in the folder of a run or a sweep.
const File = "report.html"

// ErrData is wrapped by errors about a folder of a run or a sweep that is not
// finished or damaged.
var ErrData = errors.New("bad data")

// A Run is what the files of one run folder say. It does not change after Load.
type Run struct {
	dir         string
	metrics     metrics
	config      settings
	environment environment
	history     []epoch
	kappa       []kappaEpoch
	predictions []prediction
	warnings    []string
	skipped     []skippedImage
}

// Load reads the finished run in the folder dir. Errors wrap ErrData if a file
// is missing or damaged.
func Load(dir string) (*Run, error) { return LoadWith(dir, nil) }

// LoadWith is Load for a run whose metrics.json is still to be written, with
// that file's content to be. A finished run has metrics.json, so it comes last.
func LoadWith(dir string, metricsJSON []byte) (*Run, error) {
	r := &Run{dir: dir}
	if err := r.read(metricsJSON); err != nil {
		return nil, err
	}
	return r, nil
}

// Save writes the report into the run folder, whole or not at all.
func (r *Run) Save() error {
	return atomicfile.Write(filepath.Join(r.dir, File), r.Write)
}

// Write writes the report.
func (r *Run) Write(w io.Writer) error {
	p, err := r.page()
	if err != nil {
		return fmt.Errorf("report of %s: %w", r.dir, err)
	}
	return document.Execute(w, p)
}

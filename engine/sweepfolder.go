package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
)

// The files of a sweep's folder, beside report.html. sweep.yaml is written
// first, a file for each head as it is finished, the tables last.
const (
	sweepFile       = "sweep.yaml"
	headsFile       = "heads.csv"
	summaryFile     = "summary.csv"
	summaryTextFile = "summary.md"
	headsFolder     = "heads"
)

// createSweep makes the folder of a sweep, or readies the one that an earlier
// sweep has left: its heads stay, its tables go. It returns the lock of the
// folder, to be closed when the sweep is done.
func (r runFolder) createSweep(c Config, shared Training, x sweep.Experiment) (_ io.Closer, err error) {
	entries, err := os.ReadDir(string(r))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, configError("out: %s cannot be used as the folder of a sweep: %v", r, err)
	case len(entries) > 0 && !r.has(sweepFile):
		return nil, configError("out: %s is not empty and no folder of a sweep; choose another", r)
	}
	if err := os.MkdirAll(string(r), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the sweep: %w", err)
	}
	lock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	for _, name := range []string{headsFile, summaryFile, summaryTextFile, run.ReportFile.Name} {
		if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("clear the folder of the sweep: %w", err)
		}
	}
	text, err := sweepYAML(c, shared, x)
	if err == nil {
		err = r.write(sweepFile, text)
	}
	if err != nil {
		return nil, err
	}
	return lock, os.MkdirAll(r.path(headsFolder), 0o755)
}

// sweepYAML prints an experiment file with every default outside the heads
// filled in.
func sweepYAML(c Config, shared Training, x sweep.Experiment) ([]byte, error) {
	c.Training = shared
	var config, experiment yaml.Node
	if err := errors.Join(config.Encode(c), experiment.Encode(x)); err != nil {
		return nil, err
	}
	// A setting of heads that is left out is a default of its loss: there is no one value to print.
	unset := shared.unset()
	var kept []*yaml.Node
	for i := 0; i < len(config.Content); i += 2 {
		if !slices.Contains(unset, config.Content[i].Value) {
			kept = append(kept, config.Content[i], config.Content[i+1])
		}
	}
	config.Content = append(kept, experiment.Content...)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(&config), e.Close())
	return b.Bytes(), err
}

// readHeadFile returns the head with that id, if this version of the program
// has left one.
func (r runFolder) readHeadFile(id string) (sweep.Head, bool) {
	var h sweep.Head
	err := r.readJSON(headPath(id), &h)
	return h, err == nil && h.ID == id && h.Version == Version()
}

func headPath(id string) string { return filepath.Join(headsFolder, id+".json") }

// finishSweep writes the tables and, from them, the report.
func (r runFolder) finishSweep(s *sweep.Summary) error {
	err := errors.Join(
		r.writeCSV(headsFile, s.HeadsCSV()),
		r.writeCSV(summaryFile, s.CSV()),
		r.write(summaryTextFile, []byte(s.Markdown())),
	)
	if err != nil {
		return err
	}
	_, err = report.Save(string(r))
	return err
}

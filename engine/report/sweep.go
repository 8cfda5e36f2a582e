package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/internal/atomicfile"
)

// The files of a sweep's folder that its report is made of.
const (
	sweepFile   = "sweep.yaml"
	summaryFile = "summary.csv"
	headsFile   = "heads.csv"
)

// A Sweep is what the tables of one sweep's folder say. It does not change
// after LoadSweep.
type Sweep struct {
	dir            string
	config         settings
	keys           []string // of the settings in which configurations differ
	configurations []configuration
	seeds          []string // of the heads, distinct, in the order of heads.csv
	heads          int
	failures       []failure
}

// IsSweep says whether dir is the folder of a sweep rather than of a run.
func IsSweep(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, sweepFile))
	return err == nil
}

// SaveSweep writes the report of the sweep in the folder dir into that folder.
func SaveSweep(dir string) error {
	s, err := LoadSweep(dir)
	if err != nil {
		return err
	}
	return s.Save()
}

// LoadSweep reads the finished sweep in the folder dir. Errors wrap ErrData if a
// file is missing or damaged.
func LoadSweep(dir string) (*Sweep, error) {
	s := &Sweep{dir: dir}
	var missing []string
	for _, name := range []string{sweepFile, summaryFile, headsFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("%w: %s is no finished sweep: it has no %s; the same vitft sweep goes on with it", ErrData, dir, strings.Join(missing, ", "))
	}
	return s, readFiles(dir, []file{
		{sweepFile, s.parseConfig},
		{summaryFile, s.parseSummary},
		{headsFile, s.parseHeads}, // names configurations of the summary
	})
}

// Save writes the report into the sweep's folder, whole or not at all.
func (s *Sweep) Save() error {
	return atomicfile.Write(filepath.Join(s.dir, File), s.Write)
}

// Write writes the report.
func (s *Sweep) Write(w io.Writer) error { return sweepDocument.Execute(w, s.page()) }

package engine

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/internal/atomicfile"
)

// The files of a run folder. metrics.json is written last: a run folder that
// has it is finished.
const (
	configFile      = "config.yaml"
	environmentFile = "environment.json"
	historyFile     = "history.jsonl"
	kappaFile       = "kappa.csv"
	metricsFile     = "metrics.json"
	predictionsFile = "predictions.csv"
	skippedFile     = "skipped.csv"
	warningsFile    = "warnings.txt"
	labelsFile      = "labels.txt"
	headFile        = "head.safetensors"
	modelFile       = artifact.ModelFile
	cardFile        = artifact.CardFile
	checkpointFile  = "checkpoint/state.gob"
)

// runFolder is the folder one run writes to. Every file but the history is
// written whole, beside its place, and renamed into it.
type runFolder string

// create makes the run folder and writes the configuration into it. What an
// earlier run has trained there is renamed to dir.1, dir.2, …, so nothing is
// lost; any other folder that is not empty is refused. So is one that another
// run writes to: close the lock when the run is done.
func (r runFolder) create(c Config, ev Events) (lock io.Closer, err error) {
	lock, err = r.lock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err = r.makeRoom(ev)
	if lock != nil { // a folder that was renamed took its lock along
		err = errors.Join(err, lock.Close())
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(r.path(checkpointFile)), 0o755); err != nil {
		return nil, fmt.Errorf("make the run folder: %w", err)
	}
	if lock, err = r.lock(); err != nil {
		return nil, err
	}
	text, err := c.YAML()
	if err == nil {
		err = r.write(configFile, text)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// lock keeps other runs out of the folder until it is closed or the process
// ends.
func (r runFolder) lock() (io.Closer, error) {
	lock, err := atomicfile.Lock(string(r))
	if errors.Is(err, atomicfile.ErrLocked) {
		return nil, fmt.Errorf("out: another run is writing to %s at this moment; wait for its end, or choose another folder", r)
	}
	return lock, err
}

// makeRoom clears the folder's name, or the folder.
func (r runFolder) makeRoom(ev Events) error {
	dir := string(r)
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return configError("out: %s cannot be used as a run folder: %v", dir, err)
	case len(entries) > 0 && !r.has(configFile):
		return configError("out: %s is not empty and no run folder; choose another", dir)
	case r.has(metricsFile) || r.has(checkpointFile):
		kept, err := setAside(dir)
		if err != nil {
			return fmt.Errorf("keep the run in %s: %w", dir, err)
		}
		ev.info("the run that was here is kept", "run", dir, "kept", kept)
	default: // a run that was stopped before it had trained anything
		for _, name := range []string{historyFile, kappaFile, skippedFile, warningsFile} {
			if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("clear the run folder: %w", err)
			}
		}
	}
	return nil
}

func setAside(dir string) (string, error) {
	for i := 1; ; i++ {
		kept := dir + "." + strconv.Itoa(i)
		if _, err := os.Lstat(kept); errors.Is(err, fs.ErrNotExist) {
			return kept, os.Rename(dir, kept)
		}
	}
}

func (r runFolder) path(name string) string {
	return filepath.Join(string(r), filepath.FromSlash(name))
}

func (r runFolder) has(name string) bool {
	_, err := os.Stat(r.path(name))
	return err == nil
}

func (r runFolder) write(name string, content []byte) error {
	return atomicfile.Write(r.path(name), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func (r runFolder) writeJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", r.path(name), err)
	}
	return r.write(name, append(text, '\n'))
}

func (r runFolder) readJSON(name string, v any) error {
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return dataError("%s is damaged: %v", r.path(name), err)
	}
	return nil
}

func (r runFolder) writeCSV(name string, rows [][]string) error {
	text, err := csvText(rows)
	if err != nil {
		return fmt.Errorf("write %s: %w", r.path(name), err)
	}
	return r.write(name, text)
}

func csvText(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	err := csv.NewWriter(&b).WriteAll(rows)
	return b.Bytes(), err
}

// writeLines writes one line each; no file for no lines.
func (r runFolder) writeLines(name string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	return r.write(name, []byte(strings.Join(lines, "\n")+"\n"))
}

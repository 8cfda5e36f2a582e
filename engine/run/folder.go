// Package run reads and writes the folders that work leaves: of a run, and of a sweep.
//
// # Basics
//
//	dir := run.Folder("run")
//	lock, err := dir.Create(config, events)        // what was there is kept as run.1, run.2, …
//	err = run.HeadFile.Write(dir, run.Head{Head: h})
//	err = run.MetricsFile.Write(dir, m)            // the last: with it the run is finished
//	finished, err := run.Open("run")
//
// Each file is a variable that knows its name and its content: [ConfigFile], [MetricsFile], [PredictionsFile] … [Files]
// lists them with what they are for. All errors about damaged or missing files name them and are of kind fault.Data.
//
// # Caveats
//
// A folder is locked while a run writes to it, where the file system knows locks.
package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
)

// Folder is the path of a run's or a sweep's folder.
type Folder string

// Create makes the folder of a run with its configuration. What an earlier run has trained there is renamed to dir.1,
// dir.2, …, so nothing is lost; any other folder that is not empty is refused. So is one that another run writes to:
// close the lock when the run is done.
func (d Folder) Create(c Config, ev event.Events) (lock io.Closer, err error) {
	inner := filepath.Dir(CheckpointFile.Path(d))
	lock, err = d.Lock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err = d.owned(ConfigFile.File, "run folder", inner); err == nil &&
		(MetricsFile.Exists(d) || CheckpointFile.Exists(d)) {
		err = d.setAside(ev)
	}
	if lock != nil { // a folder that was renamed took its lock along
		err = errors.Join(err, lock.Close())
	}
	if err != nil {
		return nil, err
	}
	return d.begin(ConfigFile, c, inner)
}

// CreateSweep makes the folder of a sweep, or readies the one that an earlier sweep has left: its heads stay, its
// tables go. Close the lock when the sweep is done.
func (d Folder) CreateSweep(c Config) (lock io.Closer, err error) {
	inner := filepath.Dir(headFiles.Path(d))
	if err := d.owned(SweepFile.File, "folder of a sweep", inner); err != nil {
		return nil, err
	}
	return d.begin(SweepFile, c, inner)
}

// Lock keeps other runs out of the folder until it is closed or the process ends.
func (d Folder) Lock() (io.Closer, error) {
	lock, err := atomicfile.Lock(string(d))
	if errors.Is(err, atomicfile.ErrLocked) {
		return nil, fmt.Errorf("out: another run is writing to %s; wait for its end, or choose another folder", d)
	}
	_, _ = atomicfile.Clean(string(d)) // what killed writers have left, in a finished folder too
	return lock, err
}

// owned refuses a folder that has something in it, but not the file that marks ours. What a killed beginning leaves is
// nothing: abandoned temporary files and the empty folder inner.
func (d Folder) owned(mark File, kind, inner string) error {
	_, _ = atomicfile.Clean(string(d)) // there may be no such folder
	_ = disk.Delete(inner)             // only an empty one goes
	entries, err := os.ReadDir(string(d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fault.Config.Errorf("out: %s cannot be used as a %s: %v", d, kind, err)
	case len(entries) > 0 && !mark.Exists(d):
		return fault.Config.Errorf("out: %s is not empty and no %s; choose another", d, kind)
	}
	return nil
}

// Seal writes the sums of all files in a finished folder, by which they are checked from then on.
func (d Folder) Seal() error {
	sums := artifact.Sums{}
	files, err := d.Present()
	if err != nil {
		return err
	}
	for _, f := range files {
		if sums[f.Name], err = artifact.SumOfFile(f.Path(d)); err != nil {
			return err
		}
	}
	return d.writeSums(sums)
}

// Present are those of Files that are there.
func (d Folder) Present() (present []File, err error) {
	for _, f := range Files {
		names, err := fs.Glob(os.DirFS(string(d)), f.Name)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			f.Name = name
			present = append(present, f)
		}
	}
	return present, nil
}

// Finish seals a finished folder whose writer was killed before it did.
func (d Folder) Finish() error {
	if sums, err := artifact.ReadSums(string(d)); err != nil || sums != nil {
		return err
	}
	return d.Seal()
}

func (d Folder) writeSums(s artifact.Sums) error {
	return atomicfile.WriteBytes(filepath.Join(string(d), artifact.SumsFile), s.Bytes())
}

// Unseal lets the files of a folder change again.
func (d Folder) Unseal() error {
	err := disk.Delete(filepath.Join(string(d), artifact.SumsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d Folder) setAside(ev event.Events) error {
	for i := 1; ; i++ {
		kept := fmt.Sprintf("%s.%d", d, i)
		if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := disk.Move(string(d), kept); err != nil {
			return fmt.Errorf("keep the run in %s: %w", d, err)
		}
		ev.Info("the run that was here is kept", "run", string(d), "kept", kept)
		return nil
	}
}

// begin makes and locks the folder with one in it, clears it of what an earlier beginning left, and writes its
// settings.
func (d Folder) begin(settings Typed[Config], c Config, inner string) (_ io.Closer, err error) {
	if err := disk.MakeAll(inner); err != nil {
		return nil, fmt.Errorf("make the folder %s: %w", d, err)
	}
	lock, err := d.Lock()
	if err != nil {
		return nil, err
	}
	old := Cleared | settings.Is&(Run|Sweep)
	for _, f := range Files {
		if f.Is&old == old {
			if f.Exists(d) {
				err = errors.Join(err, disk.Delete(f.Path(d)))
			}
		}
	}
	if err = errors.Join(err, settings.Write(d, c)); err != nil {
		return nil, errors.Join(fmt.Errorf("begin in the folder %s: %w", d, err), lock.Close())
	}
	return lock, nil
}

// Complete refuses a folder that lacks some of the files.
func (d Folder) Complete(files ...File) error {
	var missing []string
	what, cure := "run", "name a folder that vitft finetune has finished"
	for _, f := range files {
		if !f.Exists(d) {
			missing = append(missing, f.Name)
		}
		if f.Is&Sweep != 0 {
			what, cure = "sweep", "the same vitft sweep goes on with it"
		}
	}
	if missing == nil {
		return nil
	}
	return fault.Data.Errorf("%s is no finished %s: it has no %s; %s", d, what, strings.Join(missing, ", "), cure)
}

// Finished is a run that has been trained to its end.
type Finished struct {
	Folder
	Environment Environment
	Metrics     metric.Metrics
	Head        *head.Head
	Scaling     calib.Scaling
	Classes     []string
	Counts      []int // training images of the classes
}

// Open reads a finished run; of one in an object store a copy. Files that do not fit together are refused.
func Open(dir string) (*Finished, error) {
	dir, err := place.Fetch(dir)
	if err != nil {
		return nil, err
	}
	r := &Finished{Folder: Folder(dir)}
	if err := r.Complete(MetricsFile.File, EnvironmentFile.File, HeadFile.File); err != nil {
		return nil, err
	}
	var h Head
	err = errors.Join(MetricsFile.Into(&r.Metrics, r.Folder), EnvironmentFile.Into(&r.Environment, r.Folder),
		HeadFile.Into(&h, r.Folder))
	if err != nil {
		return nil, err
	}
	var labels []string
	if err := LabelsFile.Into(&labels, r.Folder); err != nil {
		return nil, err
	}
	r.Head, r.Scaling = h.Head, h.Scaling
	for _, class := range r.Metrics.PerClass {
		r.Classes, r.Counts = append(r.Classes, class.Label), append(r.Counts, class.TrainCount)
	}
	// A name may begin or end with white space, which the ends of a file of lines do not keep.
	others := labels != nil && strings.Join(labels, "\n") != strings.TrimSpace(strings.Join(r.Classes, "\n"))
	var temperature []float64
	if c := r.Metrics.Calibration; c != nil {
		temperature = c.Temperature
	}
	misfit := func(what string, ofHead any, other File, ofOther any) error {
		return fault.Data.Errorf("%s is of another run than %s: its %s is %v, not %v; train the run anew",
			HeadFile.Path(r.Folder), other.Name, what, ofHead, ofOther)
	}
	switch h, dim := r.Head, int(r.Environment.Backbone.Feature.Dim); {
	case h.Classes != len(r.Classes):
		return nil, misfit("number of classes", h.Classes, MetricsFile.File, len(r.Classes))
	case h.Dim != dim:
		return nil, misfit("length of features", h.Dim, EnvironmentFile.File, dim)
	case !slices.Equal(r.Scaling.Temperature, temperature):
		return nil, misfit("temperature", r.Scaling.Temperature, MetricsFile.File, temperature)
	case others:
		return nil, fault.Data.Errorf("%s is of another run than %s: its classes are %q, not %q; train the run anew",
			LabelsFile.Path(r.Folder), MetricsFile.Name, labels, r.Classes)
	}
	return r, nil
}

// OpenSweep reads the tables of a finished sweep, with its experiment and shared settings.
func OpenSweep(dir string) (*sweep.Summary, Config, error) {
	d := Folder(dir)
	if err := d.Complete(SweepFile.File, SummaryFile.File, HeadsFile.File); err != nil {
		return nil, nil, err
	}
	var c Config
	var s, heads *sweep.Summary
	if err := errors.Join(SweepFile.Into(&c, d), SummaryFile.Into(&s, d), HeadsFile.Into(&heads, d)); err != nil {
		return nil, nil, err
	}
	s.Heads = heads.Heads
	known := map[string]bool{}
	for _, l := range s.Configurations {
		known[l.Configuration] = true
	}
	for _, h := range s.Heads {
		if !known[h.Configuration] {
			err := fmt.Errorf("%q is no configuration of %s", h.Configuration, SummaryFile.Name)
			return nil, nil, HeadsFile.Damaged(d, err)
		}
	}
	return s, c, nil
}

// Package verify looks at what tasks have left, and says what is damaged, how that can be mended, and what cannot: run
// and sweep folders, exported models, the cache.
//
// # Basics
//
//	r, err := verify.Check(ctx, "run", false)
//	for _, f := range r.Findings {
//		fmt.Println(f.Path, f.Reason, f.Cure)
//	}
//
// Nothing is changed unless it is asked for. With repair, what other files tell is written anew, and what is made again
// when it is needed is set aside or removed: blocks of features, copies of images, temporary files of killed processes.
//
// # Caveats
//
// A file whose folder has no sums, and that has none of its own, can only be read: that its content is what was once
// written is not known.
package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/atomicfile"
)

// Report is what Check found.
type Report struct {
	Path     string    `json:"path"`
	Kind     string    `json:"kind"` // "run", "sweep", "model" or "cache"
	State    string    `json:"state"`
	Files    int       `json:"files"` // that were checked
	Findings []Finding `json:"findings"`
}

// Finding is a file at fault.
type Finding struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Cure   string `json:"cure"`   // what to do or, if it is mended, what was done
	Mended bool   `json:"mended"` // by this call
}

// Sound says whether nothing is left to mend.
func (r *Report) Sound() bool {
	for _, f := range r.Findings {
		if !f.Mended {
			return false
		}
	}
	return true
}

// checker collects a Report.
type checker struct {
	Report
	repair bool
	lost   int      // findings that cannot be repaired
	beside []string // files beside models that were looked at
}

// Check looks at a run folder, a sweep folder, a model file, a folder of such, or a cache folder. Of what is in an
// object store it looks at a copy, and nothing can be repaired.
func Check(ctx context.Context, path string, repair bool) (*Report, error) {
	name, err := place.Named(path)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if !place.IsURL(name) {
		return check(ctx, name, repair)
	}
	if repair {
		return nil, fault.Config.Errorf("verify: with --repair %s must be a local path; copy it here, and back", name)
	}
	for _, folder := range []string{feature.StoreFolder, feature.JobsFolder} {
		if info, err := place.Stat(place.Join(name, folder)); err == nil && info.IsDir() {
			return farCache(ctx, name)
		}
	}
	copied, err := place.Fetch(name)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	r, err := check(ctx, copied, false)
	if r != nil {
		r.Path = name
		bucket := place.Bucket(name)
		root := strings.TrimSuffix(copied, filepath.FromSlash(strings.TrimPrefix(name, bucket)))
		for i, f := range r.Findings {
			if below, in := strings.CutPrefix(f.Path, root); in {
				r.Findings[i].Path = bucket + filepath.ToSlash(below)
			}
		}
	}
	return r, err
}

func check(ctx context.Context, path string, repair bool) (*Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Data.Errorf("verify: %w", err)
	}
	c := &checker{Report: Report{Path: path, State: "finished", Findings: []Finding{}}, repair: repair}
	is := func(names ...string) bool {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(path, name)); err == nil {
				return true
			}
		}
		return false
	}
	models, _ := filepath.Glob(filepath.Join(path, "*.onnx"))
	variants, _ := filepath.Glob(filepath.Join(path, artifact.Variants, "*.onnx"))
	switch d := run.Folder(path); {
	case !info.IsDir():
		c.Kind = "model"
		err = c.model(path)
	case run.SweepFile.Exists(d) || run.SummaryFile.Exists(d):
		c.Kind = "sweep"
		err = c.folder(d, run.Sweep)
	case run.ConfigFile.Exists(d) || run.MetricsFile.Exists(d) || is(artifact.SumsFile):
		c.Kind = "run"
		err = c.folder(d, run.Run)
	case is(feature.StoreFolder, feature.ScanFolder, feature.CopiesFolder):
		c.Kind = "cache"
		err = c.cache(ctx, path)
	case len(models)+len(variants) > 0:
		c.Kind = "model"
		c.temporary(path)
		c.temporary(filepath.Join(path, artifact.Variants))
		for _, m := range append(models, variants...) {
			err = errors.Join(err, c.model(m))
		}
	default:
		err = fault.Data.Errorf("verify: %s is no run folder, sweep folder, model or cache", path)
	}
	return &c.Report, err
}

// found notes a finding; mend is how it is repaired, nil if it cannot be, and done what that is.
func (c *checker) found(path string, why error, cure string, mend func() error, done string) {
	f := Finding{Path: path, Reason: strings.ReplaceAll(why.Error(), "\n", "; "), Cure: cure}
	switch {
	case mend == nil:
		c.lost++
	case !c.repair:
		f.Cure = "--repair " + done
	default:
		f.Cure, f.Mended = done, true
		if err := mend(); err != nil {
			f.Cure, f.Mended = fmt.Sprintf("could not be mended (%s): %v", done, err), false
		}
	}
	c.Findings = append(c.Findings, f)
}

// temporary finds what killed processes have left in a folder.
func (c *checker) temporary(dir string) {
	names, err := atomicfile.Abandoned(dir, func(string) error { return nil })
	if err != nil {
		return // there is no such folder, or it tells nobody
	}
	for _, name := range names {
		why := errors.New("a killed process has left it half written")
		mend := func() error { _, err := atomicfile.Clean(dir); return err }
		c.found(filepath.Join(dir, name), why, "", mend, "removes it")
	}
}

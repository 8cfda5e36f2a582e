package cache

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/internal/userfile"
)

// Names in a folder of jobs, as package work has them.
const (
	jobFile   = "job.json"
	taskLists = "tasks"
	doneTasks = "done"
	jobModels = "models"
	identity  = "identity" // of the folder itself, which stays
)

// jobs lists those of a folder, and their models.
func (c *Contents) jobs(dir string) error {
	entries, err := read(dir)
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		switch name := e.Name(); {
		case name == identity, strings.HasPrefix(name, "."):
		case name == jobModels && e.IsDir():
			if err := c.files(at, sum, &c.models); err != nil {
				return err
			}
		case !e.IsDir() || !half.MatchString(name):
			c.other(at)
		default:
			j := Job{Hash: name, path: at, model: modelOf(filepath.Join(at, jobFile)), InUse: inUse(at)}
			if err := j.count(); err != nil {
				return err
			}
			c.Jobs = append(c.Jobs, j)
		}
	}
	return err
}

// modelOf is the hash of a job's model, if it can be read.
func modelOf(path string) string {
	var job struct {
		Model string `json:"model"`
	}
	if text, err := userfile.Read(path, userfile.Large); err == nil {
		_ = json.Unmarshal(text, &job) // of a damaged job there is none
	}
	return job.Model
}

// count counts a job's files.
func (j *Job) count() error {
	return filepath.WalkDir(j.path, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		if j.Bytes += info.Size(); info.ModTime().After(j.Used) {
			j.Used = info.ModTime()
		}
		if strings.HasSuffix(path, ".json") {
			switch filepath.Base(filepath.Dir(path)) {
			case taskLists:
				j.Tasks++
			case doneTasks:
				j.Done++
			}
		}
		return nil
	})
}

// says tells people how far a job is.
func (j Job) says() string {
	if j.Done >= j.Tasks {
		return "done"
	}
	return "not done"
}

// job removes a job unless it is in use.
func (p *Pruned) job(j Job, why string, dry bool) (gone bool, err error) {
	item := Item{Path: j.path, What: "job " + j.Hash + ", " + j.says(), Bytes: j.Bytes, Why: why}
	lock, gone, err := p.hold(item)
	if lock == nil {
		return gone, err
	}
	defer lock.Close()
	if p.gone(item); dry {
		return true, nil
	}
	if err := remove(filepath.Join(j.path, jobFile)); err != nil { // without which it is no job
		return false, err
	}
	var paths []string
	err = filepath.WalkDir(j.path, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	for _, path := range slices.Backward(paths) { // what is in a folder before it
		err = cmp.Or(err, remove(path))
	}
	return err == nil, err
}

// jobsOf removes jobs, and then the models that no job is left for.
func (p *Pruned) jobsOf(c *Contents, r Rules) error {
	left := map[string]bool{}
	for _, j := range c.Jobs {
		gone, why := false, "everything goes"
		if !r.All {
			why = "last used " + j.Used.Format(time.DateOnly)
		}
		if r.All || r.OlderThan > 0 && time.Since(j.Used) >= r.OlderThan {
			var err error
			if gone, err = p.job(j, why, r.DryRun); err != nil {
				return err
			}
		}
		if !gone {
			left[j.model] = true
		}
	}
	var unused []string
	for _, f := range c.models.paths {
		if !left[filepath.Base(f.path)] && (r.All || time.Since(f.at) > time.Hour) { // else its job may be coming
			unused = append(unused, filepath.Base(f.path))
		}
	}
	if len(unused) == 0 {
		return nil
	}
	dir := filepath.Dir(c.models.paths[0].path)
	return p.each(dir, unused, "backbones of jobs", "no job is left for them", r.DryRun)
}

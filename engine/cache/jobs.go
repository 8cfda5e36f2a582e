package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/place"
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
		at := place.Join(dir, e.Name())
		switch name := e.Name(); {
		case name == identity, strings.HasPrefix(name, "."):
		case name == jobModels && e.IsDir():
			if err := c.files(at, sum, &c.models); err != nil {
				return err
			}
		case !e.IsDir() || !half.MatchString(name):
			c.other(at, e)
		default:
			j := Job{Hash: name, path: at}
			if err := cmp.Or(j.count(), j.read()); err != nil {
				return err
			}
			j.InUse = inUse(at, j.Used)
			c.Jobs = append(c.Jobs, j)
		}
	}
	return err
}

// read learns which model a job has; one that is damaged has none.
func (j *Job) read() error {
	text, err := place.Read(place.Join(j.path, jobFile), userfile.Large)
	if errors.Is(err, place.ErrUnanswered) { // it may have one
		return err
	}
	var job struct {
		Model string `json:"model"`
	}
	if err == nil && json.Unmarshal(text, &job) == nil {
		j.model = job.Model
	}
	return nil
}

// count counts a job's files.
func (j *Job) count() error {
	return each(j.path, func(path string, info fs.FileInfo) {
		if j.Bytes += info.Size(); info.ModTime().After(j.Used) {
			j.Used = info.ModTime()
		}
		if strings.HasSuffix(path, ".json") {
			switch filepath.Base(place.Dir(path)) {
			case taskLists:
				j.Tasks++
			case doneTasks:
				j.Done++
			}
		}
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
func (p *Pruned) job(ctx context.Context, j Job, why string) (gone bool, err error) {
	item := Item{Path: j.path, What: "job " + j.Hash + ", " + j.says(), Bytes: j.Bytes, Why: why}
	lock, gone, err := p.hold(item)
	if lock == nil {
		return gone, err
	}
	defer lock.Close()
	if p.gone(item); p.DryRun {
		return true, nil
	}
	if err := p.remove(ctx, place.Join(j.path, jobFile)); err != nil { // without which it is no job
		return false, err
	}
	var paths []string
	if far(j.path) {
		err := each(j.path, func(path string, _ fs.FileInfo) { paths = append(paths, path) })
		err = cmp.Or(err, p.removeAll(ctx, paths))
		return err == nil, err
	}
	err = filepath.WalkDir(j.path, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	for _, path := range slices.Backward(paths) { // what is in a folder before it
		err = cmp.Or(err, p.remove(ctx, path))
	}
	return err == nil, err
}

// jobs removes jobs, and then the models that no job is left for.
func (p *Pruned) jobs(ctx context.Context, r Rules) error {
	left := map[string]bool{}
	for _, j := range p.of.Jobs {
		gone, why := false, "everything goes"
		if !r.All {
			why = "last used " + j.Used.Format(time.DateOnly)
		}
		if r.All || r.OlderThan > 0 && p.now.Sub(j.Used) >= r.OlderThan {
			var err error
			if gone, err = p.job(ctx, j, why); err != nil {
				return err
			}
		}
		if !gone {
			left[j.model] = true
		}
	}
	young, all := time.Hour, r.All // the job of a young one may be coming
	if far(p.Path) {
		young, all = Safe, false
	}
	var unused []string
	for _, f := range p.of.models.paths {
		if !left[filepath.Base(f.path)] && (all || p.now.Sub(f.at) > young) {
			unused = append(unused, f.path)
		}
	}
	return p.each(ctx, unused, "backbones of jobs", "no job is left for them")
}

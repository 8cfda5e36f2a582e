package work

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/par"
)

// finished reads the records of those tasks that are done, out of some with their numbers of images: the record is
// there, and a block for each view.
func (p place) finished(ctx context.Context, hash string, j Job, x *feature.Extractor, of map[int]int) (
	map[int]Record, error) {
	prefix, blocks := hash+"/"+records+"/", "task-"+hash+"-"
	if len(of) == 1 {
		for task := range of {
			prefix, blocks = object(hash, records, task), block(hash, task)
		}
	}
	names, err := p.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		task, is := number(name)
		_, wanted := of[task]
		return !is || !wanted
	})
	found, faults := make([]Record, len(names)), make([]error, len(names))
	err = par.For(ctx, len(names), together(p.Bucket), func(i int) {
		task, _ := number(names[i])
		found[i], faults[i] = p.record(ctx, names[i], of[task])
	})
	if err != nil {
		return nil, err
	}
	done := map[int]Record{}
	for i, name := range names {
		switch task, _ := number(name); {
		case errors.Is(faults[i], fs.ErrNotExist): // it was damaged
		case faults[i] != nil:
			return nil, faults[i]
		default:
			done[task] = found[i]
		}
	}
	if len(done) == 0 {
		return done, nil
	}
	views, err := x.Published(ctx, blocks, len(j.Keys))
	if err != nil {
		return nil, err
	}
	for task, r := range done {
		if views[block(hash, task)] < len(j.Keys) && r.hasFeatures() {
			delete(done, task)
		}
	}
	return done, nil
}

// together is how many objects are read at a time: as many as there are processors or, where the wait is for answers,
// more.
func together(b bucket.Bucket) int {
	if bucket.Remote(b) {
		return 32
	}
	return 0
}

// record reads the record of a task of so many images. One that is damaged is set aside: then there is none.
func (p place) record(ctx context.Context, name string, images int) (r Record, err error) {
	for range 2 { // at first the copy on this machine may be damaged
		text, failed := p.read(ctx, name)
		if failed != nil {
			return Record{}, failed
		}
		r = Record{}
		if json.Unmarshal(text, &r) == nil && len(r.Images) == images {
			return r, nil
		}
		if err = p.SetAside(ctx, name); err == nil {
			return Record{}, fs.ErrNotExist
		}
	}
	return Record{}, fault.Data.Errorf("%s is damaged, and cannot be set aside: %w", p.Where(name), err)
}

// hasFeatures says whether a task has made blocks.
func (r Record) hasFeatures() bool {
	for _, d := range r.Images {
		if d.Fault == "" {
			return true
		}
	}
	return false
}

// bad counts the images that cannot be used.
func (r Record) bad() (n int) {
	for _, d := range r.Images {
		if d.Fault != "" {
			n++
		}
	}
	return n
}

// named is how many bad images of a task are named in the log; vitft status names more.
const named = 10

// tell notes that a task is done, and its bad images.
func (r Record) tell(ev event.Events, hash string, task int, images []Image) {
	n := 0
	for i, d := range r.Images {
		if d.Fault == "" {
			continue
		}
		if n++; n <= named {
			ev.Warn("image bad", "job", hash, "task", task, "path", images[i].Path, "reason", d.Fault)
		}
	}
	ev.Info("task done", "job", hash, "task", task, "worker", r.Worker, "images", len(images), "bad", n,
		"seconds", math.Round(10*r.Seconds)/10)
}

// number is that of the task that an object is of.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".json"))
	return n, err == nil && n >= 0 && strings.HasSuffix(name, ".json")
}

package work

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
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
	done := map[int]Record{}
	for _, name := range names {
		task, is := number(name)
		if _, wanted := of[task]; !is || !wanted {
			continue
		}
		switch r, err := p.record(ctx, name, of[task]); {
		case errors.Is(err, fs.ErrNotExist): // it was damaged
		case err != nil:
			return nil, err
		default:
			done[task] = r
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

// number is that of the task that an object is of.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".json"))
	return n, err == nil && n >= 0 && strings.HasSuffix(name, ".json")
}

package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
)

// finished reads the records of those tasks that are done, out of some with their numbers of images: the record is
// there, and a block for each view.
func (b jobBucket) finished(ctx context.Context, hash string, j Job, x *feature.Extractor, of map[int]int) (
	map[int]Record, error) {
	tasks, err := b.recorded(ctx, hash, of)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	done := map[int]Record{}
	err = b.each(ctx, len(tasks), func(ctx context.Context, i int) error {
		r, err := b.record(ctx, object(hash, records, tasks[i]), of[tasks[i]])
		if errors.Is(err, fs.ErrNotExist) { // it was damaged
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		done[tasks[i]] = r
		return err
	})
	if err != nil {
		return nil, err
	}
	views := map[string]int{}
	groups := b.groups(maps.Keys(done), len(of))
	err = b.each(ctx, len(groups), func(ctx context.Context, i int) error {
		published, err := x.Published(ctx, "task-"+hash+"-"+groups[i], len(j.Keys))
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(views, published)
		return err
	})
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

// recorded lists which of some tasks have a record.
func (b jobBucket) recorded(ctx context.Context, hash string, of map[int]int) (tasks []int, err error) {
	groups := b.groups(maps.Keys(of), len(of))
	var mu sync.Mutex
	err = b.each(ctx, len(groups), func(ctx context.Context, i int) error {
		names, err := b.List(ctx, hash+"/"+records+"/"+groups[i])
		mu.Lock()
		defer mu.Unlock()
		for _, name := range names {
			task, is := number(name)
			if _, wanted := of[task]; is && wanted && b.group(task, len(of)) == groups[i] {
				tasks = append(tasks, task)
			}
		}
		return err
	})
	return tasks, err
}

// group is how the names of those tasks begin that are listed together with one, out of so many: a thousand where a
// list is a request for so many names, of which the others can be made meanwhile; all of them in a folder.
func (b jobBucket) group(task, of int) string {
	name := fmt.Sprintf("%06d", task)
	switch {
	case of == 1:
		return name
	case bucket.Remote(b.Bucket):
		return name[:len(name)-3]
	}
	return ""
}

// groups are those of some tasks, each once.
func (b jobBucket) groups(tasks iter.Seq[int], of int) []string {
	all := map[string]bool{}
	for task := range tasks {
		all[b.group(task, of)] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// record reads the record of a task of so many images. One that is damaged is set aside: then there is none.
func (b jobBucket) record(ctx context.Context, name string, images int) (r Record, err error) {
	for range 2 { // at first the copy on this machine may be damaged
		text, failed := b.read(ctx, name)
		if failed != nil {
			return Record{}, failed
		}
		r = Record{}
		if json.Unmarshal(text, &r) == nil && len(r.Images) == images {
			return r, nil
		}
		if err = b.SetAside(ctx, name); err == nil {
			return Record{}, fs.ErrNotExist
		}
	}
	return Record{}, fault.Data.Errorf("%s is damaged, and cannot be set aside: %w", b.Where(name), err)
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
	ev.Routine("task done", "job", hash, "task", task, "worker", r.Worker, "images", len(images), "bad", n,
		"seconds", math.Round(10*r.Seconds)/10)
}

// number is that of the task that an object is of.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".json"))
	return n, err == nil && n >= 0 && strings.HasSuffix(name, ".json")
}

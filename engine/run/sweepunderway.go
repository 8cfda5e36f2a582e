package run

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/par"
)

// ShareSweep goes on with a sweep that CreateSweep has readied the folder of: heads that other machines have finished,
// or that are in the finished sweep at that place, come into the folder, and of one that learns inside the backbone
// whichever checkpoint goes further. What an interrupted run has left there is kept under another name.
func (d Folder) ShareSweep(ctx context.Context, out *place.Output, takeOver bool, ev event.Events) (*UnderWay, error) {
	turn, err := out.Take(ctx, takeOver)
	if turn == nil {
		return nil, err
	}
	u := &UnderWay{dir: d, name: out.Name(), turn: turn, events: ev}
	left, err := turn.Left()
	if err == nil && left[state] != "" {
		left, err = nil, u.setAside(state)
	}
	if err == nil {
		err = u.gather(ctx, left)
	}
	if err == nil {
		err = turn.Put(grid, SweepFile.Path(d))
	}
	if err != nil {
		return nil, errors.Join(err, turn.Close())
	}
	u.start()
	if files, err := d.Present(); err == nil { // else it is said when the sweep is sealed
		for _, f := range files {
			if name := named(f); (isHead(name) || isHeadUnderWay(name)) && left[name] == "" {
				u.Saved(f)
			}
		}
	}
	return u, nil
}

// isHead and isHeadUnderWay say which files of a sweep others go on from, by their names under way.
func isHead(name string) bool         { return path.Ext(name) == ".json" }
func isHeadUnderWay(name string) bool { return path.Ext(name) == ".gob" }

// gather brings what machines have left, or what is in the finished sweep, into the folder where that has less.
func (u *UnderWay) gather(ctx context.Context, left map[string]string) error {
	there, err := u.finished()
	if err != nil {
		return err
	}
	maps.Copy(there, left)
	names := slices.Sorted(maps.Keys(there))
	errs := make([]error, len(names))
	err = par.For(ctx, len(names), gathered, func(i int) {
		name, url := names[i], there[names[i]]
		id := strings.TrimSuffix(name, path.Ext(name))
		head, begun := SweepHeadFile(id), SweepCheckpointFile(id)
		switch {
		case head.Exists(u.dir):
		case isHead(name):
			errs[i] = place.Download(url, head.Path(u.dir))
		case isHeadUnderWay(name) && there[named(head.File)] == "":
			errs[i] = u.further(url, begun)
		}
	})
	return errors.Join(append(errs, err)...)
}

// gathered is how many files are fetched at a time.
const gathered = 16

// finished are the URLs of the heads of the finished sweep at the place, by their names.
func (u *UnderWay) finished() (map[string]string, error) {
	heads := place.Dir(headFiles.Path(Folder(u.name)))
	entries, err := place.ReadDir(heads)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	there := map[string]string{}
	for _, e := range entries {
		if isHead(e.Name()) {
			there[e.Name()] = place.Join(heads, e.Name())
		}
	}
	return there, err
}

// further puts a checkpoint into the folder, unless that has one which goes at least as far.
func (u *UnderWay) further(url string, f Typed[*Checkpoint]) error {
	theirs := f
	theirs.Name = path.Join(path.Dir(f.Name), ".left-"+named(f.File))
	err := place.Download(url, theirs.Path(u.dir))
	if err == nil && u.dir.epochs(theirs) > u.dir.epochs(f) {
		return disk.Move(theirs.Path(u.dir), f.Path(u.dir))
	}
	return errors.Join(err, theirs.Delete(u.dir))
}

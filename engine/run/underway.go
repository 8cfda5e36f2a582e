package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// UnderWay is a run or a sweep that goes to an object store, where it leaves what it takes to go on on another machine:
// settings, checkpoints and, of a sweep, each head. That of one into a folder is nil, since the folder has them.
type UnderWay struct {
	dir    Folder
	name   string // as users know it
	turn   *place.Turn
	events event.Events

	mu    sync.Mutex
	fresh map[string]File // are to be put, by their names there
	saved chan struct{}   // there are some
	last  chan struct{}   // is closed when no more will come
	put   sync.WaitGroup
}

// named is the name that a file has there.
func named(f File) string { return path.Base(f.Name) }

// The names of what tells a run and a sweep from each other, and of what a run goes on from.
var settings, grid, state = named(ConfigFile.File), named(SweepFile.File), named(CheckpointFile.File)

// Share begins a run that Create has begun in the folder of an output. What an interrupted run has left there is kept
// under another name, unless another machine goes on with it.
func (d Folder) Share(ctx context.Context, out *place.Output, takeOver bool, ev event.Events) (*UnderWay, error) {
	turn, err := out.Take(ctx, takeOver)
	if turn == nil {
		return nil, err
	}
	u := &UnderWay{dir: d, name: out.Name(), turn: turn, events: ev}
	if err = u.setAside(state, grid); err == nil {
		err = turn.Put(settings, ConfigFile.Path(d))
	}
	if err != nil {
		return nil, errors.Join(err, turn.Close())
	}
	return u.start(), nil
}

// setAside keeps what an interrupted work has left there under another name, if one of some files is among it.
func (u *UnderWay) setAside(names ...string) error {
	return u.turn.SetAside(func(as string) {
		u.events.Info("what was interrupted here is kept", "run", u.name, "kept", as)
	}, names...)
}

// GoOn readies the folder of an output to go on with a run, of which another machine may have left more than there is
// here, and says in which folder it is now: of a run that is finished in the object store that is a copy. The run is
// nobody's on this machine then, and there is nothing to share.
func (d Folder) GoOn(ctx context.Context, out *place.Output, takeOver bool, ev event.Events) (u *UnderWay, at Folder,
	err error) {
	begun, err := out.Begun()
	done := false
	if err == nil && !begun {
		done, err = d.doneIn(out.Name())
	}
	switch {
	case err != nil:
		return nil, d, err
	case done:
		copied, err := place.Fetch(out.Name())
		return nil, Folder(copied), err
	case !begun && !ConfigFile.Exists(d):
		return nil, d, nothing(out.Name())
	}
	turn, err := out.Take(ctx, takeOver)
	if turn == nil {
		return nil, d, err
	}
	u = &UnderWay{dir: d, name: out.Name(), turn: turn, events: ev}
	if err := u.merge(); err != nil {
		return nil, d, errors.Join(err, turn.Close())
	}
	return u.start(), d, nil
}

// doneIn reports whether an object store has the finished run of which a folder has a part, or nothing.
func (d Folder) doneIn(url string) (bool, error) {
	if !place.IsURL(url) {
		return false, nil
	}
	if _, err := place.Stat(MetricsFile.Path(Folder(url))); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	theirs, err := place.Read(ConfigFile.Path(Folder(url)), ConfigFile.most())
	mine, missing := userfile.Read(ConfigFile.Path(d), ConfigFile.most())
	return errors.Is(missing, fs.ErrNotExist) || bytes.Equal(mine, theirs), err
}

func nothing(where string) error {
	return fault.Config.Errorf("resume: there is no run to go on with in %s (no %s)", where, ConfigFile.Name)
}

// merge leaves in the folder, and for others, whichever of the two goes further: what is here, or what machines have
// left.
func (u *UnderWay) merge() (err error) {
	if err := disk.MakeAll(filepath.Dir(CheckpointFile.Path(u.dir))); err != nil {
		return err
	}
	lock, err := u.dir.Lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	left := u.dir + ".left"
	if err := disk.MakeAll(filepath.Dir(CheckpointFile.Path(left))); err != nil {
		return err
	}
	defer left.remove()
	begun, err := u.turn.Fetch(settings, ConfigFile.Path(left))
	if err == nil && begun {
		_, err = u.turn.Fetch(state, CheckpointFile.Path(left))
	}
	if err != nil {
		return err
	}
	switch {
	case begun && !u.dir.further(left):
		err = u.dir.replace(left)
	case !begun && !ConfigFile.Exists(u.dir):
		err = nothing(u.name)
	}
	if err == nil {
		err = u.turn.Put(settings, ConfigFile.Path(u.dir))
	}
	if err == nil && CheckpointFile.Exists(u.dir) {
		err = u.turn.Put(state, CheckpointFile.Path(u.dir))
	}
	if err == nil {
		err = u.turn.Forget()
	}
	return err
}

// further reports whether a folder has the same run as another, and at least as much of it.
func (d Folder) further(than Folder) bool {
	mine, err := userfile.Read(ConfigFile.Path(d), ConfigFile.most())
	theirs, failed := userfile.Read(ConfigFile.Path(than), ConfigFile.most())
	if err != nil || failed != nil || !bytes.Equal(mine, theirs) {
		return false
	}
	if MetricsFile.Exists(d) {
		return true
	}
	return d.epochs(CheckpointFile) >= than.epochs(CheckpointFile)
}

// epochs is after how many a training was interrupted; -1 if it had not begun, or cannot be gone on with.
func (d Folder) epochs(f Typed[*Checkpoint]) int {
	c, err := f.Read(d)
	if err != nil || c == nil {
		return -1
	}
	return c.State.Epoch
}

// replace clears a folder and puts the settings and the checkpoint of another into it.
func (d Folder) replace(by Folder) error {
	err := d.Unseal()
	for _, f := range Files {
		if err == nil && f.Is&Run != 0 {
			err = f.Delete(d)
		}
	}
	for _, f := range []File{ConfigFile.File, CheckpointFile.File} {
		if err == nil && f.Exists(by) {
			err = disk.Move(f.Path(by), f.Path(d))
		}
	}
	return err
}

// remove removes a folder with what merge has put into it.
func (d Folder) remove() {
	for _, at := range []string{ConfigFile.Path(d), CheckpointFile.Path(d), filepath.Dir(CheckpointFile.Path(d)),
		string(d)} {
		_ = disk.Delete(at) // what stays is removed by the next one
	}
}

// putEvery is how often files are put, but for half of the time at most: a machine that is gone takes so much work with
// it.
const putEvery = 500 * time.Millisecond

// start begins to put files, of each of which the last content counts.
func (u *UnderWay) start() *UnderWay {
	u.saved, u.last, u.fresh = make(chan struct{}, 1), make(chan struct{}), map[string]File{}
	u.put.Go(func() {
		failed := false
		for range u.saved {
			begun := time.Now()
			u.mu.Lock()
			files := u.fresh
			u.fresh = map[string]File{}
			u.mu.Unlock()
			for name, f := range files {
				err := u.turn.Put(name, f.Path(u.dir))
				if errors.Is(err, fs.ErrNotExist) && !f.Exists(u.dir) { // a head was finished meanwhile
					continue
				}
				if err != nil && !failed && u.turn.Lost() == nil {
					u.events.Warn("what was done cannot be put into the object store; another machine would do it "+
						"again", "file", f.Name, "reason", err)
				}
				failed = err != nil
			}
			select {
			case <-time.After(max(putEvery, time.Since(begun))):
			case <-u.last:
			}
		}
	})
	return u
}

// Saved says that a file is new.
func (u *UnderWay) Saved(f File) {
	if u == nil {
		return
	}
	u.mu.Lock()
	u.fresh[named(f)] = f
	u.mu.Unlock()
	select {
	case u.saved <- struct{}{}:
	default: // some are to be put already, and this with them
	}
}

// Context is done when another machine takes the run over.
func (u *UnderWay) Context(ctx context.Context) context.Context {
	if u == nil {
		return ctx
	}
	return u.turn.Context()
}

// Settle waits for the last checkpoint to be put.
func (u *UnderWay) Settle() {
	if u != nil && u.saved != nil {
		close(u.last)
		close(u.saved)
		u.put.Wait()
		u.saved = nil
	}
}

// Close lets others go on with the run, and is the error of one that has been taken over: in place of err, which came
// of that.
func (u *UnderWay) Close(err error) error {
	if u == nil {
		return err
	}
	u.Settle()
	if lost := u.turn.Lost(); lost != nil {
		return lost
	}
	if failed := u.turn.Close(); failed != nil {
		return errors.Join(err, fmt.Errorf("let others go on: %w", failed))
	}
	return err
}

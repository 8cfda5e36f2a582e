package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/par"
)

// Rules say what goes. Without any, only what is of no use does: damaged blocks that were set aside, and what killed
// processes have left half written.
type Rules struct {
	All       bool
	OlderThan time.Duration // not used for so long; 0: no rule
	Backbone  string        // SHA-256 of a backbone, or how it begins: of its features alone
	Keep      *int64        // bytes that may stay: what was used longest ago goes first
	DryRun    bool          // only say what would go
}

// Pruned is what Prune did, or would do.
type Pruned struct {
	Path    string `json:"path"`
	Removed []Item `json:"removed"`
	Kept    []Item `json:"kept"` // what the rules would remove, and why it stays
	Freed   int64  `json:"freed"`
	DryRun  bool   `json:"dry_run"`

	of  *Contents
	now time.Time
}

// Item is a store, or files of a folder.
type Item struct {
	Path  string `json:"path"`
	What  string `json:"what"`
	Bytes int64  `json:"bytes"`
	Why   string `json:"why"`
}

// Prune removes what the rules say, and names it. What a process uses stays.
func Prune(ctx context.Context, dir string, r Rules) (*Pruned, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	c, err := list(ctx, dir)
	if err != nil {
		return nil, err
	}
	p := &Pruned{Path: c.Path, Removed: []Item{}, Kept: []Item{}, DryRun: r.DryRun, of: c, now: time.Now()}
	defer c.close()
	if far(c.Path) && !r.DryRun {
		if p.now, err = place.Clock(place.Join(c.Path, feature.StoreFolder)); err != nil {
			return nil, err
		}
	}
	return p, p.prune(ctx, r)
}

func (p *Pruned) prune(ctx context.Context, r Rules) error {
	if err := p.leftovers(ctx); err != nil {
		return err
	}
	c := p.of
	left := c.Bytes
	slices.Reverse(c.Stores) // what was used longest ago first
	for _, s := range c.Stores {
		if err := ctx.Err(); err != nil {
			return err
		}
		why := r.why(s, p.now, left)
		if why == "" {
			continue
		}
		item := Item{s.path, fmt.Sprintf("%d features of %s", s.Features, s.Describe()), s.Bytes, why}
		gone, err := p.store(ctx, item)
		if err != nil {
			return err
		}
		if gone {
			left -= s.Bytes
		}
	}
	if r.Backbone != "" {
		return nil
	}
	if err := p.jobs(ctx, r); err != nil {
		return err
	}
	for _, of := range []struct {
		what  string
		files Files
	}{{"copies of images", c.Copies}, {"notes of exported models", c.Exported}, {"scan index", c.Scan}} {
		if err := p.files(ctx, of.what, of.files, r); err != nil {
			return err
		}
	}
	return nil
}

// why is why a store goes; "" if it stays.
func (r Rules) why(s Store, now time.Time, left int64) string {
	of := strings.HasPrefix(s.sum(), r.Backbone)
	age := now.Sub(s.Used)
	switch {
	case !of:
	case r.All:
		return "everything goes"
	case r.OlderThan > 0 && age >= r.OlderThan:
		return fmt.Sprintf("last used %s", s.Used.Format(time.DateOnly))
	case r.Keep != nil && left > *r.Keep:
		return fmt.Sprintf("used longest ago, %s", s.Used.Format(time.DateOnly))
	case r.Backbone != "" && r.OlderThan == 0 && r.Keep == nil:
		return "of that backbone"
	}
	return ""
}

// sum is the SHA-256 of the file that the backbone is in, which may be a model.onnx.
func (s Store) sum() string {
	_, sum, exported := strings.Cut(s.Key.Backbone, " ")
	if !exported {
		sum = s.Key.Backbone
	}
	return sum
}

// Describe says to people what features these are.
func (s Store) Describe() string {
	name := s.Name
	if name == "" {
		name = fmt.Sprintf("%.12s…", s.sum())
	}
	view := s.Key.View
	if view == "" {
		view = "plain"
	}
	_, prepared, _ := strings.Cut(s.Key.Preprocess, " ") // after the decoder's version
	prepared, _, _ = strings.Cut(prepared, " mean ")
	return fmt.Sprintf("%s, %s, view %s, %s", name, s.Key.Feature, view, prepared)
}

// store removes a store unless it is in use, its key last: what is left of a removal that was killed is a store.
func (p *Pruned) store(ctx context.Context, item Item) (gone bool, err error) {
	lock, gone, err := p.hold(item)
	if lock == nil {
		return gone, err
	}
	defer lock.Close()
	if p.DryRun {
		p.gone(item)
		return true, nil
	}
	entries, err := read(item.Path)
	if err != nil {
		return false, err
	}
	if !far(item.Path) {
		_, _ = atomicfile.Clean(item.Path)
	}
	foreign := 0
	var ours []string
	for _, e := range entries {
		switch name := e.Name(); {
		case blocks.MatchString(name), asides.MatchString(name), far(item.Path) && index.MatchString(name):
			ours = append(ours, place.Join(item.Path, name))
		case far(item.Path) && name == bucket.Used:
		case name != keyFile && !strings.HasPrefix(name, "."):
			foreign++
		}
	}
	if err := p.removeAll(ctx, ours); err != nil {
		return false, err
	}
	if p.gone(item); foreign > 0 {
		p.Kept = append(p.Kept, Item{Path: item.Path, What: fmt.Sprintf("%d other files", foreign),
			Why: "not made by vitft"})
		return true, nil
	}
	if far(item.Path) {
		if _, used, err := p.lastUsed(item.Path); err != nil || p.now.Sub(used) < Safe { // it was begun anew
			return true, err
		}
		return true, p.removeAll(ctx, []string{place.Join(item.Path, keyFile), place.Join(item.Path, bucket.Used)})
	}
	if err := p.remove(ctx, filepath.Join(item.Path, keyFile)); err != nil {
		return true, err
	}
	_ = disk.Delete(item.Path) // somebody may have begun it anew
	return true, nil
}

// hold keeps others from a folder that is to be removed. There is no lock where it is in use, which is noted, or gone
// already.
func (p *Pruned) hold(item Item) (lock io.Closer, gone bool, err error) {
	if far(item.Path) {
		there, used, err := p.lastUsed(item.Path)
		if err != nil || !there {
			return nil, !there, err
		}
		if p.now.Sub(used) < Safe {
			item.Why = fmt.Sprintf("used less than %.0f hours ago, perhaps by a command that still runs", Safe.Hours())
			p.Kept = append(p.Kept, item)
			return nil, false, nil
		}
		return io.NopCloser(nil), false, nil
	}
	lock, err = atomicfile.Lock(item.Path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		item.Why = "in use"
		p.Kept = append(p.Kept, item)
		return nil, false, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, true, nil
	case err != nil:
		return nil, false, err
	}
	return lock, false, nil
}

func (p *Pruned) gone(item Item) {
	p.Removed = append(p.Removed, item)
	p.Freed += item.Bytes
}

// lastUsed is when something in a folder of an object store was last written, if there is anything.
func (p *Pruned) lastUsed(dir string) (there bool, used time.Time, err error) {
	defer place.Hold()()
	err = each(dir, func(_ string, info fs.FileInfo) {
		if there = true; info.ModTime().After(used) {
			used = info.ModTime()
		}
	})
	return there, used, err
}

// remove removes a file or an object; that another process has is as good.
func (p *Pruned) remove(ctx context.Context, path string) error {
	for _, b := range []bucket.Bucket{p.of.features, p.of.told} {
		if name, in := strings.CutPrefix(path, b.Where("")); in && far(path) {
			return b.Delete(ctx, name)
		}
	}
	if err := disk.Delete(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeAll removes many; when one cannot be removed the others stay.
func (p *Pruned) removeAll(ctx context.Context, paths []string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := par.For(ctx, len(paths), bucket.Together(p.of.features), func(i int) {
		if err := p.remove(ctx, paths[i]); err != nil {
			stop(err)
		}
	})
	return cmp.Or(context.Cause(ctx), err)
}

// files removes those that were made long enough ago. A size to keep concerns them no more than a backbone does, but
// that nothing is to be kept.
func (p *Pruned) files(ctx context.Context, what string, f Files, r Rules) error {
	item := Item{What: what, Why: "everything goes"}
	if !r.All {
		item.Why = "made " + r.OlderThan.String() + " ago, or longer"
	}
	n := 0
	for _, x := range f.paths {
		if !r.All && (r.OlderThan == 0 || p.now.Sub(x.at) < r.OlderThan) {
			continue
		}
		if !r.DryRun {
			if err := p.remove(ctx, x.path); err != nil {
				return err
			}
		}
		item.Path, item.Bytes = filepath.Dir(x.path), item.Bytes+x.bytes
		n++
	}
	if n > 0 {
		item.What = fmt.Sprintf("%d files: %s", n, what)
		p.gone(item)
	}
	return nil
}

// leftovers removes what is of no use to anybody.
func (p *Pruned) leftovers(ctx context.Context) error {
	var folders, deep []string
	for _, s := range p.of.Stores {
		folders = append(folders, s.path)
	}
	if !far(p.Path) {
		for _, of := range []string{feature.ScanFolder, feature.CopiesFolder, feature.ExportedFolder} {
			folders = append(folders, filepath.Join(p.Path, of))
		}
		deep = []string{feature.ObjectsFolder, feature.JobsFolder, feature.ModelsFolder}
	}
	for _, of := range deep {
		err := filepath.WalkDir(filepath.Join(p.Path, of), func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err == nil && d.IsDir():
				folders = append(folders, path)
			}
			return err
		})
		if err != nil {
			return fault.Data.Errorf("cache: %w", err)
		}
	}
	for _, dir := range folders {
		if !far(dir) {
			if err := p.half(dir); err != nil {
				return err
			}
		}
		var aside []string
		entries, err := read(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if asides.MatchString(e.Name()) {
				aside = append(aside, place.Join(dir, e.Name()))
			}
		}
		if err := p.each(ctx, aside, "damaged blocks", "they were set aside"); err != nil {
			return err
		}
	}
	return nil
}

// half removes files that were not written to their end, each while no writer can have it.
func (p *Pruned) half(dir string) error {
	item := Item{Path: dir, Why: "a killed process has left them"}
	names, err := atomicfile.Abandoned(dir, func(path string) error {
		if info, err := place.Stat(path); err == nil {
			item.Bytes += info.Size()
		}
		if p.DryRun {
			return nil
		}
		return disk.Delete(path)
	})
	if item.What = fmt.Sprintf("%d half-written files", len(names)); len(names) > 0 {
		p.gone(item)
	}
	if errors.Is(err, fs.ErrNotExist) { // there may be no such folder
		return nil
	}
	return err
}

// each removes files of one folder.
func (p *Pruned) each(ctx context.Context, paths []string, what, why string) error {
	if len(paths) == 0 {
		return nil
	}
	item := Item{Path: place.Dir(paths[0]), What: fmt.Sprintf("%d %s", len(paths), what), Why: why}
	for _, at := range paths {
		if info, err := place.Stat(at); err == nil {
			item.Bytes += info.Size()
		}
	}
	if !p.DryRun {
		if err := p.removeAll(ctx, paths); err != nil {
			return err
		}
	}
	p.gone(item)
	return nil
}

// validate refuses rules that contradict each other.
func (r Rules) validate() error {
	if r.All && (r.OlderThan > 0 || r.Keep != nil) {
		return fault.Config.Errorf("all, older-than, keep: everything goes, or what was not used lately; leave one out")
	}
	return nil
}

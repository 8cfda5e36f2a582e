package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
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
	c, err := List(ctx, dir)
	if err != nil {
		return nil, err
	}
	p := &Pruned{Path: dir, Removed: []Item{}, Kept: []Item{}, DryRun: r.DryRun}
	if err := p.leftovers(c, r); err != nil {
		return p, err
	}
	left := c.Bytes
	slices.Reverse(c.Stores) // what was used longest ago first
	for _, s := range c.Stores {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		why := r.why(s, left)
		if why == "" {
			continue
		}
		item := Item{s.path, fmt.Sprintf("%d features of %s", s.Features, s.Describe()), s.Bytes, why}
		gone, err := p.store(item, r.DryRun)
		if err != nil {
			return p, err
		}
		if gone {
			left -= s.Bytes
		}
	}
	if r.Backbone != "" {
		return p, nil
	}
	if err := p.jobsOf(c, r); err != nil {
		return p, err
	}
	for _, of := range []struct {
		what  string
		files Files
	}{{"copies of images", c.Copies}, {"notes of exported models", c.Exported}, {"scan index", c.Scan}} {
		if err := p.files(of.what, of.files, r); err != nil {
			return p, err
		}
	}
	return p, nil
}

// why is why a store goes; "" if it stays.
func (r Rules) why(s Store, left int64) string {
	of := strings.HasPrefix(s.sum(), r.Backbone)
	age := time.Since(s.Used)
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
func (p *Pruned) store(item Item, dry bool) (gone bool, err error) {
	lock, gone, err := p.hold(item)
	if lock == nil {
		return gone, err
	}
	defer lock.Close()
	if dry {
		p.gone(item)
		return true, nil
	}
	entries, err := read(item.Path)
	if err != nil {
		return false, err
	}
	_, _ = atomicfile.Clean(item.Path)
	foreign := 0
	for _, e := range entries {
		switch name := e.Name(); {
		case blocks.MatchString(name), asides.MatchString(name):
			if err := remove(filepath.Join(item.Path, name)); err != nil {
				return false, err
			}
		case name != keyFile && !strings.HasPrefix(name, "."):
			foreign++
		}
	}
	if p.gone(item); foreign > 0 {
		p.Kept = append(p.Kept, Item{Path: item.Path, What: fmt.Sprintf("%d other files", foreign),
			Why: "not made by vitft"})
		return true, nil
	}
	if err := remove(filepath.Join(item.Path, keyFile)); err != nil {
		return true, err
	}
	_ = disk.Delete(item.Path) // somebody may have begun it anew
	return true, nil
}

// hold keeps others from a folder that is to be removed. There is no lock where it is in use, which is noted, or gone
// already.
func (p *Pruned) hold(item Item) (lock io.Closer, gone bool, err error) {
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

// remove removes a file; that another process has is as good.
func remove(path string) error {
	if err := disk.Delete(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// files removes those that were made long enough ago. A size to keep concerns them no more than a backbone does, but
// that nothing is to be kept.
func (p *Pruned) files(what string, f Files, r Rules) error {
	item := Item{What: what, Why: "everything goes"}
	if !r.All {
		item.Why = "made " + r.OlderThan.String() + " ago, or longer"
	}
	n := 0
	for _, x := range f.paths {
		if !r.All && (r.OlderThan == 0 || time.Since(x.at) < r.OlderThan) {
			continue
		}
		if !r.DryRun {
			if err := remove(x.path); err != nil {
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
func (p *Pruned) leftovers(c *Contents, r Rules) error {
	folders := []string{feature.ScanFolder, feature.CopiesFolder, feature.ExportedFolder}
	for i := range folders {
		folders[i] = filepath.Join(c.Path, folders[i])
	}
	for _, s := range c.Stores {
		folders = append(folders, s.path)
	}
	for _, of := range []string{feature.ObjectsFolder, feature.JobsFolder, feature.ModelsFolder} {
		err := filepath.WalkDir(filepath.Join(c.Path, of), func(path string, d fs.DirEntry, err error) error {
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
		names, _ := atomicfile.Abandoned(dir) // there may be no such folder
		what, why := "half-written files", "a killed process has left them"
		if err := p.each(dir, names, what, why, r.DryRun); err != nil {
			return err
		}
		entries, err := read(dir)
		if err != nil {
			return err
		}
		names = nil
		for _, e := range entries {
			if asides.MatchString(e.Name()) {
				names = append(names, e.Name())
			}
		}
		if err := p.each(dir, names, "damaged blocks", "they were set aside", r.DryRun); err != nil {
			return err
		}
	}
	return nil
}

// each removes files of a folder.
func (p *Pruned) each(dir string, names []string, what, why string, dry bool) error {
	item := Item{Path: dir, What: fmt.Sprintf("%d %s", len(names), what), Why: why}
	for _, name := range names {
		at := filepath.Join(dir, name)
		if info, err := os.Lstat(at); err == nil {
			item.Bytes += info.Size()
		}
		if !dry {
			if err := remove(at); err != nil {
				return err
			}
		}
	}
	if len(names) > 0 {
		p.gone(item)
	}
	return nil
}

// validate refuses rules that contradict each other.
func (r Rules) validate() error {
	if r.All && (r.OlderThan > 0 || r.Keep != nil) {
		return fault.Config.Errorf("all, older-than, keep: everything goes, or what was not used lately; leave one out")
	}
	return nil
}

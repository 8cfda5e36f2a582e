package models

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func (s *session) pull(ctx context.Context, b Backbone, r ref, asked string) (Pulled, error) {
	commit, files, err := s.tree(ctx, r)
	if err != nil {
		return Pulled{}, err
	}
	if r.file == "" {
		if r.file, err = chooseFile(r.repository, files); err != nil {
			return Pulled{}, err
		}
		b = unregistered(r)
	} else if !slices.Contains(files, r.file) {
		return Pulled{}, fmt.Errorf("%w: %s has no file %s; see %s", ErrUnknown, r.repository, r.file,
			s.endpoint.JoinPath(r.repository, "tree", commit))
	}
	var wanted []remote
	for _, name := range append([]string{r.file}, companions(r.file, files)...) {
		f, err := s.describe(ctx, r, commit, name)
		if err != nil {
			return Pulled{}, err
		}
		wanted = append(wanted, f)
	}
	if err := s.checkPins(b, r, commit, wanted, asked); err != nil {
		return Pulled{}, err
	}
	pulled := map[string]pin{}
	for _, f := range wanted {
		size, err := s.fetch(ctx, r, commit, f)
		if err != nil {
			return Pulled{}, err
		}
		pulled[f.name] = pin{f.digest, size, commit}
	}
	if s.cachedCommit(r) != commit { // which other programs want to know
		if err := replace(s.path(r, "refs", r.revision), strings.NewReader(commit)); err != nil {
			return Pulled{}, fmt.Errorf("noting the commit of %s: %w", r, err)
		}
	}
	if err := s.pins.add(ctx, r, pulled); err != nil {
		return Pulled{}, fmt.Errorf("pinning digests: %w", err)
	}
	return s.find(b, r, asked, trust)
}

func (s *session) checkPins(b Backbone, r ref, commit string, offered []remote, asked string) error {
	if want := digest(b.SHA256); want != "" && offered[0].digest != want {
		return fmt.Errorf("%w: %s is %v at commit %s, but this program knows %s as %v; it was replaced there, do not "+
			"use it unseen",
			ErrChanged, r, offered[0].digest, commit, b.Name, want)
	}
	if s.Update {
		return nil
	}
	known, err := s.pins.load()
	if err != nil {
		return err
	}
	for _, f := range offered {
		if p, is := known[pinKey(r)][f.name]; is && p.Digest != f.digest {
			plain, _, _ := cutRevision(asked)
			return fmt.Errorf("%w: %s of %s was %v (commit %s) when it was pulled first and is %v (commit %s) now; "+
				"`vitft models pull %s --update` takes the new one, `vitft models pull %s@%s` the old one",
				ErrChanged, f.name, r.repository, p.Digest, p.Commit, f.digest, commit, asked, plain, p.Commit)
		}
	}
	return nil
}

// fetch makes a file part of the snapshot of a commit, loading it if need be, and returns its size.
func (s *session) fetch(ctx context.Context, r ref, commit string, f remote) (int64, error) {
	blob, path := s.path(r, "blobs", string(f.digest)), s.path(r, "snapshots", commit, f.name)
	locked := filepath.Join(s.Cache, ".locks", folderName(r.repository), string(f.digest)+".lock")
	unlock, err := lock(ctx, locked, func() { s.Note(f.name + ": waiting for another process that loads it") })
	if err != nil {
		return 0, err
	}
	defer unlock()
	whole := path // without links the hub's own client keeps a content in the snapshot only
	there, err := f.digest.matches(ctx, path)
	if err != nil || !there {
		whole = blob
		there, err = f.digest.matches(ctx, blob)
	}
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("checking %s in the cache: %w", f.name, err)
	case !there:
		if err := s.download(ctx, r, f, blob); err != nil {
			return 0, err
		}
	}
	if whole == blob {
		if err := s.place(ctx, blob, path, f.digest); err != nil {
			return 0, fmt.Errorf("placing %s in the cache: %w", f.name, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func trust(digest, string) (bool, error) { return true, nil }

// find looks the backbone up in the cache, at the pinned commit or else at the one that another program loaded. Files
// that were pulled are checked.
func (s *session) find(b Backbone, r ref, asked string, check func(digest, string) (bool, error)) (Pulled, error) {
	known, err := s.pins.load()
	if err != nil {
		return Pulled{}, err
	}
	pinned := known[pinKey(r)]
	missing := func(why string) error {
		if s.Offline {
			why += "; offline mode is on, so switch it off first"
		}
		return fmt.Errorf("%w: %s%s; `vitft models pull %s` brings it", ErrNotPulled, asked, why, asked)
	}
	commit := s.cachedCommit(r)
	if r.file == "" {
		if r.file, err = s.chooseCached(r, pinned, commit); err != nil {
			return Pulled{}, missing(": no ONNX file of it was chosen yet")
		}
		b = unregistered(r)
	}
	if p, is := pinned[r.file]; is {
		commit = p.Commit
	}
	if commit == "" {
		return Pulled{}, missing("")
	}
	var here []string
	root := s.path(r, "snapshots", commit)
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, _ fs.DirEntry, err error) error {
		here = append(here, name)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Pulled{}, fmt.Errorf("reading the cache: %w", err)
	}
	if !slices.Contains(here, r.file) {
		return Pulled{}, missing("")
	}
	names := append([]string{r.file}, companions(r.file, here)...)
	for name, p := range pinned {
		if p.Commit == commit && slices.Contains(companions(r.file, []string{name}), name) &&
			!slices.Contains(names, name) {
			return Pulled{}, missing(": " + name + " is missing in the cache")
		}
	}
	found := Pulled{Backbone: b, Commit: commit, Path: s.path(r, "snapshots", commit, r.file)}
	for _, name := range names {
		path := s.path(r, "snapshots", commit, name)
		info, err := os.Stat(path)
		if err != nil {
			return Pulled{}, missing(": " + name + " in the cache leads nowhere")
		}
		file := File{Name: name, Path: path, Size: info.Size()}
		if p, is := pinned[name]; is && p.Commit == commit {
			file.Digest = p.Digest.String()
			if p.Size != file.Size {
				return Pulled{}, fmt.Errorf("%w: %s has %d bytes, but %d were pulled; `vitft models pull %s` mends it",
					ErrCorrupt, path, file.Size, p.Size, asked)
			}
			if whole, err := check(p.Digest, path); err != nil {
				return Pulled{}, fmt.Errorf("checking %s: %w", path, err)
			} else if !whole {
				return Pulled{}, fmt.Errorf("%w: %s is not %v any more; `vitft models pull %s` online mends it",
					ErrCorrupt, path, p.Digest, asked)
			}
		}
		if filepath.Base(name) == configFile {
			found.Config = path
		}
		found.Files = append(found.Files, file)
	}
	return found, nil
}

// chooseCached is chooseFile for what is there of a repository.
func (s *session) chooseCached(r ref, pinned map[string]pin, commit string) (string, error) {
	files := slices.Sorted(maps.Keys(pinned))
	if len(files) == 0 && commit != "" {
		files = slices.DeleteFunc(slices.Clone(usualFiles), func(usual string) bool {
			_, err := os.Stat(s.path(r, "snapshots", commit, usual))
			return err != nil
		})
	}
	return chooseFile(r.repository, files)
}

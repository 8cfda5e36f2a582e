package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/vitft/vitft/internal/userfile"
)

// pin is what a file of a repository was when it was pulled first.
type pin struct {
	Digest digest `json:"digest"`
	Size   int64  `json:"size"`
	Commit string `json:"commit"` // in whose snapshot the file lies
}

// pins has the pinned files of OWNER/NAME@REVISION by their path there.
type pins map[string]map[string]pin

const pinFormat = 1

type pinDocument struct {
	Version      int  `json:"version"`
	Repositories pins `json:"repositories"`
}

func pinKey(r ref) string { return r.repository + "@" + r.revision }

// models lists the ONNX files that are pinned, in order.
func (p pins) models() []ref {
	var list []ref
	for key, files := range p {
		repository, revision, _ := cutRevision(key)
		for name := range files {
			if path.Ext(name) == ".onnx" {
				list = append(list, ref{repository, name, revision})
			}
		}
	}
	slices.SortFunc(list, func(a, b ref) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// pinFile is the file of pins, shared by the processes of a user.
type pinFile string

// load reads the pins; there are none before the first pull.
func (f pinFile) load() (pins, error) {
	text, err := userfile.Read(string(f), userfile.Text)
	if errors.Is(err, fs.ErrNotExist) {
		return pins{}, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the pinned digests: %w", err)
	}
	return parsePins(string(f), text)
}

func parsePins(path string, text []byte) (pins, error) {
	var d pinDocument
	err := json.Unmarshal(text, &d)
	if err == nil && d.Version != pinFormat {
		err = fmt.Errorf("version %d, not %d", d.Version, pinFormat)
	}
	for key, files := range d.Repositories {
		r, refErr := parseRef(key)
		if err == nil && (refErr != nil || r.file != "" || pinKey(r) != key) {
			err = fmt.Errorf("%q is no repository and revision", key)
		}
		for name, p := range files {
			right := isRepositoryPath(name) && p.Size >= 0 && commitName.MatchString(p.Commit) && p.Digest != ""
			if err == nil && !right {
				err = fmt.Errorf("the entry of %q in %q is not right", name, key)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the pinned digests in %s: %w; mend the file, or delete it to trust the hub anew",
			ErrCorrupt, path, err)
	}
	if d.Repositories == nil {
		d.Repositories = pins{}
	}
	return d.Repositories, nil
}

// add pins files of a repository; a pull at the same time loses nothing.
func (f pinFile) add(ctx context.Context, r ref, files map[string]pin) error {
	unlock, err := lock(ctx, string(f)+".lock", func() {})
	if err != nil {
		return err
	}
	defer unlock()
	all, err := f.load()
	if err != nil {
		return err
	}
	if all[pinKey(r)] == nil {
		all[pinKey(r)] = map[string]pin{}
	}
	maps.Copy(all[pinKey(r)], files)
	text, err := json.MarshalIndent(pinDocument{pinFormat, all}, "", "  ")
	if err != nil {
		return err
	}
	return replace(string(f), bytes.NewReader(append(text, '\n')))
}

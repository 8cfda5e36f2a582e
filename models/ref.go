package models

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const mainRevision = "main"

// configFile is where Hugging Face keeps a model's preprocessing.
const configFile = "preprocessor_config.json"

// otherConfigs are where it is else: in transformers 5 for models of images and text, of timm, of open_clip.
var otherConfigs = []string{"processor_config.json", "config.json", "open_clip_config.json"}

var (
	repositoryName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	revisionName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`)
	commitName     = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ref is an ONNX file of a repository on the hub at a revision.
type ref struct {
	repository string // OWNER/NAME
	file       string // path in it; empty: the one that chooseFile finds
	revision   string // branch, tag or commit
}

// IsName reports whether Find can look name up: that of a registered backbone or OWNER/REPOSITORY[:FILE], each with
// @REVISION or without. A path such as models/vit has that form, too; what exists as a file is better taken as one.
func IsName(name string) bool {
	_, _, err := named(name)
	return !errors.Is(err, ErrUnknown)
}

// parseRef reads OWNER/REPOSITORY[:FILE][@REVISION].
func parseRef(name string) (ref, error) {
	bad := func(what string) (ref, error) {
		return ref{}, fmt.Errorf("%w: %q is not OWNER/REPOSITORY[:FILE][@REVISION]: %s", ErrUnknown, name, what)
	}
	rest, revision, has := cutRevision(name)
	if !has {
		revision = mainRevision
	}
	if !revisionName.MatchString(revision) || !isRepositoryPath(revision) {
		return bad("the revision is no branch, tag or commit")
	}
	repository, file, has := strings.Cut(rest, ":")
	if !repositoryName.MatchString(repository) || strings.Contains(repository, "..") ||
		strings.Contains(repository, "--") || len(repository) > 200 {
		return bad("the hub has no repository of such a name")
	}
	if has && (!isRepositoryPath(file) || path.Ext(file) != ".onnx") {
		return bad("the file is no path of an .onnx file in a repository")
	}
	return ref{repository, file, revision}, nil
}

func cutRevision(name string) (rest, revision string, has bool) {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[:i], name[i+1:], true
	}
	return name, "", false
}

// String is r in the form that parseRef reads.
func (r ref) String() string {
	s := r.repository
	if r.file != "" {
		s += ":" + r.file
	}
	if r.revision != mainRevision {
		s += "@" + r.revision
	}
	return s
}

// isRepositoryPath reports whether a path from outside names something inside a repository, and so inside the snapshot
// folder it is kept in.
func isRepositoryPath(name string) bool {
	return name != "." && name == path.Clean(name) && filepath.IsLocal(filepath.FromSlash(name)) && len(name) <= 512 &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f })
}

// usualFiles is where repositories keep the image encoder, best first. Where text and image encoders are published,
// model.onnx is both in one.
var usualFiles = []string{"onnx/vision_model.onnx", "vision_model.onnx", "onnx/model.onnx", "model.onnx"}

// chooseFile finds the ONNX file that is meant by a repository's name alone.
func chooseFile(repository string, files []string) (string, error) {
	for _, usual := range usualFiles {
		if slices.Contains(files, usual) {
			return usual, nil
		}
	}
	found := slices.DeleteFunc(slices.Clone(files), func(name string) bool { return path.Ext(name) != ".onnx" })
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %s has no ONNX file; look for an ONNX export of it on the hub, or export it "+
			"yourself", ErrUnknown, repository)
	case 1:
		return found[0], nil
	}
	const most = 12
	list := repository + ":" + strings.Join(found[:min(most, len(found))], ", "+repository+":")
	if len(found) > most {
		list += ", …"
	}
	return "", fmt.Errorf("%w: %s has several ONNX files; choose one: %s", ErrUnknown, repository, list)
}

// companions are the files that belong to an ONNX file: its external data beside it (model.onnx_data,
// model.onnx_data_1, …, model.onnx.data), and the nearest preprocessor_config.json at or above it, or else the nearest
// of what may stand for it.
func companions(file string, files []string) []string {
	var found []string
	for _, name := range files {
		if strings.HasPrefix(name, file+"_data") && path.Dir(name) == path.Dir(file) || name == file+".data" {
			found = append(found, name)
		}
	}
	nearest := func(names ...string) (list []string) {
		for dir := path.Dir(file); ; dir = path.Dir(dir) {
			for _, name := range names {
				if name = path.Join(dir, name); slices.Contains(files, name) {
					list = append(list, name)
				}
			}
			if len(list) > 0 || dir == "." || dir == "/" {
				return list
			}
		}
	}
	config := nearest(configFile)
	if config == nil {
		config = nearest(otherConfigs...)
	}
	return append(found, config...)
}

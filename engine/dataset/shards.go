package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagename"
)

// readShards reads files of images as one set. They are of one kind.
func (r *reading) readShards(paths []string) error {
	kind := kindOf(paths[0])
	if kind == nil {
		return fmt.Errorf("%s is no file of images: give .parquet, .tar or .zip", paths[0])
	}
	for _, path := range paths {
		if kindOf(path) != kind {
			return fmt.Errorf("files of two kinds, %s and %s: name those of one", paths[0], path)
		}
	}
	a := archives{reading: r}
	for _, path := range paths {
		f, err := newFile(path)
		if err == nil {
			err = kind.read(&a, f)
		}
		if err != nil {
			return in(path, err)
		}
		a.read++
	}
	a.report()
	if a.numbered && r.classes == nil {
		return r.nameNumbers(filepath.Dir(paths[0]))
	}
	return nil
}

// mostShards is how many files braces may stand for.
const mostShards = 100_000

// expand is the names that a name with braces stands for, as the shell expands them: {000..012} and {a,b}. It is none
// for a name without any, and for one that exists.
func expand(name string) ([]string, error) {
	if _, err := os.Lstat(name); err == nil || !strings.ContainsRune(name, '{') {
		return nil, nil
	}
	done, names := []string{""}, []string(nil)
	for rest := name; ; {
		before, after, found := strings.Cut(rest, "{")
		inside, after, closed := strings.Cut(after, "}")
		if !found || !closed {
			before, found = rest, false
		}
		words := []string{""}
		if found {
			words = strings.Split(inside, ",")
			if first, last, is := strings.Cut(inside, ".."); is && len(words) == 1 {
				var err error
				if words, err = counted(first, last); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		if len(done)*len(words) > mostShards {
			return nil, fmt.Errorf("%s stands for more than %d files", name, mostShards)
		}
		names = names[:0]
		for _, d := range done {
			for _, w := range words {
				names = append(names, d+before+w)
			}
		}
		if !found {
			return names, nil
		}
		done, rest = slices.Clone(names), after
	}
}

// counted are the numbers from first to last, of as many digits as they have.
func counted(first, last string) ([]string, error) {
	from, err := strconv.ParseUint(first, 10, 31)
	to, fault := strconv.ParseUint(last, 10, 31)
	if err != nil || fault != nil || to < from {
		return nil, fmt.Errorf("{%s..%s} is no range of numbers", first, last)
	}
	if to-from >= mostShards {
		return nil, fmt.Errorf("{%s..%s} stands for more than %d files", first, last, mostShards)
	}
	width := 0
	if first[0] == '0' || last[0] == '0' {
		width = max(len(first), len(last))
	}
	words := make([]string, 0, to-from+1)
	for n := from; n <= to; n++ {
		words = append(words, fmt.Sprintf("%0*d", width, n))
	}
	return words, nil
}

// shards are files of images in a folder, by the part of a data set that they are of; that without a name if their
// names say none.
type shards struct {
	files  map[string][]string
	passed []string // files of images that are of no part where others are
}

// Parts are the parts, "train", "val" or "test", that a folder of files of images has; none if it is no such folder,
// or one whose files do not say.
func Parts(folder string) ([]string, error) {
	s, err := shardsIn(folder)
	var parts []string
	for _, part := range []string{"train", "val", "test"} {
		if s.files[part] != nil {
			parts = append(parts, part)
		}
	}
	return parts, err
}

// shardsIn looks for files of images where they are put: in the folder, in its folder data, in folders named as parts,
// in a folder that is its only one. Class folders go before: a folder with images in folders has no shards but those in
// data and in parts.
func shardsIn(dir string) (shards, error) { return shardsBelow(dir, 0) }

func shardsBelow(dir string, depth int) (shards, error) {
	s := shards{files: map[string][]string{}}
	files, folders, err := list(dir)
	if err != nil {
		return s, err
	}
	images := false
	for _, f := range folders {
		sub := filepath.Join(dir, f.Name())
		images = images || hasImages(sub, 0)
		if part := partOf(f.Name()); part != "" || f.Name() == "data" {
			inside, _, err := list(sub)
			if err != nil {
				return s, err
			}
			if !slices.ContainsFunc(inside, imagename.Is) {
				s.add(sub, part, inside)
			}
		}
	}
	if len(s.files) == 0 && !images {
		s.add(dir, "", files)
	}
	if len(s.files) == 0 && !images && len(folders) == 1 && depth < deepest {
		return shardsBelow(filepath.Join(dir, folders[0].Name()), depth+1)
	}
	if len(s.files) > 1 { // what says nothing is not meant where others say something
		s.passed = s.files[""]
		delete(s.files, "")
	}
	return s, nil
}

// add adds the files of images among names, to the part or to those that their names say.
func (s *shards) add(dir, part string, names []string) {
	for _, name := range names {
		if kind := kindOf(name); kind == nil || slices.Contains(kind.ends, ".bin") {
			continue
		}
		of := part
		if of == "" {
			of = partOfFile(name)
		}
		s.files[of] = append(s.files[of], filepath.Join(dir, name))
	}
}

// deepest is how far below a folder is looked: links may go round in circles.
const deepest = 4

// hasImages reports whether there are images in a folder or not far below it.
func hasImages(dir string, depth int) bool {
	files, folders, err := list(dir)
	if err != nil || depth > deepest || slices.ContainsFunc(files, imagename.Is) {
		return err == nil && depth <= deepest
	}
	return slices.ContainsFunc(folders, func(f fs.FileInfo) bool {
		return hasImages(filepath.Join(dir, f.Name()), depth+1)
	})
}

// readShardFolder reads the files of the set's part.
func (r *reading) readShardFolder(s shards) error {
	if all := s.files[""]; all != nil {
		return r.readShards(all)
	}
	parts := make([]string, 0, len(s.files))
	for _, part := range []string{"train", "val", "test"} {
		if s.files[part] != nil {
			parts = append(parts, part)
		}
	}
	chosen, err := r.choose(parts)
	if err != nil {
		return err
	}
	if len(parts) > 1 {
		r.find(ChosenPart, []string{chosen}, "of the parts %s in %s one is used", strings.Join(parts, ", "), r.source)
	}
	r.find(IgnoredFiles, s.passed, "%d files in %s are of no part by their names", len(s.passed), r.source)
	return r.readShards(s.files[chosen])
}

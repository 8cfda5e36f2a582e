package dataset

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
)

// readShards reads files of images as one set. They are of one kind.
func (r *reading) readShards(paths []string) error {
	kind := kindOf(paths[0])
	for _, path := range paths {
		if kindOf(path) != kind {
			return fmt.Errorf("files of two kinds, %s and %s: name those of one", paths[0], path)
		}
	}
	a := archives{reading: r}
	for _, path := range paths {
		f, err := newFile(path)
		if err == nil {
			err = f.or(kind.read(&a, f))
		}
		if err != nil {
			return in(path, err)
		}
		a.read++
	}
	if err := a.ofPart(); err != nil {
		return err
	}
	a.report()
	for _, beside := range []string{paths[0], place.Dir(paths[0])} { // there, or in the folder above
		if a.numbered && r.classes == nil {
			if err := r.nameClasses(beside); err != nil {
				return err
			}
		}
	}
	return nil
}

// mostShards is how many files braces may stand for.
const mostShards = 100_000

// expand is the names that a name with braces stands for, as the shell expands them: {000..012} and {a,b}. It is none
// for a name without any, and for one that exists.
func expand(name string) ([]string, error) {
	if !strings.ContainsRune(name, '{') || exists(name) {
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
				if words, err = upTo(first, last); err != nil {
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

// upTo are the numbers from first to last, of as many digits as they have.
func upTo(first, last string) ([]string, error) {
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

// shards are files of images in a folder, by the part of a data set that their names say; that without a name if they
// say none.
type shards map[string][]string

// shards are the files of images in a folder: in itself, in its folder data, or in the only folder in it, as data sets
// on the Hugging Face hub have them. They are nil where images lie in folders, beside which archives may lie about;
// beside data only where those are class folders.
func (c *contents) shards() shards {
	data := slices.ContainsFunc(c.folders, func(f fs.FileInfo) bool { return f.Name() == "data" })
	if data {
		if s := shardsIn(place.Join(c.dir, "data")); s != nil && c.imageFolders(2) < 2 { // else it may be a class
			return s
		}
	}
	if s := shardsOf(c); s != nil && c.imageFolders(1) == 0 {
		return s
	}
	if len(c.folders) == 1 && !data {
		return shardsIn(place.Join(c.dir, c.folders[0].Name()))
	}
	return nil
}

// shardsIn are those in a folder itself, if it has no images.
func shardsIn(dir string) shards {
	c, err := contentsOf(dir)
	if err != nil {
		return nil
	}
	return shardsOf(c)
}

func shardsOf(c *contents) shards {
	if slices.ContainsFunc(c.files, imagepath.Is) {
		return nil
	}
	var s shards
	for _, name := range c.files {
		kind := kindOf(name)
		if kind == "" || kind == cifarKind || name == "metadata.parquet" {
			continue
		}
		if s == nil {
			s = shards{}
		}
		part := listedRole(name)
		s[part] = append(s[part], place.Join(c.dir, name))
	}
	return s
}

// parts are the parts of a data set whose files are in a folder, all of which the folder is the source of; nil if their
// names say none.
func (s shards) parts(dir string) parts {
	var p parts
	for _, part := range order {
		if s[part] == nil {
			continue
		}
		if p == nil {
			p = parts{}
		}
		p[part] = dir
	}
	return p
}

// withoutLabels reports whether the files of a part in a folder have no labels, as those for tests on the hub often do.
func withoutLabels(dir, part string) bool {
	c, err := contentsOf(dir)
	if err != nil {
		return false
	}
	files := c.shards()[part]
	return len(files) > 0 && unlabelled(files[0])
}

// readShardFolder reads the files of the set's part.
func (r *reading) readShardFolder(s shards) error {
	files, unnamed := s[r.part], s[""]
	if len(s) == 1 && unnamed != nil {
		files, unnamed = unnamed, nil
	}
	if files == nil {
		return fmt.Errorf("it has no part for %s, but for %s: to use one all the same, name its files", r.part,
			some(slices.Sorted(maps.Keys(s))))
	}
	if len(s) > 1 {
		r.selected = true
		r.find(TakenPart, files, "of the data set in %s one part is read", r.source)
	}
	for _, part := range []string{val, test} {
		if others := s[part]; r.part == train && others != nil && unlabelled(others[0]) {
			r.find(NotAPart, others, "images for %s in %s have no labels, and are no part of it", part, r.source)
		}
	}
	r.find(IgnoredFiles, unnamed, "%d files in %s are of no part by their names", len(unnamed), r.source)
	lost := missing(files)
	r.find(MissingFiles, lost, "%d files of %s are not there, as the names of the others say, and their images are "+
		"left out", len(lost), r.source)
	return r.readShards(files)
}

// numberedFile is how files of a data set of several are called: train-00003-of-00010.parquet.
var numberedFile = regexp.MustCompile(`^(.*-)(\d{1,6})(-of-)(\d{1,6})(\D.*)$`)

// missing are the names of files that are not among those that the names of the others number.
func missing(paths []string) (lost []string) {
	there, seen := map[string]bool{}, map[string]bool{}
	for _, path := range paths {
		there[path] = true
	}
	for _, path := range paths {
		m := numberedFile.FindStringSubmatch(path)
		if m == nil || seen[m[1]+m[4]+m[5]] {
			continue
		}
		seen[m[1]+m[4]+m[5]] = true
		all, _ := strconv.Atoi(m[4]) // of digits, few enough
		for i := range all {
			name := fmt.Sprintf("%s%0*d%s%s%s", m[1], len(m[2]), i, m[3], m[4], m[5])
			if !there[name] {
				lost = append(lost, name)
			}
			if len(lost) == mostShards {
				return lost
			}
		}
	}
	return lost
}

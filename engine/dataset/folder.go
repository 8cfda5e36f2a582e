package dataset

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
)

// readFolder reads a folder of class folders, of files of images, with a list of its images, or of the parts of a data
// set.
func (r *reading) readFolder() error {
	c, err := contentsOf(r.source)
	if err != nil {
		return err
	}
	p, found, err := c.parts()
	r.findings = append(r.findings, found...)
	switch {
	case err != nil:
		return err
	case p != nil && p[r.part] == "":
		return p.lacks(r.part)
	case p != nil && p[r.part] != r.source:
		r.find(TakenPart, []string{p[r.part]}, "of the data set in %s one part is read", r.source)
		r.source = p[r.part]
		return r.read()
	}
	if m := c.metadata(); m != "" {
		if c.imageFolders(2) > 1 {
			r.find(NotAPart, []string{m}, "folders of %s are no classes, as a list in it has the labels", r.source)
		}
		return r.readList(m)
	}
	idx := slices.DeleteFunc(slices.Clone(c.files), func(name string) bool { return !isIDXImages(name) })
	if len(c.folders) == 0 && len(idx) > 0 {
		return r.readIDXFolder(idx)
	}
	if cifar, err := r.cifarFiles(c); err != nil {
		return err
	} else if len(cifar) > 0 {
		return r.readShards(cifar)
	}
	if s := c.shards(); s != nil {
		return r.readShardFolder(s)
	}
	folders := 0 // with images
	if r.part == train || p != nil {
		folders = 1 // which is no training set by itself, and no part of what a list says
	}
	if list := c.onlyList(folders); list != "" {
		r.find(ListForm, []string{list}, "of the images in %s a list has the labels", r.source)
		return r.readList(list)
	}
	if len(c.folders) == 0 {
		return fmt.Errorf("no class folders in it (%s): put the images of each class into a folder of the class's "+
			"name%s", c.summary(), c.listsHint())
	}
	return r.readClasses(c)
}

// readClasses reads the images in class folders.
func (r *reading) readClasses(c *contents) error {
	f := folder{reading: r, system: c.system}
	infos := map[string]fs.FileInfo{}
	for _, class := range c.folders {
		infos[class.Name()] = class
	}
	r.classes = sortedLabels(infos)
	for _, class := range r.classes {
		if err := f.walk(place.Join(r.source, class), class, []fs.FileInfo{infos[class]}); err != nil {
			return err
		}
	}
	stray := make([]string, len(c.files))
	for i, name := range c.files {
		stray[i] = place.Join(r.source, name)
	}
	var why []string
	if len(stray) > 0 {
		why = append(why, fmt.Sprintf("in no class folder (%s)", counted(stray, extension)))
	}
	if len(f.ignored) > 0 {
		why = append(why, fmt.Sprintf("no images by their extension (%s)", counted(f.ignored, extension)))
	}
	if len(r.samples) == 0 {
		return fmt.Errorf("no images: %s; images end in %s: convert them%s", strings.Join(append(why,
			fmt.Sprintf("%d class folders without images", len(r.classes))), ", "),
			strings.Join(imagepath.Extensions, " "), c.listsHint())
	}
	r.find(NotAPart, r.inAll(), "all class folders of %s hold the same folders: if those are the classes, name one of "+
		"the folders that they are in", r.source)
	r.find(IgnoredFiles, append(stray, f.ignored...), "%d files in %s are %s", len(stray)+len(f.ignored), r.source,
		strings.Join(why, " or "))
	r.find(SystemFiles, f.system, "%d hidden files, or files and folders of the system, in %s are passed over (%s)",
		len(f.system), r.source, counted(f.system, ofSystem))
	r.find(SkippedLink, f.loops, "%d links in %s lead back to a folder above them", len(f.loops), r.source)
	return nil
}

// inAll are the folders that are in each of the class folders, if no others are and those are several.
func (r *reading) inAll() []string {
	inside := map[string]map[string]bool{} // names by class
	for _, s := range r.samples {
		if inside[s.label] == nil {
			inside[s.label] = map[string]bool{}
		}
		path := strings.TrimPrefix(s.Path, place.Join(r.source, s.label))
		name, _, _ := strings.Cut(strings.TrimPrefix(path, string(filepath.Separator)), string(filepath.Separator))
		if imagepath.Is(name) {
			return nil
		}
		inside[s.label][name] = true
	}
	var first map[string]bool
	for _, names := range inside {
		if first == nil {
			first = names
		}
		if len(names) < 2 || !maps.Equal(names, first) {
			return nil
		}
	}
	if len(inside) < 2 {
		return nil
	}
	return slices.Sorted(maps.Keys(first))
}

// folder collects while walking.
type folder struct {
	*reading
	ignored, system, loops []string
}

// walk adds the images in dir: its own by name, then those of its folders. above is dir and the folders that it was
// reached through.
func (f *folder) walk(dir, class string, above []fs.FileInfo) error {
	c, err := contentsOf(dir)
	if err != nil {
		return err
	}
	f.system = append(f.system, c.system...)
	for _, name := range c.files {
		if path := place.Join(dir, name); imagepath.Is(name) {
			f.samples = append(f.samples, sample{Item: Item{Path: path}, label: class})
		} else {
			f.ignored = append(f.ignored, path)
		}
	}
	for _, sub := range c.folders {
		path := place.Join(dir, sub.Name())
		if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, sub) }) {
			f.loops = append(f.loops, path)
		} else if err := f.walk(path, class, append(slices.Clip(above), sub)); err != nil {
			return err
		}
	}
	return nil
}

// contents are what is in a folder: the names of files, folders, and the paths of what IsSystem finds.
type contents struct {
	dir     string
	files   []string
	folders []fs.FileInfo
	system  []string
}

// contentsOf reads a folder. A link is what it leads to; one to nowhere counts as a file, which will be found
// unreadable.
func contentsOf(dir string) (*contents, error) {
	c := &contents{dir: dir}
	entries, err := place.ReadDir(dir)
	for _, e := range entries {
		if imagepath.IsSystem(e.Name()) {
			c.system = append(c.system, place.Join(dir, e.Name()))
			continue
		}
		if e.IsDir() || e.Type()&fs.ModeSymlink != 0 { // a file needs no look
			if info, err := place.Stat(place.Join(dir, e.Name())); err == nil && info.IsDir() {
				c.folders = append(c.folders, info)
				continue
			}
		}
		c.files = append(c.files, e.Name())
	}
	return c, err
}

// metadata is the list of labels that a folder has in the convention of Hugging Face's ImageFolder; "" without one.
// Beside class folders it must be one that can be read, with a column file_name.
func (c *contents) metadata() string {
	for _, name := range []string{"metadata.csv", "metadata.jsonl", "metadata.parquet"} {
		path := place.Join(c.dir, name)
		if slices.Contains(c.files, name) && (c.imageFolders(1) == 0 || readable(path, "filename")) {
			return path
		}
	}
	return ""
}

// onlyList is the one list in a folder that has no more than so many folders with images.
func (c *contents) onlyList(folders int) (only string) {
	looks := 0
	for _, name := range c.files {
		if !isList(name) {
			continue
		}
		if looks++; looks > 10 { // these are annotations of an image each
			return ""
		}
		if path := place.Join(c.dir, name); readable(path, "") {
			if only != "" {
				return ""
			}
			only = path
		}
	}
	if only != "" && c.imageFolders(folders+1) > folders {
		return ""
	}
	return only
}

// readable reports whether a list has the columns that it needs, and paths in the one of a name, if that is not "".
func readable(path, paths string) bool {
	l, err := openList(path)
	if err != nil {
		return false
	}
	l.Close()
	return paths == "" || len(l.names) > 0 && plain(l.names[l.columns.path]) == paths
}

// imageFolders counts the folders with images, up to most.
func (c *contents) imageFolders(most int) (n int) {
	for i := 0; i < len(c.folders) && n < most; i++ {
		if holdsImage(place.Join(c.dir, c.folders[i].Name())) {
			n++
		}
	}
	return n
}

// summary says how many files there are of which extension.
func (c *contents) summary() string {
	if len(c.files) == 0 {
		return "0 files"
	}
	return fmt.Sprintf("%d files: %s", len(c.files), counted(c.files, extension))
}

// listsHint names lists that may have been meant.
func (c *contents) listsHint() string {
	for _, name := range c.files {
		if isList(name) {
			return ", or name a list of them, such as " + place.Join(c.dir, name)
		}
	}
	return ", or list them in a .csv file with path and label"
}

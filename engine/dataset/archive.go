package dataset

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagepath"
)

// member is a file in an archive.
type member struct {
	name    string // with slashes
	index   int    // in the container
	regular bool   // no link or device
}

// archives collects while archives are read.
type archives struct {
	*reading
	read     int  // files so far
	numbered bool // labels that are numbers stand for lines of a file of class names, if there is one

	ignored, decoded, endless, chosen, beside, alone, further, columns []string
}

// report says what was passed over.
func (a *archives) report() {
	r := a.reading
	r.find(TakenPart, a.chosen, "of data sets in %s one part is read", r.source)
	r.find(NotAPart, a.beside, "folders in %s beside its parts, or without class folders, are passed over", r.source)
	slices.Sort(a.columns)
	r.find(IgnoredColumns, slices.Compact(a.columns), "some columns of %s are read rather than others", r.source)
	r.find(IgnoredFiles, a.ignored, "%d files in %s are links, a system's, in no class folder or no images",
		len(a.ignored), r.source)
	r.find(IgnoredFiles, a.further, "%d images in %s share a label with another, which is used", len(a.further),
		r.source)
	r.find(Unpaired, a.alone, "%d members of %s lack their partner, an image its label or a label its image",
		len(a.alone), r.source)
	r.find(DecodedName, a.decoded, "%d names in %s are not UTF-8 and were read as code page 437, as DOS writes them",
		len(a.decoded), r.source)
	r.find(NoEnd, a.endless, "%d archives have no end mark and may be cut short", len(a.endless))
}

// imagesAmong are the members that are images, as far as their names say, and the names of the others.
func imagesAmong(members []member) (images []member, others []string) {
	for _, m := range members {
		if m.regular && imagepath.Is(m.name) && !inSystem(m.name) {
			images = append(images, m)
		} else {
			others = append(others, m.name)
		}
	}
	return images, others
}

// ignore notes members of an archive that are passed over.
func (a *archives) ignore(in container, names ...string) {
	for _, name := range names {
		a.ignored = append(a.ignored, in.opened().path+"#"+name)
	}
}

// readClassFolders takes the images of an archive that lie in class folders: in those that are in the folder around
// all of them, and there in that of the set's part, if they are parts. Each must be sound.
func (a *archives) readClassFolders(in container, members []member, sound func(i int) error) error {
	images, others := imagesAmong(members)
	a.ignore(in, others...)
	if len(images) == 0 {
		return errors.New("no images in it")
	}
	archive, root := in.opened(), rootOf(images, "")
	if folders, beside := partFolders(images, root); folders != nil {
		chosen := folders[a.part]
		if len(chosen) != 1 {
			return fmt.Errorf("it has %d folders for %s, of %s", len(chosen), a.part,
				some(slices.Sorted(maps.Keys(folders))))
		}
		for _, m := range images {
			if !strings.Contains(m.name[len(root):], "/") {
				a.ignore(in, m.name)
			}
		}
		root += chosen[0] + "/"
		images = slices.DeleteFunc(images, func(m member) bool { return !strings.HasPrefix(m.name, root) })
		a.selected = true
		a.chosen = append(a.chosen, archive.path+"#"+root)
		for _, folder := range beside {
			a.beside = append(a.beside, archive.path+"#"+folder+"/")
		}
		root = rootOf(images, root)
	}
	inFolders := 0
	for _, m := range images {
		class, _, inFolder := strings.Cut(m.name[len(root):], "/")
		if !inFolder {
			a.ignore(in, m.name)
			continue
		}
		if err := sound(m.index); err != nil {
			return err
		}
		inFolders++
		if err := a.add(sample{Item: archive.item(in, m.name, m.index), label: class}); err != nil {
			return err
		}
	}
	if inFolders == 0 {
		return errNoClassFolders
	}
	return nil
}

var errNoClassFolders = errors.New("no class folders in it: put the images of each class into a folder of the " +
	"class's name")

// inSystem reports whether a file in an archive is, or lies in, what a system puts among photos.
func inSystem(name string) bool {
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "./"), "/") {
		if imagepath.IsSystem(part) {
			return true
		}
	}
	return false
}

// rootOf is the longest path, from root on, of folders that all class folders lie in.
func rootOf(images []member, root string) string {
	for {
		head, deeper := "", false
		for i, m := range images {
			first, rest, inFolder := strings.Cut(m.name[len(root):], "/")
			if !inFolder || i > 0 && first != head {
				return root
			}
			head = first
			deeper = deeper || strings.Contains(rest, "/")
		}
		if !deeper {
			return root
		}
		root += head + "/"
	}
}

// partFolders are the folders in root by the parts of a data set that their names say, as those of a folder are known,
// and those beside them that are none; nil if they are classes.
func partFolders(images []member, root string) (folders map[string][]string, beside []string) {
	inside := map[string][]member{} // by folder
	for _, m := range images {
		if first, _, inFolder := strings.Cut(m.name[len(root):], "/"); inFolder {
			inside[first] = append(inside[first], m)
		}
	}
	names := slices.Sorted(maps.Keys(inside))
	classes := func(folder string) map[string]bool {
		all, base := map[string]bool{}, rootOf(inside[folder], root+folder+"/")
		for _, m := range inside[folder] {
			if class, _, inFolder := strings.Cut(m.name[len(base):], "/"); inFolder {
				all[class] = true
			}
		}
		return all
	}
	for _, byWord := range []bool{false, true} {
		folders, beside = map[string][]string{}, nil
		roles, trained := rolesOf(names, byWord), map[string]bool{}
		var related, others, alike bool
		for _, name := range names {
			if roles[name] == train {
				maps.Copy(trained, classes(name))
			}
		}
		for _, name := range names {
			role, of := roles[name], classes(name)
			others = others || role == ""
			shared := false // classes with that for training
			for class := range of {
				shared = shared || role != train && trained[class]
			}
			alike = alike || shared && role == ""
			if role == "" || role != train && len(of) == 0 {
				beside = append(beside, name)
				continue
			}
			folders[role] = append(folders[role], name)
			related = related || shared
		}
		if folders[train] != nil && (related && !(byWord && alike) || !byWord && !others && len(names) > 1) {
			return folders, beside
		}
	}
	return nil, nil
}

// partsInside are the parts of a data set that an archive holds as a whole.
func partsInside(source string) parts {
	f, err := newFile(source)
	if err != nil {
		return nil
	}
	c, err := kindOf(source).open(f)
	if table, is := c.(*parquetFile); is && err == nil {
		splits, _ := table.splits()
		return all(partsIn(counts(splits)), source)
	}
	archive, is := c.(interface{ list() []member })
	if err != nil || !is {
		return nil
	}
	images, _ := imagesAmong(archive.list())
	folders, _ := partFolders(images, rootOf(images, ""))
	if folders == nil {
		return nil
	}
	return all(folders, source)
}

package dataset

import (
	"errors"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagename"
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

	ignored, decoded, endless, chosen, alone, further, columns []string
}

// report says what was passed over.
func (a *archives) report() {
	r := a.reading
	r.find(ChosenPart, a.chosen, "of the parts in %d archives one is used", len(a.chosen))
	slices.Sort(a.columns)
	a.columns = slices.Compact(a.columns)
	r.find(ChosenColumn, a.columns, "some columns in %s are used rather than others", r.source)
	r.find(IgnoredFiles, a.ignored, "%d files in %s are hidden, in no class folder or no images by their extension",
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
		if m.regular && imagename.Is(m.name) && !hiddenName(m.name) {
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
	archive, root := in.opened(), around(images, "")
	if parts := partsIn(images, root); len(parts) > 1 {
		chosen, err := a.choose(parts)
		if err != nil {
			return err
		}
		images = slices.DeleteFunc(images, func(m member) bool { return !strings.HasPrefix(m.name, root+chosen+"/") })
		a.chosen = append(a.chosen, archive.path+"#"+root+chosen)
		root = around(images, root+chosen+"/")
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
		if err := a.add(sample{archive.item(in, m.name, m.index), class, 0}); err != nil {
			return err
		}
	}
	if inFolders == 0 {
		return errors.New("no class folders in it: put the images of each class into a folder of the class's name")
	}
	return nil
}

// hiddenName reports whether a file in an archive, or a folder that it is in, is hidden or one of macOS's own.
func hiddenName(name string) bool {
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "./"), "/") {
		if strings.HasPrefix(part, ".") || part == "__MACOSX" {
			return true
		}
	}
	return false
}

// around is the longest path, from root on, of folders that all class folders lie in.
func around(images []member, root string) string {
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

// partsIn are the folders in root if all are named as parts of a data set and one is for training.
func partsIn(images []member, root string) (parts []string) {
	train := false
	for _, m := range images {
		first, _, inFolder := strings.Cut(m.name[len(root):], "/")
		part := partOf(first)
		if !inFolder || part == "" {
			return nil
		}
		train = train || part == "train"
		if !slices.Contains(parts, first) {
			parts = append(parts, first)
		}
	}
	if !train {
		return nil
	}
	return parts
}

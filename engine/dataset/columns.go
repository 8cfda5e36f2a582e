package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The names that the columns of lists go by, as [plain] has them. Where a list has several of one kind, that which
// stands first here is taken.
var (
	pathColumns = []string{"path", "filepath", "imagepath", "imgpath", "relativepath", "relpath", "filename", "file",
		"image", "img", "imagefile", "imagefilename", "imagename", "imgname", "photo", "picture", "imageid", "imgid",
		"photoid", "id"}
	labelColumns = []string{"label", "class", "category", "target", "classname", "labelname", "categoryname",
		"targetname", "labels", "species", "scientificname", "breed", "diagnosis", "dx", "groundtruth", "y", "classid",
		"labelid", "categoryid", "classindex", "labelindex"}
	splitColumns = []string{"split", "set", "subset", "partition", "fold"}
)

// plain is a name without what people write differently: case, spaces, underscores, hyphens.
func plain(name string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(" _-\u00a0\ufeff", c) {
			return -1
		}
		return c
	}, strings.ToLower(strings.TrimSpace(name)))
}

// columns are which of a list's columns hold what.
type columns struct {
	names              []string
	path, label, split int // split is -1 where none says which part a row is of
	predictions        bool
}

// columnsError says that columns, or keys, do not have the names that they need.
type columnsError struct {
	what  string
	names []string
}

func (e *columnsError) Error() string {
	names := make([]string, min(len(e.names), 20))
	for i := range names {
		names[i] = fmt.Sprintf("%.60s", e.names[i])
	}
	return fmt.Sprintf("the %s must name path (or file_name, image, …) and label (or class, category, …); they are "+
		"%q: rename them", e.what, names)
}

// isColumns reports whether an error is a columnsError.
func isColumns(err error) bool {
	_, is := errors.AsType[*columnsError](err)
	return is
}

// choose finds the columns by their names. The error is a columnsError if they are not there.
func (c *columns) choose(names []string) error {
	at := func(known []string) (int, error) {
		for _, k := range known {
			found := -1
			for i, name := range names {
				switch {
				case plain(name) != k:
				case found >= 0:
					return -1, fmt.Errorf("column %q appears twice, as %q and as %q; rename one", k, names[found],
						name)
				default:
					found = i
				}
			}
			if found >= 0 {
				return found, nil
			}
		}
		return -1, nil
	}
	path, err := at(pathColumns)
	label, errLabel := at(labelsOf(names, labelColumns))
	split, errSplit := at(splitColumns)
	if err := errors.Join(err, errLabel, errSplit); err != nil {
		return err
	}
	if path < 0 || label < 0 {
		return &columnsError{"columns in the header", names}
	}
	*c = columns{slices.Clone(names), path, label, split, false}
	c.predictions = len(names) > 3 && slices.Equal(names[:4], []string{"path", "label", "predicted", "confidence"})
	return nil
}

// labelsOf is the order in which names of labels are looked for. Among ranks of organisms a class is one, such as
// birds, and what they are is their species.
func labelsOf(names, known []string) []string {
	ranks := []string{"kingdom", "phylum", "order", "family", "genus"}
	if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(ranks, plain(name)) }) {
		return slices.Insert(slices.Clone(known), slices.Index(known, "class"), "species", "scientificname")
	}
	return known
}

// ignored are the names of the columns that are not read.
func (c *columns) ignored() []string {
	if c.predictions { // whose columns are known
		return nil
	}
	var names []string
	for i, name := range c.names {
		if name = strings.TrimSpace(name); name != "" && i != c.path && i != c.label && i != c.split {
			names = append(names, name)
		}
	}
	return names
}

// selectPart keeps the rows of the part that is read, if the list says which those are.
func (r *reading) selectPart(l *list) error {
	counts := map[string]int{}
	for _, s := range r.samples {
		value, ok := l.partOf(s)
		if !ok {
			return nil
		}
		counts[value]++
	}
	parts := partsIn(counts)
	if parts == nil {
		l.split = -1
		return nil
	}
	by := "folder"
	if l.split >= 0 {
		by = "column " + l.names[l.split]
	}
	if parts[r.part] == 0 {
		return fmt.Errorf("it has no row of %s by its %s, but %s: name images that are, or remove the column", r.part,
			by, some(numbers(counts)))
	}
	all := len(r.samples)
	r.selected = true
	r.samples = slices.DeleteFunc(r.samples, func(s sample) bool {
		value, _ := l.partOf(s)
		if roleOf(value) == r.part {
			delete(counts, value)
			return false
		}
		return true
	})
	r.find(TakenPart, numbers(counts), "of %d rows of %s the %d of %s are taken, by their %s; others are", all, l.path,
		len(r.samples), r.part, by)
	return nil
}

// partsIn says how many there are of each part where values of splits are counted; nil where the values name none, or
// all the same.
func partsIn(counts map[string]int) map[string]int {
	parts, others := map[string]int{}, 0
	for value, n := range counts {
		if role := roleOf(value); role != "" {
			parts[role] += n
		} else {
			others += n
		}
	}
	if len(parts) == 0 || len(parts) == 1 && others == 0 {
		return nil
	}
	return parts
}

// numbers are texts such as "train (6)".
func numbers(counts map[string]int) (texts []string) {
	for _, value := range sortedLabels(counts) {
		name := value
		if name == "" {
			name = "none"
		}
		texts = append(texts, fmt.Sprintf("%s (%d)", name, counts[value]))
	}
	return texts
}

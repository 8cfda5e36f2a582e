package dataset

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/engine/internal/imagename"
)

// The parts of a data set that a run may have.
const (
	train = "train"
	val   = "val"
	test  = "test"
)

var order = []string{train, val, test}

// roles are the parts by the names that people give them, as [plain] has those.
var roles = map[string]string{
	"train": train, "training": train, "trn": train,
	"val": val, "valid": val, "validation": val, "dev": val,
	"test": test, "testing": test,
}

// roleOf is the part that a folder, a list or the value of a row goes by; "" if it is none.
func roleOf(name string) string {
	name = plain(name)
	if role := roles[name]; role != "" {
		return role
	}
	return roles[strings.TrimSuffix(name, "set")]
}

// parts are the sources of the parts of a data set that is named as a whole, by part.
type parts map[string]string

// with are also the parts of a data set that p was found in.
func (p parts) with(above parts) parts {
	all := maps.Clone(p)
	maps.Copy(all, above)
	return all
}

// lacks is the error that a data set has no such part.
func (p parts) lacks(part string) error {
	var has []string
	for _, role := range order {
		if p[role] != "" {
			has = append(has, fmt.Sprintf("%s (%s)", role, p[role]))
		}
	}
	return fmt.Errorf("it has no part for %s, but for %s", part, strings.Join(has, ", "))
}

// partsOf are the parts of a source: of a folder that has a folder or a list for each, or of a list that says which
// part its rows are of. They are nil if the source is one set.
func partsOf(source string) (parts, []Finding, error) {
	info, err := os.Stat(source)
	switch {
	case err != nil: // who opens it will say so
		return nil, nil, nil
	case info.IsDir():
		c, err := contentsOf(source)
		if err != nil {
			return nil, nil, nil
		}
		p, found, err := c.parts()
		return p, found, in(source, err)
	case isList(source):
		return within(source, source), nil, nil
	case kindOf(source) != nil:
		return partsInside(source), nil, nil
	}
	return nil, nil, nil
}

// within are the parts that the rows of a list are of; source is what opens the list.
func within(source, list string) parts {
	var p parts
	for role := range splitsOf(list) {
		if p == nil {
			p = parts{}
		}
		p[role] = source
	}
	return p
}

// parts decides by what is in a folder whether it is the root of a data set. Folders named train, val and test are
// parts if the training part holds a set (class folders, a list, a container) and no other folder holds images; or if
// another part has classes of the same names. What cannot be decided is refused.
func (c *contents) parts() (parts, []Finding, error) {
	if m := c.metadata(); m != "" {
		return within(c.dir, m), nil, nil
	}
	if s := c.shards(); s != nil {
		return s.parts(c.dir), nil, nil
	}
	var found findings
	named := map[string][]look{}
	var flat, others []string // parts by name, but with images of no class; folders with images that have other names
	for _, f := range c.folders {
		role := roleOf(f.Name())
		if role == "" {
			continue
		}
		if l := lookAt(filepath.Join(c.dir, f.Name())); l.set || l.flat {
			named[role] = append(named[role], l)
			if !l.set {
				flat = append(flat, f.Name())
			}
		}
	}
	listed := slices.ContainsFunc(c.files, func(name string) bool { return isList(name) && listedRole(name) == train })
	for i := 0; i < len(c.folders) && (len(named) > 0 || listed && len(others) < 2); i++ {
		name := c.folders[i].Name()
		if roleOf(name) == "" && holdsImage(filepath.Join(c.dir, name), deepest) {
			others = append(others, name)
		}
	}
	training := slices.ContainsFunc(named[train], func(l look) bool { return l.set })
	if listed && !training && len(others) < 2 {
		if p, err := c.listedParts(&found); p != nil || err != nil {
			return p, found, err
		}
	}
	if len(named) == 0 {
		if list := c.onlyList(); list != "" {
			return within(c.dir, list), nil, nil
		}
		if len(c.folders) == 1 { // which may be the one configuration of a data set on the hub
			inside, err := contentsOf(filepath.Join(c.dir, c.folders[0].Name()))
			if err == nil && !holdsImage(inside.dir, deepest) {
				return inside.parts()
			}
		}
		return nil, nil, nil
	}
	names := c.namesOf(named)
	related := slices.ContainsFunc(named[train], func(t look) bool {
		return slices.ContainsFunc(slices.Concat(named[val], named[test]), t.related)
	})
	switch {
	case len(others) == 0 && !training && len(flat) > 0 && len(names) > 1:
		return nil, nil, fmt.Errorf("%s are names of the parts of a data set, but not all hold class folders or a list: "+
			"put the images of each class into a folder of its own there, or list them in a .csv file with path and "+
			"label, also if those are the names of classes", strings.Join(names, ", "))
	case len(others) > 0 && training && !related && len(named) > 1:
		return nil, nil, fmt.Errorf("%s may be the parts of a data set or classes like %s beside them: name the parts one "+
			"by one, as with --train %s, or list the images of the classes in a .csv file with path and label",
			strings.Join(names, ", "), some(others), named[train][0].dir)
	case len(others) > 0 && !related, len(others) == 0 && !training && len(flat) > 0:
		if training || len(names) > 1 {
			found.find(NotAPart, names, "folders of %s that have names of parts of a data set are taken for classes, as "+
				"those beside them are", c.dir)
		}
		return nil, found, nil
	}
	p := parts{}
	for _, role := range order {
		var sets []string
		for _, l := range named[role] {
			switch strange := role != train && training && len(l.classes) == 1 && !named[train][0].related(l); {
			case l.set && !strange:
				sets = append(sets, l.dir)
			default:
				found.find(NotAPart, []string{l.dir}, "images without class folders, or a list of their labels, are in no "+
					"part of %s", c.dir)
			}
		}
		switch {
		case len(sets) > 1:
			return nil, nil, fmt.Errorf("%s are all for %s: name one with --%s", strings.Join(sets, " and "), role, role)
		case len(sets) == 1:
			p[role] = sets[0]
		}
	}
	found.find(NotAPart, others, "folders of %s beside its parts are passed over", c.dir)
	return p, found, nil
}

// namesOf are the names of folders that go by parts, in the folder's order.
func (c *contents) namesOf(named map[string][]look) (names []string) {
	for _, f := range c.folders {
		if named[roleOf(f.Name())] != nil {
			names = append(names, f.Name())
		}
	}
	return names
}

// listedParts are lists in a folder, one for each part by their names, such as train.csv or ImageNet_LT_train.txt.
func (c *contents) listedParts(found *findings) (parts, error) {
	named := map[string][]string{}
	for _, name := range c.files {
		if role := listedRole(name); role != "" && isList(name) {
			named[role] = append(named[role], name)
		}
	}
	p := parts{}
	for _, role := range order {
		names := named[role]
		exact := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return roleOf(strings.TrimSuffix(name, filepath.Ext(name))) == ""
		})
		if len(exact) > 0 {
			names = exact
		}
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			l, err := openList(filepath.Join(c.dir, name))
			if err == nil {
				l.Close()
				return false
			}
			found.find(NotAPart, []string{fmt.Sprintf("%s: %v", name, err)}, "a list for %s is passed over in %s", role, c.dir)
			return true
		})
		switch {
		case len(names) > 1 && (role == train || named[train] != nil):
			return nil, fmt.Errorf("several lists for %s (%s): name one, as with --%s %s", role, strings.Join(names, ", "),
				role, filepath.Join(c.dir, names[0]))
		case len(names) == 1:
			p[role] = filepath.Join(c.dir, names[0])
		}
	}
	if p[train] == "" {
		return nil, nil
	}
	return p, nil
}

// listedRole is the part that one word of a list's name is.
func listedRole(name string) (role string) {
	words := strings.FieldsFunc(strings.TrimSuffix(name, filepath.Ext(name)), func(c rune) bool {
		return strings.ContainsRune(" _-.0123456789", c)
	})
	for _, word := range words {
		if r := roleOf(word); r != "" && role != "" && r != role {
			return ""
		} else if r != "" {
			role = r
		}
	}
	return role
}

// look is what a folder is like, by the names in it.
type look struct {
	dir     string
	set     bool     // it holds a set: class folders, a list, IDX files, a container
	classes []string // its class folders
	flat    bool     // images lie in it
}

// lookAt looks no further than it needs to.
func lookAt(dir string) look {
	l := look{dir: dir}
	c, err := contentsOf(dir)
	if err != nil {
		return l
	}
	l.flat = slices.ContainsFunc(c.files, imagename.Is)
	for _, f := range c.folders {
		if holdsImage(filepath.Join(dir, f.Name()), deepest) {
			l.classes = append(l.classes, norm.NFC.String(f.Name()))
		}
	}
	switch {
	case len(l.classes) > 1 || len(l.classes) == 1 && !l.flat || c.metadata() != "":
		l.set = true
	default:
		l.set = c.onlyList() != "" || !l.flat && slices.ContainsFunc(c.files, func(name string) bool {
			return isIDXImages(name) || kindOf(name) != nil
		})
	}
	return l
}

// related reports whether two sets are of the same classes, as far as folders tell.
func (l look) related(o look) bool {
	if !l.set || !o.set {
		return false
	}
	return len(l.classes) == 0 || slices.ContainsFunc(o.classes, func(c string) bool { return slices.Contains(l.classes, c) })
}

// deepest is how many folders inside each other are looked into for an image.
const deepest = 12

// holdsImage reports whether a folder has an image, in whatever depth.
func holdsImage(dir string, depth int) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	var inside []string
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			switch path := filepath.Join(dir, e.Name()); {
			case imagename.IsSystem(e.Name()):
			case e.IsDir():
				inside = append(inside, path)
			case imagename.Is(e.Name()):
				return true
			case e.Type()&os.ModeSymlink != 0:
				if info, err := os.Stat(path); err == nil && info.IsDir() {
					inside = append(inside, path)
				}
			}
		}
		if err != nil {
			break
		}
	}
	return depth > 0 && slices.ContainsFunc(inside, func(dir string) bool { return holdsImage(dir, depth-1) })
}

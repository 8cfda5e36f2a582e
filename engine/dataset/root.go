package dataset

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
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
	for _, what := range []string{"set", "data", "images", "imgs"} {
		name = strings.TrimSuffix(name, what)
	}
	return roles[name]
}

// rolesOf are the parts that folders go by, by their names. Where none is for training, a word of each name may say it,
// as in seg_train: byWord, of which only what is in the folders tells whether it means that.
func rolesOf(folders []string, byWord bool) map[string]string {
	of := roleOf
	if byWord {
		of = func(name string) string {
			if plain(name) == "trainval" {
				return train
			}
			return listedRole(name + ".")
		}
	}
	roles, has := map[string]string{}, map[string]bool{}
	for _, name := range folders {
		if role := of(name); role != "" {
			roles[name], has[role] = role, true
		}
	}
	for _, name := range folders { // which others have for the validation part, if they have a test part
		if p := plain(name); (p == "eval" || p == "evaluation") && has[train] && !has[test] {
			roles[name] = test
		}
	}
	return roles
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
	info, err := place.Stat(source)
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
	case kindOf(source) != "":
		return partsInside(source), nil, nil
	}
	return nil, nil, nil
}

// within are the parts that the rows of a list are of; source is what opens the list.
func within(source, list string) parts {
	return all(splitsOf(list), source)
}

// all are parts that one source has together; nil if there are none.
func all[T any](of map[string]T, source string) (p parts) {
	for role := range of {
		if p == nil {
			p = parts{}
		}
		p[role] = source
	}
	return p
}

// parts decides by what is in a folder whether it is the root of a data set.
func (c *contents) parts() (parts, []Finding, error) {
	if m := c.metadata(); m != "" {
		return within(c.dir, m), nil, nil
	}
	if s := c.shards(); s != nil {
		return s.parts(c.dir), nil, nil
	}
	var found findings
	l := c.layout()
	if !l.training && (len(l.others) == 0 || len(l.others) == 1 && len(l.names) == 0) { // else there are classes
		if p, err := c.listedParts(&found); p != nil || err != nil {
			return p, found, err
		}
	}
	if len(l.named) == 0 {
		if list := c.onlyList(1); list != "" {
			return within(c.dir, list), nil, nil
		}
		if len(c.folders) == 1 { // which may be the one configuration of a data set on the hub
			inside, err := contentsOf(place.Join(c.dir, c.folders[0].Name()))
			if err != nil {
				return nil, nil, nil
			}
			p, found, err := inside.parts()
			if holdsImage(inside.dir) && (err != nil || p[train] == "") { // then it is the only class
				return nil, nil, nil
			}
			return p, found, err
		}
		return nil, nil, nil
	}
	switch l.decide() {
	case isRoot:
		p, err := l.take(&found)
		return p, found, err
	case areClasses:
		if l.training || len(l.names) > 1 {
			found.find(NotAPart, l.names, "folders of %s that have names of parts of a data set are taken for "+
				"classes, as those beside them are", c.dir)
		}
		return nil, found, nil
	case haveNoLabels:
		return nil, nil, fmt.Errorf("%s are names of the parts of a data set, but not all hold class folders or a "+
			"list: put the images of each class into a folder of its own there, or list them in a .csv file with path "+
			"and label, also if those are the names of classes", strings.Join(l.names, ", "))
	}
	return nil, nil, fmt.Errorf("%s may be the parts of a data set or classes like %s beside them: name the parts one "+
		"by one, as with --train %s, or list the images of the classes in a .csv file with path and label",
		strings.Join(l.names, ", "), some(l.others), l.named[train][0].dir)
}

// layout is what the folders in a folder are like.
type layout struct {
	dir        string
	names      []string          // of folders with images that go by parts
	named      map[string][]look // the same, by part
	unlabelled []string          // those of them that hold no set
	others     []string          // folders with images that have other names
	empty      []string          // folders that go by parts and have no images
	training   bool              // a set is named as that for training
}

func (c *contents) layout() *layout {
	l := c.layoutBy(false)
	if len(l.named[train]) == 0 {
		words := c.layoutBy(true)
		alike := func(name string) bool { // then all are classes that hold the same folders
			return lookAt(place.Join(c.dir, name)).relatedTo(words.named[train])
		}
		if words.related() && !slices.ContainsFunc(words.others, alike) {
			return words
		}
	}
	return l
}

func (c *contents) layoutBy(byWord bool) *layout {
	l := &layout{dir: c.dir, named: map[string][]look{}}
	var parted, others, names []string
	for _, f := range c.folders {
		names = append(names, f.Name())
	}
	roles := rolesOf(names, byWord)
	self, _ := place.Stat(c.dir)
	for _, f := range c.folders {
		switch {
		case roles[f.Name()] == "":
			others = append(others, f.Name())
		case !os.SameFile(f, self): // a link back to the folder is no part of it
			parted = append(parted, f.Name())
		}
	}
	if len(parted) == 0 && !slices.ContainsFunc(c.files, isList) { // then nobody asks
		return l
	}
	for _, name := range others {
		if holdsImage(place.Join(c.dir, name)) {
			l.others = append(l.others, name)
		}
	}
	slices.SortStableFunc(parted, func(a, b string) int { // that for training first, which others are held against
		return slices.Index(order, roles[a]) - slices.Index(order, roles[b])
	})
	for _, name := range parted {
		role, at := roles[name], lookAt(place.Join(c.dir, name))
		if inner := at.unwrapped(); role == train || !at.relatedTo(l.named[train]) && inner.relatedTo(l.named[train]) {
			at = inner
		}
		// Where nothing else can be meant, metadata that cannot be read are a set, whose fault will be found.
		at.set = at.set || at.metadata && len(l.others) == 0
		if !at.set && !at.flat {
			l.empty = append(l.empty, name)
			continue
		}
		l.names, l.named[role] = append(l.names, name), append(l.named[role], at)
		l.training = l.training || role == train && at.set
		if !at.set {
			l.unlabelled = append(l.unlabelled, name)
		}
	}
	slices.Sort(l.names)
	return l
}

// related reports whether the part for training and another one are of the same classes.
func (l *layout) related() bool {
	return slices.ContainsFunc(slices.Concat(l.named[val], l.named[test]), func(o look) bool {
		return o.relatedTo(l.named[train])
	})
}

type verdict int

const (
	isRoot verdict = iota
	areClasses
	haveNoLabels
	mayBeEither
)

// decide says what folders named train, val and test are: parts if that for training holds a set (class folders, a
// list, a container) and no folder beside them holds images, or if another part has classes of the same names.
func (l *layout) decide() verdict {
	alone := len(l.others) == 0
	switch {
	case l.related(), alone && (l.training || len(l.unlabelled) == 0):
		return isRoot
	case alone && len(l.names) > 1:
		return haveNoLabels
	case l.training && len(l.named) > 1:
		return mayBeEither
	}
	return areClasses
}

// take names the parts. Of other folders, and those whose images have no labels, it says that they are none.
func (l *layout) take(found *findings) (parts, error) {
	p := parts{}
	var unlabelled []string
	for _, role := range order {
		var sets []string
		for _, at := range l.named[role] {
			// A single folder in a part need not be a class.
			strange := role != train && l.training && len(at.classes) == 1 && !l.named[train][0].related(at)
			if !at.set || strange {
				unlabelled = append(unlabelled, at.dir)
			} else {
				sets = append(sets, at.dir)
			}
		}
		switch {
		case len(sets) > 1:
			return nil, fmt.Errorf("%s are all for %s: name one with --%s", strings.Join(sets, " and "), role, role)
		case len(sets) == 1:
			p[role] = sets[0]
		}
	}
	found.find(NotAPart, unlabelled, "folders of %s whose images are in no class folders and no list are no parts of "+
		"it", l.dir)
	found.find(NotAPart, l.empty, "folders of %s without images are no parts of it", l.dir)
	found.find(NotAPart, l.others, "folders of %s beside its parts are passed over", l.dir)
	return p, nil
}

// listedParts are lists in a folder, one for each part by their names, such as train.csv or ImageNet_LT_train.txt.
func (c *contents) listedParts(found *findings) (parts, error) {
	named := map[string][]string{}
	for _, name := range c.files {
		if role := listedRole(name); role != "" && isList(name) {
			named[role] = append(named[role], name)
		}
	}
	if named[train] == nil {
		return nil, nil
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
			l, err := openList(place.Join(c.dir, name))
			if err == nil {
				l.Close()
				return false
			}
			why := in(place.Join(c.dir, name), err).Error()
			found.find(NotAPart, []string{why}, "a list for %s is passed over", role)
			return true
		})
		switch {
		case len(names) > 1:
			return nil, fmt.Errorf("several lists for %s (%s): name one, as with --%s %s", role,
				strings.Join(names, ", "), role, place.Join(c.dir, names[0]))
		case len(names) == 1:
			p[role] = place.Join(c.dir, names[0])
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
		if r := roleOf(strings.TrimSuffix(strings.ToLower(word), "labels")); r != "" && role != "" && r != role {
			return ""
		} else if r != "" {
			role = r
		}
	}
	return role
}

// look is what a folder is like, by the names in it.
type look struct {
	dir      string
	set      bool     // it holds a set: class folders, a list, IDX files, a container
	classes  []string // its class folders
	flat     bool     // images lie in it
	listed   bool     // so do files that may be lists
	metadata bool     // so does a list in the convention of Hugging Face's ImageFolder, which may not be readable
}

// lookAt looks no further than it needs to.
func lookAt(dir string) look {
	l := look{dir: dir}
	c, err := contentsOf(dir)
	if err != nil {
		return l
	}
	l.flat = slices.ContainsFunc(c.files, imagepath.Is)
	for _, f := range c.folders {
		if holdsImage(place.Join(dir, f.Name())) {
			l.classes = append(l.classes, norm.NFC.String(f.Name()))
		}
	}
	m := c.metadata()
	l.metadata, l.listed = m != "", slices.ContainsFunc(c.files, isList)
	l.set = len(l.classes) > 1 || len(l.classes) == 1 && !l.flat || l.metadata && readable(m, "") ||
		c.onlyList(1) != "" || !l.flat && slices.ContainsFunc(c.files, func(name string) bool {
		return isIDXImages(name) || kindOf(name) != ""
	})
	return l
}

// unwrapped is what the only folder in a folder is like, where the classes are there.
func (l look) unwrapped() look {
	if len(l.classes) != 1 || l.flat || l.listed {
		return l
	}
	if inner := lookAt(place.Join(l.dir, l.classes[0])); len(inner.classes) > 1 {
		return inner
	}
	return l
}

// relatedTo reports whether a set is of the same classes as one of others.
func (l look) relatedTo(others []look) bool { return slices.ContainsFunc(others, l.related) }

// related reports whether two sets are of the same classes, as far as folders tell.
func (l look) related(o look) bool {
	if !l.set || !o.set {
		return false
	}
	common := func(class string) bool { return slices.Contains(l.classes, class) }
	return len(l.classes) == 0 || slices.ContainsFunc(o.classes, common)
}

// holdsImage reports whether a folder has an image, in whatever depth.
func holdsImage(dir string) bool { return holdsImageBut(dir, map[string]bool{}) }

// holdsImageBut looks into no folder twice that links lead to.
func holdsImageBut(dir string, seen map[string]bool) bool {
	f, err := place.OpenDir(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	var inside []string
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			switch path := place.Join(dir, e.Name()); {
			case imagepath.IsSystem(e.Name()):
			case e.IsDir():
				inside = append(inside, path)
			case imagepath.Is(e.Name()):
				return true
			case e.Type()&os.ModeSymlink != 0:
				target, err := filepath.EvalSymlinks(path)
				if info, errInfo := place.Stat(path); err == nil && errInfo == nil && info.IsDir() && !seen[target] {
					seen[target] = true
					inside = append(inside, path)
				}
			}
		}
		if err != nil {
			break
		}
	}
	return slices.ContainsFunc(inside, func(dir string) bool { return holdsImageBut(dir, seen) })
}

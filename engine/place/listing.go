package place

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/vitft/vitft/internal/machine"
)

// listings are the folders that were listed while somebody holds them, by their URLs.
var listings = struct {
	sync.Mutex
	held int
	open map[string]func() (*tree, error)
}{open: map[string]func() (*tree, error){}}

// Hold keeps what is listed until it is released: who looks at a folder of an object store again and again then asks
// for its names once, in pages, with all that is below it.
func Hold() (release func()) {
	listings.Lock()
	defer listings.Unlock()
	listings.held++
	return sync.OnceFunc(func() {
		listings.Lock()
		defer listings.Unlock()
		if listings.held--; listings.held == 0 {
			clear(listings.open)
		}
	})
}

// tree is a folder with all that is in it.
type tree struct {
	folders map[string]*tree
	files   map[string]Object
}

// perObject is the memory that an object of a list takes besides its key.
const perObject = 300

func newTree() *tree { return &tree{map[string]*tree{}, map[string]Object{}} }

// add adds an object by its path in the folder. One whose path ends in a slash stands for a folder, as consoles make
// them. What is between two slashes is called a dot, so that it is passed over, and counted, as what is hidden.
func (t *tree) add(name string, o Object) {
	for {
		first, rest, inside := strings.Cut(name, "/")
		if !inside {
			break
		}
		if first == "" {
			first = "."
		}
		if t.folders[first] == nil {
			t.folders[first] = newTree()
		}
		t, name = t.folders[first], rest
	}
	if name != "" {
		t.files[name] = o
	}
}

// at is the folder at a path in it, nil if there is none.
func (t *tree) at(name string) *tree {
	for name != "" && t != nil {
		var first string
		first, name, _ = strings.Cut(name, "/")
		t = t.folders[first]
	}
	return t
}

// listed is the folder of a URL if it was listed, or lies in one that was, and whether it was.
func listed(url string) (*tree, bool, error) {
	listings.Lock()
	for above := url; ; above = Dir(above) {
		if open := listings.open[above]; open != nil {
			listings.Unlock()
			t, err := open()
			if err != nil {
				return nil, true, err
			}
			return t.at(strings.TrimPrefix(url[len(above):], "/")), true, nil
		}
		if above == Dir(above) {
			listings.Unlock()
			return nil, false, nil
		}
	}
}

// treeOf lists a folder and all that is in it.
func treeOf(url string) (*tree, error) {
	if t, was, err := listed(url); was {
		return t, err
	}
	open := sync.OnceValues(func() (*tree, error) {
		s, key, err := storeOf(url)
		if err != nil {
			return nil, err
		}
		if key != "" {
			key += "/"
		}
		t := newTree()
		var full error
		objects, memory := 0, 0
		err = s.List(key, func(o Object) bool {
			t.add(o.Key[len(key):], o)
			if memory += perObject + len(o.Key); objects%1000 == 0 {
				full = machine.Check(float64(memory), "a list of more than %d files in %s", objects, url)
			}
			objects++
			return full == nil
		})
		return t, cmp.Or(err, full)
	})
	listings.Lock()
	if listings.held > 0 {
		if other := listings.open[url]; other != nil {
			open = other
		}
		listings.open[url] = open
	}
	listings.Unlock()
	return open()
}

func readDir(url string) ([]fs.DirEntry, error) {
	t, err := treeOf(url)
	if err != nil {
		return nil, err
	}
	if t == nil || len(t.files)+len(t.folders) == 0 {
		return nil, missing("open", url)
	}
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		entries = append(entries, fs.FileInfoToDirEntry(info{t.files[name], name}))
	}
	for _, name := range slices.Sorted(maps.Keys(t.folders)) {
		entries = append(entries, fs.FileInfoToDirEntry(dirInfo{name}))
	}
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func stat(url string) (fs.FileInfo, error) {
	_, key := cut(url)
	name := path.Base(key)
	if key != "" {
		if above, was, err := listed(Dir(url)); was {
			switch {
			case err != nil:
				return nil, err
			case above == nil:
			default:
				if o, is := above.files[name]; is {
					return info{o, name}, nil
				}
				if above.folders[name] != nil {
					return dirInfo{name}, nil
				}
			}
			return nil, missing("stat", url)
		}
	}
	s, _, err := storeOf(url)
	if err != nil {
		return nil, err
	}
	defer oneOf(requests)()
	if key != "" {
		o, err := s.Head(key)
		if err == nil || !isMissing(err) {
			return info{o, name}, err
		}
		key += "/"
	}
	there := false
	if err := s.List(key, func(Object) bool { there = true; return false }); err != nil {
		return nil, err
	}
	if there || key == "" {
		return dirInfo{name}, nil
	}
	return nil, missing("stat", url)
}

// Listed is about a file of a folder that is held; nil if it is not there, or nobody holds it.
func Listed(url string) fs.FileInfo {
	if above, was, err := listed(Dir(url)); was && err == nil && above != nil {
		name := path.Base(url)
		if o, is := above.files[name]; is {
			return info{o, name}
		}
	}
	return nil
}

func missing(op, url string) error {
	return &fs.PathError{Op: op, Path: url, Err: fmt.Errorf("there is no such object or folder: %w", fs.ErrNotExist)}
}

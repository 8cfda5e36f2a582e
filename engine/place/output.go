package place

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/disk"
)

// Output is where work leaves what it makes: the place itself or, for one in an object store, a folder of the cache
// that is published when all is done.
type Output struct {
	Path string // on this machine
	url  string // "" if that is the place
	turn *Turn  // to publish it; nil of work that is not shared
}

// Out is the output of a name. An interrupted work finds what it has left under the same name on this machine.
func Out(name string) (*Output, error) {
	url, err := Named(name)
	if err != nil || !IsURL(url) {
		return &Output{Path: url}, err
	}
	if Bucket(url) == url {
		return nil, fault.Config.Errorf("out: %s is a whole bucket; name what is to be in it: %s/NAME", url, url)
	}
	o := &Output{url: url}
	o.Path = filepath.Join(hashed("outputs", WithParameters(url)), path.Base(url))
	if _, _, err := storeOf(url); err != nil { // before hours of work
		return nil, fmt.Errorf("out: %w", err)
	}
	return o, disk.MakeAll(filepath.Dir(o.Path))
}

// Name is how users know the place.
func (o *Output) Name() string {
	if o.url != "" {
		return o.url
	}
	return o.Path
}

// NameOf is how users know a file that was made on this machine.
func (o *Output) NameOf(path string) string {
	if rest, below := strings.CutPrefix(path, filepath.Dir(o.Path)); below && o.url != "" {
		return Dir(o.url) + filepath.ToSlash(rest)
	}
	return path
}

// Publish uploads the files that were made and removes them here. Of a folder the file last comes last, and makes it
// whole; one that is whole already is kept as NAME.1, NAME.2, …, and said to have been.
func (o *Output) Publish(last string, kept func(as string)) error {
	if o.url == "" {
		return nil
	}
	if err := o.turn.Mine(); err != nil { // before what is there is moved away
		return err
	}
	folder, err := os.Stat(o.Path)
	whole := err == nil && folder.IsDir() && last != ""
	top := filepath.Dir(o.Path)
	if whole {
		if err := o.setAside(last, kept); err != nil {
			return fmt.Errorf("keep what is at %s: %w", o.url, err)
		}
		top = o.Path
	}
	var files []string
	err = filepath.WalkDir(top, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, at)
		}
		return err
	})
	if err != nil {
		return err
	}
	isLast := func(at string) bool { return whole && at == filepath.Join(o.Path, last) }
	slices.SortStableFunc(files, func(a, b string) int {
		switch {
		case isLast(a):
			return 1
		case isLast(b):
			return -1
		}
		return strings.Compare(a, b)
	})
	above := Dir(o.url)
	for _, at := range files {
		name, err := filepath.Rel(filepath.Dir(o.Path), at)
		if err = cmp.Or(err, o.turn.Mine()); err == nil {
			err = Put(above+"/"+filepath.ToSlash(name), at)
		}
		if err != nil {
			return fmt.Errorf("%w; what was made is in %s, and the same command publishes it anew", err, o.Path)
		}
	}
	for _, at := range files {
		if err := disk.Delete(at); err != nil {
			return err
		}
	}
	return o.turn.end()
}

// setAside keeps a folder that is whole under another name, and clears the place of it: the file that makes it whole
// goes first. Of one that is not whole nothing is kept.
func (o *Output) setAside(last string, kept func(as string)) error {
	s, key, err := storeOf(o.url)
	if err != nil {
		return err
	}
	var keys []string
	whole := false
	if err := s.List(key+"/", func(x Object) bool {
		if !strings.HasPrefix(x.Key, key+"/"+underWay+"/") {
			keys, whole = append(keys, x.Key), whole || x.Key == key+"/"+last
		}
		return true
	}); err != nil || !whole {
		return err
	}
	name, err := freeName(o.url)
	if err != nil {
		return err
	}
	end := key + "/" + last
	for _, k := range append(slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == end }), end) {
		if err := s.Copy(key+name+k[len(key):], k); err != nil {
			return err
		}
	}
	for _, k := range append([]string{end}, keys...) {
		if err := s.Delete(k); err != nil && !isMissing(err) {
			return err
		}
	}
	kept(o.url + name)
	return nil
}

// freeName is what to append to a URL for a name that nothing has.
func freeName(url string) (string, error) {
	for i := 1; ; i++ {
		name := fmt.Sprintf(".%d", i)
		if _, err := Stat(url + name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}
